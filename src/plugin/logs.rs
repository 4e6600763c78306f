//! `logs`: the events of an export, and what the operator's log says of it.

use clap::Args;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::Pod;
use kube::api::{ListParams, LogParams};
use kube::{Api, ResourceExt as _};
use serde_json::Value;

use super::connection::Connected;
use super::describe::export;
use super::events::about;
use crate::cluster::{CallError, call};
use crate::show::{Line, Page};
use crate::stop::Stop;

/// The label by which the operator's pods are found. The chart sets it whatever name the operator is given.
const OPERATOR: &str = "app.kubernetes.io/part-of=fhir-export-operator";
/// The operator's container in its pods, as the chart names it.
const CONTAINER: &str = "operator";

/// The flags of `logs`.
#[derive(Debug, Args)]
pub struct LogsArgs {
    /// Name of the export
    #[arg(value_name = "NAME")]
    name: String,
    /// Namespace of the operator [default: it is looked for in all]
    #[arg(long, value_name = "NAMESPACE")]
    operator_namespace: Option<String>,
}

/// Reads the events of an export and the lines of the operator's pods about it, and returns them. What may not be read
/// is said on stderr.
pub async fn logs(cluster: &Connected, args: &LogsArgs) -> Result<Page, Stop> {
    let export = export(cluster, &args.name).await?;
    let mut page = Page::default();
    match about(cluster, &export).await {
        Ok(events) => {
            let now = Timestamp::now();
            page.extend(events.iter().map(|event| event.line(now)));
        }
        Err(why) => Line::of(&format!("note: the events are not shown: {why}")).tell(),
    }
    match lines(cluster, args).await {
        Ok(lines) => page.extend(lines),
        Err(why) => Line::of(&format!("note: the operator's log is not shown: {why}")).tell(),
    }
    Ok(page)
}

/// The lines about an export in the logs of all pods of the operator, in the order of their times. A pod whose log
/// cannot be read is named on stderr. The error completes "the log is not shown: …".
async fn lines(cluster: &Connected, args: &LogsArgs) -> Result<Vec<Line>, String> {
    let pods: Api<Pod> = match &args.operator_namespace {
        Some(namespace) => Api::namespaced(cluster.client.clone(), namespace),
        None => Api::all(cluster.client.clone()),
    };
    let which = ListParams::default().labels(OPERATOR);
    let everywhere = args.operator_namespace.is_none();
    let found = call(|| pods.list(&which)).await.map_err(|error| refused(&error, everywhere))?;
    if found.items.is_empty() {
        return Err(
            "no pod of the operator was found; name its namespace with --operator-namespace".to_owned()
        );
    }
    let whole = LogParams { container: Some(CONTAINER.to_owned()), ..LogParams::default() };
    let mut lines = Vec::new();
    for pod in found.items {
        let (namespace, name) = (pod.namespace().unwrap_or_default(), pod.name_any());
        let there: Api<Pod> = Api::namespaced(cluster.client.clone(), &namespace);
        match call(|| there.logs(&name, &whole)).await {
            Ok(log) => {
                lines.extend(log.lines().filter_map(|line| told(line, &cluster.namespace, &args.name)));
            }
            Err(error) => {
                let why = refused(&error, false);
                Line::of(&format!("note: the log of the pod {namespace}/{name} is not shown: {why}")).tell();
            }
        }
    }
    // Each begins with its time.
    lines.sort();
    Ok(lines)
}

/// Why pods could not be listed, `everywhere` or in the namespace that the flags name, or why one could not be read.
fn refused(error: &CallError, everywhere: bool) -> String {
    match error {
        CallError::Forbidden(_) if everywhere => {
            "you may not list pods in all namespaces; name that of the operator with --operator-namespace"
                .to_owned()
        }
        CallError::Forbidden(_) => {
            "you may not read the operator's pods; ask its owner for their logs".to_owned()
        }
        CallError::NotFound => "it is gone".to_owned(),
        other => other.told("read the operator's pods").trim_end_matches('.').to_owned(),
    }
}

/// A line of the operator's log for people, if it is about this export. Lines that are not JSON stay as they are.
/// Anybody may run a pod with the operator's label, and write the words.
fn told(line: &str, namespace: &str, name: &str) -> Option<Line> {
    let Ok(entry) = serde_json::from_str::<Value>(line) else {
        let fields = [format!("namespace=\"{namespace}\""), format!("name=\"{name}\"")];
        return fields.iter().all(|field| line.contains(field)).then(|| Line::of(line));
    };
    let text = |member: &str| entry.get(member).and_then(Value::as_str);
    let is_about = text("namespace") == Some(namespace) && text("name") == Some(name);
    if !is_about || text("kind").is_some_and(|kind| kind != "FhirExport") {
        return None;
    }
    let reason = text("reason").map(|reason| format!("{reason}: ")).unwrap_or_default();
    let part = |member: &str| text(member).unwrap_or_default();
    Some(Line::of(&format!("{} {:<5} {reason}{}", part("timestamp"), part("level"), part("message"))))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn only_lines_about_the_export_are_told() {
        let line = |kind: &str, namespace: &str, name: &str| {
            let line = json!({ "timestamp": "2026-11-23T01:00:00Z", "level": "INFO", "kind": kind, "namespace": namespace,
                "name": name, "reason": "KickedOff", "message": "accepted as job 7" });
            told(&line.to_string(), "research", "cohort")
        };
        let shown = "2026-11-23T01:00:00Z INFO  KickedOff: accepted as job 7";
        assert_eq!(line("FhirExport", "research", "cohort"), Some(Line::of(shown)));
        for (kind, namespace, name) in [
            ("FhirExport", "research", "cohort-2"),
            ("FhirExport", "other", "cohort"),
            ("FhirServer", "research", "cohort"),
        ] {
            assert_eq!(line(kind, namespace, name), None, "{kind} {namespace}/{name}");
        }
        let text = "2026 INFO accepted kind=\"FhirExport\" namespace=\"research\" name=\"cohort\"";
        assert_eq!(told(text, "research", "cohort"), Some(Line::of(text)));
        assert_eq!(told("it works", "research", "cohort"), None);
    }

    #[test]
    fn no_line_brings_an_escape_sequence() {
        let line = json!({ "timestamp": "2026-11-23T01:00:00Z", "level": "INFO", "namespace": "research",
            "name": "cohort", "message": "\u{1b}[2J" });
        let shown = told(&line.to_string(), "research", "cohort").unwrap();
        assert_eq!(shown.as_str(), "2026-11-23T01:00:00Z INFO  \u{fffd}[2J");
        let text = "\u{1b}[2J namespace=\"research\" name=\"cohort\"";
        assert!(told(text, "research", "cohort").unwrap().as_str().starts_with("\u{fffd}[2J "));
    }

    #[test]
    fn what_may_not_be_read_has_a_next_step() {
        let forbidden = CallError::Forbidden("no".to_owned());
        assert!(refused(&forbidden, true).ends_with("with --operator-namespace"));
        assert!(refused(&forbidden, false).ends_with("ask its owner for their logs"));
        let silent = CallError::Unreachable("x".to_owned());
        assert!(refused(&silent, true).starts_with("The API server does not answer"));
    }
}
