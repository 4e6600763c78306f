//! Answers of servers and storage accounts.

use serde_json::{Value, json};

use super::fake::FakeJob;
use crate::core::ledger::{StorageFailure, StorageFailureKind};
use crate::core::wire::Answer;

pub(super) fn answer(status: u16) -> Answer {
    Answer { status, ..Answer::default() }
}

pub(super) fn outcome(status: u16, code: &str, text: &str) -> Answer {
    let body = json!({"resourceType": "OperationOutcome",
        "issue": [{"severity": "error", "code": code, "diagnostics": text}]});
    Answer { body: body.to_string().into(), ..answer(status) }
}

pub(super) fn job_failure(status: u16, cause: &str) -> Answer {
    outcome(status, "processing", &format!("export operation failed for reason: {cause}"))
}

pub(super) fn html(status: u16) -> Answer {
    Answer { body: "<html>gateway</html>".into(), content_type: Some("text/html".into()), ..answer(status) }
}

pub(super) fn body(text: &str) -> Answer {
    Answer { body: text.to_owned().into(), ..answer(200) }
}

pub(super) fn manifest(request: &str, output: &Value) -> Answer {
    body(
        &json!({"transactionTime": "2026-11-23T01:59:59.1234567+00:00", "request": request,
        "requiresAccessToken": false, "output": output, "error": [], "issues": []})
        .to_string(),
    )
}

pub(super) fn storage_failure(kind: StorageFailureKind) -> StorageFailure {
    StorageFailure { kind, message: "the storage account does not answer".into() }
}

pub(super) fn unknown() -> Answer {
    outcome(404, "not-found", "The requested job was not found.")
}

pub(super) fn folder(job: &FakeJob) -> String {
    format!("{}-{}", job.began.strftime("%Y%m%dT%H%M%S"), job.id)
}

pub(super) fn container(request: &str) -> Option<String> {
    let url = url::Url::parse(request).unwrap();
    url.query_pairs().find(|(n, _)| n == "_container").map(|(_, v)| v.into_owned())
}

pub(super) fn listed(job: &FakeJob, files: &[(&'static str, u64)]) -> Value {
    let place = container(&job.request)
        .map_or_else(|| format!("export-{}", job.id), |c| format!("{c}/{}", folder(job)));
    let file = |(type_, count): &(&str, u64)| {
        json!({"type": type_,
        "url": format!("https://acct.blob.example/{place}/{type_}-1.ndjson"), "count": count})
    };
    files.iter().map(file).collect()
}
