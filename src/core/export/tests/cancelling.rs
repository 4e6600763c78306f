//! Cancels by the spec and by deletion, with all generations of servers, and at every point of a run.

use std::time::Duration;

use serde_json::{Value, json};

use super::fake::{Cancels, Fake, KickOff, State};
use super::said::{answer, html, job_failure, outcome};
use super::world::{Broken, World, failure};
use super::{azure_server, bulk_server, stored_server};
use crate::api::CancelOutcome;
use crate::api::ConditionType::{Complete, Failed};
use crate::api::Reason;
use crate::core::export::Followers;
use crate::core::wire::{Answer, FailureKind, Sent};

pub(super) fn running(spec: Value) -> World {
    let mut world = World::new(stored_server(), spec);
    world.fake.lasts = 3600;
    world.run_until(|w| w.state() == "Running");
    world
}

pub(super) fn cancel(world: &mut World) {
    world.edit(|spec| spec.cancel = Some(true));
    world.run();
}

#[test]
fn a_running_job_by_the_spec_and_by_deletion() {
    for cancels in [Cancels::Y2026, Cancels::Y2022, Cancels::Y2025, Cancels::Slow] {
        let mut world = running(json!({}));
        world.fake.cancels = cancels;
        cancel(&mut world);
        assert_eq!(
            (world.says(Failed).as_str(), world.state().as_str()),
            ("True/Cancelled", "Cancelled"),
            "{cancels:?}"
        );
        assert_eq!((world.fake.deletes_sent(), world.held()), (1, false));
        assert_eq!(world.status().cancellation.unwrap().outcome, Some(CancelOutcome::Confirmed));
        let mut world = running(json!({}));
        world.fake.cancels = cancels;
        world.delete();
        world.run();
        assert!(world.gone && world.noted().contains(&"Cancelled"), "{cancels:?} {:?}", world.notes);
        assert_eq!(world.fake.deletes_sent(), 1);
    }
}

#[test]
fn a_finished_job_is_told_as_what_it_is() {
    for cancels in [Cancels::Y2026, Cancels::Y2022, Cancels::Y2025, Cancels::Slow] {
        let mut world = running(json!({}));
        world.fake.cancels = cancels;
        world.pass(3600);
        cancel(&mut world);
        assert_eq!(
            (world.says(Complete).as_str(), world.fake.deletes_sent()),
            ("True/Exported", 0),
            "{cancels:?}"
        );
        let mut world = running(json!({}));
        world.fake.cancels = cancels;
        world.pass(3600);
        world.delete();
        world.run();
        assert!(world.gone && world.fake.deletes_sent() == 0, "{cancels:?}: nothing is left to cancel");
    }
    let mut failed = running(json!({}));
    failed.fake.polls.push_back(Ok(job_failure(400, "Group g was not found.")));
    cancel(&mut failed);
    assert_eq!(failed.says(Failed), "True/GroupNotFound");
    let mut gone = running(json!({}));
    gone.fake.jobs[0].state = State::Gone;
    cancel(&mut gone);
    assert_eq!(gone.says(Failed), "True/Cancelled");
}

#[test]
fn finished_between_the_look_and_the_cancel() {
    // 409: the manifest is that of the finished job.
    let mut world = running(json!({}));
    world.pass(3600);
    world.fake.polls.push_back(Ok(answer(202)));
    world.fake.cancels = Cancels::Y2025;
    cancel(&mut world);
    assert_eq!(world.says(Complete), "True/Exported");
    // 500: a 200 after our own DELETE is not success.
    let mut world = running(json!({}));
    world.pass(3600);
    world.fake.polls.push_back(Ok(answer(202)));
    world.fake.cancels = Cancels::Y2022;
    cancel(&mut world);
    assert_eq!(world.says(Failed), "True/Cancelled");
}

#[test]
fn what_no_server_meant_is_no_agreement() {
    // A gateway's page arrives instead of a manifest, before and after the DELETE.
    let mut world = running(json!({}));
    world.fake.polls.push_back(Ok(html(200)));
    cancel(&mut world);
    assert_eq!((world.says(Failed).as_str(), world.fake.deletes_sent()), ("True/Cancelled", 1));
    // Neither is a truncated page, whereas a truncated manifest may only have been too long.
    for (body, deletes) in [("<html>", 1), ("{\"transactionTime\":", 0)] {
        let mut world = running(json!({}));
        let cut = Answer { body: body.to_owned().into(), truncated: true, ..html(200) };
        world.fake.polls.push_back(Ok(cut));
        cancel(&mut world);
        assert_eq!((world.says(Failed).as_str(), world.fake.deletes_sent()), ("True/Cancelled", deletes));
    }
    let mut world = running(json!({}));
    world.fake.cancels = Cancels::Never(500);
    world.fake.polls.extend(vec![Ok(html(200)); 50]);
    cancel(&mut world);
    assert_eq!(world.says(Failed), "True/CancelUnconfirmed");
    assert!(Fake::works_on(&world.fake.jobs[0], world.now) && world.status().unsettled_jobs.len() == 1);
}

