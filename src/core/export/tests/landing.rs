//! The files of a Bulk Data server: landed, judged, told, and the server's job forgotten.

#![allow(clippy::needless_pass_by_value)] // they are given a json! each time

use std::time::Duration;

use serde_json::{Value, json};

use super::fake::Ending;
use super::said::{answer, body, outcome, storage_failure};
use super::world::{Broken, World};
use super::{at, bulk_server, stored_server};
use crate::api::ConditionType::{Complete, Failed, KickOffUncertain, Reconciling, ServerReachable, Verified};
use crate::api::{CheckResult, Reason};
use crate::core::effect::{Observation, Requeue};
use crate::core::export::Phase;
use crate::core::export::memory::{Landing as LandingMemory, LandingTries};
use crate::core::landing::{LandFailure, LandFailureKind, LandProgress, Landing};
use crate::core::ledger::StorageFailureKind as Kind;
use crate::core::manifest::Manifest;
use crate::core::wire::{Answer, Method};

fn world(bulk_data: Value, spec: Value) -> World {
    let mut whole = json!({"request": {"level": "System", "container": "lake"}});
    whole.as_object_mut().unwrap().extend(spec.as_object().unwrap().clone());
    World::new(bulk_server(bulk_data), whole)
}

fn ran(bulk_data: Value, spec: Value, change: impl FnOnce(&mut World)) -> World {
    let mut world = world(bulk_data, spec);
    change(&mut world);
    world.run();
    world
}

fn failed(kind: LandFailureKind, reason: Reason, files: u64) -> Landing {
    let progress = LandProgress { files, of: 2, bytes: files * 100, kept: 0 };
    Landing::Failed(LandFailure {
        kind,
        reason,
        message: "f/Patient-1.ndjson could not be had".into(),
        progress,
        obstructed: Vec::new(),
    })
}

fn running(files: u64, of: u64) -> Landing {
    Landing::Running(LandProgress { files, of, bytes: files * 100, kept: 0 })
}

#[test]
fn a_run_that_goes_well_lands_and_tells_and_cleans_up() {
    let world = ran(json!({}), json!({}), |_| {});
    assert_eq!((world.state().as_str(), world.says(Complete).as_str()), ("Complete", "True/Exported"));
    assert_eq!(world.says(Verified), "True/CountsMatch");
    let output = world.status().output.unwrap();
    assert_eq!(
        (output.container.as_deref(), output.folder.as_deref()),
        (Some("lake"), Some("20261123T020000-0123abcd"))
    );
    assert_eq!((output.files, output.resources, output.bytes), (Some(2), Some(25), Some(200)));
    let manifest: Value = serde_json::from_slice(world.fake.stored.last().unwrap()).unwrap();
    assert_eq!(
        manifest["output"][0]["url"],
        "https://acct.blob.example/lake/20261123T020000-0123abcd/Observation-1.ndjson"
    );
    assert_eq!(output.manifest.unwrap().path, "20261123T020000-0123abcd/manifest.json");
    // Told that it is done with, after the end was written down.
    assert_eq!(world.fake.cleaned, ["https://clinic.example/_operations/export/7"]);
    assert_eq!((world.fake.deletes_sent(), world.held()), (0, false));
    assert!(
        world.status_writes <= 4 && world.notes.len() <= 3,
        "{} {}",
        world.status_writes,
        world.notes.len()
    );
    let polls: Vec<&str> = world.fake.sent.iter().filter(|r| r.prefer.is_none()).map(|r| r.accept).collect();
    assert!(polls.iter().all(|accept| *accept == "application/json"));
}

#[test]
fn without_a_container_the_run_has_one_of_its_own() {
    let world = ran(json!({}), json!({"request": {"level": "System"}}), |_| {});
    assert_eq!(world.status().output.unwrap().container.as_deref(), Some("export-0123abcd-run"));
}

#[test]
fn nothing_is_sent_before_the_server_was_looked_at() {
    let mut world = world(json!({}), json!({}));
    world.edit_server(|server| server.status = None);
    world.look();
    assert_eq!(world.says(crate::api::ConditionType::Reconciling), "True/Probing");
    assert!(world.fake.sent.is_empty());
    world.edit_server(|server| server.status = bulk_server(json!({})).status);
    world.run();
    assert_eq!(world.state(), "Complete");
}

