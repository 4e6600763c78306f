//! A status that was lost, made anew from the runs that are there: their labels, annotations and outcomes.

use std::sync::Arc;

use jiff::Timestamp;
use kube::ResourceExt;

use super::chain::{counts, fingerprint, fingerprint_of, row, shorten};
use super::child::{name_of_slot, name_of_token};
use super::stages::{run_of, stage_of};
use super::turn::{Turn, has_ended, is_complete};
use crate::api::{
    ActiveRun, CHAIN_BEGAN_ANNOTATION, CHAIN_LABEL, Chain, ChainedRun, FhirExport, MEMBERS_ANNOTATION,
    MemberList, NEWCOMERS_ANNOTATION, PendingRun, RUN_NOW_ANNOTATION, RunMode, SLOT_ANNOTATION,
};

/// Takes in what the runs tell. With no runs there is nothing to take in: the schedule is new.
pub(super) fn from_children(turn: &mut Turn<'_>) {
    let name = turn.name();
    let ended = |run: &FhirExport| run.status.as_ref().and_then(|status| status.completion_time);
    let mut runs: Vec<&Arc<FhirExport>> = turn.children().collect();
    runs.sort_by_cached_key(|run| (slot_of(run), run.name_any()));
    let of_slots = runs.iter().filter_map(|run| {
        let slot = slot_of(run)?;
        (run_of(&run.name_any()) == name_of_slot(&name, slot)).then_some(slot)
    });
    turn.status.last_schedule_time = of_slots.max();
    turn.status.last_successful_time = own(&runs).filter(|r| is_complete(r)).filter_map(|r| ended(r)).max();
    turn.status.last_run_now = turn
        .schedule
        .annotations()
        .get(RUN_NOW_ANNOTATION)
        .map(|token| name_of_token(&name, token))
        .filter(|name| runs.iter().any(|run| run_of(&run.name_any()) == *name));
    let active: Vec<&Arc<FhirExport>> = runs
        .iter()
        .copied()
        .filter(|run| !has_ended(run) && run.metadata.deletion_timestamp.is_none())
        .collect();
    turn.status.active = active
        .iter()
        .map(|run| ActiveRun {
            name: run.name_any(),
            uid: run.uid(),
            slot_time: slot_of(run).unwrap_or(turn.now),
            // The chain does not wait for its run: that is repeated.
            stage: stage_of(&run.name_any()),
        })
        .collect();
    if turn.spec().incremental.is_some() {
        let mut chain = chain_of(&runs).unwrap_or_default();
        let last = active.last().filter(|run| stage_of(&run.name_any()).is_none());
        chain.pending = last.and_then(|run| pending_of(turn, &runs, run));
        turn.status.chain = Some(chain);
    }
}

/// As the last run left it that a chain can build on. Each was made to begin where everything before was covered.
fn chain_of(runs: &[&Arc<FhirExport>]) -> Option<Chain> {
    let ended = |run: &FhirExport| run.status.as_ref().and_then(|status| status.completion_time);
    let link = |run: &FhirExport| {
        let id = run.labels().get(CHAIN_LABEL)?.clone();
        Some((id, counts(run).ok()?.to_owned()))
    };
    let mut counting: Vec<_> =
        own(runs).filter_map(|run| link(run).map(|(id, time)| (run, id, time))).collect();
    counting.sort_by_key(|(run, ..)| ended(run));
    let (last, id, covered) = counting.last()?.clone();
    let mut history: Vec<ChainedRun> = Vec::new();
    for (run, _, time) in counting.iter().filter(|(_, chain, _)| *chain == id) {
        let Ok(before) = newcomers_of(runs, run) else {
            // A part is not named any more, so nothing is told up to there: it could not be loaded whole.
            history.clear();
            continue;
        };
        history.extend(before);
        history.push(row(run, mode_of(run), run.spec.request.since.clone(), time.clone()));
    }
    shorten(&mut history);
    Some(Chain {
        fingerprint: fingerprint_of(last),
        last_full_time: instant(last, CHAIN_BEGAN_ANNOTATION),
        id: Some(id),
        covered_until: Some(covered),
        members: members_of(last),
        history,
        ..Chain::default()
    })
}

/// The export of newcomers is not there any more.
struct Gone;

/// What was exported of newcomers before a run.
fn newcomers_of(runs: &[&Arc<FhirExport>], run: &FhirExport) -> Result<Option<ChainedRun>, Gone> {
    let Some(name) = run.annotations().get(NEWCOMERS_ANNOTATION) else { return Ok(None) };
    let export = runs.iter().find(|other| other.name_any() == *name).ok_or(Gone)?;
    let time = counts(export).map_err(|_| Gone)?.to_owned();
    Ok(Some(row(export, RunMode::Newcomers, None, time)))
}

fn pending_of(turn: &Turn<'_>, runs: &[&Arc<FhirExport>], run: &FhirExport) -> Option<PendingRun> {
    let newcomers_run = newcomers_of(runs, run).ok()?;
    let server = turn.facts.server.as_ref()?;
    let uid = server.uid().unwrap_or_default();
    Some(PendingRun {
        name: run.name_any(),
        uid: run.uid(),
        slot_time: slot_of(run)?,
        mode: mode_of(run),
        since: run.spec.request.since.clone(),
        chain: run.labels().get(CHAIN_LABEL)?.clone(),
        fingerprint: fingerprint(&uid, &server.spec.url, &run.spec.request),
        members: members_of(run),
        newcomers: None,
        newcomers_run,
    })
}

/// The runs' own exports.
fn own<'a>(runs: &[&'a Arc<FhirExport>]) -> impl Iterator<Item = &'a Arc<FhirExport>> {
    runs.iter().copied().filter(|run| stage_of(&run.name_any()).is_none())
}

/// Where the list of who was in the group lies.
fn members_of(run: &FhirExport) -> Option<MemberList> {
    let (sha256, path) = run.annotations().get(MEMBERS_ANNOTATION)?.split_once(' ')?;
    Some(MemberList { path: Some(path.to_owned()).filter(|p| !p.is_empty()), sha256: sha256.to_owned() })
}

fn mode_of(run: &FhirExport) -> RunMode {
    if run.spec.request.since.is_some() { RunMode::Incremental } else { RunMode::Full }
}

fn slot_of(run: &FhirExport) -> Option<Timestamp> {
    instant(run, SLOT_ANNOTATION)
}

fn instant(run: &FhirExport, annotation: &str) -> Option<Timestamp> {
    run.annotations().get(annotation)?.parse().ok()
}
