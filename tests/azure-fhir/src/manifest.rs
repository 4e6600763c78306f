//! The manifest of a completed job, and what can be odd about it.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use crate::job::{File, Job};
use crate::outcome::Reply;

/// The account whose URLs are made up when there is no storage.
pub(crate) const NO_STORAGE: &str = "https://clinicexports.blob.core.windows.net";

/// The type of files that go to `error`.
pub(crate) const ERRORS: &str = "OperationOutcome";

/// Something odd about a manifest.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum ManifestQuirk {
    /// The first file's count is so much too high (or low).
    WrongCount(i64),
    /// Entries have no count.
    NoCounts,
    /// The first file is listed but was never written.
    MissingFile,
    /// A file without lines.
    EmptyFile,
    /// All URLs are of this origin (and path) instead of the storage account.
    ForeignUrls(String),
    /// URLs carry a query that looks like a signature.
    SignedUrls,
    /// The first file is listed twice.
    DuplicateEntry,
    /// Order inside the list is turned round.
    Unsorted,
    /// A file of so many `OperationOutcome`s under `error`.
    ErrorEntries(usize),
    /// The member `error` is absent.
    NoError,
    /// The member `issues` is absent.
    NoIssues,
    /// Keys that nobody knows, in the manifest and in its entries.
    ExtraKeys,
    /// `transactionTime` ends in `+00:00` and has seven digits of fraction.
    OffsetTime,
    /// `transactionTime` as given.
    TransactionTime(String),
    /// Nothing is exported.
    ZeroFiles,
    /// So many further entries, with made-up URLs.
    ManyFiles(usize),
    /// `request` is somebody else's kick-off.
    ForeignRequest,
    /// `requiresAccessToken` is true.
    RequiresAccessToken,
}

/// 200 with the manifest.
pub(crate) fn reply(job: &Job, endpoint: &str) -> Reply {
    Reply::json(200, "application/json", &manifest(job, endpoint))
}

/// 200 with the manifest of a job that the service stopped.
pub(crate) fn empty(job: &Job) -> Reply {
    let mut manifest = frame(job);
    manifest.insert("output".into(), json!([]));
    manifest.insert("error".into(), json!([]));
    manifest.insert("issues".into(), json!([]));
    Reply::json(200, "application/json", &Value::Object(manifest))
}

fn frame(job: &Job) -> Map<String, Value> {
    let mut manifest = Map::new();
    manifest.insert("transactionTime".into(), json!(instant(job.view.created, false)));
    manifest.insert("request".into(), json!(job.view.kick_off_url));
    manifest.insert("requiresAccessToken".into(), json!(false));
    manifest
}

/// Instants as .NET writes them.
fn instant(at: Timestamp, offset: bool) -> String {
    let digits = at.strftime("%Y-%m-%dT%H:%M:%S%.3f");
    if offset { format!("{digits}1230+00:00") } else { format!("{digits}Z") }
}

fn manifest(job: &Job, endpoint: &str) -> Value {
    let (errors, files): (Vec<&File>, Vec<&File>) =
        job.view.files.iter().partition(|file| file.kind == ERRORS);
    let mut output: Vec<Value> = files.iter().map(|file| entry(file, endpoint)).collect();
    let mut errors: Vec<Value> = errors.iter().map(|file| entry(file, endpoint)).collect();
    let mut manifest = frame(job);
    manifest.insert("issues".into(), json!([]));
    let mut without_error = false;
    for quirk in &job.script.manifest {
        match quirk {
            ManifestQuirk::WrongCount(by) => {
                if let Some(count) = output.first_mut().and_then(|first| first.get_mut("count")) {
                    *count = json!(count.as_i64().unwrap_or_default() + by);
                }
            }
            ManifestQuirk::NoCounts => drop_member(&mut output, "count"),
            ManifestQuirk::ForeignUrls(origin) => {
                let from = endpoint.to_owned();
                change_urls(output.iter_mut().chain(&mut errors), |url| url.replacen(&from, origin, 1));
            }
            ManifestQuirk::SignedUrls => {
                let all = output.iter_mut().chain(&mut errors);
                change_urls(all, |url| format!("{url}?sv=2021-06-08&sp=r&sig=c2VjcmV0"));
            }
            ManifestQuirk::DuplicateEntry => output.extend(output.first().cloned()),
            ManifestQuirk::Unsorted => output.reverse(),
            ManifestQuirk::NoError => without_error = true,
            ManifestQuirk::NoIssues => drop(manifest.remove("issues")),
            ManifestQuirk::ExtraKeys => {
                manifest.insert("extension".into(), json!({ "https://example.org/note": "x" }));
                manifest.insert("deleted".into(), json!([]));
                for entry in &mut output {
                    set(entry, "sequence", json!({ "a": [1, null] }));
                }
            }
            ManifestQuirk::OffsetTime => {
                manifest.insert("transactionTime".into(), json!(instant(job.view.created, true)));
            }
            ManifestQuirk::TransactionTime(text) => {
                drop(manifest.insert("transactionTime".into(), json!(text)));
            }
            ManifestQuirk::ManyFiles(many) => output.extend((1..=*many).map(|n| {
                let url = format!("{endpoint}/many/{}/Observation-{}-{n}.ndjson", job.view.id, job.view.id);
                json!({ "type": "Observation", "url": url, "count": 1000 })
            })),
            ManifestQuirk::ForeignRequest => {
                let other =
                    "https://clinic.fhir.azurehealthcareapis.com/$export?_type=Device&_container=not-ours";
                manifest.insert("request".into(), json!(other));
            }
            ManifestQuirk::RequiresAccessToken => {
                drop(manifest.insert("requiresAccessToken".into(), json!(true)));
            }
            // These are about the files; the writer has seen to them.
            ManifestQuirk::MissingFile
            | ManifestQuirk::EmptyFile
            | ManifestQuirk::ErrorEntries(_)
            | ManifestQuirk::ZeroFiles => {}
        }
    }
    manifest.insert("output".into(), Value::Array(output));
    if !without_error {
        manifest.insert("error".into(), Value::Array(errors));
    }
    Value::Object(manifest)
}

fn entry(file: &File, endpoint: &str) -> Value {
    let url = format!("{endpoint}/{}/{}", file.container, file.blob);
    json!({ "type": file.kind, "url": url, "count": file.count })
}

fn set(entry: &mut Value, key: &str, value: Value) {
    if let Some(entry) = entry.as_object_mut() {
        entry.insert(key.to_owned(), value);
    }
}

fn drop_member(entries: &mut [Value], key: &str) {
    for entry in entries.iter_mut().filter_map(Value::as_object_mut) {
        entry.remove(key);
    }
}

fn change_urls<'a>(entries: impl Iterator<Item = &'a mut Value>, change: impl Fn(&str) -> String) {
    for entry in entries {
        let changed = entry.get("url").and_then(Value::as_str).map(&change);
        if let Some(url) = changed {
            set(entry, "url", json!(url));
        }
    }
}