#[test]
fn what_is_wrong_with_what_landed_is_failed_and_stays() {
    let short = ran(json!({}), json!({}), |w| w.fake.spoil = |landed| landed[0].sum.lines -= 1);
    assert_eq!(
        (short.says(Failed).as_str(), short.says(Verified).as_str()),
        ("True/VerificationFailed", "False/CountMismatch")
    );
    assert!(short.fake.stored.is_empty(), "the manifest is the mark of completeness");
    assert!(short.fake.cleaned.is_empty(), "the server's files may have to be looked at");
    assert_eq!(short.status().output.unwrap().checks.unwrap().counts, CheckResult::Failed);
    let epic =
        ran(json!({"preset": "Epic"}), json!({}), |w| w.fake.spoil = |landed| landed[0].sum.lines -= 1);
    assert_eq!(epic.fake.cleaned.len(), 1, "it runs nothing else for this group before that");
    let kept = ran(json!({"finishedJobs": "Keep"}), json!({}), |_| {});
    assert!(kept.fake.cleaned.is_empty());
}

#[test]
fn a_file_that_is_cut_or_of_another_type_fails_the_run_and_one_without_a_mark_is_told() {
    use crate::core::landing::FileForm;
    let formed = |spoil: fn(&mut Vec<crate::core::landing::Landed>)| {
        ran(json!({}), json!({}), |w| w.fake.spoil = spoil)
    };
    let cut = formed(|landed| landed[1].form = FileForm::Cut);
    assert_eq!((cut.state().as_str(), cut.says(Verified).as_str()), ("Failed", "False/FileTruncated"));
    assert!(cut.fake.stored.is_empty(), "the manifest is the mark of completeness");
    let other = formed(|landed| landed[0].form = FileForm::OtherType);
    assert_eq!((other.state().as_str(), other.says(Verified).as_str()), ("Failed", "False/WrongType"));
    let open = formed(|landed| landed[1].form = FileForm::Unframed);
    assert_eq!((open.state().as_str(), open.says(Verified).as_str()), ("Complete", "Unknown/PartlyChecked"));
    assert!(open.message(Verified).contains("Patient-1.ndjson came to the end is not known"));
    assert_eq!(open.status().output.unwrap().checks.unwrap().files, CheckResult::Unknown);
}

#[test]
fn a_type_that_got_lost_is_found_by_asking() {
    let types = json!({"request": {"level": "System", "container": "lake", "types": ["Patient", "Observation", "Condition"]}});
    let lost = ran(json!({}), types.clone(), |w| w.fake.has.extend([("Condition", 9)]));
    assert_eq!(
        (lost.says(Failed).as_str(), lost.says(Verified).as_str()),
        ("True/VerificationFailed", "False/TypesMissing")
    );
    let none = ran(json!({}), types.clone(), |w| w.fake.has.extend([("Condition", 0)]));
    assert_eq!(none.state(), "Complete");
    assert_eq!(none.status().output.unwrap().checks.unwrap().requested_types, CheckResult::Passed);
    let made_since = ran(json!({}), types.clone(), |w| {
        w.fake.has.extend([("Condition", 9)]);
        w.fake.unchanged.extend([("Condition", 0)]);
    });
    assert_eq!((made_since.state().as_str(), made_since.fake.counted.len()), ("Complete", 2));
    assert!(made_since.message(Verified).contains("all of them changed since the transaction time"));
    let timeless = ran(json!({}), types.clone(), |w| {
        w.fake.has.extend([("Condition", 9)]);
        w.fake.timeless = true;
    });
    assert_eq!(timeless.state(), "Complete");
    for unknown in [made_since, timeless] {
        assert_eq!(unknown.status().output.unwrap().checks.unwrap().requested_types, CheckResult::Unknown);
    }
    let silent = ran(json!({}), types, |_| {});
    assert_eq!(silent.state(), "Complete");
    assert_eq!(silent.status().output.unwrap().checks.unwrap().requested_types, CheckResult::Unknown);
}

