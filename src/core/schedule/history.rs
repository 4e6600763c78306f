//! Which runs that are done are kept as objects. Their files stay in any case.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::Timestamp;
use kube::ResourceExt;

use super::stages::{run_of, stage_of};
use super::turn::{Turn, after, has_ended, is_complete};
use crate::api::FhirExport;

/// Runs that succeeded are kept so many, unless the schedule says otherwise.
const SUCCEEDED: usize = 3;
/// Likewise those that failed.
const FAILED: usize = 1;

/// One run, with what came before its own export.
struct Done<'a> {
    /// In the order in which they were made: the run's own export is the last one, and the last to go.
    exports: Vec<&'a Arc<FhirExport>>,
}

impl Done<'_> {
    fn ended(&self) -> Option<Timestamp> {
        self.exports.iter().filter_map(|export| export.status.as_ref()?.completion_time).max()
    }

    /// The run's own export did. Without one it failed before.
    fn succeeded(&self) -> bool {
        self.exports.last().is_some_and(|last| stage_of(&last.name_any()).is_none() && is_complete(last))
    }

    fn first(&self) -> Option<Arc<FhirExport>> {
        self.exports.first().copied().cloned()
    }
}

/// The object that is to go next, and when another one's time is over. Only what was taken in goes.
pub(super) fn expired(turn: &Turn<'_>) -> (Option<Arc<FhirExport>>, Option<Timestamp>) {
    let mut runs: BTreeMap<String, Vec<&Arc<FhirExport>>> = BTreeMap::new();
    for export in turn.children() {
        runs.entry(run_of(&export.name_any()).to_owned()).or_default().push(export);
    }
    let active = |run: &str| turn.status.active.iter().any(|active| run_of(&active.name) == run);
    let over = |export: &&Arc<FhirExport>| has_ended(export) && export.metadata.deletion_timestamp.is_none();
    let mut done: Vec<(String, Done<'_>)> = Vec::new();
    for (name, mut exports) in runs {
        exports.retain(over);
        exports.sort_by_key(|export| stage_of(&export.name_any()).map_or(2, |stage| stage as u8));
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
