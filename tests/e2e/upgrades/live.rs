//! An upgrade from an earlier version and the way back. `make upgrade` builds the earlier version from the history.

use std::path::PathBuf;
use std::process::Command;

use fhir_export_operator::api::FhirExport;
use kube::Api;

use super::phases::{BULK_JOBS, end_well, reach, release, run, world};
use super::recording::Recording;
use super::schema;
use crate::place::Place;

/// The path of the earlier version's program.
fn earlier() -> PathBuf {
    std::env::var_os("FHIR_EXPORT_EARLIER").expect("FHIR_EXPORT_EARLIER is its path").into()
}

#[tokio::test]
#[ignore = "needs the program of an earlier version: make upgrade"]
async fn exports_survive_this_version_and_the_way_back() {
    let mut place = world("back").await;
    reach(&mut place, &earlier()).await;
    let exports: Api<FhirExport> = place.site.api();
    let mut jobs = std::collections::BTreeMap::new();
    for name in BULK_JOBS.into_iter().map(str::to_owned).chain([run(), "service".to_owned()]) {
        let job = exports.get(&name).await.unwrap().status.unwrap().job.unwrap();
        jobs.insert(name, job.id.unwrap());
    }
    let id = |name: &str| jobs[name].clone();
    let sent = (place.fhir.kick_offs(), place.site.kick_offs());
    for program in [env!("CARGO_BIN_EXE_fhir-export-operator").into(), earlier()] {
        place.site.program = program;
        place.site.start_operator().await;
        goes_on(&place, &id("running")).await;
        place.site.kill_operator().await;
    }
    place.site.start_operator().await;
    release(&place, &id).await;
    end_well(&place, &id).await;
    // The new kick-offs are those of exports that waited, were suspended, or had been refused.
    assert_eq!((place.fhir.kick_offs(), place.site.kick_offs()), (sent.0 + 3, sent.1));
}

/// Waits until a job was polled at least four more times.
async fn goes_on(place: &Place, job: &str) {
    let polls = || place.fhir.job(job).map_or(0, |job| job.polls);
    let before = polls();
    place.until_served("polls", |_| polls() > before + 3).await;
}

#[tokio::test]
#[ignore = "writes the recording of an earlier version: make upgrade RECORD=1"]
async fn record() {
    let commit = std::env::var("FHIR_EXPORT_EARLIER_COMMIT").expect("FHIR_EXPORT_EARLIER_COMMIT names it");
    let crds = Command::new(earlier()).arg("crds").output().unwrap().stdout;
    let schemas = schema::of_statuses(&String::from_utf8(crds).unwrap());
    let mut place = world("recorded").await;
    reach(&mut place, &earlier()).await;
    Recording::of(&place, schemas).await.write(&commit);
}