#[test]
fn what_may_run_unseen_is_told_at_the_deletion_also_after_a_crash_before_the_event() {
    for job_is_known in [true, false] {
        let mut world = running(json!({}));
        let status = world.export.status.as_mut().unwrap();
        let unsettled = json!([{ "intentTime": world.now, "reason": "nobody was told" }]);
        status.unsettled_jobs = serde_json::from_value(unsettled).unwrap();
        if job_is_known {
            let given_up = json!({ "requestTime": world.now, "tries": 10, "outcome": "Unconfirmed",
                "reason": "Deleted" });
            status.cancellation = serde_json::from_value(given_up).unwrap();
        } else {
            status.job = None;
        }
        world.delete();
        world.run();
        assert!(world.gone && world.noted().contains(&"CancelUnconfirmed"), "{:?}", world.notes);
        assert_eq!(world.fake.deletes_sent(), 0);
    }
}

#[test]
fn before_a_job_there_is_nothing_to_cancel() {
    for hold in 0..5 {
        for delete in [false, true] {
            let mut world = World::new(azure_server(), json!({}));
            match hold {
                0 => world.full = true,
                1 => world.edit(|spec| spec.suspend = Some(true)),
                2 => world.server = None,
                3 => world.kick_off_meets(vec![KickOff::Reply(Ok(outcome(503, "exception", "x")))]),
                _ => world.kick_off_meets(vec![KickOff::Reply(Ok(outcome(403, "forbidden", "x"))); 9]),
            }
            world.look();
            assert_eq!(world.held(), hold > 2);
            let sent = world.fake.sent.len();
            if delete {
                world.delete();
                world.run();
                assert!(world.gone);
            } else {
                cancel(&mut world);
                assert_eq!((world.says(Failed).as_str(), world.held()), ("True/Cancelled", false));
            }
            assert_eq!(world.fake.sent.len(), sent, "{hold}");
        }
    }
}

#[test]
fn cancel_wins_over_suspend() {
    let mut world = running(json!({}));
    world.edit(|spec| spec.suspend = Some(true));
    world.run_for(Duration::from_secs(60));
    cancel(&mut world);
    assert_eq!((world.says(Failed).as_str(), world.fake.deletes_sent()), ("True/Cancelled", 1));
}

#[test]
fn deletion_policies() {
    let mut world = running(json!({"deletionPolicy": "Abandon"}));
    world.delete();
    world.run();
    assert!(world.gone && world.noted().contains(&"Abandoned"));
    assert_eq!(world.fake.deletes_sent(), 0);
    let mut ended = World::new(azure_server(), json!({}));
    ended.run();
    let notes = ended.notes.len();
    ended.delete();
    assert!(ended.gone && ended.notes.len() == notes, "an ended run goes at once");
}

#[test]
fn a_cancel_survives_the_operator() {
    for at_step in 0..4 {
        for how in [Broken::BeforeWrite, Broken::AfterWrite, Broken::AfterEffect] {
            for delete in [false, true] {
                let mut world = running(json!({}));
                world.fake.cancels = Cancels::Y2022;
                if delete {
                    world.delete();
                } else {
                    world.edit(|spec| spec.cancel = Some(true));
                }
                world.look_broken(Some((at_step, how)));
                world.run();
                assert!(!Fake::works_on(&world.fake.jobs[0], world.now));
                assert_eq!(world.gone, delete);
                if !delete {
                    assert_eq!(
                        world.says(Failed),
                        "True/Cancelled",
                        "an empty manifest after our own DELETE is no success"
                    );
                }
            }
        }
    }
}

#[test]
fn deleted_while_the_kick_off_is_answered() {
    let mut world = World::new(stored_server(), json!({}));
    world.look_broken(Some((3, Broken::Conflict)));
    world.delete();
    world.run();
    assert!(world.gone && world.fake.deletes_sent() == 1);
    assert!(!Fake::works_on(&world.fake.jobs[0], world.now));
}

#[test]
fn a_deletion_during_a_cancel_goes_on_with_it() {
    let mut world = running(json!({}));
    world.fake.cancels = Cancels::Never(503);
    world.edit(|spec| spec.cancel = Some(true));
    world.run_until(|w| w.fake.deletes_sent() == 3);
    world.delete();
    world.run();
    assert!(world.gone && world.fake.deletes_sent() <= 10);
}

