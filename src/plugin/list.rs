//! `list`: the exports of a namespace, or of all.

use clap::Args;
use jiff::Timestamp;
use kube::api::ListParams;
use serde_json::Value;

use super::age::age;
use super::connection::Connected;
use super::output::{ListForm, names};
use super::paint::{Paint, Tone};
use super::table::{Cell, Table};
use crate::api::{Condition, ConditionType, FhirExportStatus, Reason, RunState};
use crate::core::condition;
use crate::core::export::blocked_by;
use crate::show::{self, Format, Line, ObjectKind, Page};
use crate::stop::Stop;

/// The flags of `list`.
#[derive(Debug, Args)]
pub struct ListArgs {
    /// The exports of all namespaces
    #[arg(short = 'A', long)]
    all_namespaces: bool,
    /// Only those with these labels, such as team=oncology
    #[arg(short = 'l', long, value_name = "LABELS")]
    selector: Option<String>,
    /// Only those of this FhirServer
    #[arg(long, value_name = "NAME")]
    server: Option<String>,
    /// The form of the output
    #[arg(short, long, value_name = "FORM", value_enum)]
    output: Option<ListForm>,
}

/// Lists exports, and returns what to print.
pub async fn list(cluster: &Connected, args: &ListArgs, paint: Paint) -> Result<Page, Stop> {
    let mut which = ListParams::default();
    if let Some(labels) = &args.selector {
        which = which.labels(labels);
    }
    if let Some(server) = &args.server {
        which = which.fields(&format!("spec.serverRef.name={server}"));
    }
    let exports = cluster.list(ObjectKind::Export, args.all_namespaces, &which).await?;
    match args.output {
        Some(ListForm::Json) => show::objects(Format::Json, &exports),
        Some(ListForm::Yaml) => show::objects(Format::Yaml, &exports),
        Some(ListForm::Name) => Ok(names(&exports)),
        None | Some(ListForm::Wide) if exports.is_empty() => {
            Line::of(&nothing(args, &cluster.namespace)).tell();
            Ok(Page::default())
        }
        None | Some(ListForm::Wide) => {
            let columns = Columns { namespace: args.all_namespaces, wide: args.output.is_some() };
            Ok(table(&exports, columns, Timestamp::now()).page(paint))
        }
    }
}

fn nothing(args: &ListArgs, namespace: &str) -> String {
    let which = if args.selector.is_some() || args.server.is_some() { " like that" } else { "" };
    if args.all_namespaces {
        format!("No exports{which} found.")
    } else {
        format!("No exports{which} found in namespace {namespace}.")
    }
}

/// Which columns a table of exports has besides those that it always has.
#[derive(Clone, Copy, Debug)]
struct Columns {
    namespace: bool,
    wide: bool,
}

/// A table of exports.
fn table(exports: &[Value], columns: Columns, now: Timestamp) -> Table {
    let mut headings = vec!["NAME", "SERVER", "LEVEL", "STATE", "REASON", "PROGRESS", "RESOURCES", "AGE"];
    if columns.namespace {
        headings.insert(0, "NAMESPACE");
    }
    if columns.wide {
        headings.extend(["CONTAINER", "FOLDER", "MESSAGE"]);
    }
    let mut table = Table::new(headings);
    for export in exports {
        table.row(row(export, columns, now));
    }
    table
}

fn row(export: &Value, columns: Columns, now: Timestamp) -> Vec<Cell> {
    let text = |pointer: &str| export.pointer(pointer).and_then(Value::as_str).unwrap_or_default().to_owned();
    let status: FhirExportStatus = export
        .get("status")
        .and_then(|status| serde_json::from_value(status.clone()).ok())
        .unwrap_or_default();
    let output = status.output.as_ref();
    let resources = output.and_then(|output| output.resources).map(|count| count.to_string());
    let created = text("/metadata/creationTimestamp").parse::<Timestamp>();
    let told = told(&status);
    let tone = status.state.map_or(Tone::Neutral, Tone::of_state);
    let tone = if told.is_some() && tone == Tone::Busy { Tone::Held } else { tone };
    let progress = text("/status/job/progress/summary");
    let over = status.state.is_some_and(RunState::is_end);
    let mut row = vec![
        text("/metadata/name").into(),
        text("/spec/serverRef/name").into(),
        text("/spec/request/level").into(),
        Cell::toned(text("/status/state"), tone),
        Cell::toned(told.map(|condition| condition.reason.clone()).unwrap_or_default(), tone),
        if over { String::new() } else { progress }.into(),
        resources.unwrap_or_default().into(),
        created.map_or_else(|_| "<unknown>".to_owned(), |then| age(then, now)).into(),
    ];
    if columns.namespace {
        row.insert(0, text("/metadata/namespace").into());
    }
    if columns.wide {
        row.push(text("/status/output/container").into());
        row.push(text("/status/output/folder").into());
        row.push(told.map(|condition| condition.message.clone()).unwrap_or_default().into());
    }
    row
}

