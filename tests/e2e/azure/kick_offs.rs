//! The kick-off: what the operator sends, how often, and what it does with each answer.

use azure_fhir::{Fault, KickOffAnswer, ManifestQuirk, On, RequestFault, Script};
use serde_json::json;

use crate::site::{Site, condition};

#[tokio::test]
async fn every_parameter_goes_out_as_it_should() {
    let site = Site::start("parameters").await;
    let request = json!({
        "level": "System", "container": "parameters", "types": ["Patient", "Observation"],
        "typeFilters": ["Observation?code=http://loinc.org|1234-5&status=final", "Patient?gender=female"],
        "since": "2020-01-01T00:00:00.1234567+02:00", "until": "2030-01-01T00:00:00Z",
        "outputFormat": "application/fhir+ndjson", "handling": "Lenient",
        "azure": {"maxCount": 500, "parallel": false, "anonymization": {"config": "deid v1.json", "etag": "\"0x8D\""}},
    });
    site.export("all", request, json!({})).await;
    site.ended("all").await;
    let kick_off = site.fhir.requests().into_iter().find(azure_fhir::Request::is_kick_off).unwrap();
    let query = kick_off.query.clone().unwrap();
    for part in [
        "_outputFormat=application%2Ffhir%2Bndjson",
        "_since=2020-01-01T00%3A00%3A00.1234567%2B02%3A00",
        "_till=2030-01-01T00%3A00%3A00Z",
        "_type=Patient%2CObservation",
        "_typeFilter=Observation%3Fcode%3Dhttp%3A%2F%2Floinc.org%7C1234-5%26status%3Dfinal%2CPatient%3Fgender%3Dfemale",
        "_container=parameters",
        "_maxCount=500",
        "_isParallel=false",
        "_anonymizationConfig=deid%20v1.json",
        "_anonymizationConfigEtag=%220x8D%22",
    ] {
        assert!(query.split('&').any(|p| p == part), "{part} is not in {query}");
    }
    assert_eq!(kick_off.headers.get("accept").map(String::as_str), Some("application/fhir+json"));
    assert_eq!(kick_off.headers.get("prefer").map(String::as_str), Some("respond-async,handling=lenient"));

    let request = json!({"level": "System", "container": "parameters",
        "includeAssociatedData": ["_history", "_deleted"],
        "azure": {"anonymization": {"config": "c.json", "collectionReference": "registry.example/deid:1"}},
        "parameters": [{"name": "_format", "value": "a b+c"}]});
    site.export("further", request, json!({})).await;
    site.ended("further").await;
    let kick_off = site.fhir.requests().into_iter().rfind(azure_fhir::Request::is_kick_off).unwrap();
    let query = kick_off.query.unwrap();
    for part in [
        "includeAssociatedData=_history%2C_deleted",
        "_anonymizationConfigCollectionReference=registry.example%2Fdeid%3A1",
        "_format=a%20b%2Bc",
    ] {
        assert!(query.split('&').any(|p| p == part), "{part} is not in {query}");
    }
    assert_eq!(kick_off.headers.get("prefer").map(String::as_str), Some("respond-async"));
}

#[tokio::test]
async fn a_rejected_request_fails_with_the_servers_words() {
    let site = Site::start("rejected").await;
    let request = json!({"level": "System", "container": "rejected",
        "parameters": [{"name": "_elements2", "value": "x"}]});
    site.export("rejected", request, json!({})).await;
    let object = site.failed("rejected", "KickOffRejected").await;
    let message = condition(&object, "Failed").unwrap().2;
    assert!(message.contains("_elements2"), "{message}");
    assert_eq!(site.kick_offs(), 1);
    site.until("rejected", "let go", |o| kube::ResourceExt::finalizers(o).is_empty()).await;
}

