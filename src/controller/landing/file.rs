//! Lands one file: fetches it, retries and resumes where that helps, and commits it when it is whole.

use std::sync::Arc;
use std::time::Duration;

use super::super::world::World;
use super::Obstacle;
use super::fetch::{Fetch, Poured, Read};
use crate::api::{FhirServer, Reason};
use crate::core::landing::{LandFailureKind, LandFile, LandPlan, Landed, Marks, Step, Sum, read_answer};
use crate::core::poll::retry_delay;
use crate::core::wire::{FailureKind, FileRequest};
use crate::ports::{Clock, Committed, FileAnswer, ObjectStore, Randomness, Target, Wire};

/// How many tries in a row may bring no byte.
const TRIES: i32 = 6;
/// The first wait between two tries, if the server asks for none; it doubles up to [`WAIT_MAX`].
const WAIT: Duration = Duration::from_secs(1);
const WAIT_MAX: Duration = Duration::from_secs(60);

/// A failure that another try may overcome, with what to report if none does.
struct Passing {
    reason: Reason,
    message: String,
    retry_after: Option<Duration>,
    /// The server was asked: it is not only that another request was told to be patient.
    asked: bool,
}

impl Passing {
    fn new(reason: Reason, message: impl Into<String>) -> Self {
        Self { reason, message: message.into(), retry_after: None, asked: true }
    }
}

/// How one try ended.
enum Tried<W: World> {
    Whole(Box<Read<W>>),
    Again(Passing),
}

/// Lands one file. `begun` is whether parts of it may be stored already.
pub(super) async fn land<W: World>(
    world: &W,
    server: &Arc<FhirServer>,
    plan: &LandPlan,
    file: &LandFile,
    begun: bool,
) -> Result<Landed, Obstacle> {
    let mut fetch = if begun { Fetch::resumed(world, server, plan, file).await? } else { None };
    let mut fruitless = 0;
    let mut doubted = false;
    let mut compressed = true;
    loop {
        let before = fetch.as_ref().map_or(0, Fetch::offset);
        let passing = match attempt(world, server, plan, file, &mut fetch, compressed).await? {
            Tried::Whole(whole) => {
                if let Some(doubt) = doubts(file, whole.sum()).filter(|_| !doubted) {
                    // It may have been spoiled on the way: what is the same twice is what the server has.
                    doubted = true;
                    doubt
                } else {
                    let (committed, marks, landed) = whole.commit(world, &file.source).await?;
                    match committed {
                        Committed::Now => {}
                        Committed::AlreadyThere => landed_before(world, server, plan, file, &marks).await?,
                    }
                    return Ok(landed);
                }
            }
            Tried::Again(passing) => passing,
        };
        // What broke off compressed cannot be gone on with: the next try is one that can.
        compressed &= !fetch.as_ref().is_some_and(Fetch::better_as_it_is);
        let now = fetch.as_ref().map_or(0, Fetch::offset);
        fruitless = if now > before { 1 } else { fruitless + i32::from(passing.asked) };
        if fruitless >= TRIES {
            return Err(Obstacle::new(LandFailureKind::Source, passing.reason, passing.message));
        }
        let own = retry_delay(WAIT.min(plan.bounds.min), WAIT_MAX, fruitless, world.randomness().unit());
        let asked = passing.retry_after.map(|asked| asked.min(plan.bounds.max_retry_after));
        world.clock().sleep(asked.unwrap_or(own).max(own.min(WAIT))).await;
    }
}

