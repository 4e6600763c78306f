//! The log of a run in the form of SMART's bulk data client (`log.ndjson`, version 2), which Cumulus reads.

use jiff::Timestamp;
use serde_json::{Value, json};

use super::turn::Turn;
use crate::core::landing::{FileKind, LandPlan, Landed};
use crate::core::manifest::Manifest;
use crate::core::requests;

/// The lines of one export's log that are written so far.
struct Log {
    export_id: String,
    lines: Vec<u8>,
}

impl Log {
    fn write(&mut self, at: Timestamp, event: &str, detail: &Value) {
        let time = at.to_string();
        let line =
            json!({"exportId": self.export_id, "timestamp": time, "eventId": event, "eventDetail": detail});
        self.lines.extend_from_slice(line.to_string().as_bytes());
        self.lines.push(b'\n');
    }
}

/// The log with one JSON object per line: what happened, as far as the status and the container show it. It
/// never names the patients in the request, nor a URL of the server's files.
pub(super) fn ndjson(turn: &Turn<'_>, manifest: &Manifest, plan: &LandPlan, landed: &[Landed]) -> Vec<u8> {
    let export_id = turn.export().metadata.uid.clone().unwrap_or_default();
    let mut log = Log { export_id, lines: Vec::new() };
    let job = turn.status.job.as_ref();
    let started = job.map_or(turn.now, |job| job.kick_off_time.unwrap_or(job.intent_time));
    log.write(started, "kickoff", &kick_off(turn));
    manifest_read(&mut log, turn.now, manifest);
    downloads(&mut log, turn.now, manifest, plan, landed);
    let output = plan.files.iter().zip(landed).filter(|(f, _)| f.kind == FileKind::Output);
    let took = turn.now.duration_since(started).as_millis().max(0);
    let end = json!({
        "files": landed.len(),
        "resources": output.map(|(_, l)| l.sum.lines).sum::<u64>(),
        "bytes": landed.iter().map(|l| l.sum.bytes).sum::<u64>(),
        "attachments": 0,
        "duration": u64::try_from(took).unwrap_or(0),
    });
    log.write(turn.now, "export_complete", &end);
    log.lines
}

/// The entry for the kick-off: the request and its server.
fn kick_off(turn: &Turn<'_>) -> Value {
    let server = turn.facts.server.as_ref();
    let base = server.map(|s| s.spec.url.trim_end_matches('/').to_owned()).unwrap_or_default();
    let path = requests::operation(&turn.spec().request).unwrap_or_default();
    let known = server.and_then(|s| s.status.as_ref());
    json!({
        "exportUrl": format!("{base}/{path}"),
        "errorCode": null,
        "errorBody": null,
        "softwareName": known.and_then(|s| s.software.clone()),
        "softwareVersion": null,
        "softwareReleaseDate": null,
        "fhirVersion": known.and_then(|s| s.fhir_version.clone()),
        "requestParameters": parameters(turn),
        "logVersion": "2",
    })
}

/// The entries for the finished job and its manifest.
fn manifest_read(log: &mut Log, now: Timestamp, manifest: &Manifest) {
    let time = &manifest.transaction_time;
    let (output, deleted, errors) = (manifest.output.len(), manifest.deleted.len(), manifest.errors.len());
    log.write(now, "status_complete", &json!({"transactionTime": time}));
    let page = json!({"transactionTime": time, "outputFileCount": output, "deletedFileCount": deleted,
        "errorFileCount": errors});
    log.write(now, "status_page_complete", &page);
    let whole = json!({"transactionTime": time, "totalOutputFileCount": output, "totalDeletedFileCount": deleted,
        "totalErrorFileCount": errors, "totalManifests": manifest.pages});
    log.write(now, "manifest_complete", &whole);
}

/// The entries for each file, under the name by which it landed.
fn downloads(log: &mut Log, now: Timestamp, manifest: &Manifest, plan: &LandPlan, landed: &[Landed]) {
    let sources = manifest.output.iter().chain(&manifest.deleted).chain(&manifest.errors);
    for ((source, file), landed) in sources.zip(&plan.files).zip(landed) {
        let item = match file.kind {
            FileKind::Output => "output",
            FileKind::Deleted => "deleted",
            FileKind::Error => "error",
        };
        let request = json!({"fileUrl": file.blob, "itemType": item, "resourceType": source.type_});
        log.write(now, "download_request", &request);
        let (lines, bytes) = (landed.sum.lines, landed.sum.bytes);
        let done = json!({"fileUrl": file.blob, "resourceCount": lines, "fileSize": bytes});
        log.write(now, "download_complete", &done);
    }
}

/// The parameters of the request, except those that may name patients.
fn parameters(turn: &Turn<'_>) -> Value {
    let request = &turn.spec().request;
    let mut all = serde_json::Map::new();
    let mut add = |name: &str, value: Option<String>| {
        if let Some(value) = value.filter(|v| !v.is_empty()) {
            all.insert(name.to_owned(), value.into());
        }
    };
    add("_outputFormat", request.output_format.clone());
    add("_since", request.since.clone());
    add("_until", request.until.clone());
    add("_type", request.types.as_ref().map(|types| types.join(",")));
    add("includeAssociatedData", request.include_associated_data.as_ref().map(|data| data.join(",")));
    Value::Object(all)
}
