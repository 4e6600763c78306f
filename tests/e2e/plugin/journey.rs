//! A newcomer's journey: an export that does not get on is found, understood by one sentence that is the same wherever it
//! is told, and repaired by doing what the sentence says.

use bulk_fhir::{Options, Script};
use serde_json::{Value, json};

use super::{call, told};
use crate::place::Place;
use crate::site::condition;

/// What holds an export up, as its status tells it. Asserts that the table, the story, an event and the log of the
/// operator tell the same sentence.
async fn one_sentence(place: &Place, reason: &str) -> String {
    let holds = |object: &fhir_export_operator::api::FhirExport| {
        object.status.as_ref().is_some_and(|status| status.reason.as_deref() == Some(reason))
    };
    place.site.until("cohort", reason, holds).await;
    let list: Value = serde_json::from_str(&told(&place.site, &["list", "-o", "json"]).await).unwrap();
    let status = &list["items"][0]["status"];
    let sentence = status["message"].as_str().unwrap().to_owned();
    let table = told(&place.site, &["list", "-o", "wide"]).await;
    assert!(table.contains(reason) && table.contains(&sentence), "{table}");
    let story = told(&place.site, &["describe", "cohort"]).await;
    // The story breaks lines.
    let words = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(words(&story).contains(&words(&sentence)), "{sentence}: {story}");
    let log = std::fs::read_to_string(place.site.operator.as_ref().unwrap().log()).unwrap();
    assert!(log.contains(&sentence), "the log does not say: {sentence}");
    sentence
}

#[tokio::test]
async fn a_missing_credential_is_found_understood_and_repaired() {
    let place = Place::start("journey", Options::default(), json!({})).await;
    place.fhir.script(Script::polls(1).every_time());
    let auth = json!({"type": "BearerToken", "bearerToken": {"secretRef": {"name": "clinic-token", "key": "token"}}});
    place.change_server(json!({"auth": auth})).await;
    place.export("cohort", json!({}), json!({})).await;

    let missing = one_sentence(&place, "SecretNotFound").await;
    assert!(missing.contains("Secret") && missing.contains("clinic-token"), "{missing}");
    let checked = call(&place.site, &["server", "check", "clinic", "--no-request"]).await;
    assert_eq!(checked.code, 3, "{checked:?}");
    assert!(checked.stdout.contains("clinic-token"), "the server tells the same cause: {checked:?}");

    // The sentence asks for the Secret. It is created as most people do, without the label.
    place.site.secret("clinic-token", json!({"token": "not-needed-here"}), false).await;
    let unlabelled = one_sentence(&place, "CredentialNotLabelled").await;
    assert!(unlabelled.contains("fhirexport.dev/credential"), "{unlabelled}");

    // The next sentence asks for the label. With it the export goes on by itself.
    place.site.secret("clinic-token", json!({"token": "not-needed-here"}), true).await;
    let object = place.site.complete("cohort").await;
    place.assert_same(&object, &place.last_job().id).await;
    assert_eq!(place.fhir.jobs().len(), 1, "nothing was started twice");
    assert_eq!(condition(&object, "ServerReachable").unwrap().0, "True");
    let story = told(&place.site, &["describe", "cohort"]).await;
    assert!(story.contains("State       Complete") && !story.contains("clinic-token"), "{story}");
}
