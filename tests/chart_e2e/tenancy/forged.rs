//! A forged status. The chart grants the right to write a status to nobody. An attacker who has it nevertheless can
//! make the operator neither send a token to another host nor cancel the job of another export.

use azure_fhir::{Access, KnownToken, Options, Script};
use fhir_export_operator::api::FhirExport;
use kube::api::DeleteParams;
use serde_json::{Value, json};

use super::ear::Ear;
use super::world::{Person, release, shared};
use crate::release::{export, namespace, secret, server};

/// A status that claims the job at `status_url`.
fn claiming(server_url: &str, status_url: &str) -> Value {
    let time = jiff::Timestamp::now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string();
    json!({
        "server": {"uid": "forged", "url": server_url}, "startTime": time, "acceptedTime": time, "state": "Running",
        "job": {"id": "1", "statusURL": status_url, "intentTime": time, "kickOffTime": time},
    })
}

#[tokio::test]
async fn a_forged_status_costs_nobody_a_token_or_a_job() {
    let release = release().await;
    let access = Access::Tokens(vec![KnownToken::exporter("sesame")]);
    let fhir = release.fhir(Options { access, ..Options::default() }).await;
    fhir.script(Script::polls(30));
    release.apply(&namespace("forged-owner", &json!({}))).await;
    release.apply(&secret("forged-owner", "token", &json!({"token": "sesame"}))).await;
    release.apply(&release.storage_secret("forged-owner")).await;
    release.apply(&server("forged-owner", "clinic", &shared(release, &fhir.url(), &json!({})))).await;
    let victim = Person::new(release, "victim", &json!({"study": "yes"})).await;
    let forger = Person::new(release, "forger", &json!({"study": "yes"})).await;
    let forger = forger.with(release, "status", &["fhirexports/status"], &["patch", "update"]).await;

    let system = json!({"level": "System"});
    victim
        .create::<FhirExport>(&export("victim", "study", "forged-owner/clinic", &system, &json!({})))
        .await
        .unwrap();
    release.until("fexp/study", "victim", "Reconciling=False KickedOff").await;
    let victims =
        victim.exports().get("study").await.unwrap().status.unwrap().job.unwrap().status_url.unwrap();

    let ear = Ear::listen().await;
    let elsewhere = format!("{}/_operations/export/1", ear.url());
    let resource = format!("{}/Patient/4711", fhir.url());
    for (name, url) in
        [("by-spec", &victims), ("by-deletion", &victims), ("elsewhere", &elsewhere), ("resource", &resource)]
    {
        let mut held = export("forger", name, "forged-owner/clinic", &system, &json!({"suspend": true}));
        held["metadata"]["finalizers"] = json!(["fhirexport.dev/cancel"]);
        forger.create::<FhirExport>(&held).await.unwrap();
        release.until(&format!("fexp/{name}"), "forger", "Suspended=True Suspended").await;
        forger.forge(name, &claiming(&fhir.url(), url)).await.unwrap();
    }
    // The operator first polls the forged jobs, and then cancels them in all ways.
    forger.change("elsewhere", &json!({"spec": {"suspend": false}})).await.unwrap();
    release.until("fexp/elsewhere", "forger", "ServerReachable=False UnexpectedAnswer").await;
    for name in ["by-spec", "resource"] {
        forger.change(name, &json!({"spec": {"cancel": true, "suspend": false}})).await.unwrap();
        release.until(&format!("fexp/{name}"), "forger", "Failed=True CancelUnconfirmed").await;
    }
    for name in ["by-deletion", "elsewhere"] {
        forger.exports().delete(name, &DeleteParams::default()).await.unwrap();
        release.kubectl(&format!("wait --for=delete fexp/{name} -n forger --timeout=60s")).await;
    }
    assert_eq!(ear.heard(), Vec::<String>::new(), "the token is for the server's own origin");
    let deleted: Vec<String> =
        fhir.requests().into_iter().filter(|r| r.method == "DELETE").map(|r| r.path).collect();
    assert_eq!(deleted, Vec::<String>::new());
    release.until("fexp/study", "victim", "Complete=True Exported").await;
}
