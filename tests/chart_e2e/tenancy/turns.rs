//! Fair turns: many exports of one namespace and one of another, on a server that runs one export at a time.

use azure_fhir::{Access, KnownToken, Options};
use fhir_export_operator::api::FhirExport;
use serde_json::json;

use super::world::{Person, release, shared};
use crate::release::{export, namespace, secret, server};

/// How many exports the crowded namespace has.
const CROWD: usize = 40;

#[tokio::test]
async fn a_crowd_of_one_namespace_does_not_keep_another_one_out() {
    let release = release().await;
    let access = Access::Tokens(vec![KnownToken::exporter("sesame")]);
    let fhir = release.fhir(Options { access, ..Options::default() }).await;
    release.apply(&namespace("turns-owner", &json!({}))).await;
    release.apply(&secret("turns-owner", "token", &json!({"token": "sesame"}))).await;
    release.apply(&release.storage_secret("turns-owner")).await;
    let limits = json!({"limits": {"minPollSeconds": 1, "maxPollSeconds": 1, "maxConcurrentExports": 1}});
    release.apply(&server("turns-owner", "clinic", &shared(release, &fhir.url(), &limits))).await;
    let crowd = Person::new(release, "crowd", &json!({"study": "yes"})).await;
    let single = Person::new(release, "single", &json!({"study": "yes"})).await;
    let system = json!({"level": "System"});
    for n in 0..CROWD {
        let one = export("crowd", &format!("e{n:03}"), "turns-owner/clinic", &system, &json!({}));
        crowd.create::<FhirExport>(&one).await.unwrap();
    }
    release.until("fexp/e039", "crowd", "Reconciling=True Queued").await;
    let late = export("single", "late", "turns-owner/clinic", &system, &json!({}));
    single.create::<FhirExport>(&late).await.unwrap();
    release.until("fexp/late", "single", "Complete=True Exported").await;

    let started = single.exports().get("late").await.unwrap().status.unwrap().start_time.unwrap();
    let created = single.exports().get("late").await.unwrap().metadata.creation_timestamp.unwrap().0;
    let crowd = crowd.exports().list(&kube::api::ListParams::default()).await.unwrap();
    let starts = crowd.items.iter().filter_map(|e| e.status.as_ref()?.start_time);
    let between = starts.filter(|start| *start > created && *start < started).count();
    // At most two of the crowd start in between: when the late export is created, the next one may have its place
    // already.
    assert!(between <= 2, "{between} of the crowd started before it");
    let waiting =
        crowd.items.iter().filter(|e| e.status.as_ref().is_none_or(|s| s.completion_time.is_none()));
    assert!(waiting.count() > CROWD / 2, "the crowd is not what was to be passed");
}
