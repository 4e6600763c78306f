//! What a decision is made from, and what it says.

use std::collections::BTreeSet;
use std::sync::Arc;

use jiff::Timestamp;

use super::phase::{Phase, PhaseName};
use crate::api::{ConditionType, FhirExport, FhirExportStatus, FhirServer};
use crate::core::condition::is_true;
use crate::core::effect::{Effect, Note, Observation, Requeue};
use crate::core::planted::{Fault, planted};
use crate::core::tuning::Tuning;

/// What is known besides the object itself.
#[derive(Clone, Debug)]
pub struct Facts {
    /// The server that the run names, if it exists.
    pub server: Option<Arc<FhirServer>>,
    /// Whether the server admits exports of this namespace.
    pub namespace_admitted: bool,
    /// Whether the run holds one of the server's places, or gets one now.
    pub place: bool,
    /// Ids of jobs that other exports hold or held; empty unless the answer to a search for jobs is decided on.
    pub claimed: BTreeSet<String>,
    /// Which other exports follow the same job.
    pub followers: Followers,
}

/// Other exports that have not ended and have the same job in their status. HAPI answers identical kick-offs with the
/// job that already runs (docs/servers.md, "Shared jobs"); on Azure nothing but a forged status leads to this.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Followers {
    /// No other export follows the job.
    #[default]
    None,
    /// Each of them lets the job go: it is being deleted, or `spec.cancel` is set.
    LettingGo,
    /// At least one other export follows the job and wants its data.
    Wanting,
}

/// Everything that a decision depends on.
#[derive(Debug)]
pub struct Inputs<'a> {
    /// The object, with its spec and metadata; its status is the one that counts.
    pub export: &'a FhirExport,
    /// What is known besides the object.
    pub facts: &'a Facts,
    /// What was remembered with the last decision.
    pub memory: &'a Memory,
    /// The result of the last effect.
    pub seen: Option<Observation>,
    /// The operator's settings.
    pub tuning: &'a Tuning,
    /// The time of the decision.
    pub now: Timestamp,
    /// A random number from 0 to 1, for delays.
    pub jitter: f64,
}

/// What the operator remembers of a run between two looks. After a restart it is empty: delays and counts of
/// failures begin anew, and no data is lost.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Memory {
    /// When the run was last looked at, by the clock that was valid then.
    pub last_look: Option<Timestamp>,
    /// The phase of the run, with what is remembered in it.
    pub phase: Phase,
}

/// What is to be done about a run.
#[derive(Clone, Debug, PartialEq)]
pub struct Decision {
    /// The status as it should be.
    pub status: FhirExportStatus,
    /// What to remember until the next decision.
    pub memory: Memory,
    /// What to do, after the status is written where [`must_write_first`] requires it.
    pub effect: Option<Effect>,
    /// When to look again, if there is nothing to do.
    pub requeue: Requeue,
    /// Events to publish, after the status was written.
    pub notes: Vec<Note>,
    /// The phases that the run left and came into, in order.
    pub changes: Vec<(PhaseName, PhaseName)>,
}

/// Whether no pod may land files of the run any more when this decision takes effect: the run ends, is held, or begins
/// another attempt.
pub fn ends_pods(stored: &FhirExportStatus, decision: &Decision) -> bool {
    let held = is_true(&decision.status.conditions, ConditionType::Suspended);
    let over = decision.status.completion_time.is_some() && stored.completion_time.is_none();
    match &decision.effect {
        Some(Effect::KickOff(_) | Effect::Cancel(_) | Effect::CleanUp(_) | Effect::RemoveFinalizer) => true,
        Some(Effect::StopLanding) => true,
        Some(Effect::DeleteSelf | Effect::Land(_) | Effect::Verify(_)) => false,
        None
        | Some(
            Effect::AddFinalizer
            | Effect::Authorize(_)
            | Effect::Poll(_)
            | Effect::FindJobs { .. }
            | Effect::CountFiles { .. }
            | Effect::CountType { .. }
            | Effect::StoreLog { .. }
            | Effect::StoreManifest { .. },
        ) => held || over,
    }
}

/// Whether the status must be written before the effect is performed. This holds for every effect that
/// changes something outside, and for every effect until the status URL of a new job is written. An effect
/// that only reads loses nothing in a crash, so the write is saved.
pub fn must_write_first(stored: &FhirExportStatus, decision: &Decision) -> bool {
    let url = |status: &FhirExportStatus| status.job.as_ref().and_then(|job| job.status_url.clone());
    let news = url(&decision.status).is_some() && url(&decision.status) != url(stored);
    match &decision.effect {
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
            // Files land for an attempt that is already written down.
            | Effect::Land(_)
            | Effect::StopLanding
            | Effect::CountType { .. }
            | Effect::StoreLog { .. }
            | Effect::StoreManifest { .. },
        ) => news && !planted(Fault::StatusUrlLate),
    }
}
