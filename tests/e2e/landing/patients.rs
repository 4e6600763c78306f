//! Exports of listed patients: the operator sends the list in the body of the kick-off and stores it nowhere.

use bulk_fhir::Options;
use fhir_export_operator::api::FhirExport;
use serde_json::{Value, json};

use crate::place::{Place, hex};
use crate::site::{condition, shared};

/// The ids of the first `number` patients of the server.
fn ids(place: &Place, number: usize) -> Vec<String> {
    place.fhir.patients().ids("Patient").into_iter().take(number).collect()
}

/// Asserts that no patient's id occurs in the object, the log, an event, a stored manifest or log, or a URL.
async fn nowhere_told(place: &Place, object: &FhirExport, ids: &[String]) {
    let mut told = vec![serde_json::to_string(object).unwrap()];
    told.push(std::fs::read_to_string(place.site.operator.as_ref().unwrap().log()).unwrap());
    told.extend(place.site.events("run").await.into_iter().map(|(_, note)| note));
    let mut blobs = place.blobs(object).await;
    told.push(String::from_utf8(blobs.remove("manifest.json").unwrap()).unwrap());
    told.push(String::from_utf8(blobs.remove("log.ndjson").unwrap()).unwrap());
    for id in ids {
        assert!(told.iter().all(|text| !text.contains(id.as_str())), "{id} is told");
    }
    let requests = place.fhir.requests();
    assert!(requests.iter().all(|r| ids.iter().all(|id| !r.mentions(id))), "no URL names a patient");
}

/// Waits until the export is complete, and asserts that it holds the data of exactly these patients.
async fn lands_these(place: &Place, ids: &[String]) {
    let object = place.site.complete("run").await;
    let job = place.last_job();
    assert_eq!(job.method, "POST");
    let wanted: Vec<String> = ids.iter().map(|id| format!("Patient/{id}")).collect();
    assert_eq!(job.asked.patients, wanted);
    assert_eq!(place.fhir.jobs().len(), 1);
    let mut blobs = place.blobs(&object).await;
    let landed = String::from_utf8(blobs.remove("Patient-1.ndjson").unwrap()).unwrap();
    assert_eq!(landed.lines().count(), ids.len());
    nowhere_told(place, &object, ids).await;
}

/// Waits until the condition `Reconciling` of the run has this reason and a message that contains `words`.
async fn waits(place: &Place, reason: &str, words: &str) {
    let told = |object: &FhirExport| {
        condition(object, "Reconciling")
            .is_some_and(|c| c.0 == "True" && c.1 == reason && c.2.contains(words))
    };
    place.site.until("run", &format!("{reason} {words}"), told).await;
}

async fn place(name: &str) -> Place {
    Place::start(name, Options::default(), json!({"storage": {"exportLog": true}})).await
}

#[allow(clippy::needless_pass_by_value)] // callers pass a json! literal
fn request(list: Value) -> Value {
    json!({"level": "Patient", "types": ["Patient"], "bulkData": list})
}

#[tokio::test]
async fn a_secret_of_patients_is_waited_for_and_sent() {
    let place = place("secret").await;
    let ids = ids(&place, 2);
    let list = json!({"patientsSecretRef": {"name": "cohort", "key": "list"}});
    place.export("run", request(list), json!({})).await;
    waits(&place, "SecretNotFound", "cohort").await;
    place.site.secret("cohort", json!({"list": ids[0]}), false).await;
    waits(&place, "CredentialNotLabelled", "cohort").await;
    place.site.secret("cohort", json!({"other": ids[0]}), true).await;
    waits(&place, "SecretKeyMissing", "list").await;
    place.site.secret("cohort", json!({"list": format!("{}\nPatient/a b {}\n", ids[0], ids[1])}), true).await;
    waits(&place, "PatientsInvalid", "line 2 of key list of Secret").await;
    place.site.secret("cohort", json!({"list": " \n\n"}), true).await;
    waits(&place, "SecretInvalid", "is empty").await;
    assert!(place.fhir.jobs().is_empty());
    let right = format!("Patient/{}\r\n\n  {}", ids[0], ids[1]);
    place.site.secret("cohort", json!({"list": right}), true).await;
    lands_these(&place, &ids).await;
}

#[tokio::test]
async fn a_blob_of_patients_must_be_the_one_that_was_reviewed() {
    let place = place("blob").await;
    let ids = ids(&place, 3);
    let right = ids.join("\n");
    let blob =
        json!({"path": format!("{}/lists/cohort.txt", place.container()), "sha256": hex(right.as_bytes())});
    let container = blobs::container(&shared().await.azurite, &place.container()).await.unwrap();
    place.export("run", request(json!({"patientsBlob": blob})), json!({})).await;
    waits(&place, "PatientsInvalid", "does not exist").await;
    blobs::put(&container, "lists/cohort.txt", format!("{right}\nPatient/more").as_bytes()).await.unwrap();
    waits(&place, "PatientsInvalid", "does not match patientsBlob.sha256").await;
    assert!(place.fhir.jobs().is_empty());
    blobs::put(&container, "lists/cohort.txt", right.as_bytes()).await.unwrap();
    lands_these(&place, &ids).await;
}

#[tokio::test]
async fn patients_that_the_server_does_not_know_are_not_told_either() {
    let place = place("unknown").await;
    place.site.secret("cohort", json!({"list": "Patient/nobody-4711"}), true).await;
    let list = json!({"patientsSecretRef": {"name": "cohort", "key": "list"}});
    place.export("run", request(list), json!({})).await;
    let object = place.site.failed("run", "KickOffRejected").await;
    let message = condition(&object, "Failed").unwrap().2;
    assert!(message.contains("Patient/*** is not one of the patients"), "{message}");
    let log = std::fs::read_to_string(place.site.operator.as_ref().unwrap().log()).unwrap();
    assert!(!log.contains("nobody-4711"));
}
