//! From a new object to the kick-off.

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};

use super::fake::KickOff;
use super::said::{answer, html, outcome};
use super::world::{World, failure};
use super::{at, azure_server, bulk_server, stored_server};
use crate::api::ConditionType::{Accepted, Failed, Reconciling, ServerReachable, Stalled, Suspended};
use crate::api::Reason;
use crate::core::effect::Requeue;
use crate::core::wire::{FailureKind, Sent};

fn system() -> World {
    World::new(azure_server(), json!({}))
}

fn unreachable(reason: Reason) -> KickOff {
    KickOff::Reply(Err(failure(Sent::No, FailureKind::Unreachable, reason)))
}

fn running(world: &mut World) -> bool {
    world.run_until(|w| w.state() == "Running")
}

#[test]
fn goes_well_at_each_level() {
    for (request, wanted) in [
        (json!({"level": "System"}), "https://clinic.example/$export"),
        (json!({"level": "Patient"}), "https://clinic.example/Patient/$export"),
        (json!({"level": "Group", "groupID": "g"}), "https://clinic.example/Group/g/$export"),
    ] {
        for server in [azure_server(), stored_server()] {
            for shows_files in [false, true] {
                let mut world = World::new(server.clone(), json!({"request": request}));
                world.fake.shows_files = shows_files;
                world.fake.lasts = 3600;
                world.run();
                assert_eq!((world.state().as_str(), world.fake.sent[0].url.as_str()), ("Complete", wanted));
                let writes = world.status_writes + world.other_writes;
                assert!(writes <= 6, "{writes} writes, files seen: {shows_files}");
                assert!(world.notes.len() <= 3, "{:?}", world.notes);
                assert_eq!(
                    (world.fake.kick_offs_sent(), world.fake.deletes_sent()),
                    (1, 0),
                    "Azure forgets the manifest on DELETE"
                );
                let status = world.status();
                assert_eq!(status.transaction_time.as_deref(), Some("2026-11-23T01:59:59.1234567+00:00"));
                assert!(status.job.unwrap().status_url.unwrap().ends_with("/_operations/export/7"));
                assert_eq!((status.output.as_ref().unwrap().resources, status.attempts), (Some(25), Some(1)));
                assert!(!world.held(), "the finalizer goes with the end");
            }
        }
    }
}

#[test]
fn caveats_are_told_where_they_apply() {
    for (request, told) in [
        (json!({"level": "System", "since": "2026-01-01T00:00:00Z"}), vec![]),
        (json!({"level": "Patient"}), vec!["more than once"]),
        (
            json!({"level": "Group", "groupID": "g", "since": "2026-01-01T00:00:00Z"}),
            vec!["more than once", "the Group itself", "patients that did not change"],
        ),
    ] {
        let mut world = World::new(azure_server(), json!({"request": request}));
        world.run();
        let message = world.message(crate::api::ConditionType::Accepted);
        for words in ["more than once", "the Group itself", "patients that did not change"] {
            assert_eq!(message.contains(words), told.contains(&words), "{message}");
        }
    }
}

/// Checks that a repair of the cluster makes the run continue, and that nothing is written while nothing changes.
fn waits_until(
    world: &mut World,
    type_: crate::api::ConditionType,
    says: &str,
    repair: impl FnOnce(&mut World),
) {
    world.look();
    assert_eq!(world.says(type_), says, "{:#?}", world.status());
    assert!(!world.ended() && world.fake.sent.is_empty());
    let writes = world.status_writes;
    world.run_for(Duration::from_secs(3600));
    assert_eq!(world.status_writes, writes, "written while nothing changed");
    repair(world);
    assert!(running(world), "{:#?}", world.status());
    assert_eq!(world.says(Accepted), "True/Allowed");
    assert_eq!(world.condition(Stalled), None);
    let since = world.status().start_time.unwrap();
    assert!(world.now.duration_since(since).as_secs() < 60, "what was never started has no clock");
}

