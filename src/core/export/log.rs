//! The log of a run in the form of SMART's bulk data client (`log.ndjson`, version 2), which Cumulus reads.

use jiff::Timestamp;
use serde_json::{Value, json};

use super::turn::Turn;
use crate::core::landing::{FileKind, LandPlan, Landed};
use crate::core::manifest::Manifest;
use crate::core::requests;

/// The log, one object a line: what happened, as far as status and container know it. It never names the patients that
/// were asked for, nor a URL of the server's files.
pub(super) fn ndjson(turn: &Turn<'_>, manifest: &Manifest, plan: &LandPlan, landed: &[Landed]) -> Vec<u8> {
    let job = turn.status.job.as_ref();
    let export_id = turn.export().metadata.uid.clone().unwrap_or_default();
    let started = job.map_or(turn.now, |job| job.kick_off_time.unwrap_or(job.intent_time));
    let mut lines = Vec::new();
    let mut log = |at: Timestamp, event: &str, detail: Value| {
        let line = json!({"exportId": export_id, "timestamp": at.to_string(), "eventId": event, "eventDetail": detail});
        lines.extend_from_slice(line.to_string().as_bytes());
        lines.push(b'\n');
    };
    let server = turn.facts.server.as_ref();
    let base = server.map(|s| s.spec.url.trim_end_matches('/').to_owned()).unwrap_or_default();
    let path = requests::operation(&turn.spec().request).unwrap_or_default();
    let known = server.and_then(|s| s.status.as_ref());
    log(
        started,
        "kickoff",
        json!({"exportUrl": format!("{base}/{path}"), "errorCode": null, "errorBody": null, "softwareName": known.and_then(|s| s.software.clone()),
            "softwareVersion": null, "softwareReleaseDate": null, "fhirVersion": known.and_then(|s| s.fhir_version.clone()),
            "requestParameters": parameters(turn), "logVersion": "2"}),
    );
    let time = &manifest.transaction_time;
    log(turn.now, "status_complete", json!({"transactionTime": time}));
    log(
        turn.now,
        "status_page_complete",
        json!({"transactionTime": time, "outputFileCount": manifest.output.len(),
            "deletedFileCount": manifest.deleted.len(), "errorFileCount": manifest.errors.len()}),
    );
    log(
        turn.now,
        "manifest_complete",
        json!({"transactionTime": time, "totalOutputFileCount": manifest.output.len(),
            "totalDeletedFileCount": manifest.deleted.len(), "totalErrorFileCount": manifest.errors.len(),
            "totalManifests": manifest.pages}),
    );
    let sources = manifest.output.iter().chain(&manifest.deleted).chain(&manifest.errors);
    for ((source, file), landed) in sources.zip(&plan.files).zip(landed) {
        let item = match file.kind {
            FileKind::Output => "output",
            FileKind::Deleted => "deleted",
            FileKind::Error => "error",
        };
        log(
            turn.now,
            "download_request",
            json!({"fileUrl": file.blob, "itemType": item, "resourceType": source.type_}),
        );
        log(
            turn.now,
            "download_complete",
            json!({"fileUrl": file.blob, "resourceCount": landed.sum.lines, "fileSize": landed.sum.bytes}),
        );
    }
    let output =
        || plan.files.iter().zip(landed).filter(|(f, _)| f.kind == FileKind::Output).map(|(_, l)| &l.sum);
    let took = turn.now.duration_since(started).as_millis().max(0);
    log(
        turn.now,
        "export_complete",
        json!({"files": landed.len(), "resources": output().map(|s| s.lines).sum::<u64>(),
            "bytes": landed.iter().map(|l| l.sum.bytes).sum::<u64>(), "attachments": 0, "duration": u64::try_from(took).unwrap_or(0)}),
    );
    lines
}

/// The parameters of the request, without those that may name people.
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