#[test]
fn error_files_are_told_by_their_errors() {
    let errors = json!({"transactionTime": "2026-01-01T00:00:00Z", "requiresAccessToken": false,
        "output": [{"type": "Patient", "url": "https://x/1", "count": 3}], "error": [{"type": "OperationOutcome", "url": "https://x/e"}]});
    let with = |errors_in_it: fn(&mut Vec<crate::core::landing::Landed>), policy: &str| {
        let reply = body(&errors.to_string());
        ran(json!({}), json!({"errorFilePolicy": policy}), move |w| {
            w.fake.polls.push_back(Ok(reply));
            w.fake.spoil = errors_in_it;
        })
    };
    let information = with(|landed| landed[1].words = vec!["_elements was ignored".into()], "Fail");
    assert_eq!(information.says(Complete), "True/Exported");
    assert!(information.message(Complete).ends_with("the server says: _elements was ignored"));
    let tolerated = with(|landed| landed[1].issues.errors = 2, "Tolerate");
    assert_eq!(tolerated.says(Complete), "True/CompletedWithErrors");
    assert_eq!(tolerated.status().output.unwrap().error_issues, Some(2));
    let refused = with(|landed| landed[1].issues.errors = 2, "Fail");
    assert_eq!(refused.says(Failed), "True/ServerReportedErrors");
}

#[test]
fn expired_links_are_refreshed_by_a_fresh_manifest() {
    let expired = || failed(LandFailureKind::Expired, Reason::LinkExpired, 0);
    let world = ran(json!({}), json!({}), |w| w.fake.landings.extend([expired(), expired()]));
    assert_eq!((world.state().as_str(), world.fake.planned.len()), ("Complete", 3));
    assert_eq!(world.fake.kick_offs_sent(), 1);
    // Fresh ones that are refused as well are waited for.
    let world = ran(json!({}), json!({}), |w| w.fake.landings.extend((0..40).map(|_| expired())));
    assert_eq!((world.state().as_str(), world.fake.kick_offs_sent()), ("Complete", 1));
    // A file that is missing in each of them: another attempt, then the end.
    let missing = || failed(LandFailureKind::Expired, Reason::FileMissing, 0);
    let world =
        ran(json!({}), json!({"backoffLimit": 1}), |w| w.fake.landings.extend((0..40).map(|_| missing())));
    assert_eq!((world.says(Failed).as_str(), world.fake.kick_offs_sent()), ("True/FileMissing", 2));
    assert!(world.message(Failed).contains("nor in"), "{}", world.message(Failed));
    assert_eq!(world.status().previous_jobs.len(), 1);
    // Each that brings a file counts from the start.
    let world = ran(json!({}), json!({"backoffLimit": 0}), |w| {
        w.fake.landings.extend((0..20).map(|n| failed(LandFailureKind::Expired, Reason::LinkExpired, n)));
    });
    assert_eq!(world.state(), "Complete");
}

#[test]
fn one_file_that_never_comes_is_not_waited_for_without_end() {
    for (kind, reason, told) in [
        (LandFailureKind::Expired, Reason::FileMissing, "True/FileMissing"),
        (LandFailureKind::Source, Reason::DownloadFailed, "True/DeadlineExceeded"),
    ] {
        let world = ran(json!({}), json!({"backoffLimit": 0, "activeDeadlineSeconds": 14_400}), |w| {
            // Each try counts the other file anew before it meets the obstacle.
            let again = || [running(0, 2), running(1, 2), failed(kind, reason, 1)];
            w.fake.landings.extend((0..500).flat_map(|_| again()));
        });
        assert_eq!(world.says(Failed), told, "{kind:?}");
        let polls = world.fake.sent.iter().filter(|request| request.prefer.is_none()).count();
        assert!(polls < 20, "the server was asked for {polls} manifests");
    }
}

#[test]
fn what_passes_is_tried_again_in_the_same_folder() {
    for kind in [LandFailureKind::Source, LandFailureKind::Storage(Kind::Transient { retry_after: None })] {
        let world = ran(json!({}), json!({"backoffLimit": 0}), |w| {
            w.fake.landings.extend((0..8).map(|_| failed(kind, Reason::DownloadFailed, 0)));
        });
        assert_eq!(world.state(), "Complete", "{kind:?}");
        assert!(world.fake.planned.iter().all(|plan| plan.folder == world.fake.planned[0].folder));
    }
}