#[test]
fn what_is_missing_or_not_allowed_is_waited_for() {
    let server = || Some(Arc::new(azure_server()));
    let mut world = system();
    world.server = None;
    waits_until(&mut world, Reconciling, "True/ServerNotFound", |w| w.server = server());
    let mut world = system();
    world.edit_server(|s| {
        s.metadata.deletion_timestamp = Some(k8s_openapi::apimachinery::pkg::apis::meta::v1::Time(at(0)));
    });
    waits_until(&mut world, Reconciling, "True/ServerDeleting", |w| w.server = server());
    let mut world = system();
    world.admitted = false;
    waits_until(&mut world, Accepted, "False/NamespaceNotAllowed", |w| w.admitted = true);
    let mut world = system();
    world.edit_server(|s| s.spec.allow = serde_json::from_value(json!({"levels": ["Group"]})).unwrap());
    waits_until(&mut world, Accepted, "False/NotAllowed", |w| w.edit_server(|s| s.spec.allow = None));
    let mut world = system();
    world.full = true;
    waits_until(&mut world, Reconciling, "True/Queued", |w| w.full = false);
    let mut world = system();
    world.edit_server(|s| s.spec.suspend = Some(true));
    waits_until(&mut world, Suspended, "True/ServerSuspended", |w| w.edit_server(|s| s.spec.suspend = None));
    let mut world = World::new(azure_server(), json!({"suspend": true}));
    waits_until(&mut world, Suspended, "True/Suspended", |w| w.edit(|spec| spec.suspend = Some(false)));
}

#[test]
fn a_refused_export_is_looked_at_less_and_less_often() {
    let mut world = system();
    world.admitted = false;
    world.look();
    assert_eq!(world.says(Accepted), "False/NamespaceNotAllowed");
    let (mut looks, end) = (0, world.now + jiff::SignedDuration::from_hours(1));
    while world.now < end {
        let Requeue::After(wait) = world.look() else { panic!("the labels of namespaces are not watched") };
        world.now += jiff::SignedDuration::try_from(wait).unwrap();
        looks += 1;
    }
    assert!((11..30).contains(&looks), "{looks} looks in an hour");
}

#[test]
fn a_missing_secret_is_looked_for_every_few_seconds() {
    let mut world = system();
    let missing = failure(Sent::No, FailureKind::Missing, Reason::SecretNotFound);
    world.fake.authorizations.extend(vec![missing; 100]);
    world.look();
    assert_eq!(world.says(Reconciling), "True/SecretNotFound");
    assert!(!world.held(), "nothing was started: nothing to hold");
    let writes = world.status_writes;
    world.run_for(Duration::from_secs(300));
    assert_eq!(world.status_writes, writes);
    world.fake.authorizations.clear();
    let repaired = world.now;
    assert!(running(&mut world));
    assert!(world.now.duration_since(repaired).as_secs() <= 10);
}

#[test]
fn what_never_left_is_tried_until_the_deadline_and_does_not_count() {
    for reason in [Reason::HostNotFound, Reason::ConnectionFailed, Reason::TLSFailed] {
        let mut world =
            World::new(azure_server(), json!({"backoffLimit": 0, "activeDeadlineSeconds": 86400}));
        world.kick_off_meets(vec![unreachable(reason); 20]);
        world.run_for(Duration::from_secs(600));
        assert_eq!(world.says(ServerReachable), format!("False/{reason}"));
        assert_eq!(
            (world.says(Reconciling).as_str(), world.status().attempts),
            ("True/WaitingToRetry", None)
        );
        assert_eq!(world.status().job, None);
        world.fake.kick_offs.clear();
        world.run();
        assert_eq!((world.state().as_str(), world.status().attempts), ("Complete", Some(1)));
        assert_eq!(world.says(ServerReachable), "True/Reachable");
    }
    let mut world = World::new(azure_server(), json!({"activeDeadlineSeconds": 1000}));
    world.kick_off_meets(vec![unreachable(Reason::HostNotFound); 100]);
    world.run();
    assert_eq!(world.says(Failed), "True/DeadlineExceeded");
    assert!(
        world.message(Failed).contains("check the network"),
        "the cause is told: {}",
        world.message(Failed)
    );
    assert!((1000..1100).contains(&world.now.duration_since(at(0)).as_secs()));
    assert_eq!(world.status().unsettled_jobs, []);
}

#[test]
fn what_never_left_is_told_once() {
    for reason in [Reason::HostNotFound, Reason::TLSFailed] {
        let mut server = azure_server();
        server.spec.limits =
            serde_json::from_value(json!({"minPollSeconds": 5, "maxPollSeconds": 5})).unwrap();
        let mut world = World::new(server, json!({}));
        world.kick_off_meets(vec![unreachable(reason); 2_000]);
        world.run_for(Duration::from_secs(30));
        let (told, writes, notes) = (world.status(), world.status_writes, world.notes.len());
        world.run_for(Duration::from_secs(1800));
        assert_eq!((world.status_writes, world.status(), world.notes.len()), (writes, told, notes));
        assert!(world.fake.out_of_reach > 10, "the server was asked {} times", world.fake.out_of_reach);
        assert_eq!(
            (world.fake.kick_offs_sent(), world.says(ServerReachable)),
            (1, format!("False/{reason}"))
        );
        world.fake.kick_offs.clear();
        world.run();
        assert_eq!((world.state().as_str(), world.fake.kick_offs_sent()), ("Complete", 2));
    }
}

