//! Kick-offs whose answer was lost: the job is searched for, reported, adopted only when proven, and never assumed.

use std::time::Duration;

use serde_json::{Value, json};

use super::fake::{Cancels, Ending, KickOff};
use super::said::{answer, html, job_failure, storage_failure, unknown};
use super::world::{Broken, World, failure};
use super::{at, azure_server, stored_server};
use crate::api::ConditionType::{Failed, KickOffUncertain, Reconciling, ServerReachable};
use crate::api::Reason;
use crate::core::ledger::{JobFolder, StorageFailureKind};
use crate::core::wire::{FailureKind, Sent};

fn lost() -> KickOff {
    KickOff::MadeAndLost(failure(Sent::Maybe, FailureKind::Unreachable, Reason::TimedOut))
}

fn stranger(id: &str, seconds: i64) -> JobFolder {
    JobFolder { container: format!("export-{id}"), folder: None, began: at(seconds), job_id: id.into() }
}

fn world(spec: Value, kick_off: KickOff) -> World {
    let mut world = World::new(stored_server(), spec);
    world.kick_off_meets([kick_off]);
    world.look();
    world
}

#[test]
fn the_job_is_found_followed_and_proven() {
    for kick_off in [
        lost(),
        KickOff::AcceptAt(None),
        KickOff::AcceptAt(Some(" ".into())),
        KickOff::AcceptAt(Some("https://elsewhere.example/x".into())),
    ] {
        let mut world = world(json!({}), kick_off.clone());
        assert_eq!(world.state(), "Uncertain");
        assert!(world.says(KickOffUncertain).starts_with("True/"), "{kick_off:?}");
        assert_eq!(world.noted(), ["KickOffUncertain"]);
        world.run_until(|w| w.state() == "Running");
        assert!(world.now >= at(120), "the search waits two minutes");
        assert_eq!(world.says(KickOffUncertain), "True/JobAdopted");
        world.run();
        assert_eq!((world.state().as_str(), world.fake.kick_offs_sent()), ("Complete", 1), "{kick_off:?}");
        assert_eq!(
            (world.says(KickOffUncertain).as_str(), world.status().attempts),
            ("False/JobConfirmed", Some(1))
        );
    }
}

#[test]
fn uncertain_is_what_left_without_a_definite_answer() {
    for reply in
        [answer(500), answer(502), html(503), html(504), answer(408), answer(200), html(200), answer(204)]
    {
        let world = world(json!({}), KickOff::Reply(Ok(reply.clone())));
        assert_eq!(world.says(KickOffUncertain), "True/AnswerLost", "{reply:?}");
    }
}

#[test]
fn killed_between_intent_and_answer_is_uncertain() {
    for how in [Broken::AfterWrite, Broken::AfterEffect] {
        let mut world = World::new(stored_server(), json!({}));
        assert_eq!(world.look_broken(Some((2, how))), None);
        assert!(world.status().job.is_some_and(|j| j.status_url.is_none()), "{how:?}");
        world.look();
        assert_eq!(
            (world.says(KickOffUncertain).as_str(), world.noted()),
            ("True/AnswerLost", vec!["KickOffUncertain"])
        );
        world.run();
        assert_eq!(world.state(), "Complete");
        // Either the first kick-off created the job, or it was never sent and a second attempt follows.
        assert_eq!(world.fake.kick_offs_sent(), 1, "{how:?}");
        assert_eq!(world.status().unsettled_jobs.len(), usize::from(how == Broken::AfterWrite));
    }
    let mut world = World::new(stored_server(), json!({}));
    world.look_broken(Some((2, Broken::BeforeWrite)));
    assert_eq!((world.status().job, world.fake.sent.len()), (None, 0));
    world.run();
    assert_eq!((world.state().as_str(), world.noted()[0]), ("Complete", "KickedOff"));
}

#[test]
fn a_conflict_at_the_answer_loses_nothing() {
    let mut world = World::new(stored_server(), json!({}));
    world.look_broken(Some((3, Broken::Conflict)));
    assert!(world.status().job.is_some_and(|j| j.status_url.is_none()));
    world.edit(|spec| spec.backoff_limit = Some(5));
    world.look();
    assert_eq!((world.state().as_str(), world.fake.kick_offs_sent()), ("Running", 1));
}

#[test]
fn without_storage_there_is_nothing_to_search() {
    for (policy, sent, end) in [("Retry", 2, "Complete"), ("Fail", 1, "Failed")] {
        let mut world = World::new(azure_server(), json!({"onUncertainKickOff": policy}));
        world.kick_off_meets([lost()]);
        world.run();
        assert_eq!((world.state().as_str(), world.fake.kick_offs_sent()), (end, sent));
        assert_eq!(world.status().unsettled_jobs.len(), 1);
        assert!(world.noted().contains(&"KickOffUncertain"));
        if policy == "Fail" {
            assert_eq!(world.says(Failed), "True/KickOffUncertain");
        }
    }
}

