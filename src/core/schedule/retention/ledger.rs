//! The ledger of folders: which folders the runs of this schedule made. The folders of a run are recorded
//! when its result is taken in. A folder that is not in the ledger is never deleted.

use std::collections::BTreeSet;
use std::sync::Arc;

use kube::ResourceExt;

use super::super::names::{chain_begun_by, stage_of};
use super::super::run::{counts, ended_at, has_ended, is_full};
use super::super::turn::Turn;
use super::doubt::{FolderDoubt, keep, keep_chain};
use super::proof::{self, NamedFolder, RunRole, folder_of, storage_of};
use crate::api::{
    CHAIN_LABEL, FhirExport, FhirServer, PendingRun, RetainedChain, RetentionStatus, RunFolder, RunMode,
};
use crate::core::export::ServerView;
use crate::core::requests;

/// The largest ledger, in bytes of JSON: about 120 folders. A status stays below 16 KiB.
const MAX_LEDGER: usize = 8 << 10;

/// Records the folders of a run that has ended. `pending` is the run's place in the chain, and `taken` says whether the
/// chain moved on with it. Each run of a schedule that is not incremental is a chain of its own.
pub(in super::super) fn taken_in(
    turn: &mut Turn<'_>,
    run: &FhirExport,
    pending: Option<&PendingRun>,
    taken: bool,
) {
    let own = chain_begun_by(&turn.name(), &run.name_any());
    if turn.spec().incremental.is_none() {
        let role = if counts(run).is_ok() && is_full(run) { RunRole::Begins } else { RunRole::Aside };
        return record_run(turn, run, &own, role);
    }
    match pending {
        Some(pending) if taken && pending.mode == RunMode::Full => {
            record_run(turn, run, &pending.chain, RunRole::Begins);
        }
        Some(pending) if taken => record_run(turn, run, &pending.chain, RunRole::Continues),
        Some(_) | None => record_run(turn, run, &own, RunRole::Aside),
    }
}

/// Records the folders of a run that does not count, such as one that is deleted before its end.
pub(in super::super) fn lost(turn: &mut Turn<'_>, run: &FhirExport) {
    let own = chain_begun_by(&turn.name(), &run.name_any());
    record_run(turn, run, &own, RunRole::Aside);
}

/// Records a run with its earlier exports, each of which has a folder. The lists of members in those folders
/// belong to the same chain as the run. The folder of a full run comes first, since the chain begins with it.
fn record_run(turn: &mut Turn<'_>, run: &FhirExport, chain: &str, role: RunRole) {
    let before = turn.ended_before(&run.name_any());
    let theirs = match role {
        RunRole::Begins | RunRole::Continues => RunRole::Continues,
        RunRole::Aside => RunRole::Aside,
    };
    if role == RunRole::Begins {
        record(turn, run, chain, role);
    }
    for export in before {
        record(turn, &export, chain, theirs);
    }
    if role != RunRole::Begins {
        record(turn, run, chain, role);
    }
}

/// Rebuilds the ledger after the status was lost, from the runs that exist, in the order in which they ended.
/// A run goes back into a chain only if the chain's full run exists and the labels agree.
///
/// A full run counts among the chains to keep only if it certainly began a chain: the rebuilt chain continues
/// from it, or an incremental run followed it. Whether any other full run counted when it ended depended on
/// the spec and the status of that time, which are lost. Its folder goes with those before the oldest chain
/// that is kept, so no folder goes earlier than it would have gone without the loss.
pub(in super::super) fn from_children(turn: &mut Turn<'_>) {
    turn.status.retention = None;
    let own_exports = turn.children().filter(|run| stage_of(&run.name_any()).is_none());
    let mut runs: Vec<Arc<FhirExport>> = own_exports.filter(|run| has_ended(run)).cloned().collect();
    runs.sort_by_cached_key(|run| (ended_at(run), run.name_any()));
    let label = |run: &FhirExport| run.labels().get(CHAIN_LABEL).cloned();
    let followed = runs.iter().filter(|run| counts(run).is_ok() && !is_full(run));
    let rebuilt = turn.status.chain.as_ref().and_then(|chain| chain.id.clone());
    let begun: BTreeSet<String> = followed.filter_map(|run| label(run)).chain(rebuilt).collect();
    let mut current: Option<String> = None;
    for run in &runs {
        let own = chain_begun_by(&turn.name(), &run.name_any());
        let chain = label(run);
        if counts(run).is_err() || is_full(run) && !(chain.as_ref() == Some(&own) && begun.contains(&own)) {
            record_run(turn, run, &own, RunRole::Aside);
        } else if is_full(run) {
            record_run(turn, run, &own, RunRole::Begins);
            current = Some(own);
        } else if let Some(chain) = chain.filter(|chain| Some(chain) == current.as_ref()) {
            record_run(turn, run, &chain, RunRole::Continues);
        } else {
            current = None;
        }
    }
}

