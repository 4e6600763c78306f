//! One run of an export, as a state machine: spec, status and what was seen go in; status, one effect and when
//! to look again come out.

mod begin;
mod cancel;
mod clean_up;
mod clock;
mod finish;
mod kickoff;
mod landed;
mod landing;
mod log;
mod memory;
mod orphan;
pub mod plan;
mod poll;
mod progress;
mod record;
mod server_view;
mod stored;
mod summary;
mod turn;
mod verdict;

#[cfg(test)]
pub(crate) mod tests;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;

use crate::api::{
    ConditionStatus, ConditionType, FhirExport, FhirExportSpec, FhirExportStatus, FhirServer, Reason,
};
use crate::core::condition;
use crate::core::effect::{Effect, Note, Observation, Requeue};
use crate::core::planted::{Fault, planted};
use crate::core::tuning::Tuning;

pub use memory::{CleanUpMemory, LandMemory, Memory, Verified};
pub use server_view::ServerView;
use turn::Turn;

/// What the decision is about, beside the object itself.
#[derive(Clone, Debug)]
pub struct Facts {
    /// The server that the run names, if it exists.
    pub server: Option<Arc<FhirServer>>,
    /// Whether the server admits exports of this namespace.
    pub namespace_admitted: bool,
    /// Whether the run holds a place of the server's, or gets one now.
    pub place: bool,
    /// Job ids that other exports of the same server hold.
    pub claimed: BTreeSet<String>,
    /// Whether another export that has not ended has the same job in its status, so that nobody knows whose it is.
    pub contested: bool,
}

/// All that a decision depends on.
#[derive(Debug)]
pub struct Inputs<'a> {
    /// The object, with its spec and metadata; its status is the one that counts.
    pub export: &'a FhirExport,
    /// What is known beside it.
    pub facts: &'a Facts,
    /// What is remembered.
    pub memory: &'a Memory,
    /// What came of the last effect.
    pub seen: Option<Observation>,
    /// The operator's settings.
    pub tuning: &'a Tuning,
    /// The time.
    pub now: Timestamp,
    /// Chance, from 0 to 1.
    pub jitter: f64,
}

/// A decision.
#[derive(Clone, Debug, PartialEq)]
pub struct Step {
    /// The status as it should be.
    pub status: FhirExportStatus,
    /// What to remember.
    pub memory: Memory,
    /// What to do, after the status was written.
    pub effect: Option<Effect>,
    /// When to look again, if there is nothing to do.
    pub requeue: Requeue,
    /// Events to publish, after the status was written.
    pub notes: Vec<Note>,
}

/// Whether a run has ended. Terminal is absorbing.
pub fn is_terminal(status: &FhirExportStatus) -> bool {
    status.completion_time.is_some()
}

/// Whether a run has left the queue and not ended, so that it holds a place of its server.
pub fn holds_place(status: &FhirExportStatus) -> bool {
    let suspended = condition::is_true(&status.conditions, ConditionType::Suspended);
    let outside = status.job.is_none() && (suspended || queued_since(status).is_some());
    status.start_time.is_some() && !is_terminal(status) && !outside
}

/// Whether a run that holds no place may want one: it has not ended, nobody holds it, and its server admits it.
pub fn competes(status: &FhirExportStatus) -> bool {
    let refused = condition::find(&status.conditions, ConditionType::Accepted)
        .is_some_and(|c| c.status == ConditionStatus::False);
    !is_terminal(status) && !refused && !condition::is_true(&status.conditions, ConditionType::Suspended)
}

/// How long a run may take from its start, over all attempts.
pub fn deadline(spec: &FhirExportSpec, server: Option<&FhirServer>, tuning: &Tuning) -> Duration {
    let own = spec.active_deadline_seconds.and_then(|s| u64::try_from(s).ok());
    let of_server = || server.map_or(tuning.default_deadline, |s| ServerView::new(s).deadline(tuning));
    own.map_or_else(of_server, Duration::from_secs)
}

/// Since when a run waits for a place.
fn queued_since(status: &FhirExportStatus) -> Option<Timestamp> {
    let queued = condition::find(&status.conditions, ConditionType::Reconciling)?;
    (queued.is_true() && queued.because(Reason::Queued)).then_some(queued.last_transition_time)
}

