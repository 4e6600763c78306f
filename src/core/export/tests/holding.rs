//! suspend, kickOffBefore, the deadline, the queue and the time to live.

use std::time::Duration;

use serde_json::json;

use super::fake::{Cancels, Ending, KickOff};
use super::said::{job_failure, outcome};
use super::world::{World, failure};
use super::{at, azure_server, stored_server};
use crate::api::ConditionType::{Failed, Reconciling, Stalled, Suspended};
use crate::api::Reason;
use crate::core::export::{holds_place, says_the_same};
use crate::core::wire::{FailureKind, Sent};

fn unreachable_for(world: &mut World, tries: usize) {
    let reply = KickOff::Reply(Err(failure(Sent::No, FailureKind::Unreachable, Reason::HostNotFound)));
    world.kick_off_meets(vec![reply; tries]);
}

#[test]
fn the_clock_stands_still_while_held_before_the_start() {
    let mut world = World::new(azure_server(), json!({"activeDeadlineSeconds": 500}));
    unreachable_for(&mut world, 100);
    world.run_for(Duration::from_secs(300));
    assert!(holds_place(&world.status()));
    world.edit(|spec| spec.suspend = Some(true));
    world.look();
    assert!(!holds_place(&world.status()), "who is held takes no place");
    let writes = world.status_writes;
    world.run_for(Duration::from_secs(86_400));
    assert_eq!((world.status_writes, world.ended()), (writes, false));
    world.edit(|spec| spec.suspend = Some(false));
    world.look();
    assert_eq!(world.says(Suspended), "False/Resumed");
    let resumed = world.now;
    world.run();
    assert_eq!(world.says(Failed), "True/DeadlineExceeded");
    let left = world.now.duration_since(resumed).as_secs();
    assert!((150..260).contains(&left), "300 of 500 seconds were gone, it had {left} more");
}

#[test]
fn who_was_held_queues_again_and_the_clock_stands_still_there_too() {
    let mut world = World::new(azure_server(), json!({"activeDeadlineSeconds": 500}));
    unreachable_for(&mut world, 20);
    world.run_for(Duration::from_secs(300));
    world.edit(|spec| spec.suspend = Some(true));
    world.look();
    world.full = true;
    world.edit(|spec| spec.suspend = Some(false));
    world.look();
    assert_eq!(world.says(Reconciling), "True/Queued");
    assert!(!holds_place(&world.status()), "it would be one more than the limit");
    world.run_for(Duration::from_secs(86_400));
    assert!(!world.ended(), "{}", world.message(Failed));
    world.edit(|spec| spec.suspend = Some(true));
    world.run_for(Duration::from_secs(86_400));
    world.edit(|spec| spec.suspend = Some(false));
    world.run_for(Duration::from_secs(86_400));
    world.fake.kick_offs.clear();
    world.full = false;
    world.run();
    assert_eq!(world.state(), "Complete", "{}", world.message(Failed));
}

#[test]
fn after_the_kick_off_polling_pauses_and_the_clock_goes_on() {
    let mut world = World::new(azure_server(), json!({"activeDeadlineSeconds": 5000}));
    world.fake.lasts = 100;
    world.run_until(|w| w.state() == "Running");
    world.edit(|spec| spec.suspend = Some(true));
    let sent = world.fake.sent.len();
    world.run_for(Duration::from_secs(2000));
    assert_eq!((world.state().as_str(), world.fake.sent.len()), ("Suspended", sent));
    assert!(holds_place(&world.status()), "the server's job goes on");
    world.edit(|spec| spec.suspend = Some(false));
    world.look();
    assert!(world.fake.sent.len() > sent, "polled at once");
    world.run();
    assert_eq!(world.state(), "Complete");
    let mut world = World::new(azure_server(), json!({"activeDeadlineSeconds": 5000}));
    world.fake.lasts = 10_000;
    world.run_until(|w| w.state() == "Running");
    world.edit(|spec| spec.suspend = Some(true));
    world.run();
    assert_eq!((world.says(Failed).as_str(), world.fake.deletes_sent()), ("True/DeadlineExceeded", 1));
    assert!((4990..5100).contains(&world.now.duration_since(at(0)).as_secs()));
}

#[test]
fn held_by_the_server_is_held() {
    let mut world = World::new(azure_server(), json!({}));
    world.run_until(|w| w.state() == "Running");
    world.edit_server(|s| s.spec.suspend = Some(true));
    world.run_for(Duration::from_secs(1000));
    assert_eq!(world.says(Suspended), "True/ServerSuspended");
    world.edit_server(|s| s.spec.suspend = None);
    world.run();
    assert_eq!(world.state(), "Complete");
}

#[test]
fn kick_off_before() {
    let window = || json!({"kickOffBefore": at(100).to_string()});
    let mut late = World::new(azure_server(), window());
    late.pass(100);
    late.run();
    assert_eq!((late.says(Failed).as_str(), late.fake.sent.len()), ("True/StartWindowMissed", 0));
    let mut in_time = World::new(azure_server(), window());
    in_time.pass(99);
    in_time.run();
    assert_eq!(in_time.state(), "Complete", "the window is for the start, not for the end");
    for hold in 0..4 {
        let mut world = World::new(azure_server(), window());
        match hold {
            0 => world.edit(|spec| spec.suspend = Some(true)),
            1 => world.full = true,
            2 => world.server = None,
            _ => unreachable_for(&mut world, 50),
        }
        world.run();
        assert_eq!(world.says(Failed), "True/StartWindowMissed", "{hold}");
        assert!(world.now.duration_since(at(100)).as_secs().abs() < 2, "told when it passes: {}", world.now);
    }
    let mut second = World::new(azure_server(), window());
    second.fake.endings.push_back(Ending::Answer(job_failure(500, "Processing job had no results")));
    second.run();
    assert_eq!(
        (second.state().as_str(), second.status().attempts),
        ("Complete", Some(2)),
        "a later attempt is no first start"
    );
}

