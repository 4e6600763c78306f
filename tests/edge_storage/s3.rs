//! S3 stores that fail or overwrite objects, and roles that are assumed with the token of a ServiceAccount.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use fhir_export_operator::core::ledger::StorageFailureKind;
use fhir_export_operator::credentials::EntraSettings;
use fhir_export_operator::ports::{ObjectStore, Target};
use fhir_export_operator::storage::StorageHosts;
use jiff::Timestamp;
use serde_json::json;
use test_server::{Answering, HttpReply, Served, Socket, TestCa, WholeRequest};

use crate::lake::{self, Secrets, s3_secrets};

/// A server that answers each request by a function of it, and keeps what it was asked: the URL and the body.
struct Stub {
    socket: Socket,
    asked: Arc<Asked>,
}

type Answer = Box<dyn Fn(&str, usize) -> HttpReply + Send + Sync>;

struct Asked {
    requests: Mutex<Vec<(String, String)>>,
    answer: Answer,
}

impl Answering for Asked {
    async fn answer(&self, request: WholeRequest) -> Served {
        let url = format!("{} {}", request.method(), request.uri());
        let body = String::from_utf8_lossy(request.body()).into_owned();
        let mut requests = self.requests.lock().unwrap();
        requests.push((url.clone(), body));
        (self.answer)(&url, requests.len()).into()
    }
}

impl Stub {
    async fn start(
        ca: Option<&TestCa>,
        answer: impl Fn(&str, usize) -> HttpReply + Send + Sync + 'static,
    ) -> Self {
        let asked = Arc::new(Asked { requests: Mutex::default(), answer: Box::new(answer) });
        let tls = ca.map(|ca| ca.acceptor().unwrap());
        let socket = Socket::open(0, tls, Arc::clone(&asked)).await.unwrap();
        Self { socket, asked }
    }

    fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.socket.address.port())
    }

    fn requests(&self) -> Vec<(String, String)> {
        self.asked.requests.lock().unwrap().clone()
    }
}

fn xml(status: u16, code: &str) -> HttpReply {
    let body =
        format!("<?xml version=\"1.0\"?><Error><Code>{code}</Code><Message>a secret name</Message></Error>");
    HttpReply::text(status, "application/xml", &body)
}

const EMPTY: &str = "<ListBucketResult><IsTruncated>false</IsTruncated></ListBucketResult>";

#[tokio::test]
async fn answers_of_a_store_in_trouble() {
    let transient = |seconds: Option<u64>| StorageFailureKind::Transient {
        retry_after: seconds.map(Duration::from_secs),
    };
    let region = "<Error><Code>AuthorizationHeaderMalformed</Code><Region>eu-west-1</Region></Error>";
    let old = xml(403, "AccessDenied").header("Date", "Mon, 01 Jan 2024 00:00:00 GMT");
    let table = [
        (
            xml(503, "SlowDown").header("retry-after", "120"),
            transient(Some(120)),
            "busy or out of order (503 SlowDown)",
        ),
        (
            xml(403, "AccessDenied"),
            StorageFailureKind::Denied,
            "permit s3:ListBucket and s3:GetObject for the bucket lake",
        ),
        (xml(403, "InvalidAccessKeyId"), StorageFailureKind::Denied, "put the current one into its Secret"),
        (
            xml(403, "SignatureDoesNotMatch"),
            StorageFailureKind::Denied,
            "put the current one into its Secret",
        ),
        (xml(400, "ExpiredToken"), StorageFailureKind::Denied, "has ended (400 ExpiredToken): put a new one"),
        (old, StorageFailureKind::Denied, "set the clocks"),
        (
            xml(403, "RequestTimeTooSkewed"),
            transient(None),
            "differ too much (403 RequestTimeTooSkewed): set them",
        ),
        (
            xml(404, "NoSuchBucket"),
            StorageFailureKind::NotFound,
            "has no bucket lake (404 NoSuchBucket): create it",
        ),
        (
            xml(301, "PermanentRedirect").header("x-amz-bucket-region", "eu-west-1"),
            StorageFailureKind::Permanent,
            "is in the region eu-west-1, not in us-east-1",
        ),
        (
            HttpReply::text(400, "application/xml", region),
            StorageFailureKind::Permanent,
            "is in the region eu-west-1, not in us-east-1",
        ),
        (
            xml(307, "TemporaryRedirect").header("location", "https://elsewhere.example/?X-Amz-Signature=s"),
            StorageFailureKind::Permanent,
            "elsewhere (307 TemporaryRedirect): correct storage.s3.region",
        ),
        (xml(501, "NotImplemented"), StorageFailureKind::Permanent, "lacks a function"),
        (xml(507, "XMinioStorageFull"), StorageFailureKind::Full, "there is no room in the bucket lake"),
        (xml(400, "<b>no code</b>"), StorageFailureKind::Permanent, "refuses the request (400)"),
        (
            HttpReply::text(200, "text/html", "<html>Sign in</html>"),
            transient(None),
            "does not answer as S3 does: check the endpoint",
        ),
    ];
    for (answer, kind, expected) in table {
        let stub = Stub::start(None, move |_, _| answer.clone()).await;
        let storage = lake::s3_storage(&s3_secrets(), EntraSettings::default(), StorageHosts::default());
        let server = lake::s3_server("fhir", &stub.url(), &json!({}));
        let failure = storage.probe(&server, Some("lake")).await.unwrap_err();
        assert_eq!(failure.kind, kind, "{}", failure.message);
        assert!(failure.message.contains(expected), "{}", failure.message);
        for secret in ["secret name", "X-Amz", stage::S3_KEY, stage::S3_KEY_ID] {
            assert!(!failure.message.contains(secret), "{}", failure.message);
        }
    }
}

