//! The deletion of folders: which folder is next, and what became of the last one.

use std::sync::Arc;

use jiff::Timestamp;

use super::super::retry::{FailedStep, still_ahead};
use super::super::run::has_ended;
use super::super::turn::Turn;
use super::doubt::{FolderDoubt, keep, take_out};
use super::proof::storage_of;
use crate::api::{
    ConditionStatus, ConditionType, DeletedFolder, DeletingFolder, Dialect, FhirServer, Reason, RetainedChain,
};
use crate::core::condition::whole_seconds;
use crate::core::effect::NoteType;
use crate::core::export::ServerView;
use crate::core::folder;
use crate::core::ledger::{FolderDeletion, FolderPlan, StorageFailure, StorageFailureKind};
use crate::core::requests;
use crate::core::words;

/// The most files that one effect deletes, so that a run that falls due meanwhile is not delayed.
const AT_ONCE: usize = 200;
/// How much of the storage account's message is repeated, in bytes.
const MAX_WORDS: usize = 400;

/// What to do next about old folders.
pub(in super::super) enum Due {
    /// Delete files of this folder.
    Delete(Arc<FhirServer>, FolderPlan),
    /// Nothing to do until this time, or until something changes.
    Wait(Option<Timestamp>),
}

/// Why no folder can be deleted at all.
enum Impossible {
    /// The server names no storage.
    NoStorage,
    /// Each run has a container of its own.
    NoContainer,
}

impl Impossible {
    fn reason(&self) -> Reason {
        match self {
            Self::NoStorage => Reason::NoStorageAccess,
            Self::NoContainer => Reason::ContainerNeeded,
        }
    }

    fn message(&self) -> &'static str {
        match self {
            Self::NoStorage => {
                "the FhirServer has no storage, so no folder is deleted; set storage to have that done"
            }
            Self::NoContainer => {
                "without a container each run has one of its own, which is not deleted; name request.container in the \
                 template, or defaultContainer of the FhirServer"
            }
        }
    }
}

