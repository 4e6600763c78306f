//! A second release in the cluster.

use std::time::Duration;

use stage::{Process, ProcessOptions};

use crate::place::{NAME, PATIENCE, Place, shared};
use crate::replica::Replica;

/// Other tests run releases in the same cluster, so the message may name any of the older ones.
#[tokio::test]
async fn a_release_for_the_whole_cluster_refuses_to_work_beside_an_older_one() {
    let place = Place::start("second", Duration::ZERO).await;
    let mut first = Replica::start(&place, "first", None);
    first.leads().await;
    let log = place.folder.path().join("whole.log");
    let options = ProcessOptions::new(env!("CARGO_BIN_EXE_fhir-export-operator"), log)
        .args(["run", "--metrics-addr=127.0.0.1:0", "--health-addr=127.0.0.1:0", "--log-format=text"])
        .arg(format!("--lease={}/whole", place.namespace))
        .env("KUBECONFIG", shared().await.kubernetes.admin_kubeconfig());
    let mut whole = Process::start(&options).unwrap();
    assert_eq!(whole.wait_at_most(PATIENCE).await.unwrap(), Some(1), "{}", whole.log_end());
    let said = whole.log_end();
    assert!(said.contains("Another release of the operator works in this cluster already"), "{said}");
    assert!(said.contains(&format!("/{NAME}, which is older than {}/whole", place.namespace)), "{said}");
    // The second release has given its own Lease back and done nothing.
    let lease =
        shared().await.kubernetes.kubectl(["get", "lease", "whole", "-n", &place.namespace, "-o", "json"]);
    let lease = lease.await.unwrap().run().await.unwrap().ok().unwrap();
    let lease: serde_json::Value = serde_json::from_str(&lease).unwrap();
    assert_eq!(lease["spec"]["holderIdentity"].as_str().unwrap_or_default(), "");
    assert_eq!(lease["metadata"]["labels"]["fhirexport.dev/operator"], "true");
}