/// The condition that a reader of the list should know of: why an export failed, cannot continue, or completed
/// otherwise than asked for.
pub fn told(status: &FhirExportStatus) -> Option<&Condition> {
    let of = |type_| condition::find(&status.conditions, type_).filter(|condition| condition.is_true());
    if let Some(failed) = of(ConditionType::Failed) {
        return Some(failed);
    }
    if let Some(complete) = of(ConditionType::Complete) {
        return Some(complete).filter(|condition| !condition.because(Reason::Exported));
    }
    blocked_by(status)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::indexing_slicing)]
mod tests {
    use serde_json::json;

    use super::*;

    fn export(name: &str, status: &Value) -> Value {
        json!({ "apiVersion": "fhirexport.dev/v1alpha1", "kind": "FhirExport",
            "metadata": { "name": name, "namespace": "research", "creationTimestamp": "2026-11-23T01:00:00Z" },
            "spec": { "serverRef": { "name": "clinic" }, "request": { "level": "Group", "groupID": "42" } },
            "status": status })
    }

    fn condition(type_: &str, status: &str, reason: &str) -> Value {
        json!({ "type": type_, "status": status, "reason": reason, "message": "because",
            "lastTransitionTime": "2026-01-01T00:00:00Z" })
    }

    fn all() -> Vec<Value> {
        vec![
            export(
                "done",
                &json!({ "state": "Complete", "conditions": [condition("Complete", "True", "Exported")],
                    "job": { "intentTime": "2026-11-23T01:00:00Z", "progress": { "summary": "9 of 9 files" } },
                    "output": { "container": "lake", "folder": "f-1", "resources": 4711 } }),
            ),
            export(
                "failed",
                &json!({ "state": "Failed", "conditions": [condition("Failed", "True", "GroupNotFound")] }),
            ),
            export(
                "held",
                &json!({ "state": "Running", "conditions": [condition("ServerReachable", "False", "Throttled")],
                    "job": { "intentTime": "2026-11-23T01:00:00Z", "progress": { "summary": "61 files" } } }),
            ),
            export("new", &Value::Null),
        ]
    }

    #[test]
    fn the_table_says_why_what_does_not_go_on_does_not() {
        let now = "2026-11-23T01:05:30Z".parse().unwrap();
        let text = table(&all(), Columns { namespace: false, wide: false }, now).page(Paint::Plain);
        assert_eq!(
            text.as_str(),
            "NAME     SERVER   LEVEL   STATE      REASON          PROGRESS   RESOURCES   AGE\n\
             done     clinic   Group   Complete                              4711        5m30s\n\
             failed   clinic   Group   Failed     GroupNotFound                          5m30s\n\
             held     clinic   Group   Running    Throttled       61 files               5m30s\n\
             new      clinic   Group                                                     5m30s\n"
        );
    }

    #[test]
    fn no_column_brings_an_escape_sequence() {
        let now = "2026-11-23T01:05:30Z".parse().unwrap();
        let mut held = condition("ServerReachable", "False", "\u{1b}[2J reason");
        held["message"] = json!("\u{9b}2J message\r\n");
        let status = json!({ "state": "Running", "conditions": [held],
            "job": { "intentTime": "2026-11-23T01:00:00Z", "progress": { "summary": "\u{1b}[2J progress" } },
            "output": { "container": "\u{1b}[2J container", "folder": "\u{1b}[2J folder" } });
        let all = [export("\u{1b}[2J name", &status)];
        let page = table(&all, Columns { namespace: true, wide: true }, now).page(Paint::Plain);
        let (text, names) = (page.as_str(), names(&all));
        for field in ["reason", "message", "progress", "container", "folder", "name"] {
            assert!(text.contains(&format!("2J {field}")), "{text}");
        }
        for text in [text, names.as_str()] {
            assert!(!text.contains(|c: char| c.is_control() && c != '\n'), "{text:?}");
        }
    }

    #[test]
    fn more_columns_on_request() {
        let now = "2026-11-23T01:05:30Z".parse().unwrap();
        let text = table(&all(), Columns { namespace: true, wide: true }, now).page(Paint::Plain);
        let text = text.as_str();
        let lines: Vec<&str> = text.lines().collect();
        assert!(lines.first().unwrap().starts_with("NAMESPACE   NAME"), "{text}");
        assert!(lines.get(1).unwrap().ends_with("lake        f-1"), "{text}");
        assert!(lines.get(2).unwrap().ends_with("because"), "{text}");
    }
}
