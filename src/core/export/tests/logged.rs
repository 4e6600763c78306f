//! The log beside the files of a landing.

use serde_json::json;

use super::bulk_server;
use super::said::storage_failure;
use super::world::World;
use crate::api::ConditionType::Complete;
use crate::core::ledger::StorageFailureKind as Kind;

/// A run whose log cannot be stored for these reasons, try after try.
fn ran(fails: &[Kind]) -> World {
    let mut server = bulk_server(json!({}));
    server.spec.storage.as_mut().unwrap().export_log = Some(true);
    let mut world = World::new(server, json!({"request": {"level": "System", "container": "lake"}}));
    world.fake.log_fails = fails.iter().map(|kind| storage_failure(*kind)).collect();
    world.run();
    assert_eq!(world.says(Complete), "True/Exported", "the data is complete");
    world
}

/// Whether something stored is the log: its lines tell of events.
fn logs(world: &World) -> usize {
    world.fake.stored.iter().filter(|body| String::from_utf8_lossy(body).contains("\"eventId\"")).count()
}

#[test]
fn a_log_that_is_not_stored_is_told_where_the_end_is() {
    assert!(!ran(&[]).message(Complete).contains("log.ndjson"));
    let world = ran(&[Kind::Denied]);
    let message = world.message(Complete);
    assert!(message.contains("log.ndjson was not stored beside the data"), "{message}");
    assert_eq!(logs(&world), 0);
}

#[test]
fn an_outage_does_not_cost_the_log() {
    let away = Kind::Transient { retry_after: None };
    let world = ran(&[away, away, away]);
    assert_eq!(logs(&world), 1);
    assert!(!world.message(Complete).contains("log.ndjson"));
    let world = ran(&[away; 20]);
    assert!(world.message(Complete).contains("log.ndjson was not stored"), "{}", world.message(Complete));
}
