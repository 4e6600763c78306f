//! The names of a schedule's runs, and of the `FhirExport`s that each run consists of.

use std::fmt::Write as _;

use jiff::Timestamp;
use jiff::tz::TimeZone;
use kube::ResourceExt;
use sha2::{Digest, Sha256};

use crate::api::{FhirExport, RunStage};

const STAGES: [RunStage; 2] = [RunStage::Members, RunStage::Newcomers];

/// The name of the run for a time of the schedule: the time to the minute, in UTC.
pub(super) fn name_of_slot(schedule: &str, slot: Timestamp) -> String {
    format!("{schedule}-{}", slot.to_zoned(TimeZone::UTC).strftime("%Y%m%d-%H%M"))
}

/// The name of the run that a value of the annotation `fhirexport.dev/run-now` asks for.
pub fn name_of_token(schedule: &str, token: &str) -> String {
    format!("{schedule}-manual-{}", digest(token.as_bytes(), 5))
}

/// The identifier of the chain that a run begins: the run's name without the schedule's.
pub(super) fn chain_begun_by(schedule: &str, run: &str) -> String {
    run.strip_prefix(&format!("{schedule}-")).unwrap_or(run).to_owned()
}

/// The name of the `FhirExport` at a stage of a run; without a stage, of the export that the run is about.
pub(super) fn name_of(run: &str, stage: Option<RunStage>) -> String {
    format!("{run}{}", stage.map_or("", RunStage::suffix))
}

/// The name of the run that a `FhirExport` belongs to.
pub(super) fn run_of(export: &str) -> &str {
    STAGES.iter().find_map(|stage| export.strip_suffix(stage.suffix())).unwrap_or(export)
}

/// The stage of a `FhirExport`, judged by its name. `None` for the export that the run is about.
pub(super) fn stage_of(export: &str) -> Option<RunStage> {
    STAGES.into_iter().find(|stage| export.ends_with(stage.suffix()))
}

/// The names of the exports that precede an export in its run, in their order.
pub(super) fn names_before(export: &str) -> impl Iterator<Item = String> {
    let run = run_of(export);
    STAGES.into_iter().map(move |stage| name_of(run, Some(stage))).take_while(move |name| name != export)
}

/// Whether an export is a run of the schedule with this uid.
pub fn owned_by(export: &FhirExport, uid: &str) -> bool {
    export.owner_references().iter().any(|owner| owner.controller == Some(true) && owner.uid == uid)
}

/// The first bytes of a SHA-256, in hexadecimal.
pub(super) fn digest(text: &[u8], bytes: usize) -> String {
    Sha256::digest(text).iter().take(bytes).fold(String::new(), |mut hex, byte| {
        // Writing to a String cannot fail.
        let _ = write!(hex, "{byte:02x}");
        hex
    })
}
