//! The chain of incremental runs: from which instant the next one exports changes, and which run moves that on.
//!
//! `coveredUntil` only moves with the pending run, when that is complete and nothing about it is in doubt. Whatever
//! else happens to a run, the next one repeats it from the same instant: overlap, never a gap.

use jiff::Timestamp;
use kube::ResourceExt;
use serde_json::json;

use super::child::{Link, digest};
use super::instant::{meaning, reach_back};
use super::ready::{LeftOut, Ready};
use super::stages;
use super::turn::Turn;
use crate::api::{
    Chain, ChainedRun, ConditionStatus, ConditionType, ExportRequest, FhirExport, PendingRun, Reason, RunMode,
};
use crate::core::condition;
use crate::core::effect::NoteType;

/// Runs of the chain that the status keeps.
const MAX_HISTORY: usize = 10;
/// How far a run reaches back unless the schedule says otherwise, in seconds.
const OVERLAP: i64 = 300;

/// For these a full run stays due until one succeeds.
const STAY_DUE: [Reason; 2] = [Reason::FullRequested, Reason::TransactionTimeWentBack];
/// For these likewise, while the members of the group are kept track of.
const STAY_DUE_OF_MEMBERS: [Reason; 3] =
    [Reason::NewcomersRefused, Reason::TooManyNewcomers, Reason::MembersUnknown];

/// A hash of the server and of what is asked of it. The order of types and filters does not matter.
pub(super) fn fingerprint(server_uid: &str, url: &str, request: &ExportRequest) -> String {
    let sorted = |list: &Option<Vec<String>>| {
        list.clone().map(|mut list| {
            list.sort_unstable();
            list.dedup();
            list
        })
    };
    let asked = ExportRequest {
        since: None,
        types: sorted(&request.types),
        type_filters: sorted(&request.type_filters),
        include_associated_data: sorted(&request.include_associated_data),
        ..request.clone()
    };
    let whole = json!({ "server": server_uid, "url": url, "request": asked });
    digest(whole.to_string().as_bytes(), 8)
}

/// The hash of a run: by the server that it really used, if it got so far.
pub(super) fn fingerprint_of(run: &FhirExport) -> Option<String> {
    let server = run.status.as_ref()?.server.as_ref()?;
    Some(fingerprint(&server.uid, &server.url, &run.spec.request))
}

/// Where runs are not incremental, there is no chain.
pub(super) fn only_if_incremental(turn: &mut Turn<'_>) {
    if turn.spec().incremental.is_none() {
        turn.status.chain = None;
        condition::remove(&mut turn.status.conditions, ConditionType::ChainIntact);
    }
}

/// The overlap of a schedule, in seconds.
fn overlap(turn: &Turn<'_>) -> i64 {
    turn.spec().incremental.as_ref().and_then(|i| i.overlap_seconds).unwrap_or(OVERLAP)
}

/// Why a run for this time must be full, if it must.
pub(super) fn full_due(turn: &Turn<'_>, ready: &Ready, slot: Timestamp) -> Option<Reason> {
    let chain = turn.status.chain.as_ref();
    let initial = turn.spec().incremental.as_ref().is_some_and(|i| i.initial_since.is_some());
    let of_members = STAY_DUE_OF_MEMBERS.into_iter().filter(|_| ready.tracks);
    let asked = STAY_DUE
        .into_iter()
        .chain(of_members)
        .find(|reason| chain.is_some_and(|c| c.full_due_reason.as_deref() == Some(reason.as_str())));
    let Some(covered) = chain.filter(|chain| chain.covered_until.is_some()) else {
        return asked.or((!initial).then_some(Reason::NoFullRunYet));
    };
    if covered.fingerprint.as_ref() != Some(&ready.fingerprint) {
        return Some(Reason::RequestChanged);
    }
    let scheduled = covered.last_full_time.is_none_or(|last| ready.calendar.full_due(slot, last));
    let unknown = ready.tracks && covered.members.is_none();
    asked.or(scheduled.then_some(Reason::FullScheduled)).or(unknown.then_some(Reason::MembersUnknown))
}

