//! What the object of an export says, in sentences.

use indicatif::DecimalBytes;
use jiff::Timestamp;
use kube::ResourceExt as _;

use crate::api::{
    BulkDataRequest, CheckResult, ConditionType, ExportRequest, FhirExport, Level, MODE_LABEL, Output,
    SCHEDULE_LABEL, TypeOutput,
};
use crate::core::condition;
use crate::core::export::{counted, took};
use crate::core::store_name::folder_url;
use crate::plugin::age::instant;

/// How many attempts an export has unless `backoffLimit` says otherwise.
const RETRIES: i32 = 2;
/// How many types are listed with their numbers.
const TYPES: usize = 6;

/// Namespace and name, and the schedule that it is a run of.
pub fn name(export: &FhirExport) -> String {
    let name = format!("{}/{}", export.namespace().unwrap_or_default(), export.name_any());
    let label = |label: &str| export.labels().get(label);
    match (label(SCHEDULE_LABEL), label(MODE_LABEL)) {
        (Some(schedule), Some(mode)) => format!("{name}, a run of the schedule {schedule} ({mode})"),
        (Some(schedule), None) => format!("{name}, a run of the schedule {schedule}"),
        (None, _) => name,
    }
}

/// What is exported, and from where.
pub fn what(export: &FhirExport) -> String {
    let request = &export.spec.request;
    let of = match (request.level, &request.group_id) {
        (Level::Group, Some(id)) => format!("The data of the patients of Group {id}"),
        (Level::Group, None) => "The data of the patients of a Group".to_owned(),
        (Level::Patient, _) => "The data of all patients".to_owned(),
        (Level::System, _) => "All data".to_owned(),
    };
    let server = &export.spec.server_ref;
    let namespace = server.namespace.as_ref().map(|namespace| format!("{namespace}/")).unwrap_or_default();
    let known = export.status.as_ref().and_then(|status| status.server.as_ref());
    let url = known.map(|server| format!(" ({})", server.url)).unwrap_or_default();
    let narrowed = narrowed(request).iter().fold(String::new(), |text, part| format!("{text}, {part}"));
    format!("{of} on the server {namespace}{}{url}{narrowed}.", server.name)
}

fn narrowed(request: &ExportRequest) -> Vec<String> {
    let list = |list: Option<&Vec<String>>| list.cloned().filter(|list| !list.is_empty());
    let mut parts = Vec::new();
    if let Some(types) = list(request.types.as_ref()) {
        parts.push(format!("only {}", enumerated(&types)));
    }
    if let Some(filters) = list(request.type_filters.as_ref()) {
        parts.push(format!("narrowed by {}", counted(filters.len() as u64, "filter")));
    }
    if let Some(since) = &request.since {
        parts.push(format!("changed since {since}"));
    }
    if let Some(until) = &request.until {
        parts.push(format!("changed before {until}"));
    }
    if let Some(data) = list(request.include_associated_data.as_ref()) {
        parts.push(format!("with {}", enumerated(&data)));
    }
    if request.azure.as_ref().is_some_and(|azure| azure.anonymization.is_some()) {
        parts.push("de-identified".to_owned());
    }
    if let Some(BulkDataRequest { patients_secret_ref, patients_blob, .. }) = &request.bulk_data {
        if let Some(secret) = patients_secret_ref {
            parts.push(format!("only the patients listed in the Secret {}", secret.name));
        }
        if let Some(blob) = patients_blob {
            parts.push(format!("only the patients listed in {}", blob.path));
        }
    }
    parts
}

fn enumerated(words: &[String]) -> String {
    match words {
        [] => String::new(),
        [one] => one.clone(),
        [first @ .., last] => format!("{} and {last}", first.join(", ")),
    }
}

/// When it was created, accepted and done, and in which attempt.
pub fn when(export: &FhirExport, now: Timestamp) -> String {
    let mut sentences = Vec::new();
    if let Some(created) = &export.metadata.creation_timestamp {
        sentences.push(format!("Created at {}.", instant(created.0, now)));
    }
    let Some(status) = &export.status else { return sentences.join(" ") };
    let job = status.job.as_ref();
    let id = job.and_then(|job| job.id.as_ref()).map(|id| format!(" as job {id}")).unwrap_or_default();
    if let Some(accepted) = job.and_then(|job| job.kick_off_time).or(status.accepted_time) {
        sentences.push(format!("The server accepted it at {}{id}.", instant(accepted, now)));
    }
    if let Some(attempt) = status.attempts.filter(|attempt| *attempt > 1) {
        let most = export.spec.backoff_limit.unwrap_or(RETRIES) + 1;
        sentences.push(format!("This is attempt {attempt} of at most {most}."));
    }
    match (status.completion_time, status.start_time) {
        (Some(end), Some(start)) => {
            sentences.push(format!("It ended at {}, after {}.", instant(end, now), took(end, start)));
        }
        (Some(end), None) => sentences.push(format!("It ended at {}.", instant(end, now))),
        (None, _) => {
            if let Some(next) = status.next_attempt_time.filter(|next| *next > now) {
                sentences.push(format!("The next try is due at {}.", instant(next, now)));
            }
        }
    }
    sentences.join(" ")
}

