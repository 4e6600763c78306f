//! Servers that answer an identical kick-off with the job that already runs.

use bulk_fhir::{Life, Options, Quirks, Script, SharedJobs};
use kube::ResourceExt;
use serde_json::json;

use crate::place::Place;

async fn sharing(name: &str, shared_jobs: SharedJobs) -> Place {
    let quirks = Quirks { shared_jobs, ..Quirks::default() };
    let change = json!({"limits": {"maxConcurrentExports": 4}, "bulkData": {"finishedJobs": "Delete"}});
    Place::start(name, Options { quirks, ..Options::default() }, change).await
}

/// Lets the running job complete.
fn finish(place: &Place) {
    place.fhir.rescript(&place.last_job().id, |script| script.life = Life::Polls(0));
}

#[tokio::test]
async fn two_exports_of_one_job_both_complete_and_the_last_one_lets_it_go() {
    let place = sharing("shared", SharedJobs::Always).await;
    place.fhir.script(Script::stuck());
    for name in ["one", "two"] {
        place.export(name, json!({}), json!({})).await;
        place.site.until_condition(name, "Reconciling", "False", "KickedOff").await;
    }
    finish(&place);
    assert_eq!(place.fhir.jobs().len(), 1, "the server handed out the job that ran");
    for name in ["one", "two"] {
        place.site.complete(name).await;
        place.site.until(name, "let go", |o| o.finalizers().is_empty()).await;
    }
    assert_eq!(place.fhir.jobs().len(), 1);
    // If both ended at the same moment, each took itself for the last one and let the job go.
    let told = place.last_job().cancel_requests;
    assert!(told == 1 || told == 2, "it was let go at the end: {told}");
}

#[tokio::test]
async fn whoever_ends_first_leaves_the_job_to_the_others() {
    let place = sharing("shared-end", SharedJobs::Always).await;
    place.fhir.script(Script::stuck());
    for name in ["first", "held"] {
        place.export(name, json!({}), json!({})).await;
        place.site.until_condition(name, "Reconciling", "False", "KickedOff").await;
    }
    place.site.change("held", json!({"suspend": true})).await;
    place.site.until_condition("held", "Suspended", "True", "Suspended").await;
    finish(&place);
    place.site.complete("first").await;
    place.site.until("first", "let go", |o| o.finalizers().is_empty()).await;
    assert_eq!(
        (place.fhir.jobs().len(), place.last_job().cancel_requests),
        (1, 0),
        "held still needs its files"
    );
    place.site.change("held", json!({"suspend": false})).await;
    place.site.complete("held").await;
    place.site.until("held", "let go", |o| o.finalizers().is_empty()).await;
    assert_eq!((place.fhir.jobs().len(), place.last_job().cancel_requests), (1, 1));
}

#[tokio::test]
async fn a_shared_job_is_cancelled_when_the_last_export_lets_go() {
    let place = sharing("shared-cancel", SharedJobs::Always).await;
    place.fhir.script(Script::stuck());
    for name in ["one", "two", "three"] {
        place.export(name, json!({}), json!({})).await;
        place.site.until_condition(name, "Reconciling", "False", "KickedOff").await;
    }
    place.site.change("one", json!({"cancel": true})).await;
    place.site.failed("one", "Cancelled").await;
    place.site.delete("two").await;
    place.site.gone("two").await;
    assert_eq!(place.last_job().cancel_requests, 0, "three still follows it");
    place.site.delete("three").await;
    place.site.gone("three").await;
    assert_eq!((place.fhir.jobs().len(), place.last_job().cancel_requests), (1, 1));
    assert!(place.last_job().cancelled_at.is_some());
}

#[tokio::test]
async fn an_export_asks_for_a_job_of_its_own() {
    let place = sharing("own-job", SharedJobs::UnlessNoCache).await;
    for name in ["one", "two"] {
        place.fhir.script(Script::polls(3));
        place.export(name, json!({}), json!({})).await;
    }
    for name in ["one", "two"] {
        place.site.complete(name).await;
    }
    assert_eq!(place.fhir.jobs().len(), 2);
}