/// Where a run for this time stands in the chain.
pub(super) fn link(turn: &Turn<'_>, ready: &Ready, name: &str, slot: Timestamp) -> Option<Link> {
    let incremental = turn.spec().incremental.as_ref()?;
    let chain = turn.status.chain.clone().unwrap_or_default();
    let carried = stages::carried(turn, name);
    let pending = |mode, since, chain| PendingRun {
        // Nobody is known to be exported in full by a run that does not look for newcomers.
        members: carried.as_ref().and_then(|carried| carried.members.clone()).filter(|_| ready.tracks),
        newcomers: carried.as_ref().and_then(|carried| carried.newcomers.clone()),
        newcomers_run: carried.as_ref().and_then(|carried| carried.newcomers_run.clone()),
        name: name.to_owned(),
        uid: None,
        slot_time: slot,
        mode,
        since,
        chain,
        fingerprint: ready.fingerprint.clone(),
    };
    // A chain is called after the run that begins it.
    let own = name.strip_prefix(&format!("{}-", turn.name())).unwrap_or(name).to_owned();
    let begins = |mode, since| Link {
        pending: pending(mode, since, own.clone()),
        predecessor: None,
        chain_began: slot,
    };
    if full_due(turn, ready, slot).is_some() {
        return Some(begins(RunMode::Full, None));
    }
    let Some(covered) = &chain.covered_until else {
        return Some(begins(RunMode::Incremental, incremental.initial_since.clone()));
    };
    let (Some(since), Some(id)) = (reach_back(covered, overlap(turn)), chain.id) else {
        return Some(begins(RunMode::Full, None));
    };
    Some(Link {
        pending: pending(RunMode::Incremental, Some(since), id),
        predecessor: chain.history.last().map(|run| run.name.clone()),
        chain_began: chain.last_full_time.unwrap_or(slot),
    })
}

/// A full run was asked for by hand: it stays due until one succeeds.
pub(super) fn ask_for_full(turn: &mut Turn<'_>) {
    if turn.spec().incremental.is_some() {
        let chain = turn.status.chain.get_or_insert_default();
        chain.full_due_reason = Some(Reason::FullRequested.to_string());
    }
}

/// Whether a run is one that a chain can build on; else why not.
pub(super) fn counts(run: &FhirExport) -> Result<&str, String> {
    let Some(status) = run.status.as_ref() else { return Err("it has no status".to_owned()) };
    let complete = condition::find(&status.conditions, ConditionType::Complete).filter(|c| c.is_true());
    let Some(complete) = complete else { return Err("it did not succeed".to_owned()) };
    if !complete.because(Reason::Exported) {
        return Err("the server reports errors".to_owned());
    }
    let verified = condition::find(&status.conditions, ConditionType::Verified);
    if verified.is_some_and(|c| c.status == ConditionStatus::False) {
        return Err("a check of its files failed".to_owned());
    }
    let time = status.transaction_time.as_deref().filter(|time| meaning(time).is_some());
    time.ok_or_else(|| "the server did not say of which instant its data is".to_owned())
}

/// The pending run has ended. Moves the chain on with it, or says why not.
pub(super) fn take_in(turn: &mut Turn<'_>, run: &FhirExport) -> Result<(), String> {
    let chain = turn.status.chain.get_or_insert_default();
    let Some(pending) = chain.pending.take() else {
        return Err("it is not the run that the chain waits for".to_owned());
    };
    if pending.uid != run.uid() || run.spec.request.since != pending.since {
        return Err("it is not the run that the chain waits for".to_owned());
    }
    let time = counts(run)?.to_owned();
    if fingerprint_of(run).as_ref() != Some(&pending.fingerprint) {
        return Err("it ran on another server, or for another request, than it was made for".to_owned());
    }
    if chain.id.as_ref() != Some(&pending.chain) {
        *chain = Chain {
            id: Some(pending.chain.clone()),
            fingerprint: Some(pending.fingerprint.clone()),
            last_full_time: Some(pending.slot_time),
            ..Chain::default()
        };
    } else if chain.covered_until.as_deref().and_then(meaning) > meaning(&time) {
        chain.full_due_reason = Some(Reason::TransactionTimeWentBack.to_string());
        let why = format!(
            "the server says that its data is of {time}, before what was covered already; the next run is full"
        );
        turn.note(NoteType::Warning, Reason::TransactionTimeWentBack, "Chain", &why);
        return Err(why);
    }
    chain.covered_until = Some(time.clone());
    chain.history.extend(stages::before(&pending));
    chain.history.push(row(run, pending.mode, pending.since, time));
    chain.members = pending.members;
    shorten(&mut chain.history);
    Ok(())
}

