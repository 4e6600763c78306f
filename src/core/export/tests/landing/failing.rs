//! A file or the whole landing fails: what is waited for, what is tried again, and what ends the attempt.

use std::time::Duration;

use serde_json::json;

use super::super::at;
use super::{ran, running, world};
use crate::api::ConditionType::{Failed, Reconciling, ServerReachable};
use crate::api::Reason;
use crate::core::effect::Observation;
use crate::core::export::Phase;
use crate::core::export::memory::{Landing, LandingTries};
use crate::core::landing::{LandFailure, LandFailureKind, LandProgress, LandState};
use crate::core::ledger::StorageFailureKind as Kind;
use crate::core::manifest::Manifest;

fn failed(kind: LandFailureKind, reason: Reason, files: u64) -> LandState {
    let progress = LandProgress { files, of: 2, bytes: files * 100, kept: 0 };
    LandState::Failed(LandFailure {
        kind,
        reason,
        message: "f/Patient-1.ndjson could not be had".into(),
        progress,
        obstructed: Vec::new(),
    })
}

#[test]
fn expired_links_are_refreshed_by_a_fresh_manifest() {
    let expired = || failed(LandFailureKind::Expired, Reason::LinkExpired, 0);
    let world = ran(json!({}), json!({}), |w| w.fake.landings.extend([expired(), expired()]));
    assert_eq!((world.state().as_str(), world.fake.planned.len()), ("Complete", 3));
    assert_eq!(world.fake.kick_offs_sent(), 1);
    // Fresh manifests that are refused as well are waited for.
    let world = ran(json!({}), json!({}), |w| w.fake.landings.extend((0..40).map(|_| expired())));
    assert_eq!((world.state().as_str(), world.fake.kick_offs_sent()), ("Complete", 1));
    // A file that is missing in each of them leads to another attempt, and then to the end.
    let missing = || failed(LandFailureKind::Expired, Reason::FileMissing, 0);
    let world =
        ran(json!({}), json!({"backoffLimit": 1}), |w| w.fake.landings.extend((0..40).map(|_| missing())));
    assert_eq!((world.says(Failed).as_str(), world.fake.kick_offs_sent()), ("True/FileMissing", 2));
    assert!(world.message(Failed).contains("nor in"), "{}", world.message(Failed));
    assert_eq!(world.status().previous_jobs.len(), 1);
    // Each manifest that brings a file restarts the count.
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
    let LandState::Failed(failure) = failed(LandFailureKind::Source, Reason::DownloadFailed, 1) else {
        return;
    };
    let world = ran(json!({}), json!({}), |w| {
        let obstructed = vec![blob.clone()];
        w.fake.landings.push_back(LandState::Failed(LandFailure { obstructed, ..failure }));
    });
    assert_eq!(world.fake.planned.iter().map(|plan| plan.last.len()).collect::<Vec<_>>(), [0, 1]);
}

#[test]
fn bytes_that_are_kept_are_progress() {
    let mut world = world(json!({}), json!({}));
    for _ in 0..20 {
        let LandState::Failed(mut failure) = failed(LandFailureKind::Source, Reason::DownloadFailed, 0)
        else {
            return;
        };
        failure.progress.kept = 1 << 20;
        world.fake.landings.push_back(LandState::Failed(failure));
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
    // The write succeeded and its answer was lost, so the memory is that of the time before.
    let manifest =
        Manifest::parse(&r#"{"transactionTime":"2026-01-01T00:00:00Z","output":[]}"#.into()).unwrap();
    let tries = LandingTries::default();
    world.memory.phase = Phase::Landing(Box::new(Landing::new(manifest, tries, None)));
    world.unsaved = Some(Observation::Landing(failed(LandFailureKind::Expired, Reason::LinkExpired, 1)));
    world.run();
    assert_eq!((world.state().as_str(), world.fake.kick_offs_sent()), ("Complete", 2));
}
