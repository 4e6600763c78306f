//! The ledger: which folders runs of this schedule made, written down when a run is taken in. What is not in it is
//! never deleted.

use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use kube::ResourceExt;

use super::super::chain::counts;
use super::super::child::digest;
use super::super::stages;
use super::super::turn::{Turn, has_ended};
use super::let_go;
use crate::api::{
    CHAIN_LABEL, ConditionType, FhirExport, FhirExportStatus, PendingRun, Reason, RetainedChain,
    RetentionStatus, RunFolder, RunMode,
};
use crate::core::condition;
use crate::core::export::ServerView;
use crate::core::folder;
use crate::core::requests;

/// How large the ledger may be, in bytes: a status stays under 16 KiB. That is about 120 folders.
const MAX_LEDGER: usize = 8 << 10;
/// How much of a manifest's SHA-256 is written down, in hexadecimal digits.
const DIGITS: usize = 16;
/// How far the clocks of a FHIR server and of the API server may be apart.
const SKEW: SignedDuration = SignedDuration::from_hours(24);

/// What a run is to a chain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Standing {
    /// A full run that counts: the chain begins with it.
    Begins,
    /// An incremental run that counts.
    Continues,
    /// It does not count: nothing builds on it.
    Aside,
}

/// A folder as a run's status names it.
struct Named {
    container: String,
    folder: RunFolder,
}

impl Named {
    fn place(&self) -> (String, String) {
        (self.container.clone(), self.folder.folder.clone())
    }
}

/// A run has ended and is taken in: `pending` is its place in the chain, if it had one. A schedule that is not
/// incremental has a chain for each run.
pub(in super::super) fn taken_in(
    turn: &mut Turn<'_>,
    run: &FhirExport,
    pending: Option<&PendingRun>,
    taken: bool,
) {
    let own = suffix(turn, run);
    if turn.spec().incremental.is_none() {
        let standing = if counts(run).is_ok() && is_full(run) { Standing::Begins } else { Standing::Aside };
        return record_all(turn, run, &own, standing);
    }
    match pending {
        Some(pending) if taken && pending.mode == RunMode::Full => {
            record_all(turn, run, &pending.chain, Standing::Begins);
        }
        Some(pending) if taken => record_all(turn, run, &pending.chain, Standing::Continues),
        _ => record_all(turn, run, &own, Standing::Aside),
    }
}

/// A run is being deleted before its end: what it wrote so far builds on nothing.
pub(in super::super) fn lost(turn: &mut Turn<'_>, run: &FhirExport) {
    let own = suffix(turn, run);
    record_all(turn, run, &own, Standing::Aside);
}

/// Writes down a run with the exports that came before its own, of which each has a folder. The lists in those belong to
/// what the run is to its chain; of a full run its own folder is the first.
fn record_all(turn: &mut Turn<'_>, run: &FhirExport, chain: &str, standing: Standing) {
    let before = stages::before_own(turn, &run.name_any());
    if standing == Standing::Begins {
        record(turn, run, chain, standing);
    }
    let theirs = if standing == Standing::Aside { standing } else { Standing::Continues };
    for export in before {
        record(turn, &export, chain, theirs);
    }
    if standing != Standing::Begins {
        record(turn, run, chain, standing);
    }
}

/// The status was lost. Of the runs that are there, in the order in which they ended, those are written down again
/// whose chain is certain: its full run is there, and their label agrees.
pub(in super::super) fn from_children(turn: &mut Turn<'_>) {
    turn.status.retention = None;
    let ended = |run: &FhirExport| run.status.as_ref().and_then(|status| status.completion_time);
    let own_exports = turn.children().filter(|run| stages::stage_of(&run.name_any()).is_none());
    let mut runs: Vec<Arc<FhirExport>> = own_exports.filter(|run| has_ended(run)).cloned().collect();
    runs.sort_by_cached_key(|run| (ended(run), run.name_any()));
    let mut current: Option<String> = None;
    for run in &runs {
        let own = suffix(turn, run);
        let chain = run.labels().get(CHAIN_LABEL);
        // One that was made before runs were incremental is no part of a chain.
        if counts(run).is_err() || chain.is_none() && turn.spec().incremental.is_some() {
            record_all(turn, run, &own, Standing::Aside);
        } else if is_full(run) && chain.is_none_or(|chain| *chain == own) {
            record_all(turn, run, &own, Standing::Begins);
            current = Some(own);
        } else if chain.is_some() && chain == current.as_ref() && !is_full(run) {
            record_all(turn, run, &current.clone().unwrap_or_default(), Standing::Continues);
        } else {
            current = None;
        }
    }
}

