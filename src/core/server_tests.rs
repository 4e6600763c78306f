#![allow(clippy::unwrap_used)]

use serde_json::{Value, json};

use super::*;
use crate::core::export::tests::{at, azure_server, stored_server};
use crate::core::wire::{Answer, Sent};

const ROLE: &str = "FHIR Data Exporter";

fn capability(software: &str) -> Answer {
    let body = json!({"resourceType": "CapabilityStatement", "fhirVersion": "4.0.1",
        "software": {"name": software, "version": "5.0.30"}});
    Answer { status: 200, body: body.to_string().into(), ..Answer::default() }
}

fn outcome(status: u16, code: &str, text: &str) -> Answer {
    let body: Value = json!({"resourceType": "OperationOutcome",
        "issue": [{"severity": "error", "code": code, "diagnostics": text}]});
    Answer { status, body: body.to_string().into(), ..Answer::default() }
}

fn page(status: u16) -> Answer {
    Answer { status, body: "<html>".into(), content_type: Some("text/html".into()), ..Answer::default() }
}

fn failure(kind: FailureKind, reason: Reason) -> Failure {
    Failure { sent: Sent::No, reason, message: "why not".into(), kind }
}

fn good() -> Probe {
    Probe {
        metadata: Ok(capability("Microsoft FHIR Server")),
        access: Ok(outcome(404, "not-found", "The requested job \"0\" was not found.")),
        storage: None,
    }
}

fn judged(spec: &FhirServerSpec, probe: &Probe) -> (FhirServerStatus, Duration) {
    judge(spec, &FhirServerStatus::default(), 3, probe, &Tuning::default(), at(0))
}

fn found(status: &FhirServerStatus, type_: ConditionType) -> (ConditionStatus, String) {
    let c = condition::find(&status.conditions, type_).unwrap();
    assert_eq!(c.observed_generation, Some(3));
    (c.status, c.reason.clone())
}

#[test]
fn a_bulk_data_server_that_forbids_exports_is_not_told_of_azure_s_role() {
    let mut bulk = azure_server();
    bulk.spec.dialect = Dialect::BulkData;
    let probe = Probe {
        metadata: Ok(capability("HAPI FHIR")),
        access: Ok(outcome(403, "forbidden", "no scope")),
        storage: None,
    };
    let (status, _) = judged(&bulk.spec, &probe);
    let authenticated = condition::find(&status.conditions, ConditionType::Authenticated).unwrap();
    assert_eq!((authenticated.status, authenticated.reason.as_str()), (ConditionStatus::False, "Forbidden"));
    assert!(!authenticated.message.contains(ROLE), "{}", authenticated.message);
}

#[test]
fn the_two_requests() {
    let mut server = azure_server();
    server.spec.url = "https://clinic.example/fhir/".into();
    let metadata = metadata_request(&server.spec);
    assert_eq!((metadata.url.as_str(), metadata.with_token), ("https://clinic.example/fhir/metadata", false));
    let access = access_request(&server.spec);
    assert_eq!(
        (access.method, access.url.as_str(), access.with_token),
        (Method::Get, "https://clinic.example/fhir/_operations/export/0", true)
    );
}

#[test]
fn probes_that_find_the_same_again_come_later_and_later() {
    let gone = StorageFailure { kind: StorageFailureKind::Missing, message: "the Secret is gone".into() };
    let missing = Probe { storage: Some(Err(gone)), ..good() };
    let down = Failure {
        sent: Sent::No,
        reason: Reason::ConnectionFailed,
        message: "no connection".into(),
        kind: FailureKind::Unreachable,
    };
    let down = Probe { metadata: Err(down.clone()), access: Err(down), storage: None };
    let server = stored_server();
    for (probe, first, longest) in [(missing, 5, 60), (down, 30, 300)] {
        let (mut status, mut now) = (FhirServerStatus::default(), 0);
        let mut waits = Vec::new();
        for _ in 0..20 {
            let (next, wait) = judge(&server.spec, &status, 3, &probe, &Tuning::default(), at(now));
            status = next;
            now += i64::try_from(wait.as_secs()).unwrap();
            waits.push(wait.as_secs());
        }
        assert_eq!((waits.first(), waits.last()), (Some(&first), Some(&longest)), "{waits:?}");
        assert!(waits.is_sorted(), "{waits:?}");
        let (_, wait) = judge(&server.spec, &status, 3, &good(), &Tuning::default(), at(now));
        assert!(wait >= WHEN_NOT, "once it works nothing is asked in a hurry");
    }
}

