//! `cancel`, `suspend` and `resume`: changes of an object's spec.

use clap::Args;
use serde_json::{Value, json};

use super::connection::Connected;
use super::describe::export;
use super::exit::Exit;
use super::follow::{Limit, Telling, until_the_end};
use super::output::named;
use crate::api::{FhirExport, RunState};
use crate::show::{Key, Line, ObjectKind, Page};
use crate::stop::Stop;

/// The flags of `cancel`.
#[derive(Debug, Args)]
pub struct CancelArgs {
    /// Name of the export
    #[arg(value_name = "NAME")]
    name: String,
    /// Wait until the server has confirmed the cancel
    #[arg(long)]
    wait: bool,
    #[command(flatten)]
    limit: Limit,
}

/// What `suspend` and `resume` work on.
#[derive(Debug, Args)]
pub struct TargetArgs {
    /// Name of an export, or KIND/NAME with the kind schedule or server
    #[arg(value_name = "[KIND/]NAME", value_parser = target)]
    target: (ObjectKind, String),
}

/// Parses `NAME`, which is an export's, or `KIND/NAME`, with the names of kinds that kubectl takes.
fn target(text: &str) -> Result<(ObjectKind, String), String> {
    let (kind, name) = text.split_once('/').unwrap_or(("export", text));
    let kind = kind.split('.').next().unwrap_or(kind).to_ascii_lowercase();
    let kind = match kind.as_str() {
        "export" | "exports" | "fexp" | "fhirexport" | "fhirexports" => ObjectKind::Export,
        "schedule" | "schedules" | "fsched" | "fhirexportschedule" | "fhirexportschedules" => {
            ObjectKind::Schedule
        }
        "server" | "servers" | "fserver" | "fhirserver" | "fhirservers" => ObjectKind::Server,
        _ => return Err(format!("{kind} is no kind: use export, schedule or server")),
    };
    if name.is_empty() { Err("the name is missing".to_owned()) } else { Ok((kind, name.to_owned())) }
}

/// Cancels an export, and keeps it as a record.
pub async fn cancel(cluster: &Connected, args: &CancelArgs) -> Result<Exit, Stop> {
    let name = &args.name;
    if let Some(state) = ended(&export(cluster, name).await?) {
        return Err(Stop::because(format!(
            "The export {name} is {state} already, so there is nothing to cancel; its files stay."
        )));
    }
    cluster.change(ObjectKind::Export, name, &json!({ "spec": { "cancel": true } })).await?;
    say(ObjectKind::Export, name, "cancel requested")?;
    if !args.wait {
        return Ok(Exit::Done);
    }
    let names = std::slice::from_ref(name);
    Ok(until_the_end(cluster, names, names, Telling::Ends, args.limit).await?.exit_of_cancel())
}

/// Suspends an object, or lets it go on.
pub async fn suspend(cluster: &Connected, args: &TargetArgs, on: bool) -> Result<(), Stop> {
    let (kind, name) = &args.target;
    let object = cluster.get(*kind, name).await?;
    let word = if on { "suspended" } else { "resumed" };
    if let Some(state) = over(*kind, &object) {
        return Err(Stop::because(format!("The export {name} is {state} already, so it cannot be {word}.")));
    }
    if object.pointer("/spec/suspend").and_then(Value::as_bool).unwrap_or(false) == on {
        let what = if on { "suspended already" } else { "not suspended" };
        return say(*kind, name, &format!("unchanged: it is {what}"));
    }
    cluster.change(*kind, name, &json!({ "spec": { "suspend": on } })).await?;
    say(*kind, name, word)?;
    if on && *kind == ObjectKind::Export && object.pointer("/status/job/kickOffTime").is_some() {
        Line::of("note: the job on the server goes on, and so does the deadline of the export").tell();
    }
    Ok(())
}

fn say(kind: ObjectKind, name: &str, what: &str) -> Result<(), Stop> {
    let key = Key { kind, namespace: String::new(), name: name.to_owned() };
    Page::from(Line::of(&format!("{} {what}", named(&key)))).print()
}

/// The state in which an export has ended, if it has.
fn ended(export: &FhirExport) -> Option<RunState> {
    let status = export.status.as_ref()?;
    status.completion_time.and(status.state)
}

/// The word for the state in which an object has ended, if it has; only exports end.
fn over(kind: ObjectKind, object: &Value) -> Option<&str> {
    match kind {
        ObjectKind::Export => {
            object.pointer("/status/completionTime")?;
            object.pointer("/status/state").and_then(Value::as_str)
        }
        ObjectKind::Server | ObjectKind::Schedule => None,
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn kinds_have_the_names_that_kubectl_takes() {
        for (text, kind, name) in [
            ("cohort", ObjectKind::Export, "cohort"),
            ("fexp/cohort", ObjectKind::Export, "cohort"),
            ("fhirexport.fhirexport.dev/cohort", ObjectKind::Export, "cohort"),
            ("schedule/nightly", ObjectKind::Schedule, "nightly"),
            ("FhirServer/clinic", ObjectKind::Server, "clinic"),
        ] {
            assert_eq!(target(text).unwrap(), (kind, name.to_owned()), "{text}");
        }
        assert_eq!(target("pod/x").unwrap_err(), "pod is no kind: use export, schedule or server");
        assert_eq!(target("schedule/").unwrap_err(), "the name is missing");
    }

    #[test]
    fn only_an_export_that_has_ended_is_over() {
        let ended = json!({ "status": { "completionTime": "2026-01-01T00:00:00Z", "state": "Failed" } });
        assert_eq!(over(ObjectKind::Export, &ended), Some("Failed"));
        assert_eq!(over(ObjectKind::Schedule, &ended), None);
        assert_eq!(over(ObjectKind::Export, &json!({ "status": { "state": "Running" } })), None);
    }
}
