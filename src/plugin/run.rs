//! `run`: a run of a schedule now.

use std::time::Duration;

use clap::Args;
use kube::{Api, ResourceExt as _};

use super::connection::Connected;
use super::exit::Exit;
use super::follow::{Limit, Telling, until_the_end};
use super::output::named;
use crate::api::{ActiveRun, FhirExportSchedule, RUN_NOW_ANNOTATION};
use crate::cli::request_run;
use crate::cluster::{CallError, call};
use crate::core::schedule::name_of_token;
use crate::show::{Key, Line, ObjectKind, Page};
use crate::stop::Stop;

/// How often the schedule is read until the export of the requested run exists.
const LOOK: Duration = Duration::from_secs(5);
/// How many looks in a row have to find that the run will not start. A short export may end and be deleted between two
/// looks, and then its end is on its way.
const LOOKS: u32 = 2;

/// The flags of `run`.
#[derive(Debug, Args)]
pub struct RunArgs {
    /// Name of the FhirExportSchedule
    #[arg(value_name = "SCHEDULE")]
    schedule: String,
    /// Export everything, which begins a new chain of incremental runs
    #[arg(long)]
    full: bool,
    /// Show the progress until the run ends; the exit code says how
    #[arg(long)]
    wait: bool,
    #[command(flatten)]
    limit: Limit,
}

/// Requests a run of a schedule, in addition to the scheduled ones, and prints the name of its export.
pub async fn run(cluster: &Connected, args: &RunArgs) -> Result<Exit, Stop> {
    cluster.get(ObjectKind::Schedule, &args.schedule).await?;
    let Connected { client, namespace } = cluster;
    let name = request_run(client.clone(), namespace, &args.schedule, args.full).await?;
    let key = Key { kind: ObjectKind::Export, namespace: namespace.clone(), name: name.clone() };
    Page::from(Line::of(&named(&key))).print()?;
    if !args.wait {
        return Ok(Exit::Done);
    }
    let names = [name];
    tokio::select! {
        endings = until_the_end(cluster, &names, &[], Telling::Progress, args.limit) => Ok(endings?.exit()),
        stop = given_up(cluster, &args.schedule, &key.name) => Err(stop),
    }
}

/// Waits until the schedule can be seen not to start a requested run any more, and says why. Never returns once the
/// export of the run exists.
async fn given_up(cluster: &Connected, schedule: &str, run: &str) -> Stop {
    let schedules: Api<FhirExportSchedule> = Api::namespaced(cluster.client.clone(), &cluster.namespace);
    let exports = cluster.objects(ObjectKind::Export);
    let mut looks = 0;
    loop {
        tokio::time::sleep(LOOK).await;
        let why = match call(|| schedules.get(schedule)).await {
            Ok(found) => why_not(Some(&found), run),
            Err(CallError::NotFound) => why_not(None, run),
            // The watch tells it, and the next look may succeed.
            Err(_) => None,
        };
        match call(|| exports.get(run)).await {
            Ok(_) => return std::future::pending().await,
            Err(CallError::NotFound) => looks = if why.is_some() { looks + 1 } else { 0 },
            Err(_) => {}
        }
        if let Some(why) = why.filter(|_| looks >= LOOKS) {
            return Stop::because(format!("The run {run} does not start: {why}."));
        }
    }
}

/// Why a schedule, `None` if it does not exist, will not create the export of a requested run that has none yet; `None`
/// if it may.
fn why_not(schedule: Option<&FhirExportSchedule>, run: &str) -> Option<&'static str> {
    let Some(schedule) = schedule else {
        return Some("its schedule was deleted; create an export instead");
    };
    let status = schedule.status.as_ref();
    // The exports of stages that precede a run's own have its name with a suffix.
    let of_run = |active: &ActiveRun| {
        let rest = active.name.strip_prefix(run);
        rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('-'))
    };
    if status.is_some_and(|status| status.active.iter().any(of_run)) {
        return None;
    }
    if status.is_some_and(|status| status.last_run_now.as_deref() == Some(run)) {
        return Some("its schedule gave it up; kubectl describe fsched says why");
    }
    let token = schedule.annotations().get(RUN_NOW_ANNOTATION);
    let asked = token.is_some_and(|token| name_of_token(&schedule.name_any(), token) == run);
    (!asked).then_some("another run of its schedule was requested before it had begun; request it again")
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    #[test]
    fn a_run_that_will_not_start_is_not_waited_for() {
        let token = "2026-11-23T01:00:00Z";
        let run = name_of_token("nightly", token);
        let said = |token: &str, status: &Value| {
            let schedule = json!({ "apiVersion": "fhirexport.dev/v1alpha1", "kind": "FhirExportSchedule",
                "metadata": { "name": "nightly", "annotations": { RUN_NOW_ANNOTATION: token } }, "status": status,
                "spec": { "schedule": "0 2 * * *", "template": { "spec": {
                    "serverRef": { "name": "clinic" }, "request": { "level": "System" } } } } });
            let schedule: FhirExportSchedule = serde_json::from_value(schedule).unwrap();
            why_not(Some(&schedule), &run).unwrap_or_default()
        };
        let active = |name: &str| json!({ "active": [{ "name": name, "slotTime": "2026-11-23T01:00:00Z" }] });
        let later = "2026-11-23T01:00:01Z";
        assert_eq!(said(token, &json!({})), "", "it is asked for");
        assert!(said(later, &json!({})).starts_with("another run "));
        assert_eq!(said(later, &active(&run)), "", "it has begun");
        assert_eq!(said(later, &active(&format!("{run}-members"))), "", "a stage before it has begun");
        assert!(said(later, &active("nightly-20261123-0200")).starts_with("another run "));
        assert!(said(token, &json!({ "lastRunNow": run })).contains("gave it up"));
        assert!(why_not(None, &run).unwrap().starts_with("its schedule was deleted"));
    }
}
