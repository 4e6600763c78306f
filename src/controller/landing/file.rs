//! One file, from the server into the container: asked for again where that helps, gone on with where that is
//! possible, and made a blob of when it is whole.

use std::sync::Arc;
use std::time::Duration;

use super::super::world::World;
use super::fetch::{Fetch, Poured};
use super::{Obstacle, not_the_same};
use crate::api::{FhirServer, Reason};
use crate::core::landing::{
    LandFailureKind, LandFile, LandPlan, Landed, Marks, Step, Sum, chain, read_answer,
};
use crate::core::poll::retry_delay;
use crate::core::wire::{FailureKind, FileRequest};
use crate::ports::FileAnswer;
use crate::ports::{Clock, Container, Randomness, Wire};

/// Tries in a row that bring nothing.
const TRIES: i32 = 6;
/// The first wait between two of them, where the server asks for none.
const WAIT: Duration = Duration::from_secs(1);
const WAIT_MAX: Duration = Duration::from_secs(60);

/// A passing failure: what to say if it stays.
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

/// What one try came to.
enum Tried {
    Whole(Box<Fetch>),
    Again(Passing),
}

/// Lands one file. `begun` is whether blocks of it may lie there.
pub(super) async fn land<W: World>(
    world: &W,
    server: &Arc<FhirServer>,
    plan: &LandPlan,
    file: &LandFile,
    begun: bool,
) -> Result<Landed, Obstacle> {
    let mut fetch = None;
    if begun {
        let ids = world.container().staged(server, &plan.container, &file.blob).await?;
        fetch = Fetch::going_on(file, &chain(&ids));
    }
    let mut fruitless = 0;
    let mut doubted = false;
    let mut compressed = true;
    loop {
        let before = fetch.as_ref().map_or(0, Fetch::offset);
        let passing = match attempt(world, server, plan, file, &mut fetch, compressed).await? {
            Tried::Whole(whole) => {
                let (ids, sum, issues, words) = whole.finish();
                if let Some(doubt) = doubts(file, &sum).filter(|_| !doubted) {
                    // It may have been spoiled on the way: what is the same twice is what the server has.
                    doubted = true;
                    doubt
                } else {
                    let marks = Marks { source: file.source.clone(), sum, issues };
                    let place = (plan.container.as_str(), file.blob.as_str());
                    if !world.container().commit(server, place, &ids, &marks, plan.compression).await? {
                        landed_before(world, server, plan, file, &marks).await?;
                    }
                    return Ok(Landed { sum: marks.sum, issues, words });
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

/// Asks once, and takes what comes. What was taken so far is in `fetch`, also when it broke off.
async fn attempt<W: World>(
    world: &W,
    server: &Arc<FhirServer>,
    plan: &LandPlan,
    file: &LandFile,
    fetch: &mut Option<Fetch>,
    compressed: bool,
) -> Result<Tried, Obstacle> {
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
        *fetch = Some(Fetch::anew(file, &head, chance));
    }
    let Some(running) = fetch.as_mut() else {
        return Ok(Tried::Again(Passing::new(Reason::DownloadFailed, "nothing came")));
    };
    let poured = running.pour(world, server, plan, file, pieces).await?;
    if !running.begins_well() {
        *fetch = None;
        let message =
            format!("what came in the place of {} is not NDJSON; check proxies on the way", file.blob);
        return Ok(Tried::Again(Passing::new(Reason::UnexpectedAnswer, message)));
    }
    match poured {
        Poured::Whole => Ok(fetch.take().map_or_else(
            || Tried::Again(Passing::new(Reason::DownloadFailed, "nothing came")),
            |fetch| Tried::Whole(Box::new(fetch)),
        )),
        Poured::Broken => {
            let message = format!("the download of {} broke off; it is gone on with", file.blob);
            Ok(Tried::Again(Passing::new(Reason::DownloadFailed, message)))
        }
        Poured::TooLong => Err(Obstacle::new(
            LandFailureKind::Permanent,
            Reason::UploadFailed,
            format!("{} is larger than a blob can be; export it in parts", file.blob),
        )),
    }
}

/// What speaks against the sum of a file, if anything.
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

/// Somebody was faster: then it must be the same.
async fn landed_before<W: World>(
    world: &W,
    server: &Arc<FhirServer>,
    plan: &LandPlan,
    file: &LandFile,
    ours: &Marks,
) -> Result<(), Obstacle> {
    let ledger = world.container().ledger(server, &plan.container, &plan.folder).await?;
    let theirs =
        ledger.landed.into_iter().find(|entry| entry.blob == file.blob).and_then(|entry| entry.marks);
    if theirs.as_ref() == Some(ours) { Ok(()) } else { Err(not_the_same(file)) }
}
