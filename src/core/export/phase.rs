//! The phases of a run, derived from status, metadata and memory in one place, and the words that the status shows for
//! them.

use jiff::SignedDuration;

use super::memory::{
    Cancelling, Checking, Ended, Landing, LandingStage, Leaving, Running, Starting, Uncertain, Waiting,
    WaitsFor,
};
use super::status::{doubt, is_terminal, job_owner};
use crate::api::{ConditionType, FhirExportStatus, Reason, RunState};
use crate::core::condition;
use crate::core::retry::{Retry, set_back};

/// A phase of a run, with what is remembered in it.
#[derive(Clone, Debug, PartialEq)]
pub enum Phase {
    /// Before the kick-off: the run is refused, held, queued, or waits for credentials or for its next attempt.
    Waiting(Waiting),
    /// The intent is written and the kick-off is on its way.
    Starting(Starting),
    /// The intent is written, and it is not known whether the server started a job.
    Uncertain(Uncertain),
    /// The server works on the job.
    Running(Running),
    /// The operator copies the files of a Bulk Data server into the container, and judges them.
    Landing(Box<Landing>),
    /// The operator checks the files that an Azure server wrote, and stores the manifest beside them.
    Checking(Box<Checking>),
    /// The server is asked to cancel the job.
    Cancelling(Cancelling),
    /// The object is being deleted, and only its finalizer has to be removed.
    Leaving(Leaving),
    /// The run has ended. Its status never changes again.
    Ended(Ended),
}

impl Default for Phase {
    fn default() -> Self {
        Self::Waiting(Waiting::default())
    }
}

/// The name of a phase, without the memory of a run in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum PhaseName {
    /// See [`Phase::Waiting`].
    Waiting,
    /// See [`Phase::Starting`].
    Starting,
    /// See [`Phase::Uncertain`].
    Uncertain,
    /// See [`Phase::Running`].
    Running,
    /// See [`Phase::Landing`].
    Landing,
    /// See [`Phase::Checking`].
    Checking,
    /// See [`Phase::Cancelling`].
    Cancelling,
    /// See [`Phase::Leaving`].
    Leaving,
    /// See [`Phase::Ended`].
    Ended,
}

/// The phase that a stored status alone shows, as a restart finds it, if the object is not being deleted.
fn stored(status: &FhirExportStatus) -> Phase {
    if is_terminal(status) {
        return Phase::Ended(Ended::default());
    }
    let owner = job_owner(status);
    if status.cancellation.is_some() {
        return Phase::Cancelling(Cancelling { owner, ..Cancelling::default() });
    }
    match status.job.as_ref().map(|job| job.status_url.is_some()) {
        None => Phase::Waiting(Waiting::default()),
        Some(false) => Phase::Uncertain(Uncertain { doubt: doubt(status), search: Retry::default() }),
        Some(true) => Phase::Running(Running { owner, ..Running::default() }),
    }
}

impl Phase {
    /// The phase of a run. Memory counts only as far as the status allows it: a status that was written
    /// without our knowledge, or by an earlier process, wins.
    pub fn of(status: &FhirExportStatus, deleting: bool, has_finalizer: bool, remembered: Self) -> Self {
        let stored = stored(status);
        if deleting && !has_finalizer && !matches!(stored, Self::Ended(_)) {
            return Self::Leaving(Leaving { told: true });
        }
        match (stored, remembered) {
            (Self::Ended(_), remembered @ Self::Ended(_))
            | (Self::Waiting(_), remembered @ Self::Waiting(_))
            | (Self::Uncertain(_), remembered @ Self::Starting(_))
            | (Self::Running(_), remembered @ (Self::Landing(_) | Self::Checking(_)))
            // The server had finished the job before it could be cancelled.
            | (Self::Cancelling(_), remembered @ Self::Checking(_)) => remembered,
            (
                Self::Waiting(_) | Self::Uncertain(_) | Self::Running(_) | Self::Cancelling(_),
                remembered @ Self::Leaving(_),
            ) if deleting => remembered,
            // The status knows a part of these phases, and that part comes from the status.
            (Self::Uncertain(stored), Self::Uncertain(known)) => {
                Self::Uncertain(Uncertain { doubt: stored.doubt, ..known })
            }
            (Self::Running(stored), Self::Running(known)) => {
                Self::Running(Running { owner: stored.owner, ..known })
            }
            (Self::Cancelling(stored), Self::Cancelling(known)) => {
                Self::Cancelling(Cancelling { owner: stored.owner, ..known })
            }
            (Self::Cancelling(stored), Self::Landing(known)) => {
                Self::Cancelling(Cancelling { landing_runs: known.task_runs(), ..stored })
            }
            (stored, _) => stored,
        }
    }