#[test]
fn the_deadline_while_it_runs() {
    let mut world = World::new(stored_server(), json!({"activeDeadlineSeconds": 1000}));
    world.fake.lasts = 100_000;
    world.run();
    assert_eq!((world.says(Failed).as_str(), world.fake.deletes_sent()), ("True/DeadlineExceeded", 1));
    assert!(
        world.message(Failed).contains("server confirmed the cancel of job 7"),
        "{}",
        world.message(Failed)
    );
    assert_eq!(world.status().unsettled_jobs, []);
    assert!((1000..1020).contains(&world.now.duration_since(at(0)).as_secs()));
}

#[test]
fn finished_just_at_the_deadline_is_complete() {
    let mut world = World::new(stored_server(), json!({"activeDeadlineSeconds": 1000}));
    world.fake.lasts = 999;
    world.edit_server(|s| {
        s.spec.limits =
            serde_json::from_value(json!({"minPollSeconds": 900, "maxPollSeconds": 900})).unwrap();
    });
    world.run();
    assert_eq!((world.state().as_str(), world.fake.deletes_sent()), ("Complete", 0));
}

#[test]
fn a_deadline_that_the_server_will_not_hear_of() {
    let mut world = World::new(stored_server(), json!({"activeDeadlineSeconds": 1000}));
    world.fake.lasts = 100_000;
    world.fake.cancels = Cancels::Never(503);
    world.run();
    assert_eq!(world.says(Failed), "True/DeadlineExceeded");
    assert!(world.message(Failed).contains("not confirmed"), "{}", world.message(Failed));
    assert_eq!(world.status().unsettled_jobs.len(), 1);
    assert!(world.fake.deletes_sent() <= 10 && world.now < at(1400));
}

#[test]
fn deadlines_by_default() {
    let mut world = World::new(azure_server(), json!({}));
    world.edit_server(|s| {
        s.spec.defaults = serde_json::from_value(json!({"activeDeadlineSeconds": 200})).unwrap();
    });
    world.fake.lasts = 10_000_000;
    world.run();
    assert!((200..220).contains(&world.now.duration_since(at(0)).as_secs()));
    let mut world = World::new(azure_server(), json!({}));
    world.fake.lasts = 10_000_000;
    world.run();
    let days = world.now.duration_since(at(0)).as_secs() / 86_400;
    assert_eq!((days, world.says(Failed).as_str()), (7, "True/DeadlineExceeded"));
}

#[test]
fn the_deadline_spans_all_attempts() {
    let mut world = World::new(azure_server(), json!({"activeDeadlineSeconds": 500, "backoffLimit": 20}));
    world.kick_off_meets(vec![KickOff::Reply(Ok(outcome(500, "exception", "x"))); 50]);
    world.run();
    assert_eq!(world.says(Failed), "True/DeadlineExceeded");
    assert!((500..520).contains(&world.now.duration_since(at(0)).as_secs()));
}

#[test]
fn the_generation_is_followed_after_the_end() {
    let mut world = World::new(azure_server(), json!({}));
    world.run();
    let (end, writes) = (world.status(), world.status_writes);
    world.edit(|spec| spec.ttl_seconds_after_finished = Some(86_400));
    world.look();
    let status = world.status();
    assert_eq!(status.observed_generation, world.export.metadata.generation, "kstatus waits for it");
    assert!(
        status.conditions.iter().all(|c| c.observed_generation == world.export.metadata.generation),
        "kubectl wait compares the generation of the condition: {:#?}",
        status.conditions
    );
    assert!(says_the_same(&status, &end));
    world.run_for(Duration::from_secs(3600));
    assert_eq!(world.status_writes, writes + 1, "once for each edit");
}

#[test]
fn an_intended_cancel_is_not_stalled() {
    let mut world = World::new(azure_server(), json!({}));
    world.fake.lasts = 3600;
    world.run_until(|w| w.state() == "Running");
    world.edit(|spec| spec.cancel = Some(true));
    world.run();
    assert_eq!(
        (world.says(Failed).as_str(), world.says(Reconciling).as_str()),
        ("True/Cancelled", "False/Finished")
    );
    assert!(world.status().conditions.iter().all(|c| !c.is(Stalled)), "{:#?}", world.status());
}

#[test]
fn time_to_live() {
    for (ttl, lives) in [(Some(0), false), (Some(3600), false), (None, true)] {
        let mut world = World::new(azure_server(), json!({}));
        world.edit(|spec| spec.ttl_seconds_after_finished = ttl);
        world.run();
        assert_eq!(world.gone, !lives);
        let after = world.now.duration_since(world.status().completion_time.unwrap()).as_secs();
        assert_eq!(after, ttl.unwrap_or(0));
    }
    let mut failed =
        World::new(azure_server(), json!({"ttlSecondsAfterFinished": 60, "request": {"level": "Group"}}));
    failed.run();
    assert!(failed.gone, "also after a failure");
}
