//! Mistakes of new users that the server reveals: which condition reports each, and with which next step.

use azure_fhir::{Failure, Fault, Options, Script, Step, TestCa};
use k8s_openapi::api::core::v1::ConfigMap;
use kube::Api;
use kube::api::PostParams;
use serde_json::json;

use crate::site::{Site, condition};

#[tokio::test]
async fn a_certificate_of_an_unknown_authority_is_told_and_repaired() {
    let ca = std::sync::Arc::new(TestCa::new().unwrap());
    let pem = ca.pem().to_owned();
    let mut site = Site::without_server("authority", Options { tls: Some(ca), ..Options::default() }).await;
    let url = site.fhir.tls_url().unwrap();
    site.apply_server(json!({"url": url})).await;
    site.start_operator().await;
    site.export("tls", json!({"level": "System", "container": "authority"}), json!({})).await;
    let object = site.until_condition("tls", "ServerReachable", "False", "TLSFailed").await;
    let message = condition(&object, "ServerReachable").unwrap().2;
    assert!(message.contains("comes from an authority that is not trusted here"), "{message}");
    assert!(
        message.contains(&format!("check url and tls of FhirServer {}/clinic", site.namespace)),
        "{message}"
    );
    assert_eq!(condition(&object, "Reconciling").unwrap().1, "WaitingToRetry");

    let map = json!({"metadata": {"name": "ca"}, "data": {"ca.crt": pem}});
    let maps: Api<ConfigMap> = site.api();
    maps.create(&PostParams::default(), &serde_json::from_value(map).unwrap()).await.unwrap();
    let bundle = json!({"kind": "ConfigMap", "name": "ca", "key": "ca.crt"});
    site.apply_server(json!({"url": url, "tls": {"caBundleRef": bundle}})).await;
    let object = site.complete("tls").await;
    assert_eq!((object.status.unwrap().attempts, site.kick_offs()), (Some(1), 1));
}

#[tokio::test]
async fn a_server_that_is_not_there_is_told_with_what_to_check() {
    let site = Site::start("nowhere").await;
    for (name, url, reason, words) in [
        (
            "host",
            "http://nobody.invalid",
            "HostNotFound",
            "the host name nobody.invalid does not resolve; check url of",
        ),
        ("port", "http://127.0.0.1:1", "ConnectionFailed", "127.0.0.1 refused the connection; check url of"),
    ] {
        let spec = site.server_spec(json!({"url": url})).await;
        site.apply_server_named(name, spec).await;
        let reference = json!({"serverRef": {"name": name}, "activeDeadlineSeconds": 4});
        site.export(name, json!({"level": "System"}), reference).await;
        let object = site.until_condition(name, "ServerReachable", "False", reason).await;
        let message = condition(&object, "ServerReachable").unwrap().2;
        assert!(message.starts_with(words), "{message}");
        let object = site.failed(name, "DeadlineExceeded").await;
        let message = condition(&object, "Failed").unwrap().2;
        assert!(message.contains(words), "the end names the cause: {message}");
    }
}

#[tokio::test]
async fn a_refusal_shows_the_servers_words_short_and_clean() {
    let site = Site::start("words").await;
    let text = format!("Patient/4711 is bad,\r\n see https://h.example/x?sig=abcdef {}", "blah ".repeat(300));
    let body = json!({"resourceType": "OperationOutcome",
        "issue": [{"severity": "error", "code": "invalid", "diagnostics": text}]});
    let fault = Fault::Custom {
        status: 400,
        headers: vec![("content-type".into(), "application/fhir+json".into())],
        body: body.to_string(),
    };
    site.fhir.script(Script::refuses(fault));
    site.export("words", json!({"level": "System", "container": "words"}), json!({})).await;
    let object = site.failed("words", "KickOffRejected").await;
    let message = condition(&object, "Failed").unwrap().2;
    let begin = "the server refuses the export (400: Patient/*** is bad, see https://h.example/x? blah blah";
    assert!(message.starts_with(begin), "{message}");
    assert!(
        message.ends_with("…); correct the request in a new FhirExport") && message.len() < 700,
        "{message}"
    );
}

#[tokio::test]
async fn a_server_that_fails_is_tried_again_visibly_and_then_given_up() {
    let site = Site::start("visible").await;
    site.fhir.script(Script::refuses(Fault::Internal { outcome: true }).every_time());
    site.export("visible", json!({"level": "System", "container": "visible"}), json!({"backoffLimit": 1}))
        .await;
    let object = site.until_condition("visible", "Reconciling", "True", "WaitingToRetry").await;
    let message = condition(&object, "Reconciling").unwrap().2;
    assert!(
        message.starts_with("attempt 1 of 2 failed: the server failed at the kick-off (500: "),
        "{message}"
    );
    let due = object.status.as_ref().unwrap().next_attempt_time.unwrap().to_string();
    assert!(message.ends_with(&format!("; the next begins at {due}")), "{message} {due}");
    assert_eq!(condition(&object, "ServerReachable").unwrap().0, "True", "it answered");
    let object = site.failed("visible", "KickOffFailed").await;
    let message = condition(&object, "Failed").unwrap().2;
    let end = "; given up after 2 attempts (backoffLimit 1); check the server, then create a new FhirExport";
    assert!(message.ends_with(end), "{message}");
}

