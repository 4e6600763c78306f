//! Rebuilds a lost status from the labels, annotations and outcomes of the runs that exist.

use std::sync::Arc;

use kube::ResourceExt;

use super::chain::shorten;
use super::names::{name_of_slot, name_of_token, run_of, stage_of};
use super::requests::{fingerprint, fingerprint_on_server_of};
use super::run::{counts, ended_at, has_ended, instant, is_complete, is_deleting, is_full, row, slot_of};
use super::turn::Turn;
use crate::api::{
    ActiveRun, CHAIN_BEGAN_ANNOTATION, CHAIN_LABEL, Chain, ChainedRun, FhirExport, MEMBERS_ANNOTATION,
    MemberList, NEWCOMERS_ANNOTATION, PendingRun, RUN_NOW_ANNOTATION, RunMode,
};

/// Rebuilds the status. A schedule without runs is new, and its status stays empty.
pub(super) fn from_children(turn: &mut Turn<'_>) {
    let name = turn.name();
    let mut runs: Vec<&Arc<FhirExport>> = turn.children().collect();
    runs.sort_by_cached_key(|run| (slot_of(run), run.name_any()));
    let of_slots = runs.iter().filter_map(|run| {
        let slot = slot_of(run)?;
        (run_of(&run.name_any()) == name_of_slot(&name, slot)).then_some(slot)
    });
    turn.status.last_schedule_time = of_slots.max();
    turn.status.last_successful_time =
        own(&runs).filter(|r| is_complete(r)).filter_map(|r| ended_at(r)).max();
    turn.status.last_run_now = turn
        .schedule
        .annotations()
        .get(RUN_NOW_ANNOTATION)
        .map(|token| name_of_token(&name, token))
        .filter(|name| runs.iter().any(|run| run_of(&run.name_any()) == *name));
    let active: Vec<&Arc<FhirExport>> =
        runs.iter().copied().filter(|run| !has_ended(run) && !is_deleting(run)).collect();
    turn.status.active = active
        .iter()
        .map(|run| ActiveRun {
            name: run.name_any(),
            uid: run.uid(),
            slot_time: slot_of(run).unwrap_or(turn.now),
            // The chain does not wait for a run at such a stage, so the next run repeats it.
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

/// The chain as the last run that counts left it. Each run of a chain was made to begin where the one before it ended.
fn chain_of(runs: &[&Arc<FhirExport>]) -> Option<Chain> {
    let link = |run: &FhirExport| {
        let id = run.labels().get(CHAIN_LABEL)?.clone();
        Some((id, counts(run).ok()?.to_owned()))
    };
    let mut counting: Vec<_> =
        own(runs).filter_map(|run| link(run).map(|(id, time)| (run, id, time))).collect();
    counting.sort_by_key(|(run, ..)| ended_at(run));
    let (last, id, covered) = counting.last()?.clone();
    let mut history: Vec<ChainedRun> = Vec::new();
    for (run, _, time) in counting.iter().filter(|(_, chain, _)| *chain == id) {
        let Ok(before) = newcomers_of(runs, run) else {
            // An export of newcomers is gone. Nobody could load the part before it as a whole,
            // so that part is not listed.
            history.clear();
            continue;
        };
        history.extend(before);
        history.push(row(run, mode_of(run), run.spec.request.since.clone(), time.clone()));
    }
    shorten(&mut history);
    Some(Chain {
        fingerprint: fingerprint_on_server_of(last, &last.spec.request),
        last_full_time: instant(last, CHAIN_BEGAN_ANNOTATION),
        id: Some(id),
        covered_until: Some(covered),
        members: members_of(last),
        history,
        ..Chain::default()
    })
}

/// The export of newcomers no longer exists, or does not count.
struct Gone;

/// The export of newcomers that precedes a run, if the run has one.
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

/// The exports that the runs are about, without the exports of their earlier stages.
fn own<'a>(runs: &[&'a Arc<FhirExport>]) -> impl Iterator<Item = &'a Arc<FhirExport>> {
    runs.iter().copied().filter(|run| stage_of(&run.name_any()).is_none())
}

/// The list of the group's members that a run was made with.
fn members_of(run: &FhirExport) -> Option<MemberList> {
    let (sha256, path) = run.annotations().get(MEMBERS_ANNOTATION)?.split_once(' ')?;
    Some(MemberList { path: Some(path.to_owned()).filter(|p| !p.is_empty()), sha256: sha256.to_owned() })
}

fn mode_of(run: &FhirExport) -> RunMode {
    if is_full(run) { RunMode::Full } else { RunMode::Incremental }
}