#[test]
fn no_candidate_or_two_are_none() {
    for (strangers, shown) in [
        (vec![], false),
        (vec![stranger("s1", 5)], true),
        (vec![stranger("s1", 0), stranger("s2", 9)], false),
    ] {
        let mut world = World::new(stored_server(), json!({"onUncertainKickOff": "Fail"}));
        world.fake.shows_folders = shown;
        world.fake.strangers = strangers;
        world.kick_off_meets([lost()]);
        world.run();
        assert_eq!((world.says(Failed).as_str(), world.fake.kick_offs_sent()), ("True/KickOffUncertain", 1));
        assert_eq!(world.says(KickOffUncertain), "True/NoJobFound");
        assert_eq!(world.fake.deletes_sent(), 0, "what is not proven ours is not cancelled");
    }
}

#[test]
fn others_jobs_are_no_candidates() {
    let mut world = World::new(stored_server(), json!({}));
    world.fake.strangers = vec![stranger("claimed", 5), stranger("old", -130), stranger("late", 700)];
    world.claimed.insert("claimed".into());
    world.kick_off_meets([lost()]);
    world.run();
    assert_eq!((world.state().as_str(), world.status().job.unwrap().id.as_deref()), ("Complete", Some("7")));
}

#[test]
fn a_job_that_turns_out_to_be_anothers() {
    let mut world = World::new(stored_server(), json!({}));
    world.kick_off_meets([lost()]);
    world.look();
    world.fake.jobs[0].request = "https://clinic.example/Patient/$export".into();
    world.run();
    assert_eq!((world.says(Failed).as_str(), world.fake.deletes_sent()), ("True/JobNotOurs", 0));
    let status = world.status();
    assert_eq!((status.job, status.output), (None, None), "it is the other's");
    assert_eq!(status.unsettled_jobs.len(), 1, "ours may still run");
    assert_eq!(status.unsettled_jobs[0].status_url, None);
}

#[test]
fn where_a_found_job_ends_without_proof_ours_may_still_run() {
    // Another export's job is found instead of ours, whose folder appears later.
    for end in
        [unknown(), job_failure(500, "Processing job had no results"), job_failure(413, "Out of memory")]
    {
        let mut world = world(json!({"backoffLimit": 0}), lost());
        world.run_until(|w| w.says(KickOffUncertain) == "True/JobAdopted");
        world.fake.polls.extend(vec![Ok(end.clone()); 50]);
        world.run();
        assert!(world.says(Failed).starts_with("True/"), "{end:?}");
        let left = world.status().unsettled_jobs;
        assert_eq!((left.len(), world.fake.deletes_sent()), (1, 0), "{end:?}");
        let message = world.message(Failed);
        assert!(message.contains("may run on the server unseen"), "{message}");
    }
}

#[test]
fn a_job_that_may_run_unseen_is_told_whatever_becomes_of_the_last_one() {
    for (policy, last) in [("Abandon", "Abandoned"), ("Cancel", "Cancelled")] {
        let spec = json!({"deletionPolicy": policy, "onUncertainKickOff": "Retry"});
        let mut world = World::new(azure_server(), spec);
        world.kick_off_meets([lost()]);
        world.run_until(|w| w.state() == "Running");
        assert_eq!(world.status().unsettled_jobs.len(), 1);
        let before = world.noted().len();
        world.delete();
        world.run();
        assert!(world.gone);
        assert_eq!(world.noted().split_off(before), [last, "CancelUnconfirmed"], "{policy}");
    }
}

#[test]
fn a_manifest_without_files_proves_nothing() {
    // Another export's cancelled job answers like this on older builds, and it has our request.
    for policy in ["Retry", "Fail"] {
        let mut world = world(json!({"onUncertainKickOff": policy}), lost());
        world.fake.jobs[0].ending = Ending::Files(vec![]);
        world.run_until(|w| w.says(KickOffUncertain) == "True/NoJobFound");
        assert_eq!(world.status().attempts, Some(1));
        world.run();
        let retries = policy == "Retry";
        let end = if retries { "Complete" } else { "Failed" };
        assert_eq!((world.state().as_str(), world.fake.kick_offs_sent()), (end, 1 + usize::from(retries)));
        let left = world.status().unsettled_jobs;
        assert_eq!((left.len(), left[0].status_url.clone(), world.fake.deletes_sent()), (1, None, 0));
    }
}

#[test]
fn an_adopted_job_is_never_cancelled() {
    for delete in [false, true] {
        let mut world = world(json!({}), lost());
        world.fake.lasts = 9000;
        world.run_until(|w| w.says(KickOffUncertain) == "True/JobAdopted");
        if delete {
            world.delete();
            world.run();
            assert!(world.gone && world.noted().contains(&"CancelUnconfirmed"), "{:?}", world.notes);
        } else {
            world.edit(|spec| spec.cancel = Some(true));
            world.run();
            assert_eq!(world.says(Failed), "True/CancelUnconfirmed");
            assert_eq!(world.status().unsettled_jobs.len(), 1);
        }
        assert_eq!(world.fake.deletes_sent(), 0);
    }
}