#[tokio::test]
async fn a_certain_5xx_is_tried_again_up_to_the_limit() {
    let site = Site::start("certain").await;
    site.fhir.script(Script::refuses(Fault::Internal { outcome: true }).container("certain"));
    site.export("second", json!({"level": "System", "container": "certain"}), json!({})).await;
    let object = site.complete("second").await;
    assert_eq!(object.status.unwrap().attempts, Some(2));

    site.fhir
        .script(Script::refuses(Fault::Internal { outcome: true }).container("certain-never").every_time());
    site.export("never", json!({"level": "System", "container": "certain-never"}), json!({})).await;
    site.until_condition("never", "Reconciling", "True", "WaitingToRetry").await;
    site.failed("never", "KickOffFailed").await;
    assert_eq!(site.kick_offs(), 2 + 3);
}

#[tokio::test]
async fn access_and_patience_are_waited_for_without_counting() {
    let site = Site::start("access").await;
    for (name, fault, reason) in [
        ("unauthorized", Fault::Unauthorized, "Unauthorized"),
        ("forbidden", Fault::Forbidden, "Forbidden"),
        ("throttled", Fault::Throttled { seconds: 1, millis: 900 }, "Throttled"),
    ] {
        let container = format!("access-{name}");
        for _ in 0..4 {
            site.fhir.script(Script::refuses(fault.clone()).container(&container));
        }
        let spec = json!({"backoffLimit": 0});
        site.export(name, json!({"level": "System", "container": container}), spec).await;
        site.until_condition(name, "ServerReachable", "False", reason).await;
        let object = site.complete(name).await;
        assert_eq!(object.status.unwrap().attempts, Some(1), "{name}");
    }
}

#[tokio::test]
async fn a_server_that_is_down_is_waited_for() {
    let mut site = Site::start("down").await;
    site.fhir.down();
    site.export("down", json!({"level": "System", "container": "down"}), json!({"backoffLimit": 0})).await;
    let object = site.until_condition("down", "ServerReachable", "False", "ConnectionFailed").await;
    assert!(condition(&object, "ServerReachable").unwrap().2.contains("127.0.0.1"));
    site.fhir.up().await.unwrap();
    let object = site.complete("down").await;
    assert_eq!(object.status.unwrap().attempts, Some(1));
    assert_eq!(site.kick_offs(), 1);
}

#[tokio::test]
async fn an_unknown_host_and_a_strange_certificate_are_told() {
    let site = Site::start("strange").await;
    let spec = site.server_spec(json!({"url": "http://nobody.invalid"})).await;
    site.apply_server_named("nobody", spec).await;
    site.export(
        "host",
        json!({"level": "System", "container": "strange"}),
        json!({"serverRef": {"name": "nobody"}}),
    )
    .await;
    let object = site.until_condition("host", "ServerReachable", "False", "HostNotFound").await;
    assert!(condition(&object, "ServerReachable").unwrap().2.contains("nobody.invalid"));
    site.change("host", json!({"activeDeadlineSeconds": 1})).await;
    site.failed("host", "DeadlineExceeded").await;

    let https = site.fhir.url().replace("http://", "https://");
    let spec = site.server_spec(json!({"url": https})).await;
    site.apply_server_named("plain", spec).await;
    site.export(
        "tls",
        json!({"level": "System", "container": "strange"}),
        json!({"serverRef": {"name": "plain"}}),
    )
    .await;
    site.until_condition("tls", "ServerReachable", "False", "TLSFailed").await;
    site.delete("tls").await;
    site.gone("tls").await;
}

#[tokio::test]
async fn a_lost_answer_is_searched_for_and_the_job_adopted() {
    let site = Site::start("lost").await;
    site.fhir.script(Script::loses_answer().container("lost"));
    site.export("lost", json!({"level": "System", "container": "lost"}), json!({})).await;
    site.until_condition("lost", "KickOffUncertain", "True", "").await;
    let object = site.complete("lost").await;
    let uncertain = condition(&object, "KickOffUncertain").unwrap();
    assert_eq!((uncertain.0.as_str(), uncertain.1.as_str()), ("False", "JobConfirmed"));
    assert_eq!((site.kick_offs(), site.cancels()), (1, 0));
}