fn is_full(run: &FhirExport) -> bool {
    run.spec.request.since.is_none()
}

/// What a run's name ends with: a chain is called so that begins with it.
fn suffix(turn: &Turn<'_>, run: &FhirExport) -> String {
    let name = run.name_any();
    name.strip_prefix(&format!("{}-", turn.name())).unwrap_or(&name).to_owned()
}

/// A hash of where the folders of a server lie.
pub(super) fn storage_of(server: &ServerView<'_>) -> Option<String> {
    let endpoint = server.blob_endpoint()?.trim_end_matches('/');
    Some(digest(format!("{}\n{endpoint}", server.uid()).as_bytes(), 8))
}

/// Writes down the folders of a run: its own, and those of earlier attempts.
fn record(turn: &mut Turn<'_>, run: &FhirExport, chain: &str, standing: Standing) {
    let (Some(_), Some(status)) = (&turn.spec().retention, run.status.as_ref()) else { return };
    let Some(server) = turn.facts.server.clone() else {
        return own(status).into_iter().for_each(|own| let_go(turn, &own.place(), "its FhirServer is gone"));
    };
    let view = ServerView::new(&server);
    if status.server.as_ref().is_some_and(|ran| ran.uid != view.uid()) {
        let why = "it ran on another FhirServer than there is now";
        return own(status).into_iter().for_each(|own| let_go(turn, &own.place(), why));
    }
    // Without storage the schedule says so, and without a folder of its own, too.
    let Some(storage) = storage_of(&view) else { return };
    if let Some(named) = own(status) {
        let place = named.place();
        match unproven(run, status, &named, standing) {
            None => add(turn, chain, &storage, named, standing),
            Some(why) => {
                let_go(turn, &place, why);
                if standing == Standing::Continues {
                    drop_chain(turn, chain, "a run of its chain stays");
                }
            }
        }
    }
    // Runs of one request have one container, unless each has its own.
    let container = status
        .output
        .as_ref()
        .and_then(|output| output.container.clone())
        .or_else(|| requests::container(&server.spec, &run.spec.request));
    let Some(container) = container else { return };
    for folder in status.previous_jobs.iter().filter_map(|job| job.folder.clone()) {
        let named = Named { container: container.clone(), folder: RunFolder { folder, manifest: None } };
        if unproven(run, status, &named, Standing::Aside).is_none() {
            add(turn, chain, &storage, named, Standing::Aside);
        }
    }
}

/// The folder of a run's last attempt.
fn own(status: &FhirExportStatus) -> Option<Named> {
    let output = status.output.as_ref()?;
    let folder = output.folder.clone()?;
    let path = format!("{folder}/manifest.json");
    let manifest = output.manifest.as_ref().filter(|manifest| manifest.path == path);
    let manifest = manifest.and_then(|manifest| manifest.sha256.get(..DIGITS)).map(str::to_ascii_lowercase);
    Some(Named { container: output.container.clone()?, folder: RunFolder { folder, manifest } })
}

