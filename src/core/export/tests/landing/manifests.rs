//! Manifests: the one that the server sends, and the one that is stored beside the files.

use serde_json::json;

use super::super::fake::Ending;
use super::super::said::{answer, body, storage_failure};
use super::super::world::World;
use super::super::{at, stored_server};
use super::{ran, world};
use crate::api::ConditionType::{Complete, Failed, Reconciling, Verified};
use crate::core::ledger::StorageFailureKind as Kind;
use crate::core::wire::Method;

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
        (Kind::ReadOnly, "NoStorageAccess"),
        (Kind::NotMounted, "NoStorageAccess"),
        (Kind::NotGranted, "NoStorageAccess"),
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
fn a_manifest_that_lists_a_file_twice_is_not_landed() {
    let listed = |second: &str| {
        let manifest = json!({"transactionTime": "2026-01-01T00:00:00Z", "requiresAccessToken": false,
            "output": [{"type": "Patient", "url": "https://x/f?sp=1&sig=a", "count": 3},
                {"type": "Patient", "url": second, "count": 3}],
            "error": [{"type": "OperationOutcome", "url": "https://x/e"},
                {"type": "OperationOutcome", "url": "https://x/e"}]});
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
