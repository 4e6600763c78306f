//! `create`: an export from flags.

use std::collections::BTreeMap;
use std::time::Duration;

use clap::{Args, ValueEnum};
use serde_json::{Map, Value, json};

use super::connection::Connected;
use super::exit::Exit;
use super::follow::{Limit, Telling, time, until_the_end};
use super::output::{self, Form, named};
use crate::api::{GROUP, VERSION};
use crate::offline::{Definitions, is_name};
use crate::show::{Key, Line, ObjectKind, Page};
use crate::stop::Stop;

/// The flags of `create`. What they cannot express is a manifest for kubectl apply: begin it with --dry-run=client -o
/// yaml.
#[derive(Debug, Args)]
pub struct CreateArgs {
    #[command(flatten)]
    wanted: Wanted,
    /// Only print what would be created: client checks it by the schema and rules on this machine, server asks the API
    /// server
    #[arg(long, value_name = "WHERE", value_enum, default_value_t = DryRun::None)]
    dry_run: DryRun,
    /// The form of the output
    #[arg(short, long, value_name = "FORM", value_enum)]
    output: Option<Form>,
    /// Show the progress until the export ends; the exit code says how
    #[arg(long)]
    wait: bool,
    #[command(flatten)]
    limit: Limit,
}

/// What is to be exported.
#[derive(Debug, Args)]
struct Wanted {
    /// Name of the export
    #[arg(value_name = "NAME")]
    name: String,
    /// FhirServer to export from; with a namespace if it is in another one
    #[arg(long, value_name = "[NAMESPACE/]NAME")]
    server: String,
    /// What to export: system (everything), patient (the data of all patients) or group; with --group it is group
    #[arg(long, value_name = "LEVEL", value_enum, required_unless_present = "group")]
    level: Option<LevelWord>,
    /// Id of the Group whose patients' data is exported
    #[arg(long, value_name = "ID")]
    group: Option<String>,
    /// Resource types, such as Patient,Observation [default: all]
    #[arg(long, value_name = "TYPES", value_delimiter = ',')]
    types: Vec<String>,
    /// FHIR search that narrows a type, such as Observation?category=laboratory; can be repeated
    #[arg(long, value_name = "SEARCH")]
    type_filter: Vec<String>,
    /// Only resources that changed at or after this instant, such as 2026-01-01T00:00:00Z
    #[arg(long, value_name = "INSTANT")]
    since: Option<String>,
    /// Only resources that changed before this instant
    #[arg(long, value_name = "INSTANT")]
    until: Option<String>,
    /// Container for the files [default: that of the FhirServer]
    #[arg(long, value_name = "NAME")]
    container: Option<String>,
    /// How long the export may take, such as 12h [default: that of the FhirServer]
    #[arg(long, value_name = "TIME", value_parser = time)]
    deadline: Option<Duration>,
    /// How often to start again after a failure whose cause may pass [default: 2]
    #[arg(long, value_name = "TIMES")]
    backoff_limit: Option<u32>,
    /// How long the object is kept after the end, such as 168h [default: for ever]
    #[arg(long, value_name = "TIME", value_parser = time)]
    ttl: Option<Duration>,
    /// Create the export suspended; start it with resume
    #[arg(long)]
    suspend: bool,
    /// Label of the object, such as team=oncology; can be repeated
    #[arg(long = "label", value_name = "KEY=VALUE", value_parser = label)]
    labels: Vec<(String, String)>,
}

/// The level of an export.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum LevelWord {
    /// Everything on the server
    System,
    /// The data of all patients
    Patient,
    /// The data of the patients of a Group
    Group,
}

impl LevelWord {
    const fn as_str(self) -> &'static str {
        match self {
            Self::System => "System",
            Self::Patient => "Patient",
            Self::Group => "Group",
        }
    }
}

/// Who checks an object that is not created.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum DryRun {
    /// Nobody: it is created
    None,
    /// This program, by the schema and rules of the definitions
    Client,
    /// The API server
    Server,
}

fn label(text: &str) -> Result<(String, String), String> {
    let pair = text.split_once('=').filter(|(key, _)| !key.is_empty());
    let (key, value) = pair.ok_or_else(|| format!("use KEY=VALUE instead of {text}"))?;
    Ok((key.to_owned(), value.to_owned()))
}

/// Creates an export as the flags say. `connect` is called only if the cluster is needed.
pub async fn create(
    args: &CreateArgs,
    namespace: Option<&str>,
    connect: impl Future<Output = Result<Connected, Stop>>,
) -> Result<Exit, Stop> {
    let manifest = manifest(&args.wanted, namespace);
    if args.dry_run == DryRun::Client {
        check(&manifest)?;
        return shown(args.output, &manifest, "created (dry run)").map(|()| Exit::Done);
    }
    let cluster = connect.await?;
    let dry_run = args.dry_run == DryRun::Server;
    let created = cluster.create(ObjectKind::Export, &manifest, dry_run).await?;
    shown(args.output, &created, if dry_run { "created (server dry run)" } else { "created" })?;
    if args.wait && !dry_run {
        let names = std::slice::from_ref(&args.wanted.name);
        return Ok(until_the_end(&cluster, names, names, Telling::Progress, args.limit).await?.exit());
    }
    Ok(Exit::Done)
}

fn shown(form: Option<Form>, object: &Value, done: &str) -> Result<(), Stop> {
    let text = |pointer: &str| object.pointer(pointer).and_then(Value::as_str).unwrap_or_default().to_owned();
    let key = Key {
        kind: ObjectKind::Export,
        namespace: text("/metadata/namespace"),
        name: text("/metadata/name"),
    };
    match form {
        Some(form) => output::object(form, object)?.print(),
        None => Page::from(Line::of(&format!("{} {done}", named(&key)))).print(),
    }
}

