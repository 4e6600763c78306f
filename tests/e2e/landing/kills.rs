//! The operator is killed repeatedly while it lands files: no data is lost or duplicated, and no landed file is
//! downloaded again.

use bulk_fhir::{FileScript, Options, Script};
use serde_json::{Value, json};
use stage::wait_for;
use std::collections::BTreeMap;

use crate::place::{Place, output};
use crate::site::PATIENCE;

const FILES: u64 = 200;
const KILLS: u32 = 20;

/// A seed that differs from one run of the test to the next. The test prints it, so that a failure can be reproduced.
fn seed() -> u64 {
    u64::from(std::time::SystemTime::UNIX_EPOCH.elapsed().unwrap().subsec_nanos())
}

fn without_what_differs(manifest: &[u8], folder: &str) -> Value {
    let text = String::from_utf8(manifest.to_vec()).unwrap().replace(folder, "FOLDER");
    let mut manifest: Value = serde_json::from_str(&text).unwrap();
    manifest["transactionTime"] = Value::Null;
    manifest
}

#[tokio::test]
async fn killed_at_twenty_moments_it_lands_the_same_and_fetches_no_landed_file_twice() {
    let limits = json!({"limits": {"maxParallelDownloads": 4}});
    killed_at_twenty_moments(Place::start("kills", Options::default(), limits).await).await;
}

#[tokio::test]
async fn killed_at_twenty_moments_on_a_volume() {
    let limits = json!({"limits": {"maxParallelDownloads": 4}});
    killed_at_twenty_moments(Place::on_a_volume("kills-volume", Options::default(), limits).await).await;
}

#[tokio::test]
async fn killed_at_twenty_moments_in_s3() {
    let limits = json!({"limits": {"maxParallelDownloads": 4}});
    killed_at_twenty_moments(Place::on_s3("kills-s3", Options::default(), limits).await).await;
}

async fn killed_at_twenty_moments(mut place: Place) {
    let slow = FileScript { trickle: Some(200_000), gzip: false, ..FileScript::default() };
    let script = || Script::polls(1).made("Observation", FILES, 20_000).files(slow.clone());
    let place = &mut place;
    place.fhir.script(script());
    let undisturbed = place.landed("undisturbed", json!({})).await;
    let wanted = place.blobs(&undisturbed).await;
    assert_eq!(wanted.len() as u64, FILES + 1);

    place.fhir.script(script());
    place.export("killed", json!({}), json!({})).await;
    place
        .site
        .until("killed", "started", |o| {
            o.status.as_ref().and_then(|s| s.job.as_ref()?.status_url.as_ref()).is_some()
        })
        .await;
    let before = output(&undisturbed).folder.unwrap();
    let mut number = seed();
    println!("seed {number}");
    let mut lying = Vec::new();
    for kill in 0..KILLS {
        // Each kill comes after some more files have landed; a pseudo-random number picks how many.
        number = number.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let target = u64::from(kill) * (FILES - 20) / u64::from(KILLS) + (number >> 33) % 8;
        place.site.told(
            wait_for("files to land", PATIENCE, || async {
                let landed = place.names_outside(&before).await.len() as u64;
                if landed >= target { Ok(()) } else { Err(format!("{landed} of {target}")) }
            })
            .await,
        );
        place.site.kill_operator().await;
        // The files that have landed by now, while no operator runs, must not be requested again.
        lying.push((place.fhir.requests().len(), place.names_outside(&before).await));
        place.site.start_operator().await;
    }
    let killed = place.site.complete("killed").await;
    let mut landed = place.blobs(&killed).await;
    let folder = output(&killed).folder.unwrap();
    let theirs = without_what_differs(&landed["manifest.json"], &folder);
    let ours = without_what_differs(&wanted["manifest.json"], &output(&undisturbed).folder.unwrap());
    assert_eq!(theirs, ours, "the manifests are equal but for times and places");
    landed.remove("manifest.json");
    let sums: BTreeMap<&String, usize> = landed.iter().map(|(name, bytes)| (name, bytes.len())).collect();
    for (name, bytes) in wanted.iter().filter(|(name, _)| *name != "manifest.json") {
        assert!(landed.get(name) == Some(bytes), "{name} of {sums:?}");
    }
    assert_eq!(landed.len() as u64, FILES);
    assert_eq!(place.fhir.jobs().len(), 2, "no kick-off was sent twice");

    let job = place.fhir.jobs()[1].clone();
    let requests = place.fhir.requests();
    for (since, names) in lying {
        for name in names {
            let number: usize =
                name.trim_start_matches("Observation-").trim_end_matches(".ndjson").parse().unwrap();
            let path = &job.files[number - 1].path;
            let again = requests[since..].iter().any(|r| r.path == *path);
            assert!(!again, "{name} had landed and was fetched again");
        }
    }
}
