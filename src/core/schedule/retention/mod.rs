//! Which folders are deleted, if `spec.retention` asks for it: those of chains that are older than the newest ones that
//! it keeps, as far as the ledger has them. Whatever is in doubt stays, and is told.

mod ledger;

use std::sync::Arc;

use jiff::Timestamp;

use super::turn::{Turn, after, has_ended};
use crate::api::{
    ConditionStatus, ConditionType, DeletedFolder, DeletingFolder, Dialect, FhirServer, KeptFolder, Reason,
    RetainedChain,
};
use crate::core::condition::{self, whole_seconds};
use crate::core::effect::NoteType;
use crate::core::export::ServerView;
use crate::core::folder;
use crate::core::ledger::{FolderDeletion, FolderPlan, StorageFailure, StorageFailureKind};
use crate::core::requests;
use crate::core::words;

pub(super) use ledger::{from_children, lost, taken_in};

/// How many files go in one effect, so that a run that is due meanwhile does not wait.
const AT_ONCE: usize = 200;
/// How soon a deletion is tried again that failed, in seconds; where the account does not answer, sooner.
const AGAIN: i64 = 3600;
const AGAIN_SOON: i64 = 600;
/// How much of a failure's sentence is repeated, in bytes.
const MAX_WORDS: usize = 400;

/// What is to be done.
pub(super) enum Due {
    /// Delete files of this folder.
    Delete(Arc<FhirServer>, FolderPlan),
    /// Nothing, until then.
    Wait(Option<Timestamp>),
}

/// Retention is not asked for (any more): its ledger is forgotten, so that nothing is deleted later of which it is not
/// known what happened meanwhile.
pub(super) fn forget_unless_asked(turn: &mut Turn<'_>) {
    if turn.spec().retention.is_none() {
        turn.status.retention = None;
        condition::remove(&mut turn.status.conditions, ConditionType::OldFilesDeleted);
    }
}

/// What is to be deleted next. Tells how it stands.
pub(super) fn due(turn: &mut Turn<'_>) -> Due {
    let Some(policy) = &turn.spec().retention else { return Due::Wait(None) };
    let keep = usize::try_from(policy.full_chains).unwrap_or(usize::MAX).max(1);
    let Some(server) = turn.facts.server.clone() else { return Due::Wait(None) };
    if let Err((reason, message)) = possible(turn, &ServerView::new(&server)) {
        turn.set(ConditionType::OldFilesDeleted, ConditionStatus::False, reason, message);
        return Due::Wait(None);
    }
    // Whoever suspends a schedule wants nothing to change.
    if turn.spec().suspend == Some(true) {
        return Due::Wait(None);
    }
    let again = turn.status.retention.as_ref().and_then(|ledger| ledger.next_try_time);
    // A time that is further ahead is that of a clock that was wrong.
    if let Some(again) = again.filter(|again| *again > turn.now && *again <= after(turn.now, AGAIN)) {
        return Due::Wait(Some(again));
    }
    while let Some(plan) = surplus(turn, keep) {
        if let Some(why) = doubt(turn, &server, &plan) {
            let_go(turn, &(plan.container, plan.folder), why);
            continue;
        }
        let ledger = turn.status.retention.get_or_insert_default();
        ledger.next_try_time = None;
        let going = |d: &DeletingFolder| d.container == plan.container && d.folder == plan.folder;
        if !ledger.deleting.as_ref().is_some_and(going) {
            let (container, folder) = (plan.container.clone(), plan.folder.clone());
            ledger.deleting = Some(DeletingFolder { container, folder, files: 0 });
        }
        return Due::Delete(server, plan);
    }
    if let Some(ledger) = turn.status.retention.as_mut() {
        (ledger.deleting, ledger.next_try_time) = (None, None);
    }
    tell(turn, keep);
    Due::Wait(None)
}

/// Whether runs have folders that can be deleted; else why not.
fn possible(turn: &Turn<'_>, server: &ServerView<'_>) -> Result<(), (Reason, &'static str)> {
    if server.blob_endpoint().is_none() {
        let message = "the FhirServer has no storage, so no folder is deleted; set storage to have that done";
        return Err((Reason::NoStorageAccess, message));
    }
    let container = requests::container(server.spec(), &turn.spec().template.spec.request);
    if container.is_none() && server.spec().dialect == Dialect::Azure {
        let message = "without a container each run has one of its own, which is not deleted; name request.container in the template, or defaultContainer of the FhirServer";
        return Err((Reason::ContainerNeeded, message));
    }
    Ok(())
}

