//! A clock that is set back, or was ahead for a while, makes nothing wait longer by the same time.

use std::time::Duration;

use jiff::SignedDuration;
use serde_json::{Value, json};

use super::fake::KickOff;
use super::said::outcome;
use super::world::{World, failure};
use super::{azure_server, bulk_server, stored_server};
use crate::api::{FhirServer, Reason};
use crate::core::wire::{FailureKind, Sent};

const HOUR: i64 = 3600;
/// How long a run may take that has only lost its delays.
const SOON: Duration = Duration::from_secs(600);

/// A world whose clock is an hour ahead until a condition holds, and correct afterwards.
fn ahead(
    server: FhirServer,
    spec: Value,
    change: impl FnOnce(&mut World),
    until: impl Fn(&World) -> bool,
) -> World {
    let mut world = World::new(server, spec);
    change(&mut world);
    world.pass(HOUR);
    assert!(world.run_until(until), "{:?}", world.status());
    world.pass(-HOUR);
    // The server's clock was correct all the time.
    for job in &mut world.fake.jobs {
        job.began -= SignedDuration::from_secs(HOUR);
        job.ends -= SignedDuration::from_secs(HOUR);
    }
    world
}

#[test]
fn a_run_goes_on_at_once() {
    for server in [azure_server(), bulk_server(json!({}))] {
        let slow = |w: &mut World| w.fake.lasts = 120;
        let mut world =
            ahead(server, json!({"request": {"level": "System", "container": "lake"}}), slow, |w| {
                w.state() == "Running"
            });
        world.run_for(SOON);
        assert_eq!(world.state(), "Complete");
        assert_eq!(world.fake.kick_offs_sent(), 1);
    }
}

#[test]
fn so_do_a_retry_and_a_kick_off_that_did_not_go_out() {
    let busy = || KickOff::Reply(Ok(outcome(429, "throttled", "busy")));
    let away = || KickOff::Reply(Err(failure(Sent::No, FailureKind::Unreachable, Reason::ConnectionFailed)));
    let broken = || KickOff::Reply(Ok(outcome(500, "exception", "broken")));
    // After a restart, a time from a wrong clock cannot be told from one that a server asked for.
    let mut server = azure_server();
    server.spec.limits = serde_json::from_value(json!({"maxRetryAfterSeconds": 120})).unwrap();
    for meets in [busy as fn() -> KickOff, away, broken] {
        for restarted in [false, true] {
            let mut world =
                ahead(server.clone(), json!({}), |w| w.kick_off_meets([meets()]), |w| w.state() == "Waiting");
            if restarted {
                world.kill();
            }
            world.run_for(SOON);
            assert_eq!(world.state(), "Complete", "restarted: {restarted}");
        }
    }
}

#[test]
fn a_deadline_counts_from_the_present() {
    let spec = json!({"activeDeadlineSeconds": 60});
    let stuck = |w: &mut World| w.fake.lasts = 30 * HOUR;
    for restarted in [false, true] {
        let mut world = ahead(azure_server(), spec.clone(), stuck, |w| w.state() == "Running");
        if restarted {
            world.kill();
        }
        world.run_for(SOON);
        assert!(world.ended(), "{:?}", world.status());
        assert_eq!(world.says(crate::api::ConditionType::Failed), "True/DeadlineExceeded");
    }
}

#[test]
fn a_lost_answer_is_searched_for_soon() {
    let lost = || KickOff::MadeAndLost(failure(Sent::Maybe, FailureKind::Unreachable, Reason::TimedOut));
    let mut world = ahead(
        stored_server(),
        json!({"request": {"level": "System", "container": "lake"}}),
        |w| w.kick_off_meets([lost()]),
        |w| w.state() == "Uncertain",
    );
    world.run_for(SOON * 2);
    assert_eq!(world.state(), "Complete", "{:?}", world.status());
}

#[test]
fn what_moves_within_a_minute_is_left_alone() {
    let mut world = World::new(azure_server(), json!({}));
    world.fake.lasts = 600;
    assert!(world.run_until(|w| w.state() == "Running"));
    let before = world.status();
    world.pass(-30);
    world.look();
    assert_eq!(world.status().start_time, before.start_time);
}
