//! Why folders stay, and how they leave the ledger.

use super::super::turn::Turn;
use crate::api::{KeptFolder, Reason};
use crate::core::condition::whole_seconds;
use crate::core::effect::NoteType;
use crate::core::words;

/// The longest reason that the status keeps, in bytes.
const MAX_WORDS: usize = 400;

/// Why a folder is not deleted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum FolderDoubt {
    #[error("its name is not that of a run's folder")]
    NotARunsName,
    #[error("its name is not that of the run's job")]
    NotTheJobsName,
    #[error("it is older than the run")]
    OlderThanTheRun,
    #[error("no manifest of the run is stored in it")]
    NoManifest,
    #[error("its job is not proven to be the run's")]
    JobNotProven,
    #[error("its manifest.json is not the one that its run stored, so it may be somebody else's by now")]
    ManifestChanged,
    #[error("its FhirServer is gone")]
    ServerGone,
    #[error("it ran on another FhirServer than there is now")]
    OtherServer,
    #[error("the FhirServer or its storage is another one by now")]
    OtherStorage,
    #[error("two runs name it")]
    NamedTwice,
    #[error("an export that is not of this schedule, or another schedule, names it")]
    NamedByOthers,
    #[error("a run that goes on needs it")]
    InUse,
    /// Another folder of its chain stays, and a chain goes as a whole.
    #[error("a run of its chain stays")]
    ChainStays,
    #[error("the status has no room for more folders; more frequent full runs make chains shorter")]
    NoRoom,
}

/// Takes a folder out of the ledger without deleting it, and says why.
pub(super) fn keep(turn: &mut Turn<'_>, container: &str, folder: &str, why: FolderDoubt) {
    keep_with_words(turn, container, folder, &why.to_string());
}

/// Takes a whole chain out of the ledger without deleting its folders. One event covers all of them.
pub(super) fn keep_chain(turn: &mut Turn<'_>, index: usize, why: FolderDoubt) {
    let Some(ledger) = turn.status.retention.as_mut().filter(|ledger| index < ledger.chains.len()) else {
        return;
    };
    let chain = ledger.chains.remove(index);
    if let Some(first) = chain.folders.first() {
        let words = match chain.folders.len() - 1 {
            0 => why.to_string(),
            others => format!("{why} ({others} more folders of chain {} stay)", chain.id),
        };
        keep_with_words(turn, &chain.container, &first.folder, &words);
    }
}

fn keep_with_words(turn: &mut Turn<'_>, container: &str, folder: &str, why: &str) {
    take_out(turn, container, folder);
    let kept = KeptFolder {
        container: container.to_owned(),
        folder: folder.to_owned(),
        why: words::cut(why, MAX_WORDS),
        time: whole_seconds(turn.now),
    };
    turn.status.retention.get_or_insert_default().last_kept = Some(kept);
    let message = format!("{container}/{folder} stays, whatever spec.retention says: {why}");
    turn.note_folder(NoteType::Warning, Reason::FolderKept, format!("{container}/{folder}"), &message);
}

/// Takes a folder out of the ledger. Returns the id of the chain that it belonged to, or an empty string.
pub(super) fn take_out(turn: &mut Turn<'_>, container: &str, folder: &str) -> String {
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