#[tokio::test]
async fn a_short_trouble_is_sat_out() {
    let stub = Stub::start(None, |_, number| match number {
        1 => xml(500, "InternalError"),
        2 => xml(503, "SlowDown"),
        _ => HttpReply::text(200, "application/xml", EMPTY),
    })
    .await;
    let storage = lake::s3_storage(&s3_secrets(), EntraSettings::default(), StorageHosts::default());
    storage.probe(&lake::s3_server("fhir", &stub.url(), &json!({})), Some("lake")).await.unwrap();
    assert_eq!(stub.requests().len(), 3);
}

#[tokio::test]
async fn a_small_file_is_read_again_after_a_short_trouble() {
    let stub = Stub::start(None, |_, number| match number {
        1 => xml(503, "SlowDown"),
        _ => HttpReply::text(200, "application/json", "{}"),
    })
    .await;
    let storage = lake::s3_storage(&s3_secrets(), EntraSettings::default(), StorageHosts::default());
    let server = lake::s3_server("fhir", &stub.url(), &json!({}));
    let target = Target::new(&server, "lake");
    assert_eq!(storage.read(target, "f/x.json", 9).await.unwrap().as_deref(), Some(&b"{}"[..]));
    assert_eq!(stub.requests().len(), 2);
    let failure = storage.read(target, "f/x.json", 1).await.unwrap_err();
    assert_eq!(failure.kind, StorageFailureKind::Permanent, "{}", failure.message);
}

#[tokio::test]
async fn a_key_that_has_ended_is_told_without_a_code() {
    // The answer to HEAD has no body.
    let stub = Stub::start(None, |_, _| HttpReply::empty(400)).await;
    let storage = lake::s3_storage(&s3_secrets(), EntraSettings::default(), StorageHosts::default());
    let server = lake::s3_server("fhir", &stub.url(), &json!({}));
    let failure = storage.marks(Target::new(&server, "lake"), "f", "f/x.ndjson").await.unwrap_err();
    assert_eq!(failure.kind, StorageFailureKind::Denied);
    assert!(
        failure.message.contains("has ended (400): put a new one into its Secret"),
        "{}",
        failure.message
    );
    assert!(stub.requests().iter().all(|(url, _)| url.starts_with("HEAD ")), "one object is asked for");
}

#[tokio::test]
async fn a_store_that_does_not_say_whether_it_overwrites_gets_no_file() {
    let stub = Stub::start(None, |url, _| {
        let begun = "<InitiateMultipartUploadResult><UploadId>1</UploadId></InitiateMultipartUploadResult>";
        match url.split(' ').next().unwrap() {
            "POST" if url.contains("uploads=") => HttpReply::text(200, "application/xml", begun),
            "POST" => xml(404, "NoSuchUpload"),
            "PUT" if url.contains("partNumber=") => HttpReply::empty(200).header("etag", "\"a\""),
            "PUT" => xml(412, "PreconditionFailed"),
            _ => HttpReply::empty(204),
        }
    })
    .await;
    let storage = lake::s3_storage(&s3_secrets(), EntraSettings::default(), StorageHosts::default());
    let server = lake::s3_server("fhir", &stub.url(), &json!({}));
    let failure = storage.store(Target::new(&server, "lake"), "f/manifest.json", b"{}").await.unwrap_err();
    assert_eq!(failure.kind, StorageFailureKind::Transient { retry_after: None }, "{}", failure.message);
    assert!(failure.message.contains("does not say whether it overwrites"), "{}", failure.message);
}