#[test]
fn a_job_that_another_export_names_is_cancelled_for_neither() {
    for by_spec in [true, false] {
        let mut world = running(json!({}));
        world.followers = Followers::Wanting;
        if by_spec {
            cancel(&mut world);
            assert_eq!(world.says(Failed), "True/CancelUnconfirmed");
            assert!(
                world.message(Failed).contains("another FhirExport names the same job"),
                "{}",
                world.message(Failed)
            );
        } else {
            world.delete();
            world.run();
            assert!(world.gone && world.noted().contains(&"CancelUnconfirmed"), "{:?}", world.notes);
        }
        assert_eq!(world.fake.deletes_sent(), 0);
    }
}

#[test]
fn a_shared_job_is_cancelled_by_the_last_that_lets_go() {
    for followers in [Followers::Wanting, Followers::LettingGo, Followers::None] {
        for by_spec in [true, false] {
            let mut world = World::new(bulk_server(json!({})), json!({}));
            world.fake.lasts = 3600;
            world.run_until(|w| w.state() == "Running");
            world.followers = followers;
            if by_spec {
                cancel(&mut world);
                assert_eq!(world.says(Failed), "True/Cancelled");
                let goes_on =
                    world.message(Failed).contains("goes on, because another FhirExport follows it");
                assert_eq!(goes_on, followers == Followers::Wanting, "{}", world.message(Failed));
            } else {
                world.delete();
                world.run();
                assert!(world.gone && !world.noted().contains(&"CancelUnconfirmed"), "{:?}", world.notes);
            }
            assert_eq!(world.fake.deletes_sent() > 0, followers != Followers::Wanting, "{followers:?}");
            assert_eq!(world.status().unsettled_jobs, []);
        }
    }
}

#[test]
fn a_shared_job_is_cleaned_up_by_the_last_that_ends() {
    for followers in [Followers::Wanting, Followers::LettingGo, Followers::None] {
        let mut world = World::new(bulk_server(json!({"finishedJobs": "Delete"})), json!({}));
        world.followers = followers;
        world.run();
        assert_eq!((world.state().as_str(), world.held()), ("Complete", false));
        assert_eq!(world.fake.cleaned.len(), usize::from(followers == Followers::None));
    }
}

#[test]
fn whoever_ends_together_with_others_looks_again_before_it_leaves_the_job_to_them() {
    let mut world = World::new(bulk_server(json!({"finishedJobs": "Delete"})), json!({}));
    world.followers = Followers::Wanting;
    world.run_until(|w| w.state() == "Complete");
    assert!(world.held(), "its end is written before it lets go");
    world.followers = Followers::None;
    world.run();
    assert_eq!((world.held(), world.fake.cleaned.len()), (false, 1));
    let mut world = World::new(bulk_server(json!({})), json!({}));
    world.fake.lasts = 3600;
    world.run_until(|w| w.state() == "Running");
    world.followers = Followers::Wanting;
    world.edit(|spec| spec.cancel = Some(true));
    world.run_until(|w| w.state() == "Cancelling");
    world.followers = Followers::LettingGo;
    world.run();
    assert_eq!((world.says(Failed).as_str(), world.fake.deletes_sent()), ("True/Cancelled", 1));
}

#[test]
fn only_a_kick_off_after_a_lost_answer_may_be_given_a_job_that_runs() {
    let lost = KickOff::Reply(Err(failure(Sent::Maybe, FailureKind::Unreachable, Reason::ConnectionFailed)));
    let mut world = World::new(bulk_server(json!({})), json!({"onUncertainKickOff": "Retry"}));
    world.kick_off_meets([lost]);
    world.run();
    let kick_offs = world.fake.sent.iter().filter(|request| request.prefer.is_some());
    assert_eq!(kick_offs.map(|request| request.no_cache).collect::<Vec<_>>(), [true, false]);
    let mut world = World::new(azure_server(), json!({}));
    world.run();
    assert!(!world.fake.sent[0].no_cache, "Azure starts a job for each request");
}

#[test]
fn a_status_url_that_is_none_gets_no_delete() {
    for forged in [
        "https://clinic.example/Patient/4711",
        "https://clinic.example/_operations/export/",
        "https://clinic.example/_operations/export/7/../../../Patient/4711",
        "https://clinic.example/_operations/export/7#x",
        "https://evil.example/_operations/export/7",
        "Patient/4711",
    ] {
        let mut world = running(json!({}));
        world.export.status.as_mut().unwrap().job.as_mut().unwrap().status_url = Some(forged.to_owned());
        cancel(&mut world);
        assert_eq!(world.says(Failed), "True/CancelUnconfirmed", "{forged}");
        assert_eq!(world.fake.deletes_sent(), 0, "{forged}");
    }
}