#[test]
fn an_outage_of_six_hours_costs_time_and_no_attempt() {
    const OUTAGE: i64 = 6 * 3600;
    for (kind, reason) in [
        (LandFailureKind::Source, Reason::ConnectionFailed),
        (LandFailureKind::Storage(Kind::Transient { retry_after: None }), Reason::UploadFailed),
        (LandFailureKind::Storage(Kind::Denied), Reason::UploadFailed),
        (LandFailureKind::Missing, Reason::SecretNotFound),
        (LandFailureKind::Expired, Reason::LinkExpired),
    ] {
        let mut world = world(json!({}), json!({"backoffLimit": 0}));
        world.fake.landings.push_back(running(1, 2));
        world.run_until(|w| w.state() == "Running" || w.state() == "Landing");
        let begun = world.now;
        while world.now.duration_since(begun).as_secs() < OUTAGE {
            while world.fake.landings.len() < 50 {
                world.fake.landings.push_back(failed(kind, reason, 1));
            }
            world.run_for(Duration::from_secs(60));
            assert!(!world.ended(), "{kind:?}: {}", world.message(Failed));
        }
        assert_eq!(world.says(Reconciling), format!("True/{reason}"), "{kind:?}");
        assert!(world.message(Reconciling).contains("could not be had"), "{}", world.message(Reconciling));
        world.fake.landings.clear();
        world.run();
        assert_eq!((world.state().as_str(), world.fake.kick_offs_sent()), ("Complete", 1), "{kind:?}");
        assert!(world.fake.planned.iter().all(|plan| plan.folder == world.fake.planned[0].folder));
    }
}

#[test]
fn the_next_try_begins_with_the_files_that_could_be_had() {
    let blob = "f/Patient-1.ndjson".to_owned();
    let Landing::Failed(failure) = failed(LandFailureKind::Source, Reason::DownloadFailed, 1) else { return };
    let world = ran(json!({}), json!({}), |w| {
        let obstructed = vec![blob.clone()];
        w.fake.landings.push_back(Landing::Failed(LandFailure { obstructed, ..failure }));
    });
    assert_eq!(world.fake.planned.iter().map(|plan| plan.last.len()).collect::<Vec<_>>(), [0, 1]);
}

#[test]
fn bytes_that_are_kept_are_progress() {
    let mut world = world(json!({}), json!({}));
    for _ in 0..20 {
        let Landing::Failed(mut failure) = failed(LandFailureKind::Source, Reason::DownloadFailed, 0) else {
            return;
        };
        failure.progress.kept = 1 << 20;
        world.fake.landings.push_back(Landing::Failed(failure));
    }
    world.run();
    assert_eq!(world.state(), "Complete");
    assert!(world.now < at(400), "the delays do not grow while something comes: {}", world.now);
}

#[test]
fn a_landing_that_panics_is_started_again_with_growing_delays_and_told() {
    let mut world = world(json!({}), json!({"backoffLimit": 0}));
    let panicked = || failed(LandFailureKind::Panicked, Reason::TaskPanicked, 0);
    world.fake.landings.extend((0..30).map(|_| panicked()));
    assert!(world.run_until(|w| w.fake.planned.len() == 20));
    assert_eq!(world.says(Reconciling), "True/TaskPanicked");
    assert_eq!(world.noted().iter().filter(|reason| **reason == "TaskPanicked").count(), 1);
    assert!(world.now > at(1200), "the delays grow");
    world.run();
    assert_eq!((world.state().as_str(), world.fake.kick_offs_sent()), ("Complete", 1));
}

#[test]
fn what_somebody_must_repair_is_waited_for() {
    for kind in [LandFailureKind::Missing, LandFailureKind::Storage(Kind::Denied)] {
        let world = ran(json!({}), json!({"backoffLimit": 0}), |w| {
            w.fake.landings.extend((0..200).map(|_| failed(kind, Reason::OriginNotAllowed, 0)));
        });
        assert_eq!((world.state().as_str(), world.fake.kick_offs_sent()), ("Complete", 1), "{kind:?}");
    }
    let mut world = world(json!({}), json!({}));
    world.fake.landings.extend((0..9).map(|_| failed(LandFailureKind::Missing, Reason::OriginNotAllowed, 0)));
    assert!(world.run_until(|w| w.says(ServerReachable) == "False/OriginNotAllowed"));
    assert_eq!(world.state(), "Landing");
}

#[test]
fn a_failed_upload_fails_the_attempt_and_another_has_a_folder_of_its_own() {
    let world = ran(json!({}), json!({}), |w| {
        w.fake.landings.push_back(failed(LandFailureKind::Storage(Kind::Permanent), Reason::UploadFailed, 1));
    });
    assert_eq!((world.state().as_str(), world.fake.kick_offs_sent()), ("Complete", 2));
    assert_ne!(world.fake.planned[0].folder, world.fake.planned[1].folder);
    assert_eq!(world.status().previous_jobs[0].reason, "UploadFailed");
}

