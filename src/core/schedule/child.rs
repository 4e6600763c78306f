//! The `FhirExport` that a run is.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use jiff::Timestamp;
use jiff::tz::TimeZone;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use kube::{Resource, ResourceExt};
use sha2::{Digest, Sha256};

use super::stages;
use crate::api::{
    CHAIN_BEGAN_ANNOTATION, CHAIN_LABEL, ExportRequest, FhirExport, FhirExportSchedule, FhirExportSpec,
    MEMBERS_ANNOTATION, MODE_LABEL, NEWCOMERS_ANNOTATION, PREDECESSOR_ANNOTATION, PendingRun, RunStage,
    SCHEDULE_LABEL, SLOT_ANNOTATION,
};

/// What a run is to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Plan {
    pub(super) name: String,
    pub(super) slot_time: Timestamp,
    pub(super) kick_off_before: Timestamp,
    /// What of a run it is, if not the run's own export.
    pub(super) stage: Option<RunStage>,
    /// What to export.
    pub(super) request: ExportRequest,
    /// Where it stands in a chain, if runs are incremental.
    pub(super) link: Option<Link>,
}

/// Where a run stands in a chain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Link {
    pub(super) pending: PendingRun,
    /// The run up to which everything is exported that this one does not export.
    pub(super) predecessor: Option<String>,
    /// The time that the chain's first run is for.
    pub(super) chain_began: Timestamp,
}

/// What a run's name ends with, for a time of the schedule: no two minutes share one.
pub(super) fn suffix_of_slot(slot: Timestamp) -> String {
    slot.to_zoned(TimeZone::UTC).strftime("%Y%m%d-%H%M").to_string()
}

/// The name of the run for a time of the schedule.
pub(super) fn name_of_slot(schedule: &str, slot: Timestamp) -> String {
    format!("{schedule}-{}", suffix_of_slot(slot))
}

/// The name of the run that a value of the annotation `fhirexport.dev/run-now` asks for.
pub fn name_of_token(schedule: &str, token: &str) -> String {
    format!("{schedule}-manual-{}", digest(token.as_bytes(), 5))
}

/// The first bytes of a SHA-256, in hexadecimal.
pub(super) fn digest(text: &[u8], bytes: usize) -> String {
    Sha256::digest(text).iter().take(bytes).fold(String::new(), |mut hex, byte| {
        // Writing to a String cannot fail.
        let _ = write!(hex, "{byte:02x}");
        hex
    })
}

/// Whether an export is a run of the schedule with this uid.
pub fn owned_by(export: &FhirExport, uid: &str) -> bool {
    export.owner_references().iter().any(|owner| owner.controller == Some(true) && owner.uid == uid)
}

/// The export of a run.
pub(super) fn export(schedule: &FhirExportSchedule, plan: &Plan) -> FhirExport {
    let template = &schedule.spec.template;
    let spec = FhirExportSpec {
        server_ref: template.spec.server_ref.clone(),
        request: plan.request.clone(),
        kick_off_before: Some(plan.kick_off_before),
        suspend: None,
        cancel: None,
        active_deadline_seconds: template.spec.active_deadline_seconds,
        backoff_limit: template.spec.backoff_limit,
        // The schedule deletes it, when it has taken the result in.
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
        if let Some(before) = stages::before(&link.pending).filter(|_| plan.stage.is_none()) {
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
        // Where the API server enforces it, that would need a right on the schedule's finalizers.
        block_owner_deletion: None,
    }]);
    export
}