#[test]
fn a_good_server() {
    let mut server = stored_server();
    let probe = Probe { storage: Some(Ok(())), ..good() };
    let (status, wait) = judged(&server.spec, &probe);
    assert_eq!(found(&status, ConditionType::Ready), (ConditionStatus::True, "ProbeSucceeded".into()));
    assert_eq!(found(&status, ConditionType::Authenticated), (ConditionStatus::True, "NotRequired".into()));
    assert_eq!(
        found(&status, ConditionType::StorageAccessible),
        (ConditionStatus::True, "ContainerListed".into())
    );
    assert_eq!(
        (status.software.as_deref(), status.fhir_version.as_deref()),
        (Some("Microsoft FHIR Server 5.0.30"), Some("4.0.1"))
    );
    assert_eq!(status.observed_generation, Some(3));
    assert!(!status.conditions.iter().any(|c| c.is(ConditionType::Stalled)));
    assert_eq!(wait, WHEN_READY);
    server.spec.auth.type_ = AuthType::BearerToken;
    let (status, _) = judged(&server.spec, &probe);
    assert_eq!(found(&status, ConditionType::Authenticated).1, "TokenAccepted");
    let (again, _) = judge(&server.spec, &status, 3, &probe, &Tuning::default(), at(700));
    assert_eq!(again, status, "the same probe changes nothing");
}

#[test]
fn who_the_server_is() {
    use ConditionStatus::{False, Unknown};
    let unreachable = |reason| Err(failure(FailureKind::Unreachable, reason));
    let until = at(60);
    let rows: Vec<(Reply, ConditionStatus, &str, &str)> = vec![
        (Ok(capability("HAPI FHIR")), False, "WrongDialect", "dialect BulkData"),
        (Ok(capability("")), False, "WrongDialect", "the server"),
        (Ok(page(200)), False, "UnexpectedAnswer", "CapabilityStatement"),
        (Ok(page(404)), False, "UnexpectedAnswer", "answers 404"),
        (Ok(page(302)), False, "UnexpectedAnswer", "answers 302"),
        (Ok(outcome(401, "login", "x")), False, "UnexpectedAnswer", "answers 401"),
        (
            Ok(Answer { status: 200, body: "{\"resourceType\":\"Bundle\"}".into(), ..Answer::default() }),
            False,
            "UnexpectedAnswer",
            "url",
        ),
        (Ok(page(502)), False, "ServerError", "502"),
        (Ok(outcome(429, "throttled", "x")), Unknown, "Throttled", "throttling"),
        (unreachable(Reason::HostNotFound), False, "HostNotFound", "why not"),
        (unreachable(Reason::ConnectionFailed), False, "ConnectionFailed", "why not"),
        (unreachable(Reason::TLSFailed), False, "TLSFailed", "why not"),
        (unreachable(Reason::TimedOut), False, "TimedOut", "why not"),
        (Err(failure(FailureKind::Missing, Reason::SecretNotFound)), False, "SecretNotFound", "why not"),
        (Err(failure(FailureKind::HeldBack { until }, Reason::Throttled)), Unknown, "Throttled", "why not"),
    ];
    for (metadata, wanted, reason, words) in rows {
        let probe = Probe { metadata, ..good() };
        let (status, wait) = judged(&azure_server().spec, &probe);
        assert_eq!(found(&status, ConditionType::Ready), (wanted, reason.into()), "{probe:?}");
        let ready = condition::find(&status.conditions, ConditionType::Ready).unwrap();
        assert!(ready.message.contains(words), "{}", ready.message);
        assert_eq!(status.conditions.iter().any(|c| c.is(ConditionType::Stalled)), reason == "WrongDialect");
        assert_eq!(wait, if reason == "SecretNotFound" { Tuning::default().missing_retry } else { WHEN_NOT });
    }
    let mut bulk = stored_server();
    bulk.spec.dialect = Dialect::BulkData;
    let (status, _) = judged(&bulk.spec, &good());
    assert_eq!(found(&status, ConditionType::Ready), (False, "WrongDialect".into()));
    for name in ["Azure API for FHIR", "microsoft fhir server"] {
        let (status, _) = judged(&azure_server().spec, &Probe { metadata: Ok(capability(name)), ..good() });
        assert_eq!(found(&status, ConditionType::Ready).0, ConditionStatus::True, "{name}");
    }
}