#[tokio::test]
async fn a_job_that_is_not_ours_is_not_taken_for_ours() {
    let site = Site::start("foreign").await;
    site.fhir.script(Script::loses_answer().container("foreign").with(ManifestQuirk::ForeignRequest));
    site.export("foreign", json!({"level": "System", "container": "foreign"}), json!({})).await;
    site.failed("foreign", "JobNotOurs").await;
    assert_eq!(site.cancels(), 0);
}

#[tokio::test]
async fn a_lost_kick_off_without_a_job_follows_the_policy() {
    let site = Site::start("policy").await;
    let gateway = || Script::refuses(Fault::GatewayPage { status: 502 });
    site.fhir.script(gateway().container("policy-fail"));
    let spec = json!({"onUncertainKickOff": "Fail"});
    site.export("fail", json!({"level": "System", "container": "policy-fail"}), spec).await;
    let object = site.failed("fail", "KickOffUncertain").await;
    assert_eq!(object.status.unwrap().unsettled_jobs.len(), 1);

    site.fhir.script(gateway().container("policy-retry"));
    site.export("retry", json!({"level": "System", "container": "policy-retry"}), json!({})).await;
    let object = site.complete("retry").await;
    let status = object.status.clone().unwrap();
    assert_eq!((status.attempts, status.unsettled_jobs.len()), (Some(2), 1));
    let reasons: Vec<String> = site.events("retry").await.into_iter().map(|e| e.0).collect();
    assert!(reasons.contains(&"KickOffUncertain".to_owned()), "{reasons:?}");
}

#[tokio::test]
async fn an_accepted_job_without_a_status_url_is_adopted_or_failed_never_repeated() {
    let site = Site::start("nourl").await;
    let quiet = || Script { kick_off: KickOffAnswer::NoContentLocation, ..Script::default() };
    site.fhir.script(quiet().container("nourl"));
    site.export("found", json!({"level": "System", "container": "nourl"}), json!({})).await;
    site.complete("found").await;
    assert_eq!(site.kick_offs(), 1);

    let mut spec = site.server_spec(json!({})).await;
    spec.as_object_mut().unwrap().remove("storage");
    site.apply_server_named("blind", spec).await;
    site.fhir.script(quiet().container("nourl-blind"));
    let request = json!({"level": "System", "container": "nourl-blind"});
    site.export("blind", request, json!({"serverRef": {"name": "blind"}})).await;
    let object = site.failed("blind", "NoStatusURL").await;
    assert_eq!(object.status.unwrap().unsettled_jobs.len(), 1);
    assert_eq!(site.kick_offs(), 2);
}

#[tokio::test]
async fn status_urls_of_proxies_lead_back_to_the_server() {
    let site = Site::start("proxies").await;
    for (name, answer) in [
        ("relative", KickOffAnswer::Relative),
        ("foreign", KickOffAnswer::ForeignHost),
        ("scheme", KickOffAnswer::HttpScheme),
    ] {
        let container = format!("proxies-{name}");
        site.fhir.script(Script { kick_off: answer, ..Script::default() }.container(&container));
        site.export(name, json!({"level": "System", "container": container}), json!({})).await;
        let object = site.complete(name).await;
        let url = object.status.unwrap().job.unwrap().status_url.unwrap();
        assert!(url.starts_with(&site.fhir.url()), "{url}");
    }
    let foreign =
        site.fhir.requests().into_iter().filter(|r| r.listener == azure_fhir::Listener::Foreign).count();
    assert_eq!(foreign, 0);
}

#[tokio::test]
async fn a_redirect_is_not_followed() {
    let site = Site::start("redirect").await;
    site.fhir.fault(RequestFault::next(On::KickOff, 1, Fault::RedirectForeign));
    site.export("redirect", json!({"level": "System", "container": "redirect"}), json!({})).await;
    site.until_condition("redirect", "ServerReachable", "False", "UnexpectedAnswer").await;
    site.complete("redirect").await;
    let foreign =
        site.fhir.requests().into_iter().filter(|r| r.listener == azure_fhir::Listener::Foreign).count();
    assert_eq!(foreign, 0);
}