/// Why it is not certain that a folder is of this run, if so. Its name ends with the id of one of the run's jobs, or, where
/// the operator landed the files, with the beginning of the run's uid.
fn unproven(
    run: &FhirExport,
    status: &FhirExportStatus,
    named: &Named,
    standing: Standing,
) -> Option<&'static str> {
    let Some((began, id)) =
        folder::parse(&named.folder.folder).filter(|_| folder::is_container(&named.container))
    else {
        return Some("its name is not that of a run's folder");
    };
    let uid = run.uid().unwrap_or_default();
    let landed = uid.len() >= 8 && uid.get(..8) == Some(id);
    let jobs = status.job.iter().filter_map(|job| job.id.as_deref());
    let earlier = status.previous_jobs.iter().filter_map(|job| job.id.as_deref());
    if !landed && !jobs.chain(earlier).any(|job| job == id) {
        return Some("its name is not that of the run's job");
    }
    let created = run.metadata.creation_timestamp.as_ref().map_or(Timestamp::MIN, |time| time.0);
    if began < created.checked_sub(SKEW).unwrap_or(Timestamp::MIN) {
        return Some("it is older than the run");
    }
    if named.folder.manifest.is_some() {
        return None;
    }
    if standing != Standing::Aside {
        return Some("no manifest of the run is stored in it");
    }
    let because = |type_, reason| {
        condition::find(&status.conditions, type_).is_some_and(|c| c.is_true() && c.because(reason))
    };
    let adopted = because(ConditionType::KickOffUncertain, Reason::JobAdopted)
        || because(ConditionType::Failed, Reason::JobNotOurs);
    (adopted && !landed).then_some("its job is not proven to be the run's")
}

fn add(turn: &mut Turn<'_>, chain: &str, storage: &str, named: Named, standing: Standing) {
    let Named { container, folder } = named;
    let ledger = turn.status.retention.get_or_insert_default();
    let known = ledger.chains.iter().find(|other| {
        other.container == container && other.folders.iter().any(|f| f.folder == folder.folder)
    });
    if let Some(known) = known.cloned() {
        // Two runs cannot have one folder: it is not known whose it is.
        let place = (container, folder.folder);
        let_go(turn, &place, "two runs name it");
        if known.full {
            drop_chain(turn, &known.id, "a run of its chain stays");
        }
        return;
    }
    let same = |other: &RetainedChain| other.storage == storage && other.container == container;
    let place = match standing {
        Standing::Begins => None,
        // A chain whose full run is not known stays as a whole.
        Standing::Continues => {
            let known = ledger.chains.iter_mut().rev().find(|c| c.full && c.id == chain && same(c));
            let Some(known) = known else { return };
            Some(known)
        }
        Standing::Aside => ledger.chains.last_mut().filter(|last| !last.full && same(last)),
    };
    match place {
        Some(place) => place.folders.push(folder),
        None => ledger.chains.push(RetainedChain {
            id: chain.to_owned(),
            full: standing == Standing::Begins,
            container,
            storage: storage.to_owned(),
            folders: vec![folder],
        }),
    }
    fit(turn);
}

/// Lets the oldest chains go while the ledger is too large, but not one that is being deleted.
fn fit(turn: &mut Turn<'_>) {
    let size = |ledger: &RetentionStatus| serde_json::to_vec(&ledger.chains).map_or(0, |json| json.len());
    while let Some(ledger) = turn.status.retention.as_ref().filter(|ledger| size(ledger) > MAX_LEDGER) {
        let going = |chain: &RetainedChain| {
            ledger.deleting.as_ref().is_some_and(|going| {
                going.container == chain.container && chain.folders.iter().any(|f| f.folder == going.folder)
            })
        };
        let Some(oldest) = ledger.chains.iter().position(|chain| !going(chain)) else { return };
        forget(
            turn,
            oldest,
            "the status has no room for more folders; more frequent full runs make chains shorter",
        );
    }
}

/// A chain is deleted as a whole, or stays as a whole.
fn drop_chain(turn: &mut Turn<'_>, id: &str, why: &str) {
    let chains = turn.status.retention.as_ref().map(|ledger| ledger.chains.as_slice()).unwrap_or_default();
    if let Some(place) = chains.iter().rposition(|chain| chain.full && chain.id == id) {
        forget(turn, place, why);
    }
}

fn forget(turn: &mut Turn<'_>, place: usize, why: &str) {
    let Some(ledger) = turn.status.retention.as_mut().filter(|ledger| place < ledger.chains.len()) else {
        return;
    };
    let chain = ledger.chains.remove(place);
    // One event for all of them.
    if let Some(first) = chain.folders.first() {
        let others = chain.folders.len() - 1;
        let why = if others == 0 {
            why.to_owned()
        } else {
            format!("{why} ({others} more folders of chain {} stay)", chain.id)
        };
        let_go(turn, &(chain.container, first.folder.clone()), &why);
    }
}
