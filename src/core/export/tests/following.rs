//! A job runs: polls, progress, and answers that say nothing about the job.

use std::time::Duration;

use serde_json::json;

use super::fake::KickOff;
use super::said::{answer, html, outcome};
use super::world::{World, failure};
use super::{at, azure_server, stored_server};
use crate::api::ConditionType::{Failed, Reconciling, ServerReachable};
use crate::api::Reason;
use crate::core::wire::{Answer, FailureKind, Reply, Sent};

pub(super) fn running() -> World {
    let mut world = World::new(azure_server(), json!({}));
    world.fake.lasts = 3600;
    world.run_until(|w| w.state() == "Running");
    world
}

#[test]
fn nothing_is_written_while_the_job_runs_and_says_nothing() {
    let mut world = running();
    world.fake.lasts = 1_000_000;
    let writes = world.status_writes;
    world.run_for(Duration::from_secs(3000));
    assert_eq!(world.status_writes, writes);
    assert!((8..=40).contains(&world.fake.sent.len()), "{} polls in 50 minutes", world.fake.sent.len());
}

#[test]
fn access_and_patience_do_not_end_a_run() {
    for (reply, reason, at_once) in [
        (outcome(401, "login", "x"), "Unauthorized", true),
        (outcome(403, "forbidden", "x"), "Forbidden", true),
        (outcome(429, "throttled", "x"), "Throttled", false),
        (outcome(500, "exception", "x"), "ServerError", false),
        (html(502), "ServerError", false),
        (html(504), "ServerError", false),
    ] {
        let mut world = running();
        world.fake.polls.extend(vec![Ok(reply); 9]);
        world.run_until(|w| w.fake.polls.len() == 8);
        assert_eq!(
            world.says(ServerReachable) == format!("False/{reason}"),
            at_once,
            "one lost answer is no news"
        );
        let (told, writes) = (world.run_until(|w| w.fake.polls.is_empty()), world.status_writes);
        assert!(told && world.says(ServerReachable) == format!("False/{reason}"));
        assert!(writes <= 5, "told once: {writes}");
        world.run();
        assert_eq!(
            (world.state().as_str(), world.says(ServerReachable).as_str()),
            ("Complete", "True/Reachable")
        );
    }
}

#[test]
fn no_connection_does_not_end_a_run() {
    for (kind, reason) in
        [(FailureKind::Unreachable, Reason::ConnectionFailed), (FailureKind::Missing, Reason::SecretNotFound)]
    {
        let mut world = running();
        world.fake.polls.extend(vec![Err(failure(Sent::No, kind, reason)); 9]);
        world.run_until(|w| w.fake.polls.is_empty());
        assert_eq!(world.says(ServerReachable), format!("False/{reason}"));
        world.run();
        assert_eq!(world.state(), "Complete");
    }
    let mut world = running();
    let held = failure(Sent::No, FailureKind::HeldBack { until: at(2000) }, Reason::Throttled);
    world.fake.polls.push_back(Err(held));
    world.run_until(|w| w.fake.polls.is_empty());
    let sent = world.fake.sent.len();
    world.run_until(|w| w.fake.sent.len() > sent);
    assert!(world.now >= at(2000) && world.says(ServerReachable) == "True/Reachable", "held back is no news");
}

#[test]
fn what_the_server_asks_for_is_clamped() {
    let asks = |seconds: u64, status: u16| -> Reply {
        Ok(Answer { retry_after: Some(Duration::from_secs(seconds)), ..answer(status) })
    };
    for (asked, limits, waits) in [
        (0, json!({}), 10..=11),
        (100, json!({}), 100..=105),
        (3000, json!({}), 3000..=3151),
        (100_000, json!({}), 7200..=7562),
        (100_000, json!({"maxRetryAfterSeconds": 60}), 60..=64),
        (5, json!({"minPollSeconds": 30}), 30..=32),
    ] {
        for status in [202, 429, 503] {
            let mut world = running();
            world.edit_server(|s| s.spec.limits = serde_json::from_value(limits.clone()).unwrap());
            world.fake.polls.push_back(asks(asked, status));
            world.run_until(|w| w.fake.polls.is_empty());
            let (before, sent) = (world.now, world.fake.sent.len());
            world.run_until(|w| w.fake.sent.len() > sent);
            let waited = world.now.duration_since(before).as_secs();
            assert!(waits.contains(&waited), "{asked} {status}: {waited}");
        }
    }
}

