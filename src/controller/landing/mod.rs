//! Lands the files of a run, in a task beside the reconcile. Files that are in the container already are not fetched
//! again, and uploads that were begun are resumed.

mod fetch;
mod file;
mod spans;
mod task;

use std::collections::HashSet;
use std::io::Read;
use std::sync::Arc;

use futures::stream::{FuturesUnordered, StreamExt};

use self::spans::FileSpans;
use super::world::World;
use crate::api::{Compression, FhirServer, Reason};
use crate::core::landing::{
    FileKind, LandFailure, LandFailureKind, LandFile, LandPlan, LandProgress, LandState, Landed,
    MAX_OBSTRUCTED, Marks, OutcomeReader,
};
use crate::core::ledger::{Ledger, StorageFailure, StorageFailureKind};
use crate::core::trace::Trace;
use crate::ports::{Clock, ObjectStore, Panicked, Target};

/// The largest error file, in bytes, that is read back for its words.
const MAX_READ_BACK: usize = 4 << 20;

/// Why one file did not land.
pub(super) struct Obstacle {
    pub(super) kind: LandFailureKind,
    pub(super) reason: Reason,
    pub(super) message: String,
    /// The number of bytes that this landing stored of the file and that no later try has to fetch again.
    kept: u64,
}

impl Obstacle {
    pub(super) fn new(kind: LandFailureKind, reason: Reason, message: impl Into<String>) -> Self {
        Self { kind, reason, message: message.into(), kept: 0 }
    }

    /// Whether the obstacle affects only this file, so that others may still land.
    fn is_of_one_file(&self) -> bool {
        match self.kind {
            LandFailureKind::Permanent => self.reason != Reason::SourceChanged,
            LandFailureKind::Expired | LandFailureKind::Source => true,
            LandFailureKind::Missing | LandFailureKind::Panicked | LandFailureKind::Storage(_) => false,
        }
    }

    /// The rank of the obstacle. Of all obstacles of a landing, the highest is reported and decides what comes next.
    fn rank(&self) -> u8 {
        match self.kind {
            LandFailureKind::Missing | LandFailureKind::Panicked | LandFailureKind::Storage(_) => 3,
            LandFailureKind::Permanent => 2,
            LandFailureKind::Expired => 1,
            LandFailureKind::Source => 0,
        }
    }

    /// The obstacle of another object that lies where this file should land.
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

/// Why a landing stopped before it had tried all files.
enum Stopped {
    /// The ledger cannot be read, or another object lies where a file should land.
    Obstacle(Obstacle),
    /// The task of a file panicked.
    Panicked,
}

impl From<Obstacle> for Stopped {
    fn from(obstacle: Obstacle) -> Self {
        Self::Obstacle(obstacle)
    }
}

/// A landing gives up after this many failed files in a row, times the number of files that are fetched at once.
const HOPELESS: usize = 3;

/// Lands all files of a plan, or returns why it cannot. A file that cannot be fetched does not hold up the
/// others. `told` is called with the progress after each file, and `trace` gets a span for it. Each file is landed by a
/// task of its own, which ends when this future is dropped.
///
/// # Errors
///
/// Fails if the task of a file panicked.
pub async fn land<W: World>(
    world: &Arc<W>,
    server: &Arc<FhirServer>,
    plan: &Arc<LandPlan>,
    trace: Option<Trace>,
    told: &(dyn Fn(LandProgress) + Send + Sync),
) -> Result<LandState, Panicked> {
    let spans = FileSpans::new(world.as_ref(), trace);
    let mut landing = Course {
        progress: LandProgress { of: plan.files.len() as u64, ..LandProgress::default() },
        landed: Vec::with_capacity(plan.files.len()),
        obstacle: None,
        obstructed: Vec::new(),
        in_a_row: 0,
    };
    match land_all(world, server, plan, (&mut landing, spans), told).await {
        Ok(()) => {}
        Err(Stopped::Obstacle(why)) => landing.obstacle = Some(why),
        Err(Stopped::Panicked) => return Err(Panicked),
    }
    let Course { progress, landed, obstacle, obstructed, .. } = landing;
    let Some(Obstacle { kind, reason, message, .. }) = obstacle else {
        return Ok(LandState::Done(Arc::new(landed.into_iter().flatten().collect())));
    };
    let message = match obstructed.len().saturating_sub(1) {
        0 => message,
        1 => format!("{message}; another file did not land either"),
        others => format!("{message}; {others} other files did not land either"),
    };
    Ok(LandState::Failed(LandFailure { kind, reason, message, progress, obstructed }))
}

/// How far a landing has come, over all of its files.
struct Course {
    progress: LandProgress,
    /// What landed, for each file of the plan.
    landed: Vec<Option<Landed>>,
    /// The obstacle with the highest rank so far.
    obstacle: Option<Obstacle>,
    /// The names of the objects whose files could not be landed, at most [`MAX_OBSTRUCTED`].
    obstructed: Vec<String>,
    /// How many files in a row could not be landed.
    in_a_row: usize,
}

impl Course {
    fn landed(&mut self, index: usize, file: Landed) {
        self.in_a_row = 0;
        note(&mut self.progress, &file);
        if let Some(place) = self.landed.get_mut(index) {
            *place = Some(file);
        }
    }

