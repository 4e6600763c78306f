//! Lands the files of a run, in a task beside the reconcile. Files that are in the container already are not fetched
//! again, and uploads that were begun are resumed.

mod fetch;
mod file;

use std::collections::{HashMap, HashSet};
use std::io::Read;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use futures::FutureExt;
use futures::future::BoxFuture;
use futures::stream::{self, StreamExt};

use super::world::World;
use crate::api::{Compression, FhirServer, Reason};
use crate::core::landing::{
    FileKind, LandFailure, LandFailureKind, LandFile, LandPlan, LandProgress, Landed, Landing, Marks,
    OutcomeReader,
};
use crate::core::ledger::{Ledger, StorageFailure, StorageFailureKind};
use crate::ports::{ObjectStore, Target};

/// The largest error file, in bytes, that is read back for its words.
const MAX_READ_BACK: usize = 4 << 20;

/// Why one file did not land.
struct Obstacle {
    kind: LandFailureKind,
    reason: Reason,
    message: String,
}

impl Obstacle {
    fn new(kind: LandFailureKind, reason: Reason, message: impl Into<String>) -> Self {
        Self { kind, reason, message: message.into() }
    }

    /// Another file lies where this one should land.
    fn other_file(file: &LandFile) -> Self {
        let message = format!(
            "{} lies in the container already and is another file than the one that the manifest now names in its \
             place; both are kept, and the export starts again in another folder",
            file.blob
        );
        Self::new(LandFailureKind::Permanent, Reason::SourceChanged, message)
    }
}

impl From<StorageFailure> for Obstacle {
    fn from(failure: StorageFailure) -> Self {
        Self::new(LandFailureKind::Storage(failure.kind), Reason::UploadFailed, failure.message)
    }
}

/// How the landing of one file ended.
type Ended = Result<Landed, Obstacle>;

/// Lands all files of a plan, or returns why it cannot. `told` is called with the progress after each file.
pub(super) async fn land<W: World>(
    world: &W,
    server: &Arc<FhirServer>,
    plan: &LandPlan,
    told: &(dyn Fn(LandProgress) + Send + Sync),
) -> Landing {
    let mut progress = LandProgress { of: plan.files.len() as u64, ..LandProgress::default() };
    match land_all(world, server, plan, &mut progress, told).await {
        Ok(landed) => Landing::Done(Arc::new(landed)),
        Err(Obstacle { kind, reason, message }) => {
            Landing::Failed(LandFailure { kind, reason, message, progress })
        }
    }
}

async fn land_all<W: World>(
    world: &W,
    server: &Arc<FhirServer>,
    plan: &LandPlan,
    progress: &mut LandProgress,
    told: &(dyn Fn(LandProgress) + Send + Sync),
) -> Result<Vec<Landed>, Obstacle> {
    let ledger = open_ledger(world, server, plan).await?;
    let begun: HashSet<&str> = ledger.begun.iter().map(String::as_str).collect();
    let lying: HashMap<&str, Option<&Marks>> =
        ledger.landed.iter().map(|entry| (entry.blob.as_str(), entry.marks.as_ref())).collect();
    let mut landed: Vec<Option<Landed>> = Vec::with_capacity(plan.files.len());
    let mut missing = Vec::new();
    for (index, file) in plan.files.iter().enumerate() {
        let there = match lying.get(file.blob.as_str()) {
            Some(marks) => Some(known(world, server, plan, file, *marks).await?),
            None => None,
        };
        match &there {
            Some(there) => note(progress, there),
            None => missing.push(index),
        }
        landed.push(there);
    }
    told(*progress);
    let stopped = AtomicBool::new(false);
    let fetches: Vec<BoxFuture<'_, (usize, Option<Ended>)>> = missing
        .into_iter()
        .filter_map(|index| {
            let file = plan.files.get(index)?;
            let begun = begun.contains(file.blob.as_str());
            Some(unless_stopped(&stopped, index, file::land(world, server, plan, file, begun)).boxed())
        })
        .collect();
    let mut fetches = stream::iter(fetches).buffer_unordered(plan.parallel);
    let mut obstacle = None;
    while let Some((index, result)) = fetches.next().await {
        match result {
            Some(Ok(file)) => {
                note(progress, &file);
                told(*progress);
                world.note_landed(1, 0);
                if let Some(place) = landed.get_mut(index) {
                    *place = Some(file);
                }
            }
            Some(Err(why)) => {
                // Files under way may still come to their end; no further one is begun.
                stopped.store(true, Ordering::Relaxed);
                obstacle.get_or_insert(why);
            }
            None => {}
        }
    }
    match obstacle {
        Some(why) => Err(why),
        None => Ok(landed.into_iter().flatten().collect()),
    }
}

/// Runs `land` unless another file met an obstacle before it began.
async fn unless_stopped(
    stopped: &AtomicBool,
    index: usize,
    land: impl Future<Output = Result<Landed, Obstacle>>,
) -> (usize, Option<Ended>) {
    if stopped.load(Ordering::Relaxed) { (index, None) } else { (index, Some(land.await)) }
}

fn note(progress: &mut LandProgress, file: &Landed) {
    progress.files += 1;
    progress.bytes += file.sum.bytes;
}

/// Lists the folder of the landing; creates the container if it does not exist.
async fn open_ledger<W: World>(
    world: &W,
    server: &Arc<FhirServer>,
    plan: &LandPlan,
) -> Result<Ledger, Obstacle> {
    match world.objects().ledger(Target::new(server, &plan.container), &plan.folder).await {
        Err(failure) if failure.kind == StorageFailureKind::NotFound => {
            world.objects().make_container(Target::new(server, &plan.container)).await?;
            Ok(Ledger::default())
        }
        other => Ok(other?),
    }
}

/// Takes an object that has the key of a file for that file, if its marks say that it is.
async fn known<W: World>(
    world: &W,
    server: &Arc<FhirServer>,
    plan: &LandPlan,
    file: &LandFile,
    marks: Option<&Marks>,
) -> Result<Landed, Obstacle> {
    let Some(marks) = marks.filter(|marks| marks.source == file.source) else {
        return Err(Obstacle::other_file(file));
    };
    let words =
        if file.kind == FileKind::Error { words(world, server, plan, file).await? } else { Vec::new() };
    Ok(Landed { sum: marks.sum.clone(), issues: marks.issues, words })
}

/// Reads the first texts of an error file that landed before.
async fn words<W: World>(
    world: &W,
    server: &Arc<FhirServer>,
    plan: &LandPlan,
    file: &LandFile,
) -> Result<Vec<String>, Obstacle> {
    let content = world.objects().read(Target::new(server, &plan.container), &file.blob, MAX_READ_BACK).await;
    let content = match content {
        Ok(content) => content.unwrap_or_default(),
        // What was counted is known; its words are in the container.
        Err(failure) if failure.kind == StorageFailureKind::Permanent => return Ok(Vec::new()),
        Err(failure) => return Err(failure.into()),
    };
    let mut reader = OutcomeReader::default();
    match plan.compression {
        Compression::None => reader.feed(&content),
        Compression::Gzip => {
            let mut gzip = flate2::read::MultiGzDecoder::new(content.as_slice());
            let mut piece = vec![0; 64 << 10];
            while let Ok(read) = gzip.read(&mut piece) {
                match piece.get(..read) {
                    Some(read) if !read.is_empty() => reader.feed(read),
                    _ => break,
                }
            }
        }
    }
    Ok(reader.finish().1)
}