#[test]
fn that_an_attempt_was_given_up_is_seen_also_when_its_write_was_not_heard_of() {
    let mut world = world(json!({}), json!({}));
    world.fake.landings.push_back(failed(LandFailureKind::Storage(Kind::Permanent), Reason::UploadFailed, 1));
    assert!(world.run_until(|w| w.state() == "Waiting" && w.status().attempts == Some(1)));
    // The write was done, its answer was lost: what is remembered is of the time before.
    let manifest = Manifest::parse(br#"{"transactionTime":"2026-01-01T00:00:00Z","output":[]}"#).unwrap();
    let tries = LandingTries::default();
    world.memory.phase = Phase::Landing(Box::new(LandingMemory::new(manifest, tries, None)));
    world.unsaved = Some(Observation::Landing(failed(LandFailureKind::Expired, Reason::LinkExpired, 1)));
    world.run();
    assert_eq!((world.state().as_str(), world.fake.kick_offs_sent()), ("Complete", 2));
}

#[test]
fn progress_is_written_rarely() {
    let mut world = world(json!({}), json!({}));
    world.fake.landings.extend((0..100).map(|n| running(n, 100)));
    world.run();
    assert_eq!(world.state(), "Complete");
    // A look each 30 seconds for 50 minutes: once per five minutes and ten points.
    assert!(world.status_writes <= 4 + 11, "{}", world.status_writes);
    let progress = world.status().job.unwrap().progress.unwrap();
    assert_eq!(progress.summary.as_deref(), Some("2 files"));
}

#[test]
fn suspended_it_lands_nothing_and_goes_on_later() {
    let mut world = world(json!({}), json!({}));
    world.fake.landings.extend([running(1, 2), running(1, 2), running(1, 2)]);
    world.run_until(|w| w.fake.planned.len() == 2);
    world.edit(|spec| spec.suspend = Some(true));
    world.look();
    assert_eq!((world.state().as_str(), world.fake.landing_stopped), ("Suspended", 1));
    let planned = world.fake.planned.len();
    world.run_for(std::time::Duration::from_secs(3600));
    assert_eq!((world.fake.planned.len(), world.fake.landing_stopped), (planned, 1));
    world.edit(|spec| spec.suspend = Some(false));
    world.run();
    assert_eq!(world.state(), "Complete");
}

#[test]
fn cancel_deadline_and_deletion_end_a_landing_and_the_servers_job() {
    let landing = |spec: Value| {
        let mut world = world(json!({}), spec);
        world.fake.landings.extend((0..1000).map(|_| running(1, 2)));
        assert!(world.run_until(|w| w.fake.planned.len() == 2));
        world
    };
    let mut cancelled = landing(json!({}));
    cancelled.edit(|spec| spec.cancel = Some(true));
    cancelled.run();
    assert_eq!((cancelled.says(Failed).as_str(), cancelled.fake.landing_stopped), ("True/Cancelled", 1));
    assert_eq!(cancelled.fake.deletes_sent(), 1);
    let mut late = landing(json!({"activeDeadlineSeconds": 600}));
    late.run();
    assert_eq!((late.says(Failed).as_str(), late.fake.deletes_sent()), ("True/DeadlineExceeded", 1));
    assert_eq!(late.fake.landing_stopped, 1);
    let mut deleted = landing(json!({}));
    deleted.delete();
    deleted.run();
    assert!(deleted.gone);
    assert_eq!((deleted.fake.deletes_sent(), deleted.fake.landing_stopped), (1, 1));
    let mut unheard = landing(json!({}));
    unheard.fake.deletes.push_back(Ok(answer(405)));
    unheard.edit(|spec| spec.cancel = Some(true));
    unheard.run();
    assert_eq!(unheard.says(Failed), "True/CancelUnconfirmed");
}

#[test]
fn killed_anywhere_it_goes_on_and_ends_the_same() {
    for n in 0..8 {
        for how in [Broken::BeforeWrite, Broken::AfterWrite, Broken::AfterEffect] {
            let mut world = world(json!({}), json!({}));
            // With a job known, nothing that happens later loses it.
            assert!(world.run_until(|w| w.status().job.is_some_and(|job| job.status_url.is_some())));
            world.pass(200);
            world.look_broken(Some((n, how)));
            world.run();
            assert_eq!((world.state().as_str(), world.fake.kick_offs_sent()), ("Complete", 1), "{n} {how:?}");
            assert!(!world.held() && !world.fake.cleaned.is_empty());
        }
    }
}

#[test]
fn a_job_of_its_own_status_is_read_by_that() {
    let mut world = world(json!({"version": "STU3"}), json!({"backoffLimit": 0}));
    let accepted = Answer {
        content_location: Some("https://clinic.example/_operations/export/7".into()),
        separate_status: true,
        ..answer(202)
    };
    world.kick_off_meets([super::fake::KickOff::Reply(Ok(accepted))]);
    world.fake.polls.extend([
        Ok(Answer { export_status: Some(202), ..answer(200) }),
        Ok(outcome(500, "processing", "the question failed, not the job")),
        Ok(Answer { export_status: Some(500), ..outcome(200, "processing", "the job failed") }),
    ]);
    world.run();
    assert_eq!(world.says(Failed), "True/ExportFailed");
    assert!(world.message(Failed).contains("the job failed"));
    assert_eq!(world.status().job.unwrap().separate_status, Some(true));
}

#[test]
fn manifests_come_in_pages() {
    let page = |file: &str, next: Option<&str>| {
        let link = next.map_or(json!([]), |next| json!([{"relation": "next", "url": next}]));
        Ok(body(
            &json!({"transactionTime": "2026-01-01T00:00:00Z", "requiresAccessToken": true,
            "output": [{"type": "Patient", "url": file, "count": 1}], "link": link})
            .to_string(),
        ))
    };
    let world = ran(json!({}), json!({}), |w| {
        w.fake.polls.extend([page("a", Some("p2")), Ok(answer(202)), page("b", Some("p3")), page("c", None)]);
    });
    assert_eq!(world.state(), "Complete");
    assert_eq!(world.status().output.unwrap().files, Some(3));
    let asked: Vec<&str> = world
        .fake
        .sent
        .iter()
        .filter(|r| r.method == Method::Get && r.prefer.is_none())
        .map(|r| r.url.as_str())
        .collect();
    let at = "https://clinic.example/_operations/export";
    assert_eq!(asked, [format!("{at}/7"), format!("{at}/p2"), format!("{at}/p2"), format!("{at}/p3")]);
    let circle = ran(json!({}), json!({}), |w| {
        w.fake.polls.extend((0..40).map(|n| page("a", Some(if n % 2 == 0 { "p2" } else { "7" }))));
    });
    assert_eq!(circle.says(Failed), "True/InvalidManifest");
}

#[test]
fn a_lost_answer_cannot_be_searched_for() {
    let lost = super::world::failure(
        crate::core::wire::Sent::Maybe,
        crate::core::wire::FailureKind::Unreachable,
        Reason::TimedOut,
    );
    let mut world = world(json!({}), json!({"onUncertainKickOff": "Fail"}));
    world.kick_off_meets([super::fake::KickOff::MadeAndLost(lost)]);
    world.run();
    assert_eq!(world.says(Failed), "True/KickOffUncertain");
    assert_eq!(world.says(KickOffUncertain), "True/NoJobFound");
    assert_eq!(world.status().unsettled_jobs.len(), 1);
}

#[test]
fn a_server_that_cannot_be_told_is_given_up_and_that_is_said() {
    let mut world = world(json!({}), json!({}));
    world.fake.clean_ups.extend((0..9).map(|_| Ok(answer(503))));
    assert_eq!(
        {
            world.run();
            world.look()
        },
        Requeue::AwaitChange
    );
    assert_eq!((world.state().as_str(), world.fake.cleaned.len(), world.held()), ("Complete", 5, false));
    for status in [200, 204, 404, 405, 410] {
        let world = ran(json!({}), json!({}), |w| w.fake.clean_ups.push_back(Ok(answer(status))));
        assert_eq!(world.fake.cleaned.len(), 1, "{status}");
    }
}

#[test]
fn a_store_that_takes_no_manifest_for_good_ends_the_attempt_as_a_file_does() {
    let world = ran(json!({}), json!({"backoffLimit": 1}), |w| {
        w.fake.store_fails = Some(storage_failure(Kind::Permanent));
    });
    assert_eq!((world.says(Failed).as_str(), world.fake.kick_offs_sent()), ("True/UploadFailed", 2));
    assert!(world.message(Failed).contains("manifest cannot be stored"), "{}", world.message(Failed));
    let empty = ran(json!({}), json!({}), |w| w.fake.endings.push_back(Ending::Files(vec![])));
    assert_eq!((empty.state().as_str(), empty.says(Verified).as_str()), ("Complete", "True/CountsMatch"));
    assert!(empty.now > at(0));
}

#[test]
fn the_mark_of_completeness_is_waited_for_as_the_files_are() {
    for (kind, reason) in [
        (Kind::Denied, "NoStorageAccess"),
        (Kind::Missing, "NoStorageAccess"),
        (Kind::Full, "NoStorageAccess"),
        (Kind::Transient { retry_after: None }, "StorageUnreachable"),
    ] {
        let mut world = world(json!({}), json!({"backoffLimit": 0}));
        world.fake.store_fails = Some(storage_failure(kind));
        assert!(world.run_until(|w| w.store_failures() == 20), "{kind:?}");
        let writes = world.status_writes;
        assert!(world.run_until(|w| w.store_failures() == 40), "{kind:?}");
        assert_eq!(world.status_writes, writes, "told once");
        assert_eq!((world.ended(), world.says(Reconciling)), (false, format!("True/{reason}")), "{kind:?}");
        assert!(
            world.message(Reconciling).contains("the files have landed"),
            "{}",
            world.message(Reconciling)
        );
        world.fake.store_fails = None;
        world.run();
        assert_eq!((world.state().as_str(), world.fake.kick_offs_sent()), ("Complete", 1), "{kind:?}");
        assert!(world.status().output.unwrap().manifest.is_some(), "{kind:?}");

        let late = ran(json!({}), json!({"activeDeadlineSeconds": 3600}), |w| {
            w.fake.store_fails = Some(storage_failure(kind));
        });
        assert_eq!(late.says(Failed), "True/DeadlineExceeded", "{kind:?}");
    }
}

#[test]
fn an_outage_delays_the_manifest_of_an_azure_server_and_one_that_stays_fails_no_run() {
    let away = || Some(storage_failure(Kind::Transient { retry_after: None }));
    let spec = json!({"request": {"level": "System", "container": "lake"}});
    let mut world = World::new(stored_server(), spec.clone());
    world.fake.store_fails = away();
    assert!(world.run_until(|w| w.store_failures() == 3));
    assert!(!world.ended());
    world.fake.store_fails = None;
    world.run();
    assert_eq!(world.state(), "Complete");
    assert!(world.status().output.unwrap().manifest.is_some());

    let mut world = World::new(stored_server(), spec);
    world.fake.store_fails = away();
    world.run();
    assert_eq!(world.state(), "Complete");
    assert!(world.message(Complete).contains("manifest was not stored"));
}

#[test]
fn where_files_will_land_is_known_with_the_job() {
    let mut world = world(json!({}), json!({}));
    world.fake.landings.extend((0..1000).map(|_| running(18, 50)));
    assert!(world.run_until(|w| w.status().job.is_some_and(|job| job.status_url.is_some())));
    let output = world.status().output.unwrap();
    let place = (output.container.as_deref(), output.folder.as_deref());
    assert_eq!(place, (Some("lake"), Some("20261123T020000-0123abcd")));
    // It takes longer than a moment: told after a look, with what that look saw.
    assert!(world.run_until(|w| w.state() == "Landing"));
    assert_eq!(world.status().job.unwrap().progress.unwrap().summary.as_deref(), Some("18 of 50 files"));
    world.edit(|spec| spec.cancel = Some(true));
    world.run();
    let message = world.message(Failed);
    assert!(message.contains("18 files had landed in lake/20261123T020000-0123abcd"), "{message}");
}

#[test]
fn no_job_is_started_whose_files_could_not_be_stored() {
    let refused = |type_: &str, reason: &str| {
        json!({"observedGeneration": 1, "conditions": [{"type": type_, "status": "False", "reason": reason,
            "message": "give the identity the role", "lastTransitionTime": at(0).to_string()}]})
    };
    for (type_, reason, waits) in [
        ("StorageAccessible", "NoStorageAccess", "NoStorageAccess"),
        ("Ready", "WrongDialect", "WrongDialect"),
    ] {
        let mut world = world(json!({}), json!({}));
        world.edit_server(|s| s.status = Some(serde_json::from_value(refused(type_, reason)).unwrap()));
        world.look();
        assert_eq!(world.says(crate::api::ConditionType::Reconciling), format!("True/{waits}"));
        assert!(world.fake.sent.is_empty() && world.state() == "Waiting");
        world.edit_server(|s| s.status = bulk_server(json!({})).status);
        world.run();
        assert_eq!(world.state(), "Complete");
    }
}

#[test]
fn who_may_use_one_container_need_not_see_them_all() {
    let refused = json!({"observedGeneration": 1, "conditions": [{"type": "StorageAccessible", "status": "False",
        "reason": "NoStorageAccess", "message": "m", "lastTransitionTime": at(0).to_string()}]});
    for (default, auth, waits) in [
        (None, "SASToken", false),
        (Some("other"), "SASToken", false),
        (Some("lake"), "SASToken", true),
        (None, "AccountKey", true),
    ] {
        let mut world = world(json!({}), json!({}));
        world.edit_server(|s| {
            s.status = Some(serde_json::from_value(refused.clone()).unwrap());
            s.spec.default_container = default.map(str::to_owned);
            let blob = s.spec.storage.as_mut().unwrap().azure_blob.as_mut().unwrap();
            blob.auth.type_ = serde_json::from_value(json!(auth)).unwrap();
        });
        world.look();
        assert_eq!(world.state() == "Waiting", waits, "{default:?} {auth}");
    }
}

#[test]
fn a_cancel_that_is_held_back_is_no_try() {
    let mut world = world(json!({}), json!({}));
    world.fake.landings.extend((0..1000).map(|_| running(1, 2)));
    assert!(world.run_until(|w| w.fake.planned.len() == 2));
    let until = |seconds: i64| {
        let kind = crate::core::wire::FailureKind::HeldBack {
            until: world.now + jiff::SignedDuration::from_secs(seconds),
        };
        Err(super::world::failure(crate::core::wire::Sent::No, kind, Reason::Throttled))
    };
    let held: Vec<_> = (1..30).map(until).collect();
    world.fake.deletes.extend(held);
    world.edit(|spec| spec.cancel = Some(true));
    world.run();
    assert_eq!(world.says(Failed), "True/Cancelled");
    assert_eq!(world.status().cancellation.unwrap().tries, 1);
}

#[test]
fn a_task_that_lands_goes_on_with_what_the_server_says_now() {
    let mut world = world(json!({}), json!({}));
    world.fake.landings.extend((0..200).map(|_| running(1, 2)));
    world.run_until(|w| w.fake.planned.len() > 2);
    assert_eq!(world.fake.landing_stopped, 0);
    world.edit_server(|server| {
        server.spec.trusted_origins = Some(Vec::new());
        server.metadata.generation = Some(2);
    });
    world.look();
    assert_eq!(
        world.fake.landing_stopped, 1,
        "it would go on to give its token to an origin that lost its trust"
    );
    world.look();
    assert_eq!(world.fake.landing_stopped, 1, "one that was started since goes on");
    world.fake.landings.clear();
    world.run();
    assert_eq!((world.state().as_str(), world.fake.kick_offs_sent()), ("Complete", 1));
}

#[test]
fn a_manifest_that_lists_a_file_twice_is_not_landed() {
    let listed = |second: &str| {
        let manifest = json!({"transactionTime": "2026-01-01T00:00:00Z", "requiresAccessToken": false,
            "output": [{"type": "Patient", "url": "https://x/f?sp=1&sig=a", "count": 3}, {"type": "Patient", "url": second, "count": 3}],
            "error": [{"type": "OperationOutcome", "url": "https://x/e"}, {"type": "OperationOutcome", "url": "https://x/e"}]});
        ran(json!({}), json!({}), |w| {
            w.fake.polls.extend((0..100).map(|_| Ok(body(&manifest.to_string()))));
        })
    };
    for twice in ["https://x/f?sp=1&sig=a", "https://x/f?sp=2&sig=b"] {
        let world = listed(twice);
        assert_eq!(world.says(Failed), "True/InvalidManifest", "{twice}");
        assert!(world.message(Failed).contains("lists a file twice"), "{}", world.message(Failed));
        assert!(world.fake.planned.is_empty());
    }
    let world = listed("https://x/g?sp=1&sig=a");
    assert_eq!(world.state(), "Complete", "{}", world.message(Failed));
}
