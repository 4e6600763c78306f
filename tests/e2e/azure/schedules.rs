//! Schedules: runs by the clock and on request, chains of incremental runs, history limits and rejected specs.

mod chains;
mod clock;
mod objects;

use std::time::Duration;

use fhir_export_operator::api::{FhirExport, FhirExportSchedule};
use fhir_export_operator::core::schedule::name_of_token;
use k8s_openapi::api::events::v1::Event;
use kube::api::{ListParams, Patch, PatchParams, PostParams};
use kube::{Api, ResourceExt};
use serde_json::{Value, json};
use stage::wait_for;

use crate::site::{Site, merge};

/// How long to wait for a run by the clock, which may be due only in the next minute.
const A_MINUTE_OR_TWO: Duration = Duration::from_secs(200);

/// A schedule that is due once a year, so that all runs are on request.
const RARELY: &str = "0 0 1 1 *";

/// One schedule of a site. Its container has the name of the schedule.
struct Scheduled<'a> {
    site: &'a Site,
    name: &'a str,
}

impl<'a> Scheduled<'a> {
    /// Creates a schedule of level System whose container has the schedule's name, with `spec` merged in.
    async fn create(site: &'a Site, name: &'a str, spec: Value) -> Self {
        let mut whole = json!({"schedule": RARELY, "template": {"spec": {"serverRef": {"name": "clinic"},
            "request": {"level": "System", "types": ["Patient", "Observation"], "container": name}}}});
        merge(&mut whole, spec);
        let object: FhirExportSchedule =
            serde_json::from_value(json!({"metadata": {"name": name}, "spec": whole})).unwrap();
        site.api().create(&PostParams::default(), &object).await.unwrap();
        Self { site, name }
    }

    fn api(&self) -> Api<FhirExportSchedule> {
        self.site.api()
    }

    async fn patch(&self, patch: Value) {
        self.api().patch(self.name, &PatchParams::default(), &Patch::Merge(patch)).await.unwrap();
    }

    /// Requests a run, and returns its name.
    async fn run_now(&self, token: &str) -> String {
        self.patch(json!({"metadata": {"annotations": {"fhirexport.dev/run-now": token}}})).await;
        name_of_token(self.name, token)
    }

    async fn until(&self, what: &str, wanted: impl Fn(&FhirExportSchedule) -> bool) -> FhirExportSchedule {
        let api = self.api();
        let what = format!("{} to be {what}", self.name);
        let result = wait_for(&what, A_MINUTE_OR_TWO, || async {
            let object = api.get(self.name).await.map_err(|e| e.to_string())?;
            if wanted(&object) {
                Ok(object)
            } else {
                Err(serde_json::to_string_pretty(&object.status).unwrap_or_default())
            }
        })
        .await;
        self.site.told(result)
    }

    async fn until_condition(&self, type_: &str, status: &str, reason: &str) -> String {
        let object = self
            .until(&format!("{type_}={status} {reason}"), |object| {
                condition(object, type_).is_some_and(|c| c.0 == status && c.1 == reason)
            })
            .await;
        condition(&object, type_).unwrap().2
    }

    /// Waits until no run is active and the status names `run` as the last one on request.
    async fn settled(&self, run: &str) -> FhirExportSchedule {
        self.site.ended(run).await;
        self.until(&format!("done with {run}"), |object| {
            let status = object.status.as_ref();
            status.is_some_and(|s| s.active.is_empty() && s.last_run_now.as_deref() == Some(run))
        })
        .await
    }

    /// The `FhirExport`s of the schedule.
    async fn runs(&self) -> Vec<FhirExport> {
        let label = format!("fhirexport.dev/schedule={}", self.name);
        let api: Api<FhirExport> = self.site.api();
        api.list(&ListParams::default().labels(&label)).await.unwrap().items
    }

    async fn names(&self) -> Vec<String> {
        let mut names: Vec<String> = self.runs().await.iter().map(ResourceExt::name_any).collect();
        names.sort();
        names
    }

    /// Waits until the schedule has `wanted` runs, and returns their names.
    async fn count(&self, wanted: usize) -> Vec<String> {
        let result = wait_for(&format!("{wanted} runs of {}", self.name), A_MINUTE_OR_TWO, || async {
            let names = self.names().await;
            if names.len() == wanted { Ok(names) } else { Err(format!("{names:?}")) }
        })
        .await;
        self.site.told(result)
    }

    async fn events(&self, reason: &str) -> usize {
        let api: Api<Event> = self.site.api();
        let events = api.list(&ListParams::default()).await.unwrap().items;
        let about = |e: &&Event| {
            e.regarding.as_ref().is_some_and(|r| {
                r.name.as_deref() == Some(self.name) && r.kind.as_deref() == Some("FhirExportSchedule")
            }) && e.reason.as_deref() == Some(reason)
        };
        events.iter().filter(about).count()
    }
}

fn condition(object: &FhirExportSchedule, type_: &str) -> Option<(String, String, String)> {
    let found = object.status.as_ref()?.conditions.iter().find(|c| c.type_ == type_)?;
    Some((format!("{:?}", found.status), found.reason.clone(), found.message.clone()))
}

fn kicked_off(run: &FhirExport) -> bool {
    run.status.as_ref().and_then(|status| status.job.as_ref()).is_some_and(|job| job.status_url.is_some())
}

fn covered(object: &FhirExportSchedule) -> Option<String> {
    object.status.as_ref()?.chain.as_ref()?.covered_until.clone()
}
