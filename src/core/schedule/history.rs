//! Which finished runs keep their `FhirExport`s. Their files are the concern of
//! [`retention`](super::retention).

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::Timestamp;
use kube::ResourceExt;

use super::instant::after;
use super::names::{run_of, stage_of};
use super::run::{ended_at, has_ended, is_complete, is_deleting};
use super::turn::Turn;
use crate::api::{FhirExport, RunStage};

/// Default of `successfulRunsHistoryLimit`.
const SUCCEEDED: usize = 3;
/// Default of `failedRunsHistoryLimit`.
const FAILED: usize = 1;

/// A finished run with all its exports.
struct Done<'a> {
    /// The exports in the order in which they were made. The run's own export is the last one, and is deleted last.
    exports: Vec<&'a Arc<FhirExport>>,
}

impl Done<'_> {
    fn ended(&self) -> Option<Timestamp> {
        self.exports.iter().filter_map(|export| ended_at(export)).max()
    }

    /// Whether the run's own export succeeded. A run without one failed at an earlier stage.
    fn succeeded(&self) -> bool {
        self.exports.last().is_some_and(|last| stage_of(&last.name_any()).is_none() && is_complete(last))
    }

    fn first(&self) -> Option<Arc<FhirExport>> {
        self.exports.first().copied().cloned()
    }
}

/// The export to delete next, and when the time to live of another one ends. An export whose result is not
/// yet in the status is never deleted.
pub(super) fn expired(turn: &Turn<'_>) -> (Option<Arc<FhirExport>>, Option<Timestamp>) {
    let mut runs: BTreeMap<String, Vec<&Arc<FhirExport>>> = BTreeMap::new();
    for export in turn.children() {
        runs.entry(run_of(&export.name_any()).to_owned()).or_default().push(export);
    }
    let active = |run: &str| turn.status.active.iter().any(|active| run_of(&active.name) == run);
    let over = |export: &&Arc<FhirExport>| has_ended(export) && !is_deleting(export);
    let mut done: Vec<(String, Done<'_>)> = Vec::new();
    for (name, mut exports) in runs {
        exports.retain(over);
        exports.sort_by_key(|export| order(stage_of(&export.name_any())));
        if !active(&name) && !exports.is_empty() {
            done.push((name, Done { exports }));
        }
    }
    done.sort_by_cached_key(|(name, run)| Reverse((run.ended(), name.clone())));
    let limit = |set: Option<i32>, default| set.and_then(|n| usize::try_from(n).ok()).unwrap_or(default);
    let spec = turn.spec();
    let (succeeded, failed): (Vec<_>, Vec<_>) =
        done.iter().map(|(_, run)| run).partition(|run| run.succeeded());
    let surplus = succeeded
        .into_iter()
        .skip(limit(spec.successful_runs_history_limit, SUCCEEDED))
        .chain(failed.into_iter().skip(limit(spec.failed_runs_history_limit, FAILED)))
        .last();
    let ttl = spec.template.spec.ttl_seconds_after_finished;
    let oldest = done.last().map(|(_, run)| run);
    let over = oldest.and_then(|run| Some(after(run.ended()?, ttl?)));
    let outlived = oldest.filter(|_| over.is_some_and(|over| over <= turn.now));
    (surplus.or(outlived).and_then(Done::first), over)
}

/// The order in which the exports of a run are made.
fn order(stage: Option<RunStage>) -> u8 {
    match stage {
        Some(RunStage::Members) => 0,
        Some(RunStage::Newcomers) => 1,
        None => 2,
    }
}