#[tokio::test]
async fn a_store_that_overwrites_gets_no_file() {
    // The first store heeds no condition at all, the second one only that of objects with one part.
    for heeds_the_first in [false, true] {
        let stub = Stub::start(None, move |url, _| {
            let part = HttpReply::empty(200).header("etag", "\"a\"");
            let begun =
                "<InitiateMultipartUploadResult><UploadId>1</UploadId></InitiateMultipartUploadResult>";
            match url.split(' ').next().unwrap() {
                "POST" if url.contains("uploads=") => HttpReply::text(200, "application/xml", begun),
                "POST" => HttpReply::text(200, "application/xml", "<CompleteMultipartUploadResult/>"),
                "PUT" if url.contains("partNumber=") => part,
                "PUT" if heeds_the_first => xml(412, "PreconditionFailed"),
                _ => part,
            }
        })
        .await;
        let storage = lake::s3_storage(&s3_secrets(), EntraSettings::default(), StorageHosts::default());
        let server = lake::s3_server("fhir", &stub.url(), &json!({}));
        let failure =
            storage.store(Target::new(&server, "lake"), "f/manifest.json", b"{}").await.unwrap_err();
        assert_eq!(failure.kind, StorageFailureKind::Permanent);
        assert!(
            failure.message.contains("overwrites objects although it is asked not to"),
            "{}",
            failure.message
        );
        let written = stub.requests().into_iter().filter(|(url, _)| url.contains("manifest.json")).count();
        assert_eq!(written, 0, "nothing of the run was written");
    }
}

#[tokio::test]
async fn names_of_containers_lead_to_no_other_host_or_bucket() {
    let stub = Stub::start(None, |_, _| HttpReply::text(200, "application/xml", EMPTY)).await;
    let storage = lake::s3_storage(&s3_secrets(), EntraSettings::default(), StorageHosts::default());
    let server = lake::s3_server("fhir", &stub.url(), &json!({ "bucket": "clinic", "prefix": "a" }));
    for name in ["..", "a/b", "evil.example/x", "evil.example#", "", "lake?x"] {
        let failure = storage.ledger(Target::new(&server, name), "f").await.unwrap_err();
        assert_eq!(failure.kind, StorageFailureKind::Permanent, "{name}: {}", failure.message);
    }
    assert!(stub.requests().is_empty());
    // The node's metadata service is no S3 store.
    let metadata = lake::s3_server("fhir", "http://169.254.169.254", &json!({}));
    let failure = storage.probe(&metadata, Some("lake")).await.unwrap_err();
    assert!(failure.message.contains("correct storage.s3.endpoint"), "{}", failure.message);
}

#[tokio::test]
async fn a_secret_without_a_key_is_told() {
    let secrets = Arc::new(Secrets::default());
    secrets.set("s3/AWS_ACCESS_KEY_ID", "AKIA");
    let storage = lake::s3_storage(&secrets, EntraSettings::default(), StorageHosts::default());
    let server = lake::s3_server("fhir", "http://127.0.0.1:9", &json!({}));
    let failure = storage.probe(&server, Some("lake")).await.unwrap_err();
    assert_eq!(failure.kind, StorageFailureKind::Missing);
    assert_eq!(
        failure.message,
        "Secret fhir/s3 has no AWS_ACCESS_KEY_ID or no AWS_SECRET_ACCESS_KEY; add both"
    );
}

const ROLE: &str = "arn:aws:iam::123456789012:role/exports";

/// A token service that issues one access key after the other, each for an hour.
async fn token_service(ca: &TestCa) -> Stub {
    Stub::start(Some(ca), |_, number| {
        let end = Timestamp::now() + jiff::SignedDuration::from_hours(1);
        let body = format!(
            "<AssumeRoleWithWebIdentityResponse><AssumeRoleWithWebIdentityResult><Credentials>\
             <AccessKeyId>ASIA{number}</AccessKeyId><SecretAccessKey>hush</SecretAccessKey>\
             <SessionToken>session-{number}</SessionToken><Expiration>{end:.0}</Expiration></Credentials>\
             </AssumeRoleWithWebIdentityResult></AssumeRoleWithWebIdentityResponse>"
        );
        HttpReply::text(200, "text/xml", &body)
    })
    .await
}

fn by_role(endpoint: &str) -> serde_json::Value {
    json!({ "auth": { "type": "WebIdentity", "webIdentity": { "roleARN": ROLE,
        "serviceAccountRef": { "name": "exports" }, "stsEndpoint": endpoint } } })
}

