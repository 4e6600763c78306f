//! Whether the schedule can make runs, and whether runs lose data without the user's consent.

use super::active::with_members_stage;
use super::calendar::Calendar;
use super::requests::{fingerprint, hindrance};
use super::turn::Turn;
use crate::api::{ConditionStatus, ConditionType, Dialect, Level, Reason};
use crate::core::export::ServerView;

/// The state of a schedule that is not being deleted.
pub(super) enum State {
    /// A run could not continue just now. The schedule makes no run until it tries that one again.
    HeldUp,
    /// The spec or the server does not permit runs; `Ready` says why.
    NotReady,
    /// Runs can be made.
    Ready(Box<Ready>),
}

/// What is needed to make runs.
pub(super) struct Ready {
    pub(super) calendar: Calendar,
    /// The hash of the server and the request.
    pub(super) fingerprint: String,
    pub(super) left_out: LeftOut,
    /// Whether runs list the members of the group, and export newcomers in full.
    pub(super) tracks: bool,
    /// Why runs at level Group do not list the members, as half a sentence. Empty if they do.
    pub(super) hindrance: String,
}

/// What incremental runs leave out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum LeftOut {
    Nothing,
    /// New resources of patients whose own record did not change.
    OfUnchanged,
    /// What new members of the group had before they joined.
    OfNewMembers,
}

/// Why the schedule can make no run.
#[derive(Clone, Debug, PartialEq, Eq)]
enum NotReady {
    /// A cron line or the time zone cannot be read. The text says what is wrong where.
    InvalidSchedule(String),
    /// The server that the template names does not exist.
    ServerNotFound { server: String },
    /// The server that the template names is being deleted.
    ServerDeleting { server: String },
    /// The capabilities of the server are not known yet.
    Probing { server: String },
    /// The server does not support `since`.
    NoSince { server: String },
    /// Runs would leave out data, and `acceptLoss` is not set.
    LosesData { server: String, level: Level },
}

impl NotReady {
    fn reason(&self) -> Reason {
        match self {
            Self::InvalidSchedule(_) => Reason::InvalidSchedule,
            Self::ServerNotFound { .. } => Reason::ServerNotFound,
            Self::ServerDeleting { .. } => Reason::ServerDeleting,
            Self::Probing { .. } => Reason::Probing,
            Self::NoSince { .. } => Reason::UnsupportedByServer,
            Self::LosesData { .. } => Reason::IncrementalLosesData,
        }
    }

    fn message(&self) -> String {
        match self {
            Self::InvalidSchedule(problem) => problem.clone(),
            Self::ServerNotFound { server } => {
                format!("there is no FhirServer {server}; runs are made when it exists")
            }
            Self::ServerDeleting { server } => {
                format!("FhirServer {server} is being deleted; runs are made when it exists anew")
            }
            Self::Probing { server } => format!("waits for the first look at FhirServer {server}"),
            Self::NoSince { server } => format!(
                "FhirServer {server} does not know since (bulkData.supportsSince), so runs cannot be incremental; \
                 remove incremental to export all each time"
            ),
            Self::LosesData { server, level } => format!(
                "at level {} FhirServer {server} leaves out new resources of patients that did not change themselves; \
                 use level System with types, or set incremental.acceptLoss and a fullSchedule that brings them",
                level.as_str()
            ),
        }
    }

    /// Whether the problem stays until somebody corrects it. Something that is missing may appear by itself.
    fn stalled(&self) -> ConditionStatus {
        match self {
            Self::ServerNotFound { .. } | Self::ServerDeleting { .. } | Self::Probing { .. } => {
                ConditionStatus::False
            }
            Self::InvalidSchedule(_) | Self::NoSince { .. } | Self::LosesData { .. } => ConditionStatus::True,
        }
    }
}

/// The state of the schedule. Sets `Ready` and `Stalled` accordingly.
pub(super) fn state(turn: &mut Turn<'_>) -> State {
    if turn.held_up {
        return State::HeldUp;
    }
    match examine(turn) {
        Ok(ready) => {
            if !still_told(turn) {
                let message = "runs are made as the schedule says";
                turn.set(ConditionType::Ready, ConditionStatus::True, Reason::Scheduled, message);
                turn.set(ConditionType::Stalled, ConditionStatus::False, Reason::Scheduled, message);
            }
            State::Ready(Box::new(ready))
        }
        Err(problem) => {
            let (reason, message) = (problem.reason(), problem.message());
            turn.set(ConditionType::Ready, ConditionStatus::False, reason, &message);
            turn.set(ConditionType::Stalled, problem.stalled(), reason, &message);
            State::NotReady
        }
    }
}

/// Whether the conditions still say what holds a run up, as they do until that run has continued.
fn still_told(turn: &Turn<'_>) -> bool {
    let to_create = turn.status.active.iter().any(|run| run.uid.is_none());
    let to_read = with_members_stage(turn).is_some();
    to_create && turn.because(ConditionType::Ready, Reason::CreationRefused)
        || to_read && turn.because(ConditionType::Ready, Reason::StorageUnreachable)
}

fn examine(turn: &Turn<'_>) -> Result<Ready, NotReady> {
    let calendar = Calendar::of(turn.spec()).map_err(NotReady::InvalidSchedule)?;
    let reference = &turn.spec().template.spec.server_ref;
    let namespace = reference.namespace.clone().or_else(|| turn.schedule.metadata.namespace.clone());
    let name = format!("{}/{}", namespace.unwrap_or_default(), reference.name);
    let Some(server) = turn.facts.server.as_deref().map(ServerView::new) else {
        return Err(NotReady::ServerNotFound { server: name });
    };
    if server.deleting() {
        return Err(NotReady::ServerDeleting { server: name });
    }
    let request = &turn.spec().template.spec.request;
    let fingerprint = fingerprint(&server.uid(), &server.spec().url, request);
    let Some(incremental) = &turn.spec().incremental else {
        let left_out = LeftOut::Nothing;
        return Ok(Ready { calendar, fingerprint, left_out, tracks: false, hindrance: String::new() });
    };
    let bulk = server.spec().dialect == Dialect::BulkData;
    if bulk && !server.probed() {
        return Err(NotReady::Probing { server: name });
    }
    if bulk && !server.deviations().since {
        return Err(NotReady::NoSince { server: name });
    }
    let lossy = !bulk || server.deviations().leaves_out_changes();
    let tracked = (request.level == Level::Group && !lossy).then(|| hindrance(&server, request));
    let left_out = match request.level {
        Level::Patient | Level::Group if lossy => LeftOut::OfUnchanged,
        Level::Group if tracked != Some(None) => LeftOut::OfNewMembers,
        Level::System | Level::Patient | Level::Group => LeftOut::Nothing,
    };
    if left_out == LeftOut::OfUnchanged && incremental.accept_loss != Some(true) {
        return Err(NotReady::LosesData { server: name, level: request.level });
    }
    let tracks = tracked == Some(None);
    let hindrance = tracked.flatten().unwrap_or_default();
    Ok(Ready { calendar, fingerprint, left_out, tracks, hindrance })
}