/// The next folder that is not kept: of the oldest chain, and of that the newest run, so that what is left of it can
/// be loaded at any time.
fn surplus(turn: &Turn<'_>, keep: usize) -> Option<FolderPlan> {
    let chains = &turn.status.retention.as_ref()?.chains;
    let full = chains.iter().enumerate().filter(|(_, chain)| chain.full && !chain.folders.is_empty());
    let (oldest_kept, _) = full.rev().nth(keep.checked_sub(1)?)?;
    let chain =
        chains.iter().take(oldest_kept).find(|chain| !chain.folders.is_empty() && !in_use(turn, chain))?;
    let last = chain.folders.last()?;
    Some(FolderPlan {
        container: chain.container.clone(),
        folder: last.folder.clone(),
        manifest: last.manifest.clone(),
        at_most: AT_ONCE,
    })
}

/// Whether a run builds on a chain, or will.
fn in_use(turn: &Turn<'_>, chain: &RetainedChain) -> bool {
    let current = turn.status.chain.as_ref();
    current.is_some_and(|current| {
        current.id.as_ref() == Some(&chain.id)
            || current.pending.as_ref().is_some_and(|pending| pending.chain == chain.id)
    })
}

/// Why a folder must stay, if there is any doubt about it.
fn doubt(turn: &Turn<'_>, server: &FhirServer, plan: &FolderPlan) -> Option<&'static str> {
    let (container, name) = (&plan.container, &plan.folder);
    if !folder::is_container(container) || folder::parse(name).is_none() {
        return Some("its name is not that of a run's folder");
    }
    let chains = &turn.status.retention.as_ref()?.chains;
    let mut records = chains
        .iter()
        .filter(|c| c.container == *container)
        .flat_map(|chain| chain.folders.iter().filter(|record| record.folder == *name).map(move |_| chain));
    let storage = ledger::storage_of(&ServerView::new(server));
    match (records.next(), records.next()) {
        (Some(chain), None) if Some(&chain.storage) == storage.as_ref() => {}
        (Some(_), None) => return Some("the FhirServer or its storage is another one by now"),
        _ => return Some("two runs name it"),
    }
    let place = (container.clone(), name.clone());
    if turn.facts.claimed.contains(&place) {
        return Some("an export that is not of this schedule, or another schedule, names it");
    }
    let history = turn.status.chain.iter().flat_map(|chain| &chain.history);
    let mut built_on = history.map(|run| (&run.container, &run.folder));
    let mut running = turn.children().filter(|run| !has_ended(run)).filter_map(|run| {
        let output = run.status.as_ref()?.output.as_ref()?;
        Some((&output.container, &output.folder))
    });
    let is_it = |(of, folder): (&Option<String>, &Option<String>)| {
        of.as_ref() == Some(container) && folder.as_ref() == Some(name)
    };
    if built_on.any(is_it) || running.any(is_it) {
        return Some("a run that goes on needs it");
    }
    None
}

/// A folder stays, and is not thought of any more.
fn let_go(turn: &mut Turn<'_>, (container, folder): &(String, String), why: &str) {
    take_out(turn, container, folder);
    let time = whole_seconds(turn.now);
    let kept = KeptFolder {
        container: container.clone(),
        folder: folder.clone(),
        why: words::cut(why, MAX_WORDS),
        time,
    };
    turn.status.retention.get_or_insert_default().last_kept = Some(kept);
    let message = format!("{container}/{folder} stays, whatever spec.retention says: {why}");
    turn.note_folder(NoteType::Warning, Reason::FolderKept, format!("{container}/{folder}"), &message);
}

/// Takes a folder out of the ledger; answers the chain that it was of.
fn take_out(turn: &mut Turn<'_>, container: &str, folder: &str) -> String {
    let ledger = turn.status.retention.get_or_insert_default();
    let mut of = String::new();
    for chain in ledger.chains.iter_mut().filter(|chain| chain.container == container) {
        let before = chain.folders.len();
        chain.folders.retain(|record| record.folder != folder);
        if chain.folders.len() != before {
            of.clone_from(&chain.id);
        }
    }
    ledger.chains.retain(|chain| !chain.folders.is_empty());
    if ledger.deleting.as_ref().is_some_and(|d| d.container == container && d.folder == folder) {
        ledger.deleting = None;
    }
    of
}

/// What became of the folder that was to be deleted.
pub(super) fn answered(turn: &mut Turn<'_>, result: Result<FolderDeletion, StorageFailure>) {
    let going = turn.status.retention.as_mut().and_then(|ledger| ledger.deleting.as_mut());
    let Some(going) = going else { return };
    let count = |files: u64| i64::try_from(files).unwrap_or(i64::MAX);
    let (container, folder) = (going.container.clone(), going.folder.clone());
    match result {
        Ok(FolderDeletion::Going { files }) => going.files = going.files.saturating_add(count(files)),
        Ok(FolderDeletion::Done { files, others }) => {
            let files = going.files.saturating_add(count(files));
            deleted(turn, container, folder, files, others);
        }
        Err(failure) if failure.kind == StorageFailureKind::NotFound => {
            let files = going.files;
            deleted(turn, container, folder, files, 0);
        }
        Ok(FolderDeletion::Changed) => {
            let why =
                "its manifest.json is not the one that its run stored, so it may be somebody else's by now";
            let_go(turn, &(container, folder), why);
        }
        Err(failure) => failed(turn, &format!("{container}/{folder}"), &failure),
    }
}

fn deleted(turn: &mut Turn<'_>, container: String, folder: String, files: i64, others: u64) {
    let chain = take_out(turn, &container, &folder);
    let kept = turn.spec().retention.as_ref().map_or(0, |policy| policy.full_chains);
    let what = match files {
        0 => format!("nothing was left to delete in {container}/{folder}"),
        1 => format!("deleted {container}/{folder} (1 file)"),
        _ => format!("deleted {container}/{folder} ({files} files)"),
    };
    let others = match others {
        0 => String::new(),
        _ => format!("; files that no run writes stay in it: {others}"),
    };
    let message = format!("{what} of chain {chain}, since spec.retention.fullChains is {kept}{others}");
    let type_ = if others.is_empty() { NoteType::Normal } else { NoteType::Warning };
    turn.note_folder(type_, Reason::FolderDeleted, format!("{container}/{folder}"), &message);
    let time = whole_seconds(turn.now);
    let ledger = turn.status.retention.get_or_insert_default();
    ledger.last_deleted = Some(DeletedFolder { container, folder, chain, files, time });
}

fn failed(turn: &mut Turn<'_>, place: &str, failure: &StorageFailure) {
    let soon = matches!(failure.kind, StorageFailureKind::Transient { .. });
    let wait = if soon { AGAIN_SOON } else { AGAIN };
    let due = whole_seconds(after(turn.now, wait));
    turn.status.retention.get_or_insert_default().next_try_time = Some(due);
    let minutes = wait / 60;
    let words = words::cut(&failure.message, MAX_WORDS);
    let message = format!("{place} could not be deleted, and is tried again in {minutes} minutes: {words}");
    let conditions = &turn.status.conditions;
    let known = condition::find(conditions, ConditionType::OldFilesDeleted)
        .is_some_and(|c| c.because(Reason::DeletionFailed));
    if !known {
        turn.note(NoteType::Warning, Reason::DeletionFailed, "Retain", &message);
    }
    turn.set(ConditionType::OldFilesDeleted, ConditionStatus::False, Reason::DeletionFailed, &message);
}

/// Nothing is left to delete.
fn tell(turn: &mut Turn<'_>, keep: usize) {
    let ledger = turn.status.retention.as_ref();
    let chains = ledger.map_or(0, |ledger| ledger.chains.iter().filter(|chain| chain.full).count());
    let folders = ledger.map_or(0, |ledger| ledger.chains.iter().map(|c| c.folders.len()).sum::<usize>());
    let mut message = format!(
        "no more than the newest {keep} full chains are kept of the folders that are known: {chains} with {folders} folders"
    );
    let mut reason = Reason::Retained;
    if let Some(kept) = ledger.and_then(|ledger| ledger.last_kept.as_ref()) {
        reason = Reason::FolderKept;
        message = format!("{message}; {}/{} stays: {}", kept.container, kept.folder, kept.why);
    }
    turn.set(ConditionType::OldFilesDeleted, ConditionStatus::True, reason, &message);
}
