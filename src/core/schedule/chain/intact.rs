//! The condition `ChainIntact`: whether the chain holds every change, and what may be missing from it.

use super::super::readiness::{LeftOut, Ready};
use super::super::turn::Turn;
use super::full::{FullDue, full_due};
use crate::api::{ConditionStatus, ConditionType, Reason};

/// What the chain holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Holds {
    /// Nothing yet. The first run is full, or begins at `initialSince`.
    Nothing { full_first: bool },
    /// Data of another server or request than the spec names now.
    OtherRequest,
    /// Changes up to an instant, but the server's clock has since gone back behind it.
    UpToWentBack,
    /// Changes, but it is not known who was in the group.
    OfUnknownMembers,
    /// Every change except new resources of patients who did not change themselves, as `acceptLoss` permits.
    AllButUnchanged,
    /// Every change except what new members of the group had before they joined.
    AllButNewMembers,
    /// Every change. The next run repeats the last one, which does not count.
    AllAndRepeats,
    /// Every change.
    All,
}

/// The facts that the condition follows from.
struct View<'a> {
    covered: Option<&'a str>,
    due: Option<FullDue>,
    /// Whether it is not known who was in the group.
    unknown: bool,
    /// Whether the last run failed, or did not count.
    repeats: bool,
    /// How many seconds each run reaches back.
    overlap: i64,
}

/// Sets `ChainIntact`, and records why the next run is full, if it has to be.
pub(in super::super) fn tell(turn: &mut Turn<'_>, ready: &Ready) {
    if turn.spec().incremental.is_none() {
        return;
    }
    let due = full_due(turn, ready, turn.now);
    let chain = turn.status.chain.get_or_insert_default();
    chain.full_due_reason = due.map(|due| due.reason().to_string());
    let covered = chain.covered_until.clone();
    let unknown = ready.tracks && chain.members.is_none();
    let repeats = turn.status.consecutive_failures.is_some_and(|failures| failures > 0);
    let view = View { covered: covered.as_deref(), due, unknown, repeats, overlap: turn.overlap_seconds() };
    let holds = holds(&view, ready);
    let message = message(holds, &view, ready);
    turn.set(ConditionType::ChainIntact, status(holds), reason(holds), &message);
}

fn holds(view: &View<'_>, ready: &Ready) -> Holds {
    if view.covered.is_none() {
        return Holds::Nothing { full_first: view.due.is_some() };
    }
    match view.due {
        Some(FullDue::RequestChanged) => Holds::OtherRequest,
        Some(FullDue::TransactionTimeWentBack) => Holds::UpToWentBack,
        Some(_) if view.unknown => Holds::OfUnknownMembers,
        Some(_) | None => match ready.left_out {
            LeftOut::OfUnchanged => Holds::AllButUnchanged,
            LeftOut::OfNewMembers => Holds::AllButNewMembers,
            LeftOut::Nothing if view.repeats => Holds::AllAndRepeats,
            LeftOut::Nothing => Holds::All,
        },
    }
}

fn status(holds: Holds) -> ConditionStatus {
    match holds {
        Holds::Nothing { .. }
        | Holds::OfUnknownMembers
        | Holds::AllButUnchanged
        | Holds::AllButNewMembers => ConditionStatus::Unknown,
        Holds::OtherRequest | Holds::UpToWentBack => ConditionStatus::False,
        Holds::AllAndRepeats | Holds::All => ConditionStatus::True,
    }
}

fn reason(holds: Holds) -> Reason {
    match holds {
        Holds::Nothing { .. } => Reason::NoFullRunYet,
        Holds::OtherRequest => Reason::RequestChanged,
        Holds::UpToWentBack => Reason::TransactionTimeWentBack,
        Holds::OfUnknownMembers => Reason::MembersUnknown,
        Holds::AllButUnchanged => Reason::LossAccepted,
        Holds::AllButNewMembers => Reason::NewMembersIncomplete,
        Holds::AllAndRepeats => Reason::Repeating,
        Holds::All => Reason::Chained,
    }
}

fn message(holds: Holds, view: &View<'_>, ready: &Ready) -> String {
    let covered = view.covered.unwrap_or_default();
    let newcomers = if ready.tracks { ", and patients that joined the group in full" } else { "" };
    match holds {
        Holds::Nothing { full_first: true } => {
            "no full run has succeeded yet, so the next run is full".to_owned()
        }
        Holds::Nothing { full_first: false } => {
            "no run has succeeded yet; the first one begins at initialSince".to_owned()
        }
        Holds::OtherRequest => format!(
            "the server or the request changed after {covered}, so the next run is full and begins a new chain: load \
             that from its full run on"
        ),
        Holds::UpToWentBack => format!(
            "the server's clock went back behind {covered}, so changes may be missing; the next run is full"
        ),
        Holds::OfUnknownMembers => format!(
            "changes until {covered} are exported; it is not known who was in the group then, so the next run is full"
        ),
        Holds::AllButUnchanged => format!(
            "changes until {covered} are exported, but for new resources of patients that did not change themselves, \
             as acceptLoss permits; full runs bring them"
        ),
        Holds::AllButNewMembers => format!(
            "changes until {covered} are exported; of patients that joined the group since the last full run, what \
             they had before is missing until the next one, since {}",
            ready.hindrance
        ),
        Holds::AllAndRepeats => format!(
            "all changes until {covered} are exported{newcomers}; the last run does not count, and the next one \
             repeats it from the same instant: overlap, no gap"
        ),
        Holds::All if view.overlap > 0 => format!(
            "all changes until {covered} are exported{newcomers}; each run repeats {} seconds before: overlap, no gap",
            view.overlap
        ),
        Holds::All => format!(
            "all changes until {covered} are exported{newcomers}; each run begins there: no overlap, no gap"
        ),
    }
}
