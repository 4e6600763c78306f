//! A server whose answers point to another origin: the operator sends nothing there, least of all a credential.

use azure_fhir::{
    Access, Fault, KickOffAnswer, KnownToken, Listener, ManifestQuirk, On, Options, RequestFault, Script,
    Step,
};
use serde_json::json;

use crate::site::{Site, condition};

const HEADER: &str = "ocp-apim-subscription-key";

/// Starts a site whose server receives a token and a secret header.
async fn guarded(name: &str) -> Site {
    let access = Access::Tokens(vec![KnownToken::exporter("the-token")]);
    let mut site = Site::without_server(name, Options { access, ..Options::default() }).await;
    site.secret("token", json!({"token": "the-token"}), true).await;
    site.secret("gateway", json!({"key": "the-key"}), true).await;
    site.apply_server(json!({
        "auth": {"type": "BearerToken", "bearerToken": {"secretRef": {"name": "token", "key": "token"}}},
        "headers": [{"name": HEADER, "secretRef": {"name": "gateway", "key": "key"}}],
        "limits": {"maxConcurrentExports": 50},
    }))
    .await;
    site.fhir.fault(RequestFault::next(On::Metadata, 1, Fault::RedirectForeign));
    site.start_operator().await;
    site
}

fn nothing_went_elsewhere(site: &Site) {
    let requests = site.fhir.requests();
    let elsewhere: Vec<_> = requests.iter().filter(|r| r.listener == Listener::Foreign).collect();
    assert!(elsewhere.is_empty(), "{elsewhere:?}");
    assert!(site.fhir.leaked_tokens().is_empty());
    // Without any request the test would pass without proving anything.
    assert!(requests.iter().any(|r| r.authorized && r.headers.contains_key(HEADER)));
    let in_urls = requests.iter().any(|r| r.mentions("the-token") || r.mentions("the-key"));
    assert!(!in_urls, "a credential is part of no URL");
}

#[tokio::test]
async fn redirects_are_not_followed() {
    let site = guarded("redirects").await;
    site.fhir
        .fault(RequestFault::next(On::KickOff, 2, Fault::RedirectForeign).containing("redirects-kickoff"));
    site.export("kickoff", json!({"level": "System", "container": "redirects-kickoff"}), json!({})).await;

    let faults = vec![Step::times(5, Fault::RedirectForeign)];
    let script = Script { status_faults: faults, ..Script::polls(1) };
    site.fhir.script(script.container("redirects-poll"));
    site.export("poll", json!({"level": "System", "container": "redirects-poll"}), json!({})).await;

    let script = Script { cancel_faults: vec![Step::times(2, Fault::RedirectForeign)], ..Script::stuck() };
    site.fhir.script(script.container("redirects-cancel"));
    site.export("cancel", json!({"level": "System", "container": "redirects-cancel"}), json!({})).await;
    site.until("cancel", "running", |o| o.status.as_ref().is_some_and(|s| s.accepted_time.is_some())).await;
    site.delete("cancel").await;

    let object = site.until_condition("poll", "ServerReachable", "False", "UnexpectedAnswer").await;
    let message = condition(&object, "ServerReachable").unwrap().2;
    assert!(!message.contains(&site.fhir.foreign_url()), "{message}");
    for name in ["kickoff", "poll"] {
        site.complete(name).await;
    }
    site.gone("cancel").await;
    let cancels: Vec<_> = site.fhir.requests().into_iter().filter(azure_fhir::Request::is_cancel).collect();
    let answers: Vec<_> = cancels.iter().map(|r| r.status).collect();
    assert_eq!(answers, [Some(307), Some(307), Some(202)]);
    nothing_went_elsewhere(&site);
}

#[tokio::test]
async fn status_urls_and_files_elsewhere_are_not_asked_for() {
    let site = guarded("elsewhere").await;
    let foreign = site.fhir.foreign_url();
    let script = Script { kick_off: KickOffAnswer::ForeignHost, ..Script::polls(2) };
    site.fhir.script(script.container("elsewhere-status"));
    site.export("status", json!({"level": "System", "container": "elsewhere-status"}), json!({})).await;

    for (name, place) in [
        ("other", format!("{foreign}/jobs/7")),
        ("user", foreign.replace("//", "//127.0.0.1:80@") + "/jobs/7"),
        ("scheme", format!("ftp{}/jobs/7", foreign.trim_start_matches("http"))),
    ] {
        let container = format!("elsewhere-{name}");
        let headers = vec![("Content-Location".to_owned(), place)];
        let accepted = Fault::Custom { status: 202, headers, body: String::new() };
        site.fhir.script(Script::refuses(accepted).container(&container));
        site.export(name, json!({"level": "System", "container": container}), json!({})).await;
    }

    site.fhir.script(
        Script::polls(1)
            .container("elsewhere-files")
            .with(ManifestQuirk::ForeignUrls(format!("{foreign}/account")))
            .with(ManifestQuirk::RequiresAccessToken),
    );
    site.export("files", json!({"level": "System", "container": "elsewhere-files"}), json!({})).await;

    let object = site.complete("status").await;
    let url = object.status.unwrap().job.unwrap().status_url.unwrap();
    assert!(url.starts_with(&site.fhir.url()), "{url}");
    for name in ["other", "user", "scheme"] {
        let object = site.failed(name, "NoStatusURL").await;
        assert_eq!(object.status.unwrap().unsettled_jobs.len(), 1, "{name}");
    }
    site.failed("files", "StorageMismatch").await;
    nothing_went_elsewhere(&site);
}