#[test]
fn accepted_without_a_status_url_is_never_retried() {
    for (server, shown) in [(azure_server(), true), (stored_server(), false)] {
        let mut world = World::new(server, json!({"onUncertainKickOff": "Retry"}));
        world.fake.shows_folders = shown;
        world.kick_off_meets([KickOff::AcceptAt(None)]);
        world.run();
        assert_eq!((world.says(Failed).as_str(), world.fake.kick_offs_sent()), ("True/NoStatusURL", 1));
        assert_eq!(world.status().unsettled_jobs.len(), 1);
        assert!(world.message(Failed).contains("Content-Location"), "{}", world.message(Failed));
    }
}

#[test]
fn lost_answers_are_bounded_by_the_backoff_limit() {
    let mut world = World::new(azure_server(), json!({"backoffLimit": 2}));
    world.kick_off_meets(vec![lost(); 20]);
    world.run();
    assert_eq!((world.says(Failed).as_str(), world.fake.kick_offs_sent()), ("True/KickOffUncertain", 3));
    assert_eq!(world.status().unsettled_jobs.len(), 3);
}

#[test]
fn a_container_that_cannot_be_searched() {
    // The service creates the container when it begins to write; until then it holds no job.
    for (kind, waits, recovers) in [
        (StorageFailureKind::Transient { retry_after: None }, true, true),
        (StorageFailureKind::Missing, true, true),
        (StorageFailureKind::Denied, false, false),
        (StorageFailureKind::NotFound, false, true),
    ] {
        let mut world = World::new(stored_server(), json!({"onUncertainKickOff": "Fail"}));
        world.fake.storage_down = Some(storage_failure(kind));
        world.kick_off_meets([lost()]);
        world.run();
        assert_eq!(world.says(Failed), "True/KickOffUncertain");
        assert_eq!(world.now >= at(350), waits, "{kind:?}: {}", world.now);
        let mut world = World::new(stored_server(), json!({"onUncertainKickOff": "Fail"}));
        world.fake.storage_down = Some(storage_failure(kind));
        world.kick_off_meets([lost()]);
        world.run_until(|w| w.ended() || w.now > at(200));
        world.fake.storage_down = None;
        world.run();
        assert_eq!(world.state() == "Complete", recovers, "{kind:?}");
    }
}

#[test]
fn the_deadline_cancel_and_deletion_while_it_is_uncertain() {
    let mut late = world(json!({"activeDeadlineSeconds": 60}), lost());
    late.run();
    assert_eq!(
        (late.says(Failed).as_str(), late.status().unsettled_jobs.len()),
        ("True/DeadlineExceeded", 1)
    );
    let mut cancelled = world(json!({}), lost());
    cancelled.edit(|spec| spec.cancel = Some(true));
    cancelled.run();
    assert_eq!(
        (cancelled.says(Failed).as_str(), cancelled.status().unsettled_jobs.len()),
        ("True/CancelUnconfirmed", 1)
    );
    let mut deleted = world(json!({}), lost());
    deleted.fake.cancels = Cancels::Y2022;
    deleted.delete();
    deleted.run();
    assert!(deleted.gone && deleted.noted().contains(&"CancelUnconfirmed"));
    assert!(deleted.now < at(1), "there is nothing to wait for");
}

#[test]
fn the_search_waits_for_its_own_server() {
    let mut world = world(json!({}), lost());
    let server = world.server.take();
    world.run_for(Duration::from_secs(1000));
    assert_eq!(world.says(ServerReachable), "False/ServerNotFound");
    world.server = server.clone();
    world.edit_server(|s| s.spec.url = "https://another.example".into());
    world.run_for(Duration::from_secs(1000));
    assert_eq!((world.says(ServerReachable).as_str(), world.ended()), ("False/ServerChanged", false));
    world.server = server;
    world.run();
    assert_eq!((world.state().as_str(), world.fake.kick_offs_sent()), ("Complete", 1));
}

#[test]
fn a_second_lost_answer_is_told_like_the_first() {
    let mut world = World::new(stored_server(), json!({}));
    world
        .fake
        .endings
        .push_back(super::fake::Ending::Answer(job_failure(500, "Processing job had no results")));
    world.kick_off_meets([lost()]);
    world.run_until(|w| w.says(Reconciling) == "True/WaitingToRetry");
    world.pass(60);
    world.look_broken(Some((1, Broken::AfterWrite)));
    world.look();
    assert_eq!(world.says(KickOffUncertain), "True/AnswerLost");
    assert_eq!(world.noted().iter().filter(|r| **r == "KickOffUncertain").count(), 2);
}
