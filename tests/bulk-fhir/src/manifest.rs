//! The manifest, in the form of each version.

use std::collections::BTreeMap;
use std::hash::{BuildHasher, RandomState};

use azure_fhir::RetryAfter;
use azure_fhir::outcome::Reply;
use serde_json::{Map, Value, json};
use tokio::time::Instant;

use crate::job::{Job, JobFile, List, Signature};
use crate::shape::{Count, ExtensionForm, Shape};
use crate::version::Version;

/// What a manifest says that is not of the job.
#[derive(Debug)]
pub(crate) struct Context {
    /// The server's version, unless the script has another.
    pub(crate) version: Version,
    /// Scheme and host of this server.
    pub(crate) origin: String,
    /// Scheme and host of the foreign one.
    pub(crate) foreign: String,
    /// Whether calls need a token.
    pub(crate) closed: bool,
}

/// Host of the extensions' URLs.
const EXTENSIONS: &str = "https://example.org/fhir";

/// Whether files are asked for with a token.
pub(crate) fn requires_token(shape: &Shape, closed: bool) -> bool {
    shape.requires_access_token.unwrap_or(closed)
}

/// Whether links carry a signature: those for which it stands in for the token, and those that expire.
pub(crate) fn signed(job: &Job, closed: bool) -> bool {
    let shape = &job.script.manifest;
    let instead = !requires_token(shape, closed) && (closed || shape.requires_access_token.is_some());
    instead || job.files.iter().any(|file| file.script.expires())
}

/// One page of the manifest of a job; while it runs, there is no link to another.
pub(crate) fn page(job: &mut Job, number: usize, context: &Context, running: bool) -> Option<Value> {
    let shape = job.script.manifest.clone();
    let version = shape.version.unwrap_or(context.version);
    let size = shape.page.unwrap_or(usize::MAX).max(1);
    let pages = job.files.len().div_ceil(size).max(1);
    if number >= pages {
        return None;
    }
    let query = if signed(job, context.closed) { format!("?sig={}", sign(job)) } else { String::new() };
    let id = job.view.id.clone();
    let host = match (shape.relative_urls, shape.foreign_urls) {
        (true, _) => "",
        (false, true) => &context.foreign,
        (false, false) => &context.origin,
    };
    let urls: Vec<String> = job.files.iter().map(|file| format!("{host}{}{query}", file.path(&id))).collect();
    let mut lists: BTreeMap<List, Vec<Value>> = BTreeMap::new();
    let start = number.saturating_mul(size);
    for (place, file) in job.files.iter_mut().enumerate().skip(start).take(size) {
        let url = urls.get(place).cloned().unwrap_or_default();
        let next = if file.continues { urls.get(place + 1) } else { None };
        lists.entry(file.list).or_default().push(entry(file, &url, next, version, &shape));
    }
    let mut manifest = head(job, version, &shape, context);
    let mut list = |name: &str, list: List| {
        manifest.insert(name.to_owned(), Value::Array(lists.remove(&list).unwrap_or_default()));
    };
    list("output", List::Output);
    if version >= Version::Stu2 {
        list("deleted", List::Deleted);
    }
    list(if version == Version::Stu4 { "outcome" } else { "error" }, List::Error);
    let next = if number + 1 < pages { Some(number + 1) } else { (shape.cyclic && pages > 1).then_some(0) };
    if let Some(next) = next.filter(|_| !running) {
        let url = format!("{}/page/{next}", job.view.status_url);
        manifest.insert("link".into(), json!([{ "relation": "next", "url": url }]));
    }
    Some(Value::Object(manifest))
}

fn sign(job: &mut Job) -> String {
    let signature = format!("{:016x}", RandomState::new().hash_one(job.signatures.len()));
    job.signatures.insert(signature.clone(), Signature { made: Instant::now(), used: BTreeMap::new() });
    signature
}