#[tokio::test]
async fn a_role_is_assumed_once_for_each_namespace_and_again_after_a_refusal() {
    let ca = TestCa::new().unwrap();
    let service = token_service(&ca).await;
    let port = service.socket.address.port();
    let store = Stub::start(None, |url, _| {
        // The store knows every key but the first one.
        if url.contains("ASIA1%2F") {
            xml(400, "ExpiredToken")
        } else {
            HttpReply::text(200, "text/xml", EMPTY)
        }
    })
    .await;
    let hosts = StorageHosts::parse(&format!("localhost:{port}")).unwrap();
    let settings = EntraSettings { extra_ca: vec![ca.pem().to_owned()], ..EntraSettings::default() };
    let storage = lake::s3_storage(&Arc::default(), settings, hosts);
    let role = by_role(&format!("https://localhost:{port}"));
    let server = lake::s3_server("fhir", &store.url(), &role);
    for _ in 0..3 {
        storage.probe(&server, Some("lake")).await.unwrap();
    }
    let asked = service.requests();
    assert_eq!(asked.len(), 2, "one key was refused, and the next one is kept");
    for part in [
        "Action=AssumeRoleWithWebIdentity",
        "RoleSessionName=fhir-export%40fhir.exports",
        "WebIdentityToken=fhir%2Fexports+for+sts.amazonaws.com",
        "RoleArn=arn%3Aaws%3Aiam%3A%3A123456789012%3Arole%2Fexports",
    ] {
        assert!(asked[0].1.contains(part), "{part}: {}", asked[0].1);
    }
    assert!(store.requests().last().unwrap().0.contains("X-Amz-Security-Token=session-2"));

    // Another namespace has a ServiceAccount of its own, and never the keys of this one.
    let theirs = lake::s3_server("research", &store.url(), &role);
    storage.probe(&theirs, Some("lake")).await.unwrap();
    assert!(service.requests()[2].1.contains("WebIdentityToken=research%2Fexports+for"));
    assert!(store.requests().last().unwrap().0.contains("X-Amz-Security-Token=session-3"));
}

#[tokio::test]
async fn a_token_service_that_is_not_listed_gets_no_token() {
    let ca = TestCa::new().unwrap();
    let service = token_service(&ca).await;
    let settings = EntraSettings { extra_ca: vec![ca.pem().to_owned()], ..EntraSettings::default() };
    let storage = lake::s3_storage(&Arc::default(), settings, StorageHosts::default());
    let endpoint = format!("https://localhost:{}", service.socket.address.port());
    let server = lake::s3_server("fhir", "http://127.0.0.1:9", &by_role(&endpoint));
    let failure = storage.probe(&server, Some("lake")).await.unwrap_err();
    assert_eq!(failure.kind, StorageFailureKind::HostNotAllowed, "{}", failure.message);
    assert!(failure.message.contains("--storage-hosts"), "{}", failure.message);
    assert!(service.requests().is_empty());
}

#[tokio::test]
async fn a_role_that_cannot_be_assumed_is_told() {
    let ca = TestCa::new().unwrap();
    for (status, code, kind, told) in [
        (403, "AccessDenied", StorageFailureKind::Missing, "system:serviceaccount:fhir:exports"),
        (400, "InvalidIdentityToken", StorageFailureKind::Missing, "register the issuer of the cluster"),
        (
            400,
            "IDPCommunicationError",
            StorageFailureKind::Transient { retry_after: None },
            "the operator retries",
        ),
    ] {
        let refusal = format!(
            "<ErrorResponse><Error><Type>Sender</Type><Code>{code}</Code><Message>a secret</Message></Error>\
             </ErrorResponse>"
        );
        let service = Stub::start(Some(&ca), move |_, _| HttpReply::text(status, "text/xml", &refusal)).await;
        let port = service.socket.address.port();
        let hosts = StorageHosts::parse(&format!("localhost:{port}")).unwrap();
        let settings = EntraSettings { extra_ca: vec![ca.pem().to_owned()], ..EntraSettings::default() };
        let storage = lake::s3_storage(&Arc::default(), settings, hosts);
        let role = by_role(&format!("https://localhost:{port}"));
        let server = lake::s3_server("fhir", "http://127.0.0.1:9", &role);
        let failure = storage.probe(&server, Some("lake")).await.unwrap_err();
        assert_eq!(failure.kind, kind, "{}", failure.message);
        assert!(
            failure.message.contains(told) && !failure.message.contains("a secret"),
            "{}",
            failure.message
        );
    }
}
