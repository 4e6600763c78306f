//! Which runs that are done are kept as objects. Their files stay in any case.

use std::cmp::Reverse;
use std::sync::Arc;

use jiff::Timestamp;
use kube::ResourceExt;

use super::turn::{Turn, after, has_ended, is_complete};
use crate::api::FhirExport;

/// Runs that succeeded are kept so many, unless the schedule says otherwise.
const SUCCEEDED: usize = 3;
/// Likewise those that failed.
const FAILED: usize = 1;

/// The run whose object is to go next, and when another one's time is over. Only what was taken in goes.
pub(super) fn expired(turn: &Turn<'_>) -> (Option<Arc<FhirExport>>, Option<Timestamp>) {
    let taken_in = |child: &&Arc<FhirExport>| {
        has_ended(child)
            && child.metadata.deletion_timestamp.is_none()
            && !turn.status.active.iter().any(|run| run.name == child.name_any())
    };
    let mut done: Vec<&Arc<FhirExport>> = turn.children().filter(taken_in).collect();
    let ended = |child: &FhirExport| child.status.as_ref().and_then(|status| status.completion_time);
    done.sort_by_cached_key(|child| Reverse((ended(child), child.name_any())));
    let limit = |set: Option<i32>, default| set.and_then(|n| usize::try_from(n).ok()).unwrap_or(default);
    let spec = turn.spec();
    let (succeeded, failed): (Vec<_>, Vec<_>) = done.iter().copied().partition(|child| is_complete(child));
    let surplus = succeeded
        .into_iter()
        .skip(limit(spec.successful_runs_history_limit, SUCCEEDED))
        .chain(failed.into_iter().skip(limit(spec.failed_runs_history_limit, FAILED)))
        .last();
    let ttl = spec.template.spec.ttl_seconds_after_finished;
    let oldest = done.last().copied();
    let over = oldest.and_then(|child| Some(after(ended(child)?, ttl?)));
    let outlived = oldest.filter(|_| over.is_some_and(|over| over <= turn.now));
    (surplus.or(outlived).cloned(), over)
}