fn head(job: &Job, version: Version, shape: &Shape, context: &Context) -> Map<String, Value> {
    let time = shape
        .transaction_time
        .clone()
        .unwrap_or_else(|| job.view.created.strftime("%Y-%m-%dT%H:%M:%S%.3f+00:00").to_string());
    let mut manifest = Map::new();
    manifest.insert("transactionTime".into(), json!(time));
    if version < Version::Stu4 {
        let request = if job.view.method == "POST" {
            job.view.kick_off_url.split('?').next().unwrap_or_default()
        } else {
            &job.view.kick_off_url
        };
        manifest.insert("request".into(), json!(request));
    }
    manifest.insert("requiresAccessToken".into(), json!(requires_token(shape, context.closed)));
    if let Some(kind) = &job.view.asked.organize_by {
        manifest.insert("outputOrganizedBy".into(), json!(kind));
    }
    if version == Version::Stu4 {
        manifest.insert("outputFormat".into(), json!("application/fhir+ndjson"));
    }
    if let Some(text) = &shape.message {
        manifest.insert("message".into(), json!(text));
    }
    if shape.unknown_members {
        manifest.insert("issues".into(), json!([]));
        manifest.insert("vendor".into(), json!({ "queue": 3 }));
    }
    let values = [("export-note", "valueString", json!("of the whole manifest"))];
    if let Some(extension) = extension(shape.extension, &values) {
        manifest.insert("extension".into(), extension);
    }
    manifest
}

fn entry(file: &mut JobFile, url: &str, next: Option<&String>, version: Version, shape: &Shape) -> Value {
    let mut entry = Map::new();
    if let Some(kind) = &file.kind {
        entry.insert("type".into(), json!(kind));
    }
    entry.insert("url".into(), json!(url));
    if let Some(next) = next {
        entry.insert("continuesInFile".into(), json!(next));
    }
    match shape.count {
        Count::Absent => {}
        Count::Right => {
            entry.insert("count".into(), json!(file.lines));
        }
        Count::Wrong(by) => {
            entry.insert("count".into(), json!(file.lines.saturating_add_signed(by)));
        }
    }
    if version == Version::Stu4 || shape.file_size {
        entry.insert("fileSize".into(), json!(file.content.len()));
    }
    if version == Version::Stu4 && file.list == List::Error {
        entry.insert("countSeverity".into(), severities(file));
    }
    if shape.checksums != ExtensionForm::Absent {
        let checksum = json!(format!("sha256:{}", file.sha256()));
        let values = [
            ("checksum", "valueString", checksum),
            ("file_length", "valueDecimal", json!(file.content.len())),
        ];
        if let Some(extension) = extension(shape.checksums, &values) {
            entry.insert("extension".into(), extension);
        }
    }
    Value::Object(entry)
}

fn severities(file: &JobFile) -> Value {
    let mut counts: BTreeMap<String, u64> = BTreeMap::new();
    for line in String::from_utf8_lossy(&file.content.all()).lines() {
        let outcome: Value = serde_json::from_str(line).unwrap_or_default();
        let severity = outcome.pointer("/issue/0/severity").and_then(Value::as_str).unwrap_or_default();
        *counts.entry(severity.to_owned()).or_default() += 1;
    }
    counts.iter().map(|(code, count)| json!({ "code": code, "count": count })).collect()
}

fn extension(form: ExtensionForm, values: &[(&str, &str, Value)]) -> Option<Value> {
    let url = |name: &str| format!("{EXTENSIONS}/{name}");
    match form {
        ExtensionForm::Absent => None,
        ExtensionForm::Object => {
            let members = values.iter().map(|(name, _, value)| (url(name), value.clone()));
            Some(Value::Object(members.collect()))
        }
        ExtensionForm::Array => Some(
            values
                .iter()
                .map(|(name, kind, value)| {
                    let members = [("url".to_owned(), json!(url(name))), ((*kind).to_owned(), value.clone())];
                    Value::Object(members.into_iter().collect())
                })
                .collect(),
        ),
    }
}

/// The 200 with a page.
pub(crate) fn reply(job: &Job, manifest: &Value) -> Reply {
    let reply = Reply::json(200, "application/json", manifest);
    match job.script.manifest.expires_seconds.and_then(|seconds| RetryAfter::Date(seconds).header()) {
        Some((_, date)) => reply.header("Expires", &date),
        None => reply,
    }
}
