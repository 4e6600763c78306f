//! The files of a Bulk Data server land, are judged and reported, and the server forgets its job.

#![allow(clippy::needless_pass_by_value)] // they are given a json! each time

mod failing;
mod manifests;
mod servers;
mod stopping;
mod verdict;

use serde_json::{Value, json};

use super::bulk_server;
use super::world::{Broken, World};
use crate::api::ConditionType::{Complete, Failed, Verified};
use crate::core::landing::{LandProgress, LandState};

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

fn running(files: u64, of: u64) -> LandState {
    LandState::Running(LandProgress { files, of, bytes: files * 100, kept: 0 })
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
    // The server is told that the job is no longer needed after the end was written.
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
fn progress_is_written_rarely() {
    let mut world = world(json!({}), json!({}));
    world.fake.landings.extend((0..100).map(|n| running(n, 100)));
    world.run();
    assert_eq!(world.state(), "Complete");
    // There is a look every 30 seconds for 50 minutes, but a write only once per five minutes
    // and ten percentage points.
    assert!(world.status_writes <= 4 + 11, "{}", world.status_writes);
    let progress = world.status().job.unwrap().progress.unwrap();
    assert_eq!(progress.summary.as_deref(), Some("2 files"));
}

#[test]
fn killed_anywhere_it_goes_on_and_ends_the_same() {
    for n in 0..8 {
        for how in [Broken::BeforeWrite, Broken::AfterWrite, Broken::AfterEffect] {
            let mut world = world(json!({}), json!({}));
            // Once the job is known, nothing that happens later loses it.
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
fn where_files_will_land_is_known_with_the_job() {
    let mut world = world(json!({}), json!({}));
    world.fake.landings.extend((0..1000).map(|_| running(18, 50)));
    assert!(world.run_until(|w| w.status().job.is_some_and(|job| job.status_url.is_some())));
    let output = world.status().output.unwrap();
    let place = (output.container.as_deref(), output.folder.as_deref());
    assert_eq!(place, (Some("lake"), Some("20261123T020000-0123abcd")));
    // The landing takes longer than a moment, so the status shows it after a look, as that look saw it.
    assert!(world.run_until(|w| w.state() == "Landing"));
    assert_eq!(world.status().job.unwrap().progress.unwrap().summary.as_deref(), Some("18 of 50 files"));
    world.edit(|spec| spec.cancel = Some(true));
    world.run();
    let message = world.message(Failed);
    assert!(message.contains("18 files had landed in lake/20261123T020000-0123abcd"), "{message}");
}
