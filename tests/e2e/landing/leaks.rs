//! Files, links and redirects to other origins: the operator downloads nothing there unless the FhirServer allows it,
//! and never sends a secret there.

use bulk_fhir::{Access, FileScript, KickOffAnswer, Listener, Options, Redirect, Request, Script, Shape};
use serde_json::{Value, json};

use crate::place::Place;
use crate::site::condition;

const HEADER: &str = "ocp-apim-subscription-key";

/// Starts a world whose server receives a token and a secret header.
async fn guarded(name: &str, change: Value) -> Place {
    let options = Options { access: Access::Bearer("the-token".into()), ..Options::default() };
    let auth =
        json!({"type": "BearerToken", "bearerToken": {"secretRef": {"name": "token", "key": "token"}}});
    let headers = json!([{"name": HEADER, "secretRef": {"name": "gateway", "key": "key"}}]);
    let mut place = Place::without_operator(name, options, json!({})).await;
    place.site.secret("token", json!({"token": "the-token"}), true).await;
    place.site.secret("gateway", json!({"key": "the-key"}), true).await;
    let mut spec = json!({"auth": auth, "headers": headers});
    crate::site::merge(&mut spec, change);
    place.change_server(spec).await;
    place.site.start_operator().await;
    place
}

fn foreign(place: &Place) -> Vec<Request> {
    place.fhir.requests().into_iter().filter(|r| r.listener == Listener::Foreign).collect()
}

fn own_files(place: &Place) -> Vec<Request> {
    place.file_requests().into_iter().filter(|r| r.listener == Listener::Fhir).collect()
}

/// Runs an export until the foreign origin blocks it, allows the origin, and waits until the export is complete.
async fn waits_and_lands(place: &mut Place, script: Script) {
    place.fhir.script(script);
    place.export("run", json!({}), json!({})).await;
    let object = place.site.until_condition("run", "ServerReachable", "False", "OriginNotAllowed").await;
    let message = condition(&object, "ServerReachable").unwrap().2;
    assert!(message.contains(&place.fhir.foreign_url()), "{message}");
    assert!(
        message.contains(&format!("add it to fileOrigins of FhirServer {}/clinic", place.site.namespace))
    );
    assert!(!message.contains("sig=") && !message.contains("/bulk-files/"), "{message}");
    assert!(foreign(place).is_empty());
    place.change_server(json!({"fileOrigins": [place.fhir.foreign_url()]})).await;
    let object = place.site.complete("run").await;
    assert_eq!(condition(&object, "ServerReachable").unwrap().0, "True");
    let job = place.last_job();
    place.assert_same(&object, &job.id).await;
    assert_eq!(place.fhir.jobs().len(), 1);
    let foreign = foreign(place);
    assert!(foreign.len() >= job.files.len());
    assert!(foreign.iter().all(|r| !r.authorized && !r.headers.contains_key(HEADER)), "{foreign:?}");
    assert!(place.fhir.leaked_tokens().is_empty());
}

#[tokio::test]
async fn files_elsewhere_wait_for_leave_and_come_without_a_token() {
    let mut place = guarded("elsewhere", json!({})).await;
    let manifest = Shape { foreign_urls: true, ..Shape::default() };
    waits_and_lands(&mut place, Script::polls(0).manifest(manifest)).await;
}

#[tokio::test]
async fn redirects_elsewhere_wait_for_leave_and_lose_the_token() {
    let mut place = guarded("hop", json!({})).await;
    let files = FileScript { redirect: Redirect::Foreign, ..FileScript::default() };
    waits_and_lands(&mut place, Script::polls(0).files(files)).await;
    let first = own_files(&place);
    assert!(first.iter().all(|r| r.authorized && r.headers[HEADER] == "the-key"), "{first:?}");
}

#[tokio::test]
async fn a_trusted_origin_gets_the_token_if_files_want_one() {
    let place = guarded("trusted", json!({})).await;
    place.change_server(json!({"trustedOrigins": [place.fhir.foreign_url()]})).await;
    let manifest =
        |requires| Shape { foreign_urls: true, requires_access_token: Some(requires), ..Shape::default() };
    place.fhir.script(Script::polls(0).manifest(manifest(false)));
    place.landed("without", json!({})).await;
    assert!(!foreign(&place).is_empty() && place.fhir.leaked_tokens().is_empty());
    place.fhir.script(Script::polls(0).manifest(manifest(true)));
    place.export("with", json!({}), json!({"backoffLimit": 0})).await;
    // The foreign host refuses every request with a token.
    place.site.failed("with", "DownloadRefused").await;
    assert!(!place.fhir.leaked_tokens().is_empty());
}

#[tokio::test]
async fn links_that_need_no_token_get_none_even_at_home() {
    let place = guarded("capability", json!({})).await;
    let manifest = Shape { requires_access_token: Some(false), ..Shape::default() };
    place.lands(Script::polls(0).manifest(manifest)).await;
    let files = own_files(&place);
    assert!(!files.is_empty() && files.iter().all(|r| !r.authorized && r.mentions("sig=")), "{files:?}");
    let others = place.fhir.requests();
    assert!(others.iter().any(|r| r.is_poll() && r.authorized));
}

#[tokio::test]
async fn redirects_at_home_keep_the_token_and_circles_end() {
    let place = guarded("home", json!({})).await;
    let redirect = |redirect| FileScript { redirect, ..FileScript::default() };
    place.lands(Script::polls(0).files(redirect(Redirect::SameOrigin))).await;
    assert!(own_files(&place).iter().all(|r| r.authorized));
    place.fhir.script(Script::polls(0).files(redirect(Redirect::Loop)));
    place.export("circle", json!({}), json!({"backoffLimit": 0})).await;
    let object = place.site.failed("circle", "DownloadRefused").await;
    let message = condition(&object, "Failed").unwrap().2;
    assert!(message.contains("again and again"), "{message}");
}

#[tokio::test]
async fn a_status_url_elsewhere_is_never_asked() {
    let place = guarded("status", json!({})).await;
    place.fhir.script(Script { kick_off: KickOffAnswer::ForeignHost, ..Script::polls(0) });
    place.export("run", json!({}), json!({})).await;
    let object = place.site.failed("run", "NoStatusURL").await;
    assert!(!object.status.unwrap().unsettled_jobs.is_empty(), "the job may run unseen");
    assert!(foreign(&place).is_empty());
    assert_eq!(place.fhir.jobs().len(), 1);
}

#[tokio::test]
async fn no_signature_and_no_secret_is_told() {
    let mut place = guarded("told", json!({})).await;
    let files = FileScript {
        redirect: Redirect::Foreign,
        expires_requests: Some(2),
        html_pages: 1,
        ..FileScript::default()
    };
    let manifest = Shape { requires_access_token: Some(false), ..Shape::default() };
    waits_and_lands(&mut place, Script::polls(0).files(files).manifest(manifest)).await;
    let api: kube::Api<fhir_export_operator::api::FhirExport> = place.site.api();
    let object = api.get("run").await.unwrap();
    let log = std::fs::read_to_string(place.site.operator.as_ref().unwrap().log()).unwrap();
    let mut told = vec![log, serde_json::to_string(&object).unwrap()];
    told.extend(place.site.events("run").await.into_iter().map(|(_, note)| note));
    told.push(String::from_utf8(place.blobs(&object).await.remove("manifest.json").unwrap()).unwrap());
    for text in told {
        for secret in ["sig=", "the-token", "the-key"] {
            assert!(!text.contains(secret), "{secret} in {text}");
        }
    }
}