#[test]
fn stalled_goes_when_the_server_is_right_again() {
    let spec = azure_server().spec;
    let (wrong, _) = judged(&spec, &Probe { metadata: Ok(capability("HAPI FHIR")), ..good() });
    let (right, _) = judge(&spec, &wrong, 3, &good(), &Tuning::default(), at(30));
    assert!(condition::is_true(&wrong.conditions, ConditionType::Stalled));
    assert!(condition::find(&right.conditions, ConditionType::Stalled).is_none());
    assert!(condition::is_true(&right.conditions, ConditionType::Ready));
}

#[test]
fn whether_the_identity_may_export() {
    use ConditionStatus::{False, True, Unknown};
    let rows: Vec<(Reply, ConditionStatus, &str)> = vec![
        (Ok(outcome(404, "not-found", "x")), True, "TokenAccepted"),
        (Ok(outcome(401, "login", "Authentication failed.")), False, "Unauthorized"),
        (Ok(page(401)), False, "Unauthorized"),
        (Ok(outcome(403, "forbidden", "Authorization failed.")), False, "Forbidden"),
        (Ok(outcome(429, "throttled", "x")), Unknown, "Throttled"),
        (Ok(page(503)), Unknown, "ServerError"),
        (Err(failure(FailureKind::Missing, Reason::CredentialNotLabelled)), False, "CredentialNotLabelled"),
        (Err(failure(FailureKind::Unreachable, Reason::TokenRefused)), False, "TokenRefused"),
        (Err(failure(FailureKind::HeldBack { until: at(9) }, Reason::Throttled)), Unknown, "Throttled"),
    ];
    let mut server = azure_server();
    server.spec.auth.type_ = AuthType::BearerToken;
    for (access, wanted, reason) in rows {
        let probe = Probe { access, ..good() };
        let (status, wait) = judged(&server.spec, &probe);
        assert_eq!(found(&status, ConditionType::Authenticated), (wanted, reason.into()), "{probe:?}");
        let ready = found(&status, ConditionType::Ready);
        assert_eq!(ready.0, wanted, "Ready follows: {ready:?}");
        assert_eq!(ready.1, if wanted == True { "ProbeSucceeded" } else { reason });
        if reason == "CredentialNotLabelled" {
            assert_eq!(wait, Tuning::default().missing_retry);
        }
    }
    let (status, _) = judged(&server.spec, &Probe { access: Ok(outcome(403, "forbidden", "x")), ..good() });
    let c = condition::find(&status.conditions, ConditionType::Authenticated).unwrap();
    assert!(c.message.contains(ROLE), "{}", c.message);
}

