//! Which resources an export takes, and the files they make.

use std::collections::{BTreeMap, BTreeSet};

use azure_fhir::{Latest, Level, Patients, TypeFilter, owner};
use serde_json::{Value, json};

use crate::ask::Asked;
use crate::content::{Content, Made, Source};
use crate::file_script::FileScript;
use crate::job::{JobFile, List};
use crate::script::{Data, MadeFiles, Script};

/// A kick-off that cannot be done: status, issue code and text.
pub(crate) type Refusal = (u16, &'static str, String);

/// All files of a job.
pub(crate) fn files(
    patients: &Patients,
    level: Level,
    group: Option<&str>,
    asked: &Asked,
    script: &Script,
) -> Result<Vec<JobFile>, Refusal> {
    let people = people(patients, level, group, asked)?;
    let mut files = Vec::new();
    match &script.data {
        Data::Empty => {}
        Data::Made(made) => files.extend(made_files(made, asked, script)),
        Data::Patients { lines_per_file } => {
            let found = patients.latest().filter(|latest| wanted(latest, level, people.as_ref(), asked));
            let lines_per_file = (*lines_per_file).max(1);
            if asked.organize_by.is_some() {
                files.extend(organized(found, asked, script, lines_per_file));
            } else {
                files.extend(by_type(found, asked, script, lines_per_file));
            }
        }
    }
    files.extend(deleted(patients, asked, script));
    files.extend(issues(asked, script));
    Ok(files)
}

/// The patients whose compartments are asked for; `None` is everything.
fn people<'a>(
    patients: &'a Patients,
    level: Level,
    group: Option<&str>,
    asked: &Asked,
) -> Result<Option<BTreeSet<&'a str>>, Refusal> {
    let all: BTreeSet<&str> =
        patients.latest().filter(|latest| latest.kind == "Patient").map(|latest| latest.id).collect();
    let people = match (level, group) {
        (Level::System, _) => return Ok(None),
        (Level::Group, Some(id)) => {
            let members = patients
                .group(id)
                .ok_or_else(|| (404, "not-found", format!("The group {id} was not found.")))?;
            all.into_iter().filter(|patient| members.contains(*patient)).collect()
        }
        _ => all,
    };
    if asked.patients.is_empty() {
        return Ok(Some(people));
    }
    let named = asked.patients.iter().map(|reference| {
        let id = reference.rsplit('/').next().unwrap_or_default();
        people
            .get(id)
            .copied()
            .ok_or_else(|| (400, "invalid", format!("{reference} is not one of the patients.")))
    });
    Ok(Some(named.collect::<Result<_, _>>()?))
}

fn wanted(latest: &Latest<'_>, level: Level, people: Option<&BTreeSet<&str>>, asked: &Asked) -> bool {
    let Some(resource) = latest.resource else { return false };
    let type_wanted = asked.types.is_empty() || asked.types.iter().any(|kind| kind == latest.kind);
    let in_time = asked.since.is_none_or(|since| latest.updated > since)
        && asked.until.is_none_or(|until| latest.updated < until);
    let mut filters = asked
        .type_filters
        .iter()
        .filter_map(|filter| TypeFilter::parse(filter).ok())
        .filter(|filter| filter.kind == latest.kind)
        .peekable();
    let found = filters.peek().is_none() || filters.any(|filter| filter.finds(resource));
    let patient = if latest.kind == "Patient" { Some(latest.id) } else { owner(resource) };
    let inside = people.is_none_or(|people| patient.is_some_and(|patient| people.contains(patient)));
    type_wanted && in_time && found && (level == Level::System || inside)
}

fn line(resource: &Value, asked: &Asked) -> String {
    let kind = resource.get("resourceType").and_then(Value::as_str).unwrap_or_default();
    let named: Vec<&str> = asked
        .elements
        .iter()
        .filter_map(|element| match element.split_once('.') {
            Some((of, element)) => (of == kind).then_some(element),
            None => Some(element.as_str()),
        })
        .collect();
    let Some(object) = resource.as_object().filter(|_| !named.is_empty()) else {
        return resource.to_string();
    };
    let keeps = |name: &str| ["resourceType", "id", "meta"].contains(&name) || named.contains(&name);
    let mut subset: serde_json::Map<String, Value> = object
        .iter()
        .filter(|(name, _)| keeps(name))
        .map(|(name, value)| (name.clone(), value.clone()))
        .collect();
    if let Some(meta) = subset.entry("meta").or_insert_with(|| json!({})).as_object_mut() {
        let system = "http://terminology.hl7.org/CodeSystem/v3-ObservationValue";
        meta.insert("tag".into(), json!([{ "system": system, "code": "SUBSETTED" }]));
    }
    Value::Object(subset).to_string()
}

fn by_type<'a>(
    found: impl Iterator<Item = Latest<'a>>,
    asked: &Asked,
    script: &Script,
    lines_per_file: usize,
) -> Vec<JobFile> {
    let mut lines: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    for latest in found {
        lines.entry(latest.kind).or_default().extend(latest.resource.map(|resource| line(resource, asked)));
    }
    let mut files = Vec::new();
    for (kind, lines) in lines {
        for lines in lines.chunks(lines_per_file) {
            files.push(written(lines, Some(kind), files.len(), script));
        }
    }
    files
}

