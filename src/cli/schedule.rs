//! Commands on schedules.

use clap::Subcommand;
use jiff::Timestamp;
use kube::Client;

use super::generate;
use crate::api::{ConditionStatus, ConditionType, FhirExportSchedule};
use crate::cluster::{CallError, client_and_namespace, run_now};
use crate::core::condition;
use crate::core::schedule::name_of_token;
use crate::stop::Stop;

/// A command on a schedule.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Request a run now, in addition to the scheduled ones, and print the name of its FhirExport
    Run {
        /// Name of the FhirExportSchedule
        #[arg(value_name = "NAME")]
        name: String,
        /// Namespace of the FhirExportSchedule [default: that of the current context]
        #[arg(short, long, value_name = "NAMESPACE")]
        namespace: Option<String>,
        /// Request a full run, which starts a new chain of incremental runs
        #[arg(long)]
        full: bool,
    },
}

/// Carries out `command`. `run` annotates the schedule and prints the name of the requested run.
pub fn schedule(command: &Command) -> Result<(), Stop> {
    let Command::Run { name, namespace, full } = command;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|e| Stop::because(format!("The program cannot start: {e}.")))?;
    runtime.block_on(async {
        let (client, current) = client_and_namespace().await?;
        let namespace = namespace.clone().unwrap_or(current);
        let requested = request_run(client, &namespace, name, *full).await?;
        generate::print(&format!("fhirexport.fhirexport.dev/{requested}\n"))
    })
}

/// Requests a run of a schedule, says on stderr why it does not start at once, and returns the name of its FhirExport.
pub async fn request_run(client: Client, namespace: &str, name: &str, full: bool) -> Result<String, Stop> {
    let token = format!("{}{}", if full { "full-" } else { "" }, Timestamp::now());
    let asked = run_now(client, namespace, name, &token).await.map_err(|error| match error {
        CallError::NotFound => Stop::because(format!(
            "There is no FhirExportSchedule {namespace}/{name}; list them with kubectl get fsched -A."
        )),
        other => Stop::because(other.told(&format!("annotate FhirExportSchedule {namespace}/{name}"))),
    })?;
    if let Some(why) = held_back(&asked) {
        eprintln!("note: {why}");
    }
    Ok(name_of_token(name, &token))
}

/// Why the requested run does not start at once, as far as the schedule's status says.
fn held_back(schedule: &FhirExportSchedule) -> Option<String> {
    let status = schedule.status.as_ref()?;
    let ready = condition::find(&status.conditions, ConditionType::Ready);
    if let Some(not) = ready.filter(|c| c.status == ConditionStatus::False) {
        return Some(format!("the schedule is not ready, and starts the run once it is: {}", not.message));
    }
    let running = status.active.first()?;
    Some(format!("{} is still running; concurrencyPolicy decides what happens to the new run", running.name))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use serde_json::json;

    use super::*;

    #[test]
    fn what_holds_a_run_back_is_said() {
        let said = |status: serde_json::Value| {
            let schedule = json!({ "metadata": { "name": "nightly" }, "status": status, "spec": {
                "schedule": "0 2 * * *", "template": { "spec": { "serverRef": { "name": "clinic" },
                    "request": { "level": "System" } } } } });
            held_back(&serde_json::from_value(schedule).unwrap())
        };
        let ready = |status: &str| {
            json!({ "conditions": [{ "type": "Ready", "status": status, "reason": "X", "message": "no server",
                "lastTransitionTime": "2026-01-01T00:00:00Z" }] })
        };
        assert_eq!(said(json!({})), None);
        assert_eq!(said(ready("True")), None);
        assert!(said(ready("False")).unwrap().ends_with("once it is: no server"));
        let active = json!({ "active": [{ "name": "nightly-1", "slotTime": "2026-01-01T00:00:00Z" }] });
        assert!(said(active).unwrap().starts_with("nightly-1 is still running"));
    }
}