/// Decides which folder is deleted next. Sets `OldFilesDeleted`.
pub(in super::super) fn due(turn: &mut Turn<'_>) -> Due {
    let Some(policy) = &turn.spec().retention else { return Due::Wait(None) };
    let keep_chains = usize::try_from(policy.full_chains).unwrap_or(usize::MAX).max(1);
    let Some(server) = turn.facts.server.clone() else { return Due::Wait(None) };
    if let Some(problem) = impossible(turn, &ServerView::new(&server)) {
        let (type_, no) = (ConditionType::OldFilesDeleted, ConditionStatus::False);
        turn.set(type_, no, problem.reason(), problem.message());
        return Due::Wait(None);
    }
    // A schedule that is suspended changes nothing.
    if turn.suspended() {
        return Due::Wait(None);
    }
    let next_try = turn.status.retention.as_ref().and_then(|ledger| ledger.next_try_time);
    if let Some(next_try) = still_ahead(next_try, turn.now) {
        return Due::Wait(Some(next_try));
    }
    while let Some(plan) = surplus(turn, keep_chains) {
        if let Some(why) = doubt(turn, &server, &plan) {
            keep(turn, &plan.container, &plan.folder, why);
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
    tell_retained(turn, keep_chains);
    Due::Wait(None)
}

fn impossible(turn: &Turn<'_>, server: &ServerView<'_>) -> Option<Impossible> {
    if server.store_name().is_none() {
        return Some(Impossible::NoStorage);
    }
    let container = requests::container(server.spec(), &turn.spec().template.spec.request);
    let own_containers = container.is_none() && server.spec().dialect == Dialect::Azure;
    own_containers.then_some(Impossible::NoContainer)
}

/// The next folder to delete: that of the newest run of the oldest chain, so that the rest of the chain
/// can be loaded at any time.
fn surplus(turn: &Turn<'_>, keep_chains: usize) -> Option<FolderPlan> {
    let chains = &turn.status.retention.as_ref()?.chains;
    let full = chains.iter().enumerate().filter(|(_, chain)| chain.full && !chain.folders.is_empty());
    let (oldest_kept, _) = full.rev().nth(keep_chains.checked_sub(1)?)?;
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

/// Whether a run builds on a chain, or is going to.
fn in_use(turn: &Turn<'_>, chain: &RetainedChain) -> bool {
    let current = turn.status.chain.as_ref();
    current.is_some_and(|current| {
        current.id.as_ref() == Some(&chain.id)
            || current.pending.as_ref().is_some_and(|pending| pending.chain == chain.id)
    })
}

/// Why a folder must stay; `None` if nothing is in doubt.
fn doubt(turn: &Turn<'_>, server: &FhirServer, plan: &FolderPlan) -> Option<FolderDoubt> {
    let (container, name) = (&plan.container, &plan.folder);
    if !folder::is_container(container) || folder::parse(name).is_none() {
        return Some(FolderDoubt::NotARunsName);
    }
    let chains = &turn.status.retention.as_ref()?.chains;
    let mut records = chains
        .iter()
        .filter(|c| c.container == *container)
        .flat_map(|chain| chain.folders.iter().filter(|record| record.folder == *name).map(move |_| chain));
    let storage = storage_of(&ServerView::new(server));
    match (records.next(), records.next()) {
        (Some(chain), None) if Some(&chain.storage) == storage.as_ref() => {}
        (Some(_), None) => return Some(FolderDoubt::OtherStorage),
        (None, _) | (Some(_), Some(_)) => return Some(FolderDoubt::NamedTwice),
    }
    if turn.facts.claimed.contains(&(container.clone(), name.clone())) {
        return Some(FolderDoubt::NamedByOthers);
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
    (built_on.any(is_it) || running.any(is_it)).then_some(FolderDoubt::InUse)
}

/// Takes in the result of deleting files of a folder.
pub(in super::super) fn answered(turn: &mut Turn<'_>, result: Result<FolderDeletion, StorageFailure>) {
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
        Ok(FolderDeletion::Changed) => keep(turn, &container, &folder, FolderDoubt::ManifestChanged),
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
    let retry = FailedStep::of_deletion(failure.kind);
    let next_try = whole_seconds(retry.next_try(turn.now));
    turn.status.retention.get_or_insert_default().next_try_time = Some(next_try);
    let minutes = retry.seconds() / 60;
    let words = words::cut(&failure.message, MAX_WORDS);
    let message = format!("{place} could not be deleted, and is tried again in {minutes} minutes: {words}");
    if !turn.because(ConditionType::OldFilesDeleted, Reason::DeletionFailed) {
        turn.note(NoteType::Warning, Reason::DeletionFailed, "Retain", &message);
    }
    turn.set(ConditionType::OldFilesDeleted, ConditionStatus::False, Reason::DeletionFailed, &message);
}

/// Sets `OldFilesDeleted` to True: nothing is left to delete.
fn tell_retained(turn: &mut Turn<'_>, keep_chains: usize) {
    let ledger = turn.status.retention.as_ref();
    let chains = ledger.map_or(0, |ledger| ledger.chains.iter().filter(|chain| chain.full).count());
    let folders = ledger.map_or(0, |ledger| ledger.chains.iter().map(|c| c.folders.len()).sum::<usize>());
    let mut message = format!(
        "no more than the newest {keep_chains} full chains are kept of the folders that are known: {chains} with \
         {folders} folders"
    );
    let mut reason = Reason::Retained;
    if let Some(kept) = ledger.and_then(|ledger| ledger.last_kept.as_ref()) {
        reason = Reason::FolderKept;
        message = format!("{message}; {}/{} stays: {}", kept.container, kept.folder, kept.why);
    }
    turn.set(ConditionType::OldFilesDeleted, ConditionStatus::True, reason, &message);
}