    /// Records why a file did not land. Returns true if no further file should be begun.
    fn met(&mut self, file: &LandFile, why: Obstacle, parallel: usize) -> bool {
        self.in_a_row += 1;
        self.progress.kept += why.kept;
        let of_one_file = why.is_of_one_file();
        if of_one_file && self.obstructed.len() < MAX_OBSTRUCTED {
            self.obstructed.push(file.blob.clone());
        }
        if self.obstacle.as_ref().is_none_or(|worst| worst.rank() < why.rank()) {
            self.obstacle = Some(why);
        }
        !of_one_file || self.in_a_row >= HOPELESS * parallel
    }
}

async fn land_all<W: World>(
    world: &Arc<W>,
    server: &Arc<FhirServer>,
    plan: &Arc<LandPlan>,
    (course, mut spans): (&mut Course, FileSpans<'_, W>),
    told: &(dyn Fn(LandProgress) + Send + Sync),
) -> Result<(), Stopped> {
    let Ledger { landed: mut lying, begun } = open_ledger(world.as_ref(), server, plan).await?;
    let begun: HashSet<&str> = begun.iter().map(String::as_str).collect();
    lying.sort_unstable_by(|one, other| one.blob.cmp(&other.blob));
    let mut missing = Vec::new();
    for (index, file) in plan.files.iter().enumerate() {
        let entry = lying.binary_search_by(|entry| entry.blob.cmp(&file.blob)).ok();
        let there = match entry.and_then(|entry| lying.get_mut(entry)) {
            // The marks can be moved out of the ledger, because no two files have the same key.
            Some(entry) => known(world.as_ref(), server, plan, file, entry.marks.take()).await?,
            None => None,
        };
        match &there {
            Some(there) => note(&mut course.progress, there),
            None => missing.push((index, file)),
        }
        course.landed.push(there);
    }
    drop(lying);
    told(course.progress);
    let last: HashSet<&str> = plan.last.iter().map(String::as_str).collect();
    missing.sort_by_key(|(_, file)| last.contains(file.blob.as_str()));
    let mut waiting = missing.into_iter();
    let mut running = FuturesUnordered::new();
    loop {
        // A future is created only when its file's turn comes, so that memory does not grow with the number of files.
        while running.len() < plan.parallel
            && let Some((index, file)) = waiting.next()
        {
            let started = world.clock().now();
            let task = task::land(world, server, plan, (index, file), begun.contains(file.blob.as_str()));
            running.push(async move { (started, task.await) });
        }
        let Some((started, ((index, file), ended))) = running.next().await else { return Ok(()) };
        let ended = ended.map_err(|Panicked| Stopped::Panicked)?;
        spans.file(index, started, ended.as_ref());
        match ended {
            Ok(landed) => {
                course.landed(index, landed);
                told(course.progress);
                world.note_landed(1, 0);
            }
            Err(why) => {
                if course.met(file, why, plan.parallel) {
                    // Files that are being landed may still finish.
                    waiting = Vec::new().into_iter();
                }
            }
        }
    }
}

fn note(progress: &mut LandProgress, file: &Landed) {
    progress.files += 1;
    progress.bytes += file.sum.bytes;
}

/// Lists the folder of the landing. Creates the container if it does not exist.
pub(super) async fn open_ledger<W: World>(
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

/// Returns what landed if an object's marks show that it is this file. If they do not show whether it is,
/// returns `None`: then the file is fetched, and its bytes are compared with the object's. Fails if the
/// object has no marks.
async fn known<W: World>(
    world: &W,
    server: &Arc<FhirServer>,
    plan: &LandPlan,
    file: &LandFile,
    marks: Option<Marks>,
) -> Result<Option<Landed>, Obstacle> {
    let Some(marks) = marks else {
        return Err(Obstacle::other_file(file));
    };
    let sum_is_claimed = file.claims.sha256.as_ref().is_some_and(|sum| *sum == marks.sum.sha256);
    if marks.source != file.source && !sum_is_claimed {
        return Ok(None);
    }
    let words =
        if file.kind == FileKind::Error { words(world, server, plan, file).await? } else { Vec::new() };
    let Marks { sum, form, issues, .. } = marks;
    Ok(Some(Landed { sum, form, issues, words }))
}

/// Reads the first texts of an error file that landed earlier.
async fn words<W: World>(
    world: &W,
    server: &Arc<FhirServer>,
    plan: &LandPlan,
    file: &LandFile,
) -> Result<Vec<String>, Obstacle> {
    let content = world.objects().read(Target::new(server, &plan.container), &file.blob, MAX_READ_BACK).await;
    let content = match content {
        Ok(content) => content.unwrap_or_default(),
        // The file is too large to read back. Its issues are counted, and its texts are in the container.
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

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::panic)]
#[path = "many_tests.rs"]
mod many;