#[test]
fn whether_the_files_can_be_seen() {
    use ConditionStatus::{False, True, Unknown};
    use StorageFailureKind as Kind;
    for (kind, wanted, reason, ready) in [
        (Kind::NotConfigured, Unknown, "NotConfigured", True),
        (Kind::Missing, False, "DependencyMissing", False),
        (Kind::NotFound, Unknown, "ContainerNotFound", True),
        (Kind::Transient { retry_after: None }, Unknown, "StorageUnreachable", True),
        (Kind::Denied, False, "NoStorageAccess", False),
        (Kind::HostNotAllowed, False, "StorageHostNotAllowed", False),
        (Kind::NotGranted, False, "VolumeNotAllowed", False),
        (Kind::NotMounted, False, "VolumeNotMounted", False),
        (Kind::ReadOnly, False, "NoStorageAccess", False),
        (Kind::Permanent, False, "NoStorageAccess", False),
    ] {
        let failure = StorageFailure { kind, message: "why not".into() };
        let (status, wait) = judged(&stored_server().spec, &Probe { storage: Some(Err(failure)), ..good() });
        assert_eq!(found(&status, ConditionType::StorageAccessible), (wanted, reason.into()));
        assert_eq!(found(&status, ConditionType::Ready).0, ready, "{kind:?}");
        if kind == Kind::Missing {
            assert_eq!(wait, Tuning::default().missing_retry);
        }
    }
    let (status, _) = judged(&azure_server().spec, &good());
    assert_eq!(found(&status, ConditionType::StorageAccessible), (Unknown, "NotConfigured".into()));
    assert_eq!(found(&status, ConditionType::Ready).0, True, "storage is optional");
}

#[test]
fn a_hostile_server_stays_small_and_names_nobody() {
    let long = "ü".repeat(100_000);
    let body = json!({"resourceType": "CapabilityStatement", "fhirVersion": long,
        "software": {"name": format!("Microsoft Patient/4711 https://x/?sig=secret {long}"), "version": long}});
    let metadata = Ok(Answer { status: 200, body: body.to_string().into(), ..Answer::default() });
    let access = Ok(outcome(403, "forbidden", &format!("Patient/4711 https://x/?sig=secret {long}")));
    let (status, _) = judged(&azure_server().spec, &Probe { metadata, access, storage: None });
    let text = serde_json::to_string(&status).unwrap();
    assert!(text.len() < 16 * 1024, "{}", text.len());
    assert!(!text.contains("4711") && !text.contains("secret"));
}

fn bulk_capability(software: &str, more: &Value) -> Answer {
    let mut body = json!({"resourceType": "CapabilityStatement", "fhirVersion": "4.0.1",
        "software": {"name": software}});
    body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    Answer { status: 200, body: body.to_string().into(), ..Answer::default() }
}

#[test]
fn what_is_found_out_of_a_bulk_data_server() {
    use crate::api::{KickOffMethod, ListStyle, Resolved, Version};
    let server = crate::core::export::tests::bulk_server(json!({}));
    let access = access_request(&server.spec);
    assert_eq!((access.url.as_str(), access.with_token), ("https://clinic.example/metadata", true));
    let operation = |name: &str, version: &str| {
        let definition = format!("http://hl7.org/fhir/uv/bulkdata/OperationDefinition/{name}|{version}");
        json!({"rest": [{"operation": [{"name": name, "definition": definition}]}]})
    };
    for (software, more, method, lists, version) in [
        ("HAPI FHIR Server", json!({}), KickOffMethod::Get, ListStyle::Comma, None),
        ("x", json!({}), KickOffMethod::Get, ListStyle::Comma, None),
        ("x", operation("export", "2.0.0"), KickOffMethod::Get, ListStyle::Comma, Some(Version::Stu2)),
        ("x", operation("export", "3.0.0"), KickOffMethod::Get, ListStyle::Repeat, Some(Version::Stu3)),
        (
            "x",
            operation("export-v4", "4.0.0-ballot"),
            KickOffMethod::Post,
            ListStyle::Repeat,
            Some(Version::Stu4),
        ),
        (
            "x",
            json!({"rest": [{"resource": [{"operation": [{"name": "export",
                "definition": "http://hl7.org/fhir/uv/bulkdata/OperationDefinition/patient-export|1.0.1"}]}]}]}),
            KickOffMethod::Get,
            ListStyle::Comma,
            Some(Version::Stu1),
        ),
    ] {
        let answer = bulk_capability(software, &more);
        let probe = Probe { metadata: Ok(answer.clone()), access: Ok(answer), storage: Some(Ok(())) };
        let (status, _) = judged(&server.spec, &probe);
        assert_eq!(found(&status, ConditionType::Ready), (ConditionStatus::True, "ProbeSucceeded".into()));
        let wanted = Resolved { kick_off_method: Some(method), list_style: Some(lists), version };
        assert_eq!(status.resolved, Some(wanted), "{software} {more}");
    }
    // The server shows its metadata only to clients that it knows.
    let probe = Probe {
        metadata: Ok(outcome(401, "login", "who are you?")),
        access: Ok(bulk_capability("Epic", &json!({}))),
        storage: Some(Ok(())),
    };
    let (status, _) = judged(&server.spec, &probe);
    assert_eq!(status.software.as_deref(), Some("Epic"));
    let wrong = Probe { metadata: Ok(capability("Microsoft FHIR Server")), ..probe };
    let (status, _) = judged(&server.spec, &wrong);
    assert_eq!(found(&status, ConditionType::Ready), (ConditionStatus::False, "WrongDialect".into()));
}