/// Blocks of one patient each, with a header; a block that crosses files repeats it.
fn organized<'a>(
    found: impl Iterator<Item = Latest<'a>>,
    asked: &Asked,
    script: &Script,
    lines_per_file: usize,
) -> Vec<JobFile> {
    let mut blocks: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for latest in found {
        let Some(resource) = latest.resource else { continue };
        let patient = if latest.kind == "Patient" { Some(latest.id) } else { owner(resource) };
        let Some(patient) = patient else { continue };
        let block = blocks.entry(patient.to_owned()).or_default();
        let line = line(resource, asked);
        if latest.kind == "Patient" { block.insert(0, line) } else { block.push(line) }
    }
    let mut files: Vec<JobFile> = Vec::new();
    let mut lines: Vec<String> = Vec::new();
    for (patient, block) in blocks {
        let reference = json!({ "reference": format!("Patient/{patient}") });
        let header = json!({ "resourceType": "Parameters", "parameter": [{ "name": "header", "valueReference": reference }] });
        let mut left = block.into_iter().peekable();
        while left.peek().is_some() {
            lines.push(header.to_string());
            let room = lines_per_file.saturating_sub(lines.len()).max(1);
            lines.extend(left.by_ref().take(room));
            if lines.len() >= lines_per_file {
                let mut file = written(&std::mem::take(&mut lines), None, files.len(), script);
                file.continues = left.peek().is_some();
                files.push(file);
            }
        }
    }
    if !lines.is_empty() {
        files.push(written(&lines, None, files.len(), script));
    }
    files
}

fn at(script: &Script, index: usize) -> FileScript {
    script.file_overrides.get(&index).unwrap_or(&script.files).clone()
}

fn written(lines: &[String], kind: Option<&str>, index: usize, script: &Script) -> JobFile {
    let manner = at(script, index);
    let end = if manner.crlf { "\r\n" } else { "\n" };
    let text: String = lines.iter().flat_map(|line| [line.as_str(), end]).collect();
    let content =
        Content::new(Source::Bytes(text.into_bytes().into()), manner.byte_order_mark, missing(&manner));
    JobFile::new(List::Output, kind.map(str::to_owned), content, manner)
}

/// How much of the last line end is not there.
fn missing(manner: &FileScript) -> u64 {
    match (manner.no_final_newline, manner.crlf) {
        (false, _) => 0,
        (true, false) => 1,
        (true, true) => 2,
    }
}

fn made_files(made: &[MadeFiles], asked: &Asked, script: &Script) -> Vec<JobFile> {
    let mut files: Vec<JobFile> = Vec::new();
    let wanted = made.iter().filter(|made| asked.types.is_empty() || asked.types.contains(&made.kind));
    for of_type in wanted {
        let make = |crlf| Made::new(&of_type.kind, of_type.file_bytes, of_type.line_bytes, crlf);
        let (plain, crlf) = (make(false), make(true));
        for number in 0..of_type.files {
            let manner = at(script, files.len());
            let made = if manner.crlf { crlf.numbered(number) } else { plain.numbered(number) };
            let content = Content::new(Source::Made(made), manner.byte_order_mark, missing(&manner));
            files.push(JobFile::new(List::Output, Some(of_type.kind.clone()), content, manner));
        }
    }
    files
}

/// Transaction Bundles with what was deleted since `_since`, and with what the script says.
fn deleted(patients: &Patients, asked: &Asked, script: &Script) -> Option<JobFile> {
    let since = asked.since;
    let really = patients
        .latest()
        .filter(|latest| latest.resource.is_none() && since.is_some_and(|since| latest.updated > since))
        .filter(|latest| asked.types.is_empty() || asked.types.iter().any(|kind| kind == latest.kind))
        .map(|latest| format!("{}/{}", latest.kind, latest.id));
    let entries = really.chain(script.manifest.deleted.iter().cloned());
    let lines: String = entries
        .flat_map(|url| {
            let entry = json!([{ "request": { "method": "DELETE", "url": url } }]);
            let bundle = json!({ "resourceType": "Bundle", "type": "transaction", "entry": entry });
            [bundle.to_string(), "\n".to_owned()]
        })
        .collect();
    let file = |lines| {
        JobFile::new(List::Deleted, Some("Bundle".into()), Content::text(lines), script.files.clone())
    };
    (!lines.is_empty()).then(|| file(lines))
}

/// OperationOutcomes as the script says, and one for each parameter that was left out.
fn issues(asked: &Asked, script: &Script) -> Option<JobFile> {
    let outcome = |severity: &str, code: &str, text: &str| {
        let issue = json!([{ "severity": severity, "code": code, "diagnostics": text }]);
        format!("{}\n", json!({ "resourceType": "OperationOutcome", "issue": issue }))
    };
    let left_out = asked.ignored.iter().map(|name| {
        outcome(
            "warning",
            "not-supported",
            &format!("The parameter {name} is not supported and was ignored."),
        )
    });
    let scripted = script.manifest.issues.iter().flat_map(|(severity, count)| {
        (0..*count).map(move |number| outcome(severity, "processing", &format!("Scripted issue {number}.")))
    });
    let lines: String = left_out.chain(scripted).collect();
    let kind = Some("OperationOutcome".to_owned());
    (!lines.is_empty()).then(|| JobFile::new(List::Error, kind, Content::text(lines), script.files.clone()))
}

/// How many made resources of a type a script has.
pub(crate) fn made_count(made: &[MadeFiles], kind: &str) -> u64 {
    let of_type = made.iter().filter(|made| made.kind == kind);
    of_type.map(|made| made.files * Made::new(kind, made.file_bytes, made.line_bytes, false).lines()).sum()
}