/// Whether the status must be written before the effect: whatever changes something outside waits for it, and
/// everything waits for a new job's status URL. What only reads loses nothing in a crash, and a write less is a
/// write less.
pub fn must_write_first(stored: &FhirExportStatus, step: &Step) -> bool {
    let url = |status: &FhirExportStatus| status.job.as_ref().and_then(|job| job.status_url.clone());
    let news = url(&step.status).is_some() && url(&step.status) != url(stored);
    match &step.effect {
        Some(Effect::KickOff(_)) if planted(Fault::KickOffBeforeIntent) => news,
        None
        | Some(
            Effect::KickOff(_)
            | Effect::Cancel(_)
            | Effect::CleanUp(_)
            | Effect::RemoveFinalizer
            | Effect::DeleteSelf,
        ) => true,
        Some(
            Effect::AddFinalizer
            | Effect::Authorize(_)
            | Effect::Poll(_)
            | Effect::FindJobs { .. }
            | Effect::CountFiles { .. }
            | Effect::Verify(_)
            // What lands belongs to an attempt that is written down.
            | Effect::Land(_)
            | Effect::StopLanding
            | Effect::CountType { .. }
            | Effect::StoreLog { .. }
            | Effect::StoreManifest { .. },
        ) => news && !planted(Fault::StatusUrlLate),
    }
}

/// Decides what comes next. Pure: the same inputs give the same step.
pub fn step(inputs: Inputs<'_>) -> Step {
    let seen = inputs.seen.clone();
    let mut turn = Turn::new(inputs);
    if !is_terminal(&turn.status) {
        clock::heed(&mut turn);
    }
    if is_terminal(&turn.status) {
        if let Some(Observation::CleanedUp(reply)) = seen {
            clean_up::answered(&mut turn, reply);
        }
        return finish::after_end(turn);
    }
    if turn.deleting() && !turn.has_finalizer() {
        // Nothing was started, or it is settled: the object goes without us.
        return turn.rest();
    }
    if let Some(seen) = seen {
        fold(&mut turn, seen);
    }
    if is_terminal(&turn.status) {
        return finish::after_end(turn);
    }
    decide(turn)
}

/// Takes an observation into status and memory.
fn fold(turn: &mut Turn<'_>, seen: Observation) {
    match seen {
        Observation::FinalizerChanged | Observation::DeletedSelf | Observation::LandingStopped => {}
        Observation::Authorized(result) => kickoff::authorized(turn, result),
        Observation::KickOff(reply) => kickoff::answered(turn, reply),
        Observation::Jobs(result) => orphan::searched(turn, result),
        Observation::Poll(reply) => poll::answered(turn, reply),
        Observation::Files(result) => progress::counted(turn, result),
        Observation::Verification(state) => finish::verification(turn, state),
        Observation::Landing(state) => landing::stands(turn, state),
        Observation::TypeCounted { type_, reply } => landing::type_counted(turn, type_, reply),
        Observation::LogStored(result) => landing::logged(turn, &result),
        Observation::ManifestStored(result) => finish::stored(turn, result),
        Observation::CleanedUp(reply) => clean_up::answered(turn, reply),
        Observation::Cancel(reply) => cancel::answered(turn, reply),
    }
}

fn decide(mut turn: Turn<'_>) -> Step {
    if turn.memory.manifest.is_some() && turn.status.job.is_none() {
        // The attempt was given up, and that was written, though the writer did not hear so.
        turn.memory = Memory::default();
    }
    if turn.memory.manifest.is_some() && !turn.deleting() {
        if poll::server_lost(&turn).is_none() {
            return if turn.lands() { landing::go_on(turn) } else { finish::go_on(turn) };
        }
        // Nothing can be proven or checked without the server; the job is asked again when it is back.
        turn.memory = Memory::default();
    }
    if turn.deleting() {
        return cancel::deleted(turn);
    }
    if turn.spec().cancel == Some(true) {
        return cancel::requested(turn);
    }
    if turn.status.cancellation.is_some() {
        return cancel::go_on(turn);
    }
    match turn.status.job.as_ref().map(|job| job.status_url.is_some()) {
        Some(true) => poll::go_on(turn),
        Some(false) => orphan::go_on(turn),
        None => begin::go_on(turn),
    }
}