/// The manifest that the flags describe.
fn manifest(wanted: &Wanted, namespace: Option<&str>) -> Value {
    let server = match wanted.server.split_once('/') {
        Some((namespace, name)) => json!({ "namespace": namespace, "name": name }),
        None => json!({ "name": wanted.server }),
    };
    let level = wanted.level.unwrap_or(LevelWord::Group).as_str();
    let list = |list: &[String]| (!list.is_empty()).then(|| json!(list));
    let seconds = |time: Option<Duration>| time.map(|time| json!(time.as_secs()));
    let request = with(
        json!({ "level": level }),
        [
            ("groupID", wanted.group.as_ref().map(|id| json!(id))),
            ("types", list(&wanted.types)),
            ("typeFilters", list(&wanted.type_filter)),
            ("since", wanted.since.as_ref().map(|since| json!(since))),
            ("until", wanted.until.as_ref().map(|until| json!(until))),
            ("container", wanted.container.as_ref().map(|name| json!(name))),
        ],
    );
    let spec = with(
        json!({ "serverRef": server, "request": request }),
        [
            ("suspend", wanted.suspend.then_some(json!(true))),
            ("activeDeadlineSeconds", seconds(wanted.deadline)),
            ("backoffLimit", wanted.backoff_limit.map(|limit| json!(limit))),
            ("ttlSecondsAfterFinished", seconds(wanted.ttl)),
        ],
    );
    let labels: BTreeMap<&String, &String> = wanted.labels.iter().map(|(key, value)| (key, value)).collect();
    let metadata = with(
        json!({ "name": wanted.name }),
        [
            ("namespace", namespace.map(|namespace| json!(namespace))),
            ("labels", (!labels.is_empty()).then(|| json!(labels))),
        ],
    );
    json!({ "apiVersion": format!("{GROUP}/{VERSION}"), "kind": "FhirExport", "metadata": metadata, "spec": spec })
}

/// An object with those members that have a value.
fn with<const N: usize>(object: Value, members: [(&str, Option<Value>); N]) -> Value {
    let mut object = match object {
        Value::Object(members) => members,
        _ => Map::new(),
    };
    object.extend(members.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?))));
    Value::Object(object)
}

/// Checks a manifest by the schema and rules of the definitions.
fn check(manifest: &Value) -> Result<(), Stop> {
    let wrong = |e: serde_json::Error| Stop::because(format!("The definitions cannot be read: {e}."));
    let name = manifest.pointer("/metadata/name").and_then(Value::as_str).unwrap_or_default();
    let mut faults: Vec<String> = Vec::new();
    if !is_name(name) {
        faults.push("metadata.name: use lower-case letters, digits, hyphens and dots".to_owned());
    }
    let definitions = Definitions::load().map_err(wrong)?;
    if let Some(definition) = definitions.find("FhirExport", VERSION) {
        faults.extend(definition.faults(manifest, None).iter().map(ToString::to_string));
    }
    if faults.is_empty() {
        return Ok(());
    }
    Err(Stop::because(format!("The FhirExport {name} is invalid: {}.", faults.join("; "))))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        args: CreateArgs,
    }

    fn args(line: &str) -> CreateArgs {
        Line::try_parse_from(line.split_whitespace()).unwrap().args
    }

    #[test]
    fn flags_become_a_manifest() {
        let args = args(
            "create cohort-42 --server shared/clinic --group 42 --types Patient,Observation --type-filter \
             Observation?code=1 --since 2026-01-01T00:00:00Z --container lake --deadline 12h --backoff-limit 0 --ttl \
             168h --suspend --label team=oncology",
        );
        let manifest = manifest(&args.wanted, Some("research"));
        assert_eq!(
            manifest,
            json!({ "apiVersion": "fhirexport.dev/v1alpha1", "kind": "FhirExport",
                "metadata": { "name": "cohort-42", "namespace": "research", "labels": { "team": "oncology" } },
                "spec": { "serverRef": { "namespace": "shared", "name": "clinic" }, "suspend": true,
                    "activeDeadlineSeconds": 43_200, "backoffLimit": 0, "ttlSecondsAfterFinished": 604_800,
                    "request": { "level": "Group", "groupID": "42", "types": ["Patient", "Observation"],
                        "typeFilters": ["Observation?code=1"], "since": "2026-01-01T00:00:00Z", "container": "lake" } } })
        );
        check(&manifest).unwrap();
    }

    #[test]
    fn what_is_not_asked_for_is_not_in_the_manifest() {
        let manifest = manifest(&args("create all --server clinic --level system").wanted, None);
        assert_eq!(
            (manifest.pointer("/metadata").unwrap(), manifest.pointer("/spec").unwrap()),
            (
                &json!({ "name": "all" }),
                &json!({ "serverRef": { "name": "clinic" }, "request": { "level": "System" } })
            )
        );
    }

    #[test]
    fn mistakes_are_found_without_a_cluster() {
        for (line, wanted) in [
            (
                "create x --server clinic --level group",
                "spec.request.groupID: groupID is required when level is Group",
            ),
            ("create X --server clinic --level system", "metadata.name: use lower-case letters"),
            (
                "create x --server clinic --level system --container My_Data",
                "spec.request.container: use 3 to 63",
            ),
        ] {
            let said = check(&manifest(&args(line).wanted, None)).unwrap_err().to_string();
            assert!(said.contains(wanted), "{said}");
        }
        let refused = |line: &str| Line::try_parse_from(line.split_whitespace()).is_err();
        assert!(refused("create x --server clinic"), "a level or a group is required");
        assert!(refused("create x --server clinic --level system --label team"));
    }
}