#[test]
fn what_each_answer_to_the_kick_off_leads_to() {
    let text = "Patient/4711 https://x/?sig=abc";
    for (reply, reason) in [
        (outcome(400, "invalid", text), "KickOffRejected"),
        (outcome(404, "not-found", text), "KickOffRejected"),
        (outcome(422, "invalid", text), "KickOffRejected"),
    ] {
        let mut world = system();
        world.kick_off_meets([KickOff::Reply(Ok(reply))]);
        world.run();
        assert_eq!(world.says(Failed), format!("True/{reason}"));
        assert!(world.message(Failed).contains("Patient/*** https://x/?"), "{}", world.message(Failed));
        assert_eq!((world.fake.kick_offs_sent(), world.status().job), (1, None));
    }
    for (reply, reason) in [
        (outcome(401, "login", "x"), "Unauthorized"),
        (outcome(403, "forbidden", "x"), "Forbidden"),
        (outcome(429, "throttled", "x"), "Throttled"),
        (html(403), "Forbidden"),
        (html(404), "UnexpectedAnswer"),
        (answer(307), "UnexpectedAnswer"),
    ] {
        let mut world = World::new(azure_server(), json!({"backoffLimit": 0}));
        world.kick_off_meets(vec![KickOff::Reply(Ok(reply)); 12]);
        world.run_for(Duration::from_secs(120));
        assert_eq!(world.says(ServerReachable), format!("False/{reason}"));
        assert!(!world.ended() && world.status().attempts.is_none());
        world.run();
        assert_eq!((world.state().as_str(), world.fake.kick_offs_sent()), ("Complete", 13));
    }
}

#[test]
fn certain_failures_count_against_the_backoff_limit() {
    for (limit, sent) in [(0, 1), (2, 3), (5, 6)] {
        let mut world = World::new(azure_server(), json!({"backoffLimit": limit}));
        world.kick_off_meets(vec![KickOff::Reply(Ok(outcome(503, "exception", "busy"))); 20]);
        world.look();
        if limit > 0 {
            assert_eq!(world.says(Reconciling), "True/WaitingToRetry");
            let wait = world.status().next_attempt_time.unwrap().duration_since(world.now).as_secs();
            assert!((26..=33).contains(&wait), "{wait}");
        }
        world.run();
        assert_eq!(world.says(Failed), "True/KickOffFailed");
        assert!(
            world.message(Failed).contains(&format!("backoffLimit {limit}")),
            "{}",
            world.message(Failed)
        );
        assert_eq!(
            (world.fake.kick_offs_sent(), world.status().attempts),
            (sent, Some(i32::try_from(sent).unwrap()))
        );
    }
}

#[test]
fn what_the_server_asks_to_wait_is_waited() {
    let mut world = system();
    let mut reply = outcome(429, "throttled", "x");
    reply.retry_after = Some(Duration::from_secs(1800));
    world.kick_off_meets([KickOff::Reply(Ok(reply))]);
    world.look();
    let next = world.status().next_attempt_time.unwrap().duration_since(at(0)).as_secs();
    assert!((1800..1900).contains(&next), "{next}");
    world.kill();
    world.run_until(|w| w.fake.kick_offs_sent() == 2);
    assert!(world.now >= at(1800), "also after a restart");
}

#[test]
fn unsupported_is_the_end_before_any_request() {
    let rows: Vec<(crate::api::FhirServer, Value)> = vec![
        (azure_server(), json!({"request": {"level": "System", "bulkData": {"elements": ["a"]}}})),
        (
            azure_server(),
            json!({"request": {"level": "System", "types": ["Observation"], "typeFilters": ["Observation?x=1,2"]}}),
        ),
        (bulk_server(json!({})), json!({"request": {"level": "System", "azure": {"maxCount": 5}}})),
        (
            bulk_server(json!({"preset": "Epic"})),
            json!({"request": {"level": "System", "since": "2026-01-01T00:00:00Z"}}),
        ),
    ];
    for (server, spec) in rows {
        let mut world = World::new(server, spec);
        world.run();
        assert_eq!(world.says(Failed), "True/UnsupportedByServer");
        assert!(world.fake.sent.is_empty() && !world.held());
    }
    let mut world = World::new(azure_server(), json!({"request": {"level": "Group"}}));
    world.run();
    assert_eq!(world.says(Failed), "True/InvalidSpec", "an object older than the rule");
}