#[test]
fn credentials_that_were_not_tried_are_not_called_good() {
    let mut server = crate::core::export::tests::bulk_server(json!({}));
    let shown = bulk_capability("x", &json!({}));
    let probe = Probe { metadata: Ok(shown.clone()), access: Ok(shown), storage: Some(Ok(())) };
    for (auth, status, reason) in [
        (json!({"type": "None"}), ConditionStatus::True, "NotRequired"),
        (
            json!({"type": "Basic", "basic": {"secretRef": {"name": "b"}}}),
            ConditionStatus::Unknown,
            "NotTried",
        ),
        (
            json!({"type": "BearerToken", "bearerToken": {"secretRef": {"name": "b", "key": "k"}}}),
            ConditionStatus::Unknown,
            "NotTried",
        ),
        (
            json!({"type": "SmartBackendServices", "smartBackendServices":
                {"clientID": "c", "privateKeySecretRef": {"name": "b", "key": "k"}}}),
            ConditionStatus::True,
            "TokenAccepted",
        ),
    ] {
        server.spec.auth = serde_json::from_value(auth).unwrap();
        let (judged, _) = judged(&server.spec, &probe);
        assert_eq!(found(&judged, ConditionType::Authenticated), (status, reason.to_owned()));
        assert_eq!(found(&judged, ConditionType::Ready).0, ConditionStatus::True, "{reason}");
    }
    let away = StorageFailure {
        kind: StorageFailureKind::Transient { retry_after: None },
        message: "no connection".into(),
    };
    let (judged, _) = judged(&server.spec, &Probe { storage: Some(Err(away)), ..probe });
    assert_eq!(found(&judged, ConditionType::Ready), (ConditionStatus::Unknown, "StorageUnreachable".into()));
}

#[test]
fn a_probe_that_was_put_off_finds_nothing() {
    let held = Failure {
        kind: FailureKind::HeldBack { until: at(40) },
        ..failure(FailureKind::Unreachable, Reason::Throttled)
    };
    assert_eq!(good().put_off(at(0)), None);
    assert_eq!(Probe { metadata: Err(held), ..good() }.put_off(at(0)), Some(Duration::from_secs(40)));
    let busy = Answer { status: 429, retry_after: Some(Duration::from_secs(7)), ..Answer::default() };
    assert_eq!(Probe { access: Ok(busy), ..good() }.put_off(at(0)), Some(Duration::from_secs(7)));
}

#[test]
fn a_server_that_goes_says_who_holds_it() {
    let status = deleting(&FhirServerStatus::default(), 2, 3, at(0));
    assert_eq!(found(&status, ConditionType::Ready), (ConditionStatus::False, "ServerDeleting".into()));
    assert!(status.conditions[0].message.contains("2 exports still use it"));
}
