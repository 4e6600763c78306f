//! The chain of incremental runs: the instant from which the next run exports changes, and the run that moves it on.
//!
//! `coveredUntil` moves only with the pending run, and only if that run is complete and nothing about it is
//! in doubt. Otherwise the next run starts from the same instant: runs may overlap, but never leave a gap.

mod full;
mod intact;

use jiff::Timestamp;
use kube::ResourceExt;

use super::instant::{meaning, reach_back};
use super::names::chain_begun_by;
use super::readiness::Ready;
use super::requests::fingerprint_on_server_of;
use super::run::{Uncounted, counts, row};
use super::turn::Turn;
use crate::api::{Chain, ChainedRun, ConditionType, FhirExport, PendingRun, Reason, RunMode};
use crate::core::condition;
use crate::core::effect::NoteType;

pub(super) use full::{FullDue, full_due, require_full};
pub(super) use intact::tell;

/// How many runs of the chain the status keeps.
const MAX_HISTORY: usize = 10;

/// The place of a run in a chain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Link {
    pub(super) pending: PendingRun,
    /// The last run of the chain before this one.
    pub(super) predecessor: Option<String>,
    /// The time of the schedule that the chain's first run is for.
    pub(super) chain_began: Timestamp,
}

/// Removes the chain of a schedule whose runs are not incremental.
pub(super) fn only_if_incremental(turn: &mut Turn<'_>) {
    if turn.spec().incremental.is_none() {
        turn.status.chain = None;
        condition::remove(&mut turn.status.conditions, ConditionType::ChainIntact);
    }
}

/// The place in the chain of a run for this time. `None` if runs are not incremental.
pub(super) fn link(turn: &Turn<'_>, ready: &Ready, name: &str, slot: Timestamp) -> Option<Link> {
    let incremental = turn.spec().incremental.as_ref()?;
    let chain = turn.status.chain.clone().unwrap_or_default();
    // What earlier stages of this run found is kept.
    let known = turn.pending(name);
    let pending = |mode, since, chain| PendingRun {
        // A run that does not look for newcomers exports no patient in full.
        members: known.and_then(|known| known.members.clone()).filter(|_| ready.tracks),
        newcomers: known.and_then(|known| known.newcomers.clone()),
        newcomers_run: known.and_then(|known| known.newcomers_run.clone()),
        name: name.to_owned(),
        uid: None,
        slot_time: slot,
        mode,
        since,
        chain,
        fingerprint: ready.fingerprint.clone(),
    };
    let begins = |mode, since| Link {
        pending: pending(mode, since, chain_begun_by(&turn.name(), name)),
        predecessor: None,
        chain_began: slot,
    };
    if full_due(turn, ready, slot).is_some() {
        return Some(begins(RunMode::Full, None));
    }
    let Some(covered) = &chain.covered_until else {
        return Some(begins(RunMode::Incremental, incremental.initial_since.clone()));
    };
    let (Some(since), Some(id)) = (reach_back(covered, turn.overlap_seconds()), chain.id) else {
        return Some(begins(RunMode::Full, None));
    };
    Some(Link {
        pending: pending(RunMode::Incremental, Some(since), id),
        predecessor: chain.history.last().map(|run| run.name.clone()),
        chain_began: chain.last_full_time.unwrap_or(slot),
    })
}

/// Moves the chain on with the pending run, which has ended. The error says why the run does not count.
pub(super) fn take_in(turn: &mut Turn<'_>, run: &FhirExport) -> Result<(), Uncounted> {
    let chain = turn.status.chain.get_or_insert_default();
    let Some(pending) = chain.pending.take() else { return Err(Uncounted::NotAwaited) };
    if pending.uid != run.uid() || run.spec.request.since != pending.since {
        return Err(Uncounted::NotAwaited);
    }
    let time = counts(run)?.to_owned();
    if fingerprint_on_server_of(run, &run.spec.request).as_ref() != Some(&pending.fingerprint) {
        return Err(Uncounted::OtherRequest);
    }
    if chain.id.as_ref() != Some(&pending.chain) {
        *chain = Chain {
            id: Some(pending.chain.clone()),
            fingerprint: Some(pending.fingerprint.clone()),
            last_full_time: Some(pending.slot_time),
            ..Chain::default()
        };
    } else if chain.covered_until.as_deref().and_then(meaning) > meaning(&time) {
        let why = Uncounted::WentBack(time);
        require_full(turn, FullDue::TransactionTimeWentBack);
        turn.note(NoteType::Warning, Reason::TransactionTimeWentBack, "Chain", &why.to_string());
        return Err(why);
    }
    chain.covered_until = Some(time.clone());
    chain.history.extend(newcomers_before(&pending));
    chain.history.push(row(run, pending.mode, pending.since, time));
    chain.members = pending.members;
    shorten(&mut chain.history);
    Ok(())
}

/// The export of newcomers that precedes an incremental run. A full run contains them, so it has none.
pub(super) fn newcomers_before(pending: &PendingRun) -> Option<ChainedRun> {
    pending.newcomers_run.clone().filter(|_| pending.mode == RunMode::Incremental)
}

/// Keeps the last [`MAX_HISTORY`] runs, each with the export of newcomers before it.
pub(super) fn shorten(history: &mut Vec<ChainedRun>) {
    let own = |run: &&ChainedRun| run.mode != RunMode::Newcomers;
    let mut surplus = history.iter().filter(own).count().saturating_sub(MAX_HISTORY);
    history.retain(|run| {
        let goes = surplus > 0;
        surplus -= usize::from(goes && own(&run));
        !goes
    });
}