#[tokio::test]
async fn a_missing_right_names_the_role() {
    let site = Site::start("right").await;
    for (name, fault, reason, words) in [
        (
            "who",
            Fault::Unauthorized,
            "Unauthorized",
            "; check auth of the FhirServer: the identity, its tenant and the audience",
        ),
        ("may", Fault::Forbidden, "Forbidden", "; give it the role FHIR Data Exporter on the FHIR service"),
    ] {
        let container = format!("right-{name}");
        site.fhir.script(Script::refuses(fault).container(&container).every_time());
        site.export(name, json!({"level": "System", "container": container}), json!({"backoffLimit": 0}))
            .await;
        let object = site.until_condition(name, "ServerReachable", "False", reason).await;
        let message = condition(&object, "ServerReachable").unwrap().2;
        assert!(message.ends_with(words), "{message}");
        let waits = condition(&object, "Reconciling").unwrap();
        assert_eq!((waits.0.as_str(), waits.1.as_str()), ("True", "WaitingToRetry"));
        assert!(object.status.unwrap().attempts.is_none(), "it does not count");
        site.delete(name).await;
        site.gone(name).await;
    }
}

/// The service's messages about its storage hold ids, headers and XML. The operator keeps one sentence of them.
#[tokio::test]
async fn every_failure_of_a_job_ends_in_the_next_step() {
    let site = Site::start("next").await;
    site.apply_server(json!({"limits": {"maxConcurrentExports": 50}})).await;
    let rows = [
        (
            Failure::StorageAccessDenied,
            "AuthorizationPermissionMismatch); give its managed identity the role Storage Blob Data Contributor on the \
             account, or open the account's firewall to the service",
        ),
        (
            Failure::NoManagedIdentity,
            "; enable its system-assigned managed identity and give it Storage Blob Data Contributor",
        ),
        (Failure::StorageAccountNotFound, "; correct it in the FHIR service's Export settings"),
        (Failure::ContainerNotFound, "ContainerNotFound); check the container, then create a new FhirExport"),
        (Failure::InvalidStorageUri, "; set it in the FHIR service's Export settings"),
        (Failure::AnonymizationConfigInvalid, "; check the configuration file, its path and its ETag"),
        (
            Failure::OutOfMemory { max_count: 1000 },
            "; set request.azure.maxCount to a tenth of what the message names",
        ),
        (Failure::RecordTooLarge, "; export a shorter period, or fewer types"),
    ];
    for (n, (failure, _)) in rows.iter().enumerate() {
        let container = format!("next-{n}");
        site.fhir.script(Script::fails(failure.clone()).container(&container));
        site.export(&container, json!({"level": "System", "container": container}), json!({})).await;
    }
    for (n, (failure, end)) in rows.iter().enumerate() {
        let object = site.ended(&format!("next-{n}")).await;
        let message = condition(&object, "Failed").unwrap().2;
        assert!(message.ends_with(end), "{failure:?}: {message}");
        assert!(message.contains(" (the server says: ") && message.len() < 400, "{failure:?}: {message}");
        assert!(!message.contains("RequestId") && !message.contains("<?xml"), "{failure:?}: {message}");
    }
    site.export("group", json!({"level": "Group", "groupID": "nobody", "container": "next"}), json!({}))
        .await;
    let object = site.failed("group", "GroupNotFound").await;
    let wanted = "there is no such Group on the server (the server says: Group nobody was not found); correct groupID \
        in a new FhirExport";
    assert_eq!(condition(&object, "Failed").unwrap().2, wanted);
}

#[tokio::test]
async fn nonsense_is_taken_for_passing_before_it_ends_the_run() {
    let site = Site::start("passing").await;
    for (name, fault, words) in [
        ("html", Fault::GatewayPage { status: 200 }, "a web page"),
        ("cut", Fault::TruncatedJson, "truncated JSON"),
        ("empty", Fault::EmptyBody, "an empty body"),
    ] {
        let container = format!("passing-{name}");
        let script = Script { status_faults: vec![Step::always(fault)], ..Script::polls(0) };
        site.fhir.script(script.container(&container));
        site.export(name, json!({"level": "System", "container": container}), json!({})).await;
        let object = site.until_condition(name, "ServerReachable", "False", "UnexpectedAnswer").await;
        let wanted = format!(
            "the server says that the job is done, but answers with {words} where its manifest should be"
        );
        assert!(condition(&object, "ServerReachable").unwrap().2.starts_with(&wanted), "{object:?}");
        let object = site.failed(name, "InvalidManifest").await;
        assert!(condition(&object, "Failed").unwrap().2.contains("look into the container"));
        assert!(condition(&object, "Complete").is_none());
    }
}
