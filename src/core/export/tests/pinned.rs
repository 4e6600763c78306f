//! The intent of an attempt decides where its files go: later edits of the FhirServer only change later attempts.

use serde_json::{Value, json};

use super::said::manifest;
use super::world::World;
use super::{bulk_server, stored_server};
use crate::api::ConditionType::{Complete, Failed, Reconciling, Verified};
use crate::api::{Compression, Dialect, FhirServer, Reason};
use crate::core::effect::Effect;
use crate::core::landing::{LandFailure, LandFailureKind, LandProgress, LandState};

fn running(files: u64) -> LandState {
    LandState::Running(LandProgress { files, of: 2, bytes: files * 100, kept: 0 })
}

/// A world whose first landing is under way.
fn landing() -> World {
    let mut world =
        World::new(bulk_server(json!({})), json!({"request": {"level": "System"}, "backoffLimit": 1}));
    world.edit_server(|server| server.spec.default_container = Some("lake".into()));
    world.fake.landings.extend([running(1), running(1)]);
    assert!(world.run_until(|w| w.fake.planned.len() == 2));
    world
}

fn compress(server: &mut FhirServer) {
    server.spec.storage.as_mut().unwrap().compression = Some(Compression::Gzip);
}

fn point_to(server: &mut FhirServer, endpoint: &str) {
    let storage = server.spec.storage.as_mut().unwrap();
    storage.azure_blob.as_mut().unwrap().endpoint = endpoint.into();
}

/// The URLs in the manifest that was stored last.
fn stored(world: &World) -> Vec<String> {
    let manifest: Value = serde_json::from_slice(world.fake.stored.last().unwrap()).unwrap();
    let files = manifest["output"].as_array().unwrap().iter();
    files.map(|file| file["url"].as_str().unwrap().to_owned()).collect()
}

/// The URLs under which the files of the first plan were to land.
fn planned(world: &World) -> Vec<String> {
    let plan = &world.fake.planned[0];
    let url = |blob: &str| format!("https://acct.blob.example/{}/{blob}", plan.container);
    plan.files.iter().map(|file| url(&file.blob)).collect()
}

#[test]
fn the_manifest_names_the_blobs_that_were_planned() {
    for restarted in [false, true] {
        let mut world = landing();
        let before = planned(&world);
        world.edit_server(|server| {
            compress(server);
            server.spec.default_container = Some("pond".into());
        });
        if restarted {
            world.kill();
        }
        world.run();
        assert_eq!(world.says(Complete), "True/Exported");
        assert_eq!(stored(&world), before, "restarted: {restarted}");
        let plan = world.fake.planned.last().unwrap();
        assert_eq!((plan.container.as_str(), plan.compression), ("lake", Compression::None));
        let output = world.status().output.unwrap();
        assert_eq!(output.container.as_deref(), Some("lake"));
        assert_eq!(output.folder.as_deref(), Some("20261123T020000-0123abcd"));
    }
}

#[test]
fn another_attempt_goes_where_the_server_says_then() {
    let mut world = landing();
    world.fake.landings.push_back(LandState::Failed(LandFailure {
        kind: LandFailureKind::Permanent,
        reason: Reason::DownloadFailed,
        message: "a file could not be had".into(),
        progress: LandProgress::default(),
        obstructed: Vec::new(),
    }));
    world.edit_server(compress);
    world.run();
    assert_eq!(world.says(Complete), "True/Exported");
    assert_eq!(world.fake.kick_offs_sent(), 2);
    assert!(stored(&world).iter().all(|url| url.ends_with(".ndjson.gz")), "{:?}", stored(&world));
}

#[test]
fn another_account_is_waited_for_until_the_old_one_is_back() {
    let mut world = landing();
    let before = planned(&world);
    world.edit_server(|server| point_to(server, "https://other.blob.example"));
    world.run_for(std::time::Duration::from_secs(3600));
    assert_eq!(world.says(Reconciling), "True/StorageMismatch");
    assert_eq!(world.says(Verified), "Unknown/StorageMismatch");
    assert!(
        world.message(Reconciling).contains("https://acct.blob.example"),
        "{}",
        world.message(Reconciling)
    );
    assert!(
        world.fake.stored.is_empty() && world.fake.planned.len() == 2,
        "nothing is sent to another account"
    );
    world.edit_server(|server| point_to(server, "https://acct.blob.example/"));
    world.run();
    assert_eq!((world.says(Complete).as_str(), stored(&world)), ("True/Exported", before));

    let mut world = landing();
    world.edit_server(|server| point_to(server, "https://other.blob.example"));
    world.look();
    world.edit(|spec| spec.cancel = Some(true));
    world.run();
    assert_eq!(world.says(Failed), "True/Cancelled");
}

#[test]
fn an_older_version_wrote_no_destination_and_its_runs_go_on() {
    let mut world = landing();
    let before = planned(&world);
    world.export.status.as_mut().unwrap().job.as_mut().unwrap().destination = None;
    world.kill();
    world.run();
    assert_eq!((world.says(Complete).as_str(), stored(&world)), ("True/Exported", before));
}

#[test]
fn the_intent_says_where_the_files_go() {
    let mut world = landing();
    let destination = world.status().job.unwrap().destination.unwrap();
    assert_eq!(destination.container.as_deref(), Some("lake"));
    assert_eq!(destination.folder.as_deref(), Some("20261123T020000-0123abcd"));
    assert_eq!(destination.endpoint.as_deref(), Some("https://acct.blob.example"));
    assert_eq!(destination.compression, Some(Compression::None));
    // The operator continues to land what it has begun, even if the server's dialect is edited meanwhile.
    world.edit_server(|server| server.spec.dialect = Dialect::Azure);
    world.run();
    assert_eq!(world.says(Complete), "True/Exported");
}

#[test]
fn an_azure_server_is_held_to_the_container_that_was_asked_for() {
    let mut world = World::new(stored_server(), json!({}));
    world.edit_server(|server| server.spec.default_container = Some("lake".into()));
    assert!(world.run_until(|w| w.state() == "Running"));
    assert_eq!(world.status().job.unwrap().destination.unwrap().container.as_deref(), Some("lake"));
    world.edit_server(|server| server.spec.default_container = Some("pond".into()));
    world.run();
    assert_eq!(world.says(Complete), "True/Exported");
    assert_eq!(world.status().output.unwrap().container.as_deref(), Some("lake"));
    // An attempt that writes elsewhere is still found out.
    let mut world = World::new(stored_server(), json!({"request": {"level": "System", "container": "lake"}}));
    let elsewhere = json!([{"type": "Patient", "url": "https://acct.blob.example/pond/f/Patient-1.ndjson"}]);
    world.fake.polls.push_back(Ok(manifest("https://clinic.example/$export?_container=lake", &elsewhere)));
    world.run();
    assert_eq!(world.says(Failed), "True/StorageMismatch");
}

#[test]
fn no_request_goes_to_an_endpoint_that_only_a_status_names() {
    let mut world = landing();
    let job = world.export.status.as_mut().unwrap().job.as_mut().unwrap();
    job.destination.as_mut().unwrap().endpoint = Some("https://evil.example".into());
    world.kill();
    world.run_for(std::time::Duration::from_secs(3600));
    assert_eq!(world.says(Reconciling), "True/StorageMismatch");
    let decided = world.decide(&world.export, &world.facts(&world.status()), None);
    assert!(!matches!(decided.effect, Some(Effect::Land(_) | Effect::StoreManifest { .. })), "{decided:?}");
}