/// Where the files are, how many there are, and what they hold.
pub fn whereabouts(export: &FhirExport) -> String {
    let Some(status) = &export.status else { return String::new() };
    let progress = status.job.as_ref().and_then(|job| job.progress.as_ref()?.summary.as_deref());
    let Some(output) = &status.output else {
        return progress.map(|progress| format!("So far: {progress}.")).unwrap_or_default();
    };
    let mut sentences = Vec::new();
    match (output.files, place(export)) {
        (Some(files), Some(place)) => {
            let size = output.bytes.and_then(|bytes| u64::try_from(bytes).ok());
            let size = size.map(|bytes| format!(" ({})", DecimalBytes(bytes))).unwrap_or_default();
            let files = number(files, "file");
            let resources = output.resources.map(|count| format!(" with {}", number(count, "resource")));
            sentences.push(format!("{files}{}{size} in {place}.", resources.unwrap_or_default()));
        }
        (_, Some(place)) => {
            let so_far = progress.map(|progress| format!(" So far: {progress}.")).unwrap_or_default();
            sentences.push(format!("The files go to {place}.{so_far}"));
        }
        (_, None) => {}
    }
    sentences.extend(kinds(output));
    sentences.join(" ")
}

/// The types of the files, and those files that hold no resources.
fn kinds(output: &Output) -> Vec<String> {
    let mut sentences = Vec::new();
    let mut types: Vec<&TypeOutput> = output.types.iter().collect();
    types.sort_by_key(|of| std::cmp::Reverse(of.resources));
    let mut shown: Vec<String> = types
        .iter()
        .take(TYPES)
        .map(|of| match of.resources {
            Some(count) => number(count, &of.type_).replace(&format!("{}s", of.type_), &of.type_),
            None => of.type_.clone(),
        })
        .collect();
    if types.len() > TYPES {
        shown.push(format!("{} more types", types.len() - TYPES));
    }
    if !shown.is_empty() {
        sentences.push(format!("They hold {}.", enumerated(&shown)));
    }
    if let Some(deleted) = output.deleted_files.filter(|count| *count > 0) {
        sentences.push(format!("{} more name deleted resources.", number(deleted, "file")));
    }
    if let Some(errors) = output.error_files.filter(|count| *count > 0) {
        let issues = output.error_issues.map(|issues| format!(" with {}", number(issues, "issue")));
        sentences.push(format!(
            "The server also wrote {}{}.",
            number(errors, "error file"),
            issues.unwrap_or_default()
        ));
    }
    sentences
}

fn number(count: i64, noun: &str) -> String {
    counted(u64::try_from(count).unwrap_or(0), noun)
}

/// The place of the files: store, container and folder, as far as they are known.
fn place(export: &FhirExport) -> Option<String> {
    let output = export.status.as_ref()?.output.as_ref()?;
    Some(folder_url(store(export), output.container.as_deref()?, output.folder.as_deref()))
}

/// The name of the store of the files, if the status has it.
pub fn store(export: &FhirExport) -> Option<&str> {
    export.status.as_ref()?.job.as_ref()?.destination.as_ref()?.endpoint.as_deref()
}

/// What the operator checked of the files.
pub fn verified(export: &FhirExport) -> String {
    let Some(status) = &export.status else { return String::new() };
    let mut sentences = Vec::new();
    if let Some(verified) = condition::find(&status.conditions, ConditionType::Verified) {
        sentences.push(sentence(&verified.message));
    }
    if let Some(checks) = status.output.as_ref().and_then(|output| output.checks) {
        let results = [
            ("files", checks.files),
            ("counts", checks.counts),
            ("checksums", checks.checksums),
            ("requested types", checks.requested_types),
        ];
        let of = |result: CheckResult| -> Vec<String> {
            results.iter().filter(|(_, of)| *of == result).map(|(name, _)| (*name).to_owned()).collect()
        };
        for (heading, result) in [
            ("Passed", CheckResult::Passed),
            ("Failed", CheckResult::Failed),
            ("Not checked, or only in part", CheckResult::Unknown),
        ] {
            let names = of(result);
            if !names.is_empty() {
                sentences.push(format!("{heading}: {}.", enumerated(&names)));
            }
        }
    }
    sentences.join(" ")
}

/// The jobs that may still run on the server.
pub fn unsettled(export: &FhirExport) -> String {
    let jobs = export.status.as_ref().map(|status| status.unsettled_jobs.as_slice()).unwrap_or_default();
    let told = jobs.iter().map(|job| {
        let url = job.status_url.as_deref().unwrap_or("a job whose status URL is unknown");
        format!("{url} (started at {}: {})", job.intent_time, job.reason)
    });
    let told: Vec<String> = told.collect();
    if told.is_empty() {
        return String::new();
    }
    format!("These may still run on the server, and the operator does not follow them: {}.", told.join(", "))
}

/// A clause as a sentence: with a capital letter and a full stop.
pub fn sentence(clause: &str) -> String {
    let clause = clause.trim().trim_end_matches('.');
    let mut letters = clause.chars();
    match letters.next() {
        Some(first) => format!("{}{}.", first.to_uppercase(), letters.as_str()),
        None => String::new(),
    }
}