    /// The name of the phase.
    pub fn name(&self) -> PhaseName {
        match self {
            Self::Waiting(_) => PhaseName::Waiting,
            Self::Starting(_) => PhaseName::Starting,
            Self::Uncertain(_) => PhaseName::Uncertain,
            Self::Running(_) => PhaseName::Running,
            Self::Landing(_) => PhaseName::Landing,
            Self::Checking(_) => PhaseName::Checking,
            Self::Cancelling(_) => PhaseName::Cancelling,
            Self::Leaving(_) => PhaseName::Leaving,
            Self::Ended(_) => PhaseName::Ended,
        }
    }

    /// The word that `status.state` shows. A check or a landing that finishes within seconds does not get a
    /// word, and so a write, of its own: until it takes longer, the word is that of the phase before.
    pub(super) fn word(&self, status: &FhirExportStatus) -> Option<RunState> {
        let before = status.state;
        let copying = before.filter(|word| matches!(word, RunState::Landing | RunState::Verifying));
        Some(match self {
            Self::Waiting(waiting) => match waiting.waits_for {
                WaitsFor::Obstacle => RunState::Waiting,
                WaitsFor::Resume => RunState::Suspended,
                WaitsFor::Place => RunState::Queued,
            },
            Self::Starting(_) => RunState::Starting,
            Self::Uncertain(_) => RunState::Uncertain,
            Self::Running(Running { held: true, .. }) => RunState::Suspended,
            // The manifest is requested again, after a restart or because its links have expired.
            Self::Running(_) => copying.unwrap_or(RunState::Running),
            Self::Landing(landing) if landing.held => RunState::Suspended,
            Self::Landing(landing) => match &landing.stage {
                LandingStage::Copying { .. } if landing.told => RunState::Landing,
                LandingStage::Copying { .. } | LandingStage::Landed(_) | LandingStage::GivingUp { .. } => {
                    copying.unwrap_or(RunState::Running)
                }
            },
            Self::Checking(checking) if checking.told => RunState::Verifying,
            Self::Checking(_) | Self::Leaving(_) => return before,
            Self::Cancelling(_) => RunState::Cancelling,
            Self::Ended(_) => ended_word(status),
        })
    }

    /// Moves all times back by as much as the clock of the machine was set back.
    pub(super) fn set_back(&mut self, by: SignedDuration) {
        match self {
            Self::Waiting(waiting) => {
                waiting.retry.set_back(by);
                set_back(&mut waiting.authorized_at, by);
            }
            Self::Starting(starting) => starting.retry.set_back(by),
            Self::Uncertain(uncertain) => uncertain.search.set_back(by),
            Self::Running(running) => running.set_back(by),
            Self::Landing(landing) => landing.set_back(by),
            Self::Checking(checking) => checking.set_back(by),
            Self::Cancelling(cancelling) => cancelling.retry.set_back(by),
            Self::Leaving(_) => {}
            Self::Ended(ended) => ended.clean_up.retry.set_back(by),
        }
    }
}

fn ended_word(status: &FhirExportStatus) -> RunState {
    let failed = condition::find(&status.conditions, ConditionType::Failed).filter(|c| c.is_true());
    match failed {
        None => RunState::Complete,
        Some(failed) if failed.because(Reason::Cancelled) => RunState::Cancelled,
        Some(_) => RunState::Failed,
    }
}

impl PhaseName {
    /// All phases, in the order in which a run may go through them.
    pub const ALL: [Self; 9] = [
        Self::Waiting,
        Self::Starting,
        Self::Uncertain,
        Self::Running,
        Self::Landing,
        Self::Checking,
        Self::Cancelling,
        Self::Leaving,
        Self::Ended,
    ];

    /// The name of the phase in `docs/states.md` and in logs.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Waiting => "Waiting",
            Self::Starting => "Starting",
            Self::Uncertain => "Uncertain",
            Self::Running => "Running",
            Self::Landing => "Landing",
            Self::Checking => "Checking",
            Self::Cancelling => "Cancelling",
            Self::Leaving => "Leaving",
            Self::Ended => "Ended",
        }
    }

    /// The phase in which the run continues after the operator restarts and has lost its memory.
    #[must_use]
    pub const fn after_restart(self) -> Self {
        match self {
            Self::Starting => Self::Uncertain,
            Self::Landing | Self::Checking => Self::Running,
            Self::Waiting
            | Self::Uncertain
            | Self::Running
            | Self::Cancelling
            | Self::Leaving
            | Self::Ended => self,
        }
    }
}
