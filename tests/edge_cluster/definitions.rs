//! Installed definitions of another version than the operator's.

use fhir_export_operator::cluster::definitions::wait;
use kube::Client;
use serde_json::{Value, json};
use stage::{Kubernetes, KubernetesOptions};
use tokio::sync::mpsc;

use crate::place::{SOON, install, make_namespace};

/// Changes the part at `path` of the schema, if `crd` is the definition of `FhirExport`.
fn of_exports(crd: &mut Value, path: &str, change: impl Fn(&mut Value)) {
    if crd["spec"]["names"]["plural"] == "fhirexports" {
        let schema = format!("/spec/versions/0/schema/openAPIV3Schema{path}");
        change(crd.pointer_mut(&schema).unwrap());
    }
}

async fn fits(client: &Client) {
    tokio::time::timeout(SOON, wait(client, |missing| panic!("{missing}"))).await.unwrap();
}

#[tokio::test]
async fn older_definitions_are_waited_for_and_newer_ones_worked_with() {
    let kubernetes = Kubernetes::start(KubernetesOptions::default()).await.unwrap();
    let admin = kubernetes.client().await.unwrap();
    make_namespace(&admin, "plain").await;
    // This account may not read definitions.
    let client = kubernetes.client_for("default", "plain").await.unwrap();

    // Definitions of an earlier version, in which a job has no destination.
    install(&admin, |crd| {
        of_exports(crd, "/properties/status/properties/job/properties", |job| {
            job.as_object_mut().unwrap().remove("destination");
        });
    })
    .await;
    let (tell, mut told) = mpsc::unbounded_channel();
    let waiting = tokio::spawn({
        let client = client.clone();
        async move { wait(&client, |missing| tell.send(missing.to_owned()).unwrap()).await }
    });
    let lacking = async {
        loop {
            let missing = told.recv().await.expect("it waits");
            if missing.contains("newer custom resource definitions") {
                return missing;
            }
        }
    };
    let lacking = tokio::time::timeout(SOON, lacking).await.unwrap();
    let names = "the installed ones lack status.job.destination of fhirexports.fhirexport.dev, without which";
    assert!(lacking.contains(names) && lacking.contains("fhir-export-operator crds | kubectl"), "{lacking}");

    install(&admin, |_| {}).await;
    tokio::time::timeout(SOON, waiting).await.expect("the definitions are current now").unwrap();
    assert_eq!(told.recv().await, None, "what it waited for was told once");
    fits(&client).await;

    // Definitions of a later version, as after a downgrade to this one.
    install(&admin, |crd| {
        of_exports(crd, "/properties/status/properties", |status| {
            status["ofTomorrow"] = json!({ "type": "string" });
        });
    })
    .await;
    fits(&client).await;
}
