//! The `FhirExport` of a run, built from the template.

use std::collections::BTreeMap;

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use kube::{Resource, ResourceExt};

use super::chain::{Link, newcomers_before};
use crate::api::{
    CHAIN_BEGAN_ANNOTATION, CHAIN_LABEL, ExportRequest, FhirExport, FhirExportSchedule, FhirExportSpec,
    MEMBERS_ANNOTATION, MODE_LABEL, NEWCOMERS_ANNOTATION, PREDECESSOR_ANNOTATION, RunStage, SCHEDULE_LABEL,
    SLOT_ANNOTATION,
};

/// What the template leaves open for the `FhirExport` of a run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct RunPlan {
    pub(super) name: String,
    pub(super) slot_time: Timestamp,
    pub(super) kick_off_before: Timestamp,
    /// The stage of the export; `None` for the export that the run is about.
    pub(super) stage: Option<RunStage>,
    pub(super) request: ExportRequest,
    /// The place of the run in a chain, if runs are incremental.
    pub(super) link: Option<Link>,
}

/// Builds the `FhirExport` of a run.
pub(super) fn export(schedule: &FhirExportSchedule, plan: &RunPlan) -> FhirExport {
    let template = &schedule.spec.template;
    let spec = FhirExportSpec {
        server_ref: template.spec.server_ref.clone(),
        request: plan.request.clone(),
        kick_off_before: Some(plan.kick_off_before),
        suspend: None,
        cancel: None,
        active_deadline_seconds: template.spec.active_deadline_seconds,
        backoff_limit: template.spec.backoff_limit,
        // The schedule deletes the export itself, after the result is in the status.
        ttl_seconds_after_finished: None,
        deletion_policy: template.spec.deletion_policy,
        on_uncertain_kick_off: template.spec.on_uncertain_kick_off,
        error_file_policy: template.spec.error_file_policy,
    };
    let (mut labels, mut annotations) = template
        .metadata
        .clone()
        .map(|metadata| (metadata.labels.unwrap_or_default(), metadata.annotations.unwrap_or_default()))
        .unwrap_or_default();
    let put = |map: &mut BTreeMap<String, String>, key: &str, value: String| {
        map.insert(key.to_owned(), value);
    };
    put(&mut labels, SCHEDULE_LABEL, schedule.name_any());
    put(&mut annotations, SLOT_ANNOTATION, plan.slot_time.to_string());
    if let Some(link) = &plan.link {
        let mode = plan.stage.map_or(link.pending.mode.as_str(), RunStage::as_str);
        put(&mut labels, MODE_LABEL, mode.to_owned());
        put(&mut labels, CHAIN_LABEL, link.pending.chain.clone());
        if let Some(members) = link.pending.members.as_ref().filter(|_| plan.stage.is_none()) {
            let path = members.path.as_deref().unwrap_or_default();
            put(&mut annotations, MEMBERS_ANNOTATION, format!("{} {path}", members.sha256));
        }
        if let Some(before) = newcomers_before(&link.pending).filter(|_| plan.stage.is_none()) {
            put(&mut annotations, NEWCOMERS_ANNOTATION, before.name);
        }
        put(&mut annotations, CHAIN_BEGAN_ANNOTATION, link.chain_began.to_string());
        if let Some(predecessor) = &link.predecessor {
            put(&mut annotations, PREDECESSOR_ANNOTATION, predecessor.clone());
        }
    }
    let mut export = FhirExport::new(&plan.name, spec);
    export.metadata.namespace = schedule.namespace();
    export.metadata.labels = Some(labels);
    export.metadata.annotations = Some(annotations);
    export.metadata.owner_references = Some(vec![OwnerReference {
        api_version: FhirExportSchedule::api_version(&()).into_owned(),
        kind: FhirExportSchedule::kind(&()).into_owned(),
        name: schedule.name_any(),
        uid: schedule.uid().unwrap_or_default(),
        controller: Some(true),
        // `true` would need a permission on the schedule's finalizers if the API server enforces owner references.
        block_owner_deletion: None,
    }]);
    export
}
