//! Identical exports of HAPI get jobs of their own, also one that loses the answer to its first kick-off. The program
//! prints which job HAPI hands out after such a loss.

use std::time::Duration;

use azure_fhir::Storage;
use fhir_export_operator::api::{ConditionType, FhirExport, FhirServer};
use fhir_export_operator::core::bulk::kick_off;
use fhir_export_operator::core::condition;
use kube::api::PostParams;
use kube::{Api, Client};
use serde_json::json;
use stage::{Manner, Relay, say, wait_until};

use crate::fhir::{Compartments, Fhir};
use crate::objects::{NAMESPACE, connect_one};
use crate::{Error, Result};

/// The FhirServer whose answers can be cut off.
const LOSSY: &str = "hapi-lossy";
const SOON: Duration = Duration::from_mins(3);

/// Runs the exports. An error says what is not as it must be.
pub async fn run(client: &Client, storage: &Storage, hapi: &str) -> Result<()> {
    let (port, path) = hapi
        .strip_prefix("http://127.0.0.1:")
        .and_then(|rest| rest.split_once('/'))
        .and_then(|(port, path)| Some((port.parse().ok()?, path)))
        .ok_or_else(|| Error::Fhir(format!("{hapi} is not on loopback")))?;
    let relay = Relay::start(port).await?;
    let url = format!("http://127.0.0.1:{}/{path}", relay.port());
    let direct = Fhir::new(&url, Compartments::ByDefinition)?;
    connect_one(client, storage, LOSSY, &url, "Auto").await?;
    let servers: Api<FhirServer> = Api::namespaced(client.clone(), NAMESPACE);
    wait_until("the FhirServer behind the relay", SOON, || async {
        let server = servers.get(LOSSY).await.ok().and_then(|server| server.status);
        server.is_some_and(|status| condition::is_true(&status.conditions, ConditionType::Ready))
    })
    .await?;

    // The answer to the first kick-off is lost.
    relay.set(Manner::Truncate(0));
    create(client, "lost").await?;
    until(client, "lost", "an uncertain kick-off", |export| holds(export, ConditionType::KickOffUncertain))
        .await?;
    relay.set(Manner::Pass);
    let identical =
        kick_off::request(&servers.get(LOSSY).await?, &get(client, "lost").await?.spec.request, NAMESPACE);
    let unseen = direct.kick_off(&identical.map_err(Error::Fhir)?).await?;
    for name in ["own", "own-too"] {
        create(client, name).await?;
    }
    let mut jobs = vec![("the job that was started unseen", unseen)];
    for name in ["lost", "own", "own-too"] {
        until(client, name, "its end", |export| holds(export, ConditionType::Complete)).await?;
        let status = get(client, name).await?.status.unwrap_or_default();
        jobs.push((name, status.job.and_then(|job| job.status_url).unwrap_or_default()));
    }
    let [(_, unseen), (_, lost), (_, own), (_, other)] = jobs.as_slice() else { return Ok(()) };
    // What HAPI hands out depends on its settings: docs/servers.md, "Shared jobs".
    let handed_out = if unseen == lost { "the job that ran already" } else { "another job" };
    say(&format!("    after an answer that was lost HAPI handed out {handed_out}"));
    if own == other || own == lost || other == lost {
        return Err(Error::Operator(format!("exports share a job on HAPI: {jobs:?}")));
    }
    Ok(())
}

async fn create(client: &Client, name: &str) -> Result<()> {
    let export: FhirExport = serde_json::from_value(json!({
        "apiVersion": "fhirexport.dev/v1alpha1",
        "kind": "FhirExport",
        "metadata": { "name": name },
        "spec": {
            "serverRef": { "name": LOSSY },
            "request": { "level": "System", "types": ["Patient"] },
            "onUncertainKickOff": "Retry",
        },
    }))?;
    exports(client).create(&PostParams::default(), &export).await?;
    Ok(())
}

fn exports(client: &Client) -> Api<FhirExport> {
    Api::namespaced(client.clone(), NAMESPACE)
}

async fn get(client: &Client, name: &str) -> Result<FhirExport> {
    Ok(exports(client).get(name).await?)
}

fn holds(export: &FhirExport, type_: ConditionType) -> bool {
    export.status.as_ref().is_some_and(|status| condition::is_true(&status.conditions, type_))
}

async fn until(client: &Client, name: &str, what: &str, done: impl Fn(&FhirExport) -> bool) -> Result<()> {
    let seen = wait_until(&format!("{what} of {name}"), SOON, || async {
        get(client, name).await.is_ok_and(|export| done(&export))
    })
    .await;
    if seen.is_err() {
        let status = serde_json::to_string_pretty(&get(client, name).await?.status)?;
        return Err(Error::Operator(format!("{name} did not come to {what}; its status:\n{status}")));
    }
    Ok(())
}