/// Sends one request for the file and reads the body. `fetch` keeps what was read, also if the body broke off.
async fn attempt<W: World>(
    world: &W,
    server: &Arc<FhirServer>,
    plan: &LandPlan,
    file: &LandFile,
    fetch: &mut Option<Fetch<W>>,
    compressed: bool,
) -> Result<Tried<W>, Obstacle> {
    let resume = fetch.as_ref().and_then(Fetch::resume);
    if resume.is_none() {
        *fetch = None;
    }
    let resumed = resume.is_some();
    let request = FileRequest { url: file.url.clone(), with_token: plan.with_token, resume, compressed };
    let (head, pieces) = match world.wire().open(server, &request).await {
        Ok(FileAnswer::Opened(head, pieces)) => (head, pieces),
        Ok(FileAnswer::Elsewhere(message)) => {
            return Err(Obstacle::new(LandFailureKind::Missing, Reason::OriginNotAllowed, message));
        }
        Ok(FileAnswer::Refused(answer)) if resumed && answer.status == 416 => {
            *fetch = None;
            let message = format!("the server does not go on with {} where it broke off", file.blob);
            return Ok(Tried::Again(Passing::new(Reason::DownloadFailed, message)));
        }
        Ok(FileAnswer::Refused(answer)) => {
            return match read_answer(&answer, &file.blob) {
                Step::Again { retry_after, reason, message } => {
                    Ok(Tried::Again(Passing { reason, message, retry_after, asked: true }))
                }
                Step::Fail(kind, reason, message) => Err(Obstacle::new(kind, reason, message)),
            };
        }
        Err(failure) => {
            return match failure.kind {
                FailureKind::Missing => {
                    Err(Obstacle::new(LandFailureKind::Missing, failure.reason, failure.message))
                }
                FailureKind::Unreachable => Ok(Tried::Again(Passing::new(failure.reason, failure.message))),
                FailureKind::HeldBack { until } => {
                    let wait = Duration::try_from(until.duration_since(world.clock().now()));
                    Ok(Tried::Again(Passing {
                        reason: failure.reason,
                        message: failure.message,
                        retry_after: wait.ok(),
                        asked: false,
                    }))
                }
            };
        }
    };
    if head.content_type.as_ref().is_some_and(|t| t.to_ascii_lowercase().contains("html")) {
        let message = format!("a web page came in the place of {}; check proxies on the way", file.blob);
        return Ok(Tried::Again(Passing::new(Reason::UnexpectedAnswer, message)));
    }
    if !fetch.as_mut().is_some_and(|fetch| fetch.fits(file, &head)) {
        if head.offset > 0 {
            *fetch = None;
            let message = format!("the server went on with another {} than it began", file.blob);
            return Ok(Tried::Again(Passing::new(Reason::DownloadFailed, message)));
        }
        let chance = (world.randomness().unit(), world.randomness().unit());
        *fetch = Some(Fetch::anew(world, server, plan, file, &head, chance));
    }
    let Some(running) = fetch.as_mut() else {
        return Ok(Tried::Again(Passing::new(Reason::DownloadFailed, "nothing came")));
    };
    let poured = running.pour(world, pieces).await?;
    if !running.begins_well() {
        *fetch = None;
        let message =
            format!("what came in the place of {} is not NDJSON; check proxies on the way", file.blob);
        return Ok(Tried::Again(Passing::new(Reason::UnexpectedAnswer, message)));
    }
    match poured {
        Poured::Whole => Ok(fetch.take().and_then(Fetch::finish).map_or_else(
            || Tried::Again(Passing::new(Reason::DownloadFailed, "nothing came")),
            |whole| Tried::Whole(Box::new(whole)),
        )),
        Poured::Broken => {
            let message = format!("the download of {} broke off; it is gone on with", file.blob);
            Ok(Tried::Again(Passing::new(Reason::DownloadFailed, message)))
        }
        Poured::TooLong => Err(Obstacle::new(
            LandFailureKind::Permanent,
            Reason::UploadFailed,
            format!("{} is larger than an object of the store can be; export it in parts", file.blob),
        )),
    }
}

/// Why the sum of a file contradicts what the server claims of it, if it does.
fn doubts(file: &LandFile, sum: &Sum) -> Option<Passing> {
    let claims = &file.claims;
    let wrong = claims.count.is_some_and(|n| n != sum.lines)
        || claims.bytes.is_some_and(|n| n != sum.bytes)
        || claims.sha256.as_ref().is_some_and(|said| *said != sum.sha256);
    wrong.then(|| {
        let message = format!("{} is not what the server says of it; it is fetched once more", file.blob);
        Passing::new(Reason::DownloadFailed, message)
    })
}

/// Compares an object that existed before the commit with this file: they must be the same.
async fn landed_before<W: World>(
    world: &W,
    server: &Arc<FhirServer>,
    plan: &LandPlan,
    file: &LandFile,
    ours: &Marks,
) -> Result<(), Obstacle> {
    let ledger = world.objects().ledger(Target::new(server, &plan.container), &plan.folder).await?;
    let theirs =
        ledger.landed.into_iter().find(|entry| entry.blob == file.blob).and_then(|entry| entry.marks);
    if theirs.as_ref() == Some(ours) { Ok(()) } else { Err(Obstacle::other_file(file)) }
}
