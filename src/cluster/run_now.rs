//! Requests a run of a schedule by hand.

use kube::api::{Patch, PatchParams};
use kube::{Api, Client};
use serde_json::json;

use super::NAME;
use super::call::{CallError, call};
use crate::api::{FhirExportSchedule, RUN_NOW_ANNOTATION};

/// Sets the annotation `fhirexport.dev/run-now` to `token`, and returns the schedule.
pub async fn run_now(
    client: Client,
    namespace: &str,
    name: &str,
    token: &str,
) -> Result<FhirExportSchedule, CallError> {
    let api: Api<FhirExportSchedule> = Api::namespaced(client, namespace);
    let patch = Patch::Merge(json!({ "metadata": { "annotations": { RUN_NOW_ANNOTATION: token } } }));
    let parameters = PatchParams { field_manager: Some(NAME.into()), ..PatchParams::default() };
    call(|| api.patch(name, &parameters, &patch)).await
}
