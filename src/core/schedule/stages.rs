//! The exports that precede a run's own export if the schedule keeps track of a group: first the members,
//! then all data of those who joined. All exports of a run count together or not at all.

use std::sync::Arc;

use kube::ResourceExt;

use super::active::{advance, with_members_stage};
use super::chain::{FullDue, Link, full_due, require_full};
use super::decision::{ListMembers, Newcomers, ScheduleEffect};
use super::names::run_of;
use super::readiness::Ready;
use super::requests::{fingerprint_on_server_of, of_members, of_newcomers};
use super::run::{Uncounted, conditions, counts, has_ended, row};
use super::turn::{Reading, Turn};
use crate::api::{ActiveRun, ConditionType, ExportRequest, FhirExport, Reason, RunMode, RunStage};
use crate::core::bulk::Deviations;
use crate::core::condition;
use crate::core::effect::NoteType;

/// After this many consecutive runs that do not count, one more failed export of newcomers makes the next run full.
const FAILURES: i32 = 2;

/// The request of a run's next export.
pub(super) fn request(turn: &Turn<'_>, run: &ActiveRun, link: Option<&Link>) -> ExportRequest {
    let template = &turn.spec().template.spec.request;
    let list = link.and_then(|link| link.pending.newcomers.clone());
    match (run.stage, turn.facts.server.as_deref(), list) {
        (Some(RunStage::Members), Some(server), _) => of_members(&Deviations::of(server), template),
        (Some(RunStage::Newcomers), _, Some(list)) => of_newcomers(template, list),
        (Some(RunStage::Members), None, _) | (Some(RunStage::Newcomers), _, None) | (None, ..) => {
            ExportRequest { since: link.and_then(|link| link.pending.since.clone()), ..template.clone() }
        }
    }
}

/// Takes in the ended export of a stage. The run continues, or the error says why it does not count.
pub(super) fn take_in(
    turn: &mut Turn<'_>,
    run: &ActiveRun,
    stage: RunStage,
    export: &FhirExport,
) -> Result<(), Uncounted> {
    let name = run_of(&run.name).to_owned();
    let Some(pending) = turn.pending(&name) else { return Err(Uncounted::OfAnotherRun) };
    let expected = pending.fingerprint.clone();
    if refuses(turn, export) {
        match stage {
            RunStage::Members => {
                full_for_unknown_members(
                    turn,
                    &name,
                    &format!("{} found nothing: the server refuses it", run.name),
                );
                advance(turn, &name, None);
                return Ok(());
            }
            RunStage::Newcomers => require_full(turn, FullDue::NewcomersRefused),
        }
    }
    let time = counts(export)?.to_owned();
    if fingerprint_on_server_of(export, &turn.spec().template.spec.request) != Some(expected) {
        return Err(Uncounted::OtherRequest);
    }
    match stage {
        // The run stays at this stage until the members are read from the files.
        RunStage::Members => {}
        RunStage::Newcomers => {
            let row = row(export, RunMode::Newcomers, None, time);
            if let Some(pending) = turn.pending_mut(&name) {
                pending.newcomers_run = Some(row);
            }
            advance(turn, &name, None);
        }
    }
    Ok(())
}

/// Whether newcomers must come with a full run, because the server refuses the request or fails repeatedly.
fn refuses(turn: &Turn<'_>, export: &FhirExport) -> bool {
    let failed = condition::find(conditions(export), ConditionType::Failed);
    failed.filter(|c| c.is_true()).is_some_and(|failed| {
        let before = turn.status.consecutive_failures.unwrap_or(0);
        failed.because(Reason::KickOffRejected)
            || failed.because(Reason::UnsupportedByServer)
            || (failed.because(Reason::ExportFailed) && before >= FAILURES)
    })
}

/// Makes this run full, because it is not known who joined the group.
fn full_for_unknown_members(turn: &mut Turn<'_>, run: &str, why: &str) {
    require_full(turn, FullDue::MembersUnknown);
    let message = format!("{run} is full, since it is not known who joined the group: {why}");
    turn.note(NoteType::Warning, Reason::MembersUnknown, "Chain", &message);
}

/// The listing that is needed now, if a run has exported the members and has not continued.
fn question(turn: &Turn<'_>, ready: &Ready) -> Option<ListMembers> {
    let run = with_members_stage(turn)?;
    let export = turn.child(&run.name).filter(|child| child.uid() == run.uid && has_ended(child))?;
    let chain = turn.status.chain.as_ref()?;
    let full = full_due(turn, ready, run.slot_time).is_some();
    Some(ListMembers {
        server: turn.facts.server.clone()?,
        export: Arc::clone(export),
        before: chain.members.clone().filter(|_| !full),
    })
}

/// The effect that lists the members, unless a listing is under way.
pub(super) fn to_read(turn: &Turn<'_>, ready: &Ready) -> Option<ScheduleEffect> {
    match turn.reading {
        Reading::Running => None,
        Reading::NotAsked | Reading::Done(..) => question(turn, ready).map(ScheduleEffect::ListMembers),
    }
}

/// Takes in the stored lists. The run continues with the newcomers, if there are any. An answer to another question
/// than the present one is dropped: if the run has become incremental meanwhile, it would miss newcomers.
pub(super) fn listed(turn: &mut Turn<'_>, ready: &Ready) {
    let (asked, listed) = match std::mem::take(&mut turn.reading) {
        Reading::Done(asked, listed) => (asked, listed),
        reading @ (Reading::NotAsked | Reading::Running) => return turn.reading = reading,
    };
    let answers = |question: &ListMembers| {
        question.export.uid() == asked.export.uid() && question.before == asked.before
    };
    let (true, Some(run)) = (question(turn, ready).as_ref().is_some_and(answers), with_members_stage(turn))
    else {
        return;
    };
    let name = run_of(&run.name).to_owned();
    let mut list = None;
    match listed.newcomers {
        Newcomers::None => {}
        Newcomers::Listed(newcomers) => list = Some(newcomers),
        Newcomers::TooMany => {
            require_full(turn, FullDue::TooManyNewcomers);
            let message = format!("{name} is full: more patients joined the group than a list can name");
            turn.note(NoteType::Normal, Reason::TooManyNewcomers, "Chain", &message);
        }
        Newcomers::Unknown(why) => full_for_unknown_members(turn, &name, &why),
    }
    let Some(pending) = turn.pending_mut(&name) else { return };
    pending.members = listed.members;
    pending.newcomers.clone_from(&list);
    advance(turn, &name, list.map(|_| RunStage::Newcomers));
}
