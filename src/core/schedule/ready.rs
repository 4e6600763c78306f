//! Whether runs can be made at all, and without losing data that nobody agreed to lose.

use super::calendar::Calendar;
use super::turn::Turn;
use super::{chain, stages};
use crate::api::{ConditionStatus, ConditionType, Dialect, Level, Preset, Reason, RunStage};
use crate::core::condition;
use crate::core::export::ServerView;

/// What runs are made with.
pub(super) struct Ready {
    pub(super) calendar: Calendar,
    /// The hash of the server and the request.
    pub(super) fingerprint: String,
    /// What incremental runs leave out.
    pub(super) left_out: LeftOut,
    /// Whether runs find out who is in the group, and export newcomers in full.
    pub(super) tracks: bool,
    /// Why they do not, at level Group: half a sentence.
    pub(super) hindrance: String,
}

/// What incremental runs leave out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum LeftOut {
    /// Nothing.
    Nothing,
    /// New resources of patients that did not change themselves.
    OfUnchanged,
    /// What patients had before they joined the group.
    OfNewMembers,
}

/// Sets `Ready` and `Stalled`, and answers what runs are made with, if they can be made.
pub(super) fn check(turn: &mut Turn<'_>) -> Option<Ready> {
    match look(turn) {
        Ok(ready) => {
            // What holds a run up stays told until it goes on.
            let told = condition::find(&turn.status.conditions, ConditionType::Ready);
            let told = |reason| told.is_some_and(|c| c.because(reason));
            let unmade = turn.status.active.iter().any(|run| run.uid.is_none());
            let unread = turn.status.active.iter().any(|run| run.stage == Some(RunStage::Members));
            let refused = unmade && told(Reason::CreationRefused);
            if !(refused || unread && told(Reason::StorageUnreachable)) {
                let message = "runs are made as the schedule says";
                turn.set(ConditionType::Ready, ConditionStatus::True, Reason::Scheduled, message);
                turn.set(ConditionType::Stalled, ConditionStatus::False, Reason::Scheduled, message);
            }
            Some(ready)
        }
        Err(NotReady { reason, message }) => {
            turn.set(ConditionType::Ready, ConditionStatus::False, reason, &message);
            // What is missing may come; what is wrong stays so until somebody corrects it.
            let comes = matches!(reason, Reason::ServerNotFound | Reason::ServerDeleting | Reason::Probing);
            let stalled = if comes { ConditionStatus::False } else { ConditionStatus::True };
            turn.set(ConditionType::Stalled, stalled, reason, &message);
            None
        }
    }
}

struct NotReady {
    reason: Reason,
    message: String,
}

fn look(turn: &Turn<'_>) -> Result<Ready, NotReady> {
    let no = |reason, message| NotReady { reason, message };
    let calendar = Calendar::of(turn.spec()).map_err(|problem| no(Reason::InvalidSchedule, problem))?;
    let reference = &turn.spec().template.spec.server_ref;
    let namespace = reference.namespace.clone().or_else(|| turn.schedule.metadata.namespace.clone());
    let name = format!("{}/{}", namespace.unwrap_or_default(), reference.name);
    let Some(server) = turn.facts.server.as_deref().map(ServerView::new) else {
        let message = format!("there is no FhirServer {name}; runs are made when it exists");
        return Err(no(Reason::ServerNotFound, message));
    };
    if server.deleting() {
        let message = format!("FhirServer {name} is being deleted; runs are made when it exists anew");
        return Err(no(Reason::ServerDeleting, message));
    }
    let request = &turn.spec().template.spec.request;
    let fingerprint = chain::fingerprint(&server.uid(), &server.spec().url, request);
    let Some(incremental) = &turn.spec().incremental else {
        let left_out = LeftOut::Nothing;
        return Ok(Ready { calendar, fingerprint, left_out, tracks: false, hindrance: String::new() });
    };
    let bulk = server.spec().dialect == Dialect::BulkData;
    if bulk && !server.probed() {
        return Err(no(Reason::Probing, format!("waits for the first look at FhirServer {name}")));
    }
    if bulk && !server.deviations().since {
        let message = format!(
            "FhirServer {name} does not know since (bulkData.supportsSince), so runs cannot be incremental; remove incremental to export all each time"
        );
        return Err(no(Reason::UnsupportedByServer, message));
    }
    let lossy = !bulk || server.deviations().preset == Preset::Hapi;
    let tracked = (request.level == Level::Group && !lossy).then(|| stages::hindrance(&server, request));
    let left_out = match request.level {
        Level::Patient | Level::Group if lossy => LeftOut::OfUnchanged,
        Level::Group if tracked != Some(None) => LeftOut::OfNewMembers,
        Level::System | Level::Patient | Level::Group => LeftOut::Nothing,
    };
    if left_out == LeftOut::OfUnchanged && incremental.accept_loss != Some(true) {
        let message = format!(
            "at level {} FhirServer {name} leaves out new resources of patients that did not change themselves; use level System with types, or set incremental.acceptLoss and a fullSchedule that brings them",
            request.level.as_str()
        );
        return Err(no(Reason::IncrementalLosesData, message));
    }
    let tracks = tracked == Some(None);
    let hindrance = tracked.flatten().unwrap_or_default();
    Ok(Ready { calendar, fingerprint, left_out, tracks, hindrance })
}