/// Records the folders of one export: that of its last attempt, and those of earlier ones.
fn record(turn: &mut Turn<'_>, run: &FhirExport, chain: &str, role: RunRole) {
    let (Some(_), Some(status)) = (&turn.spec().retention, run.status.as_ref()) else { return };
    let own = folder_of(status);
    let Some(server) = turn.facts.server.clone() else {
        return own.into_iter().for_each(|own| keep_named(turn, &own, FolderDoubt::ServerGone));
    };
    let view = ServerView::new(&server);
    if status.server.as_ref().is_some_and(|ran| ran.uid != view.uid()) {
        return own.into_iter().for_each(|own| keep_named(turn, &own, FolderDoubt::OtherServer));
    }
    // If there is no storage, `OldFilesDeleted` says so.
    let Some(storage) = storage_of(&view) else { return };
    if let Some(named) = own {
        match proof::doubt(run, status, &named, role) {
            None => add(turn, chain, &storage, named, role),
            Some(why) => {
                keep_named(turn, &named, why);
                if role == RunRole::Continues {
                    drop_chain(turn, chain);
                }
            }
        }
    }
    for named in earlier_folders(run, &server) {
        if proof::doubt(run, status, &named, RunRole::Aside).is_none() {
            add(turn, chain, &storage, named, RunRole::Aside);
        }
    }
}

/// The folders of an export's earlier attempts. All attempts use one container, unless each job has its own.
fn earlier_folders(run: &FhirExport, server: &FhirServer) -> Vec<NamedFolder> {
    let Some(status) = run.status.as_ref() else { return Vec::new() };
    let container = status
        .output
        .as_ref()
        .and_then(|output| output.container.clone())
        .or_else(|| requests::container(&server.spec, &run.spec.request));
    let Some(container) = container else { return Vec::new() };
    let folders = status.previous_jobs.iter().filter_map(|job| job.folder.clone());
    folders
        .map(|folder| NamedFolder {
            container: container.clone(),
            folder: RunFolder { folder, manifest: None },
        })
        .collect()
}

fn keep_named(turn: &mut Turn<'_>, named: &NamedFolder, why: FolderDoubt) {
    keep(turn, &named.container, &named.folder.folder, why);
}

fn add(turn: &mut Turn<'_>, chain: &str, storage: &str, named: NamedFolder, role: RunRole) {
    let ledger = turn.status.retention.get_or_insert_default();
    let known = ledger.chains.iter().find(|other| {
        other.container == named.container && other.folders.iter().any(|f| f.folder == named.folder.folder)
    });
    if let Some(known) = known.cloned() {
        // Two runs cannot share a folder, so it is not known whose it is.
        keep_named(turn, &named, FolderDoubt::NamedTwice);
        if known.full {
            drop_chain(turn, &known.id);
        }
        return;
    }
    let NamedFolder { container, folder } = named;
    let same = |other: &RetainedChain| other.storage == storage && other.container == container;
    let place = match role {
        RunRole::Begins => None,
        // A chain whose full run is not in the ledger stays as a whole.
        RunRole::Continues => {
            let known = ledger.chains.iter_mut().rev().find(|c| c.full && c.id == chain && same(c));
            let Some(known) = known else { return };
            Some(known)
        }
        RunRole::Aside => ledger.chains.last_mut().filter(|last| !last.full && same(last)),
    };
    match place {
        Some(place) => place.folders.push(folder),
        None => ledger.chains.push(RetainedChain {
            id: chain.to_owned(),
            full: role == RunRole::Begins,
            container,
            storage: storage.to_owned(),
            folders: vec![folder],
        }),
    }
    fit(turn);
}

/// Takes the oldest chains out while the ledger is too large, but not the one whose folder is being deleted.
fn fit(turn: &mut Turn<'_>) {
    let size = |ledger: &RetentionStatus| serde_json::to_vec(&ledger.chains).map_or(0, |json| json.len());
    while let Some(ledger) = turn.status.retention.as_ref().filter(|ledger| size(ledger) > MAX_LEDGER) {
        let going = |chain: &RetainedChain| {
            ledger.deleting.as_ref().is_some_and(|going| {
                going.container == chain.container && chain.folders.iter().any(|f| f.folder == going.folder)
            })
        };
        let Some(oldest) = ledger.chains.iter().position(|chain| !going(chain)) else { return };
        keep_chain(turn, oldest, FolderDoubt::NoRoom);
    }
}

/// Takes a chain out of the ledger because one of its folders stays: a chain is deleted as a whole or not at all.
fn drop_chain(turn: &mut Turn<'_>, id: &str) {
    let chains = turn.status.retention.as_ref().map(|ledger| ledger.chains.as_slice()).unwrap_or_default();
    if let Some(index) = chains.iter().rposition(|chain| chain.full && chain.id == id) {
        keep_chain(turn, index, FolderDoubt::ChainStays);
    }
}