#[test]
fn the_first_polls_come_soon_where_nobody_says_otherwise() {
    for (limits, asked, expected) in [
        (json!({}), None, [1, 2, 4, 8, 10, 15]),
        (json!({}), Some(3), [10, 2, 4, 8, 10, 15]),
        (json!({}), Some(30), [30, 2, 4, 8, 10, 15]),
        (json!({"maxPollSeconds": 3}), None, [1, 2, 3, 3, 3, 3]),
        (json!({"minPollSeconds": 5}), None, [5, 5, 7, 11, 16, 25]),
    ] {
        let mut server = azure_server();
        server.spec.limits = serde_json::from_value(limits.clone()).unwrap();
        let mut world = World::new(server, json!({}));
        let location = Some("https://clinic.example/_operations/export/7".to_owned());
        let retry_after = asked.map(Duration::from_secs);
        let accepted = Answer { content_location: location, retry_after, ..answer(202) };
        world.kick_off_meets(vec![KickOff::Reply(Ok(accepted))]);
        world.fake.polls.extend(vec![Ok(answer(202)); 10]);
        assert!(world.run_until(|w| w.fake.kick_offs_sent() == 1));
        let waits = [(); 6].map(|()| {
            let (before, sent) = (world.now, world.fake.sent.len());
            world.run_until(|w| w.fake.sent.len() > sent);
            world.now.duration_since(before).as_secs()
        });
        assert_eq!(waits, expected, "{limits} {asked:?}");
    }
}

#[test]
fn after_a_restart_jobs_are_polled_as_before_it() {
    let mut world = running();
    world.fake.polls.extend(vec![Ok(answer(202)); 20]);
    world.run_until(|w| w.fake.polls.len() == 15);
    world.kill();
    world.run_until(|w| w.fake.polls.len() == 14);
    let before = world.now;
    world.run_until(|w| w.fake.polls.len() == 13);
    let waited = world.now.duration_since(before).as_secs();
    assert!(waited >= 10, "{waited}: no second burst of early polls");
}

#[test]
fn progress_is_what_the_server_says_else_what_the_container_shows() {
    let says = |text: &str| -> Reply { Ok(Answer { progress: Some(text.into()), ..answer(202) }) };
    let mut world = World::new(stored_server(), json!({}));
    world.fake.lasts = 36_000;
    world.fake.polls.extend([says("5% of Patient/4711"), says("6%"), says("7%")]);
    world.run_until(|w| w.fake.polls.is_empty());
    let progress = world.status().job.unwrap().progress.unwrap();
    assert_eq!(
        (progress.percent, progress.summary.as_deref()),
        (Some(5), Some("5%")),
        "one per cent more is no news"
    );
    world.pass(400);
    world.fake.polls.push_back(says("40 %, 61 files"));
    world.run_until(|w| w.fake.polls.is_empty());
    assert!(world.status().job.unwrap().progress.unwrap().summary.unwrap().starts_with("40"));
    let mut world = World::new(stored_server(), json!({}));
    (world.fake.lasts, world.fake.shows_files) = (36_000, true);
    world.run_for(Duration::from_secs(1000));
    let status = world.status();
    assert_eq!(status.job.unwrap().progress.unwrap().summary.as_deref(), Some("3 files"));
    assert_eq!(status.output.unwrap().container.as_deref(), Some("export-7"));
}

#[test]
fn after_a_restart_polls_are_spread() {
    let mut first: Vec<i64> = Vec::new();
    for jitter in [0.0, 0.25, 0.5, 0.99] {
        let mut world = running();
        (world.jitter, world.fake.lasts) = (jitter, 100_000);
        world.kill();
        let (before, sent) = (world.now, world.fake.sent.len());
        world.run_until(|w| w.fake.sent.len() > sent);
        first.push(world.now.duration_since(before).as_secs());
    }
    assert!(first.is_sorted() && first[0] == 0 && (20..=30).contains(&first[3]), "{first:?}");
}

#[test]
fn the_server_is_gone_or_another_while_the_job_runs() {
    let mut world = running();
    let server = world.server.take();
    world.run_for(Duration::from_secs(600));
    assert_eq!(world.says(ServerReachable), "False/ServerNotFound");
    world.server = server.clone();
    world.edit_server(|s| s.spec.url = "https://another.example".into());
    let sent = world.fake.sent.len();
    world.run_for(Duration::from_secs(600));
    assert_eq!(
        (world.says(ServerReachable).as_str(), world.fake.sent.len()),
        ("False/ServerChanged", sent),
        "no token to another"
    );
    world.server = server;
    world.edit_server(|s| s.metadata.uid = Some("made anew".into()));
    world.run();
    assert_eq!(world.state(), "Complete");
    let mut world = running();
    world.server = None;
    world.edit(|spec| spec.active_deadline_seconds = Some(5000));
    world.run();
    assert_eq!(
        (world.says(Failed).as_str(), world.status().unsettled_jobs.len()),
        ("True/DeadlineExceeded", 1)
    );
    assert_eq!(world.says(Reconciling), "False/Finished");
}