/// What the chain says of a run.
pub(super) fn row(
    run: &FhirExport,
    mode: RunMode,
    since: Option<String>,
    transaction_time: String,
) -> ChainedRun {
    let output = run.status.as_ref().and_then(|status| status.output.as_ref());
    ChainedRun {
        name: run.name_any(),
        uid: run.uid().unwrap_or_default(),
        mode,
        since,
        transaction_time,
        container: output.and_then(|output| output.container.clone()),
        folder: output.and_then(|output| output.folder.clone()),
    }
}

/// Leaves the last runs, each with what it exported of newcomers before.
pub(super) fn shorten(history: &mut Vec<ChainedRun>) {
    let own = |run: &&ChainedRun| run.mode != RunMode::Newcomers;
    let mut surplus = history.iter().filter(own).count().saturating_sub(MAX_HISTORY);
    history.retain(|run| {
        let goes = surplus > 0;
        surplus -= usize::from(goes && own(&run));
        !goes
    });
}

/// Says whether the chain holds every change so far, and why the next run is full if it is.
pub(super) fn tell(turn: &mut Turn<'_>, ready: &Ready) {
    if turn.spec().incremental.is_none() {
        return;
    }
    let due = full_due(turn, ready, turn.now);
    let overlap = overlap(turn);
    let unknown = ready.tracks && turn.status.chain.as_ref().is_none_or(|chain| chain.members.is_none());
    let newcomers = if ready.tracks { ", and patients that joined the group in full" } else { "" };
    let repeats = turn.status.consecutive_failures.is_some_and(|failures| failures > 0);
    let chain = turn.status.chain.get_or_insert_default();
    chain.full_due_reason = due.map(|reason| reason.to_string());
    let covered = chain.covered_until.clone();
    let (status, reason, message) = match (covered, due) {
        (None, Some(_)) => (
            ConditionStatus::Unknown,
            Reason::NoFullRunYet,
            "no full run has succeeded yet, so the next run is full".to_owned(),
        ),
        (None, None) => (
            ConditionStatus::Unknown,
            Reason::NoFullRunYet,
            "no run has succeeded yet; the first one begins at initialSince".to_owned(),
        ),
        (Some(covered), Some(Reason::RequestChanged)) => (
            ConditionStatus::False,
            Reason::RequestChanged,
            format!(
                "the server or the request changed after {covered}, so the next run is full and begins a new chain: load that from its full run on"
            ),
        ),
        (Some(covered), Some(Reason::TransactionTimeWentBack)) => (
            ConditionStatus::False,
            Reason::TransactionTimeWentBack,
            format!(
                "the server's clock went back behind {covered}, so changes may be missing; the next run is full"
            ),
        ),
        (Some(covered), Some(_)) if unknown => (
            ConditionStatus::Unknown,
            Reason::MembersUnknown,
            format!(
                "changes until {covered} are exported; it is not known who was in the group then, so the next run is full"
            ),
        ),
        (Some(covered), _) => match ready.left_out {
            LeftOut::OfUnchanged => (
                ConditionStatus::Unknown,
                Reason::LossAccepted,
                format!(
                    "changes until {covered} are exported, but for new resources of patients that did not change themselves, as acceptLoss permits; full runs bring them"
                ),
            ),
            LeftOut::OfNewMembers => (
                ConditionStatus::Unknown,
                Reason::NewMembersIncomplete,
                format!(
                    "changes until {covered} are exported; of patients that joined the group since the last full run, what they had before is missing until the next one, since {}",
                    ready.hindrance
                ),
            ),
            LeftOut::Nothing if repeats => (
                ConditionStatus::True,
                Reason::Repeating,
                format!(
                    "all changes until {covered} are exported{newcomers}; the last run does not count, and the next one repeats it from the same instant: overlap, no gap"
                ),
            ),
            LeftOut::Nothing if overlap > 0 => (
                ConditionStatus::True,
                Reason::Chained,
                format!(
                    "all changes until {covered} are exported{newcomers}; each run repeats {overlap} seconds before: overlap, no gap"
                ),
            ),
            LeftOut::Nothing => (
                ConditionStatus::True,
                Reason::Chained,
                format!(
                    "all changes until {covered} are exported{newcomers}; each run begins there: no overlap, no gap"
                ),
            ),
        },
    };
    turn.set(ConditionType::ChainIntact, status, reason, &message);
}
