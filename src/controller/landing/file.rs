//! Lands one file: fetches it, retries and resumes where that helps, and commits it when it is whole.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;

use super::super::world::World;
use super::Obstacle;
use super::fetch::{Fetch, Poured, Read};
use crate::api::{FhirServer, Reason};
use crate::core::landing::{
    FileForm, LandFailureKind, LandFile, LandPlan, Landed, Marks, Step, Sum, read_answer,
};
use crate::core::poll::retry_delay;
use crate::core::wire::{Answer, Failure, FailureKind, FileRequest};
use crate::ports::{Clock, Committed, FileAnswer, ObjectStore, Randomness, Target, UnusableBody, Wire};

/// A file fails after this many tries in a row that do not get farther.
const TRIES: i32 = 6;
/// A file fails after this many tries in a row that only read the same bytes again.
const REREAD: i32 = 3;
/// The first wait between two tries, if the server asks for none; it doubles up to [`WAIT_MAX`].
const WAIT: Duration = Duration::from_secs(1);
const WAIT_MAX: Duration = Duration::from_secs(60);

/// A failure that another try may overcome, and what to report if none does.
struct Passing {
    reason: Reason,
    message: String,
    retry_after: Option<Duration>,
    /// Whether the server was asked. It was not if an earlier answer said to wait before any request.
    asked: bool,
}

impl Passing {
    fn new(reason: Reason, message: impl Into<String>) -> Self {
        Self { reason, message: message.into(), retry_after: None, asked: true }
    }
}

/// How one try to land a file ended.
enum Tried<W: World> {
    Whole(Box<Read<W>>),
    Again(Passing),
    /// The next try asks for the file without compression.
    Uncompressed(Passing),
}

/// What the tries of a file have found so far.
#[derive(Default)]
struct Findings {
    /// Whether to request the file without compression.
    uncompressed: bool,
    /// Whether the first line was of another type than the manifest names.
    other_type: bool,
    /// The sums of the last try that ended in the middle of a line.
    cut: Option<Sum>,
    /// Whether a file was already rejected after it was read to its end.
    doubted: bool,
}

/// Lands one file. `begun` tells whether parts of it may be stored already.
pub(super) async fn land<W: World>(
    world: &W,
    server: &Arc<FhirServer>,
    plan: &LandPlan,
    file: &LandFile,
    begun: bool,
) -> Result<Landed, Obstacle> {
    let mut fetch = if begun { Fetch::resumed(world, server, plan, file).await? } else { None };
    let kept = |fetch: &Option<Fetch<W>>| fetch.as_ref().map_or(0, Fetch::kept);
    let before = kept(&fetch);
    let landed = try_on(world, server, plan, file, &mut fetch).await;
    if let Some(fetch) = &mut fetch {
        fetch.settle(world).await;
    }
    landed.map_err(|why| Obstacle { kept: kept(&fetch).saturating_sub(before), ..why })
}

/// Tries until the file has landed or further tries no longer get farther.
async fn try_on<W: World>(
    world: &W,
    server: &Arc<FhirServer>,
    plan: &LandPlan,
    file: &LandFile,
    fetch: &mut Option<Fetch<W>>,
) -> Result<Landed, Obstacle> {
    let mut reach = Reach { farthest: fetch.as_ref().map_or(0, Fetch::offset), ..Reach::default() };
    let mut found = Findings::default();
    loop {
        let before = fetch.as_ref().map_or(0, Fetch::offset);
        let passing = match attempt(world, server, plan, file, fetch, &mut found).await? {
            Tried::Whole(whole) => {
                // The file may have been damaged in transit. What is the same twice is what the server has.
                if let Some(doubt) = found.doubts(file, whole.sum(), whole.form()) {
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
            Tried::Uncompressed(passing) => {
                found.uncompressed = true;
                passing
            }
        };
        // A compressed body that broke off cannot be continued, so the next try requests one that can.
        found.uncompressed |= fetch.as_ref().is_some_and(Fetch::better_as_it_is);
        let offset = fetch.as_ref().map_or(0, Fetch::offset);
        // A fetch that can be continued keeps its offset if the server sent no bytes.
        let waits = offset == before && fetch.as_ref().is_some_and(|fetch| fetch.resume().is_some());
        reach.came_to(offset, passing.asked, !waits);
        if reach.reread >= REREAD {
            let message = format!(
                "{} was read {} times from its beginning and never came further than byte {}; check the server and \
                 proxies on the way for limits",
                file.blob,
                reach.reread + 1,
                reach.farthest
            );
            return Err(Obstacle::new(LandFailureKind::Source, passing.reason, message));
        }
        if reach.fruitless >= TRIES {
            return Err(Obstacle::new(LandFailureKind::Source, passing.reason, passing.message));
        }
        let chance = world.randomness().unit();
        let own = retry_delay(WAIT.min(plan.bounds.min), WAIT_MAX, reach.fruitless, chance);
        let asked = passing.retry_after.map(|asked| asked.min(plan.bounds.max_retry_after));
        world.clock().sleep(asked.unwrap_or(own).max(own.min(WAIT))).await;
    }
}

/// How far the tries of one file have come.
#[derive(Default)]
struct Reach {
    /// The farthest byte of the file that any try has read.
    farthest: u64,
    /// Tries in a row that read no byte beyond `farthest`.
    fruitless: i32,
    /// How many of the fruitless tries read bytes, all of which had been read before.
    reread: i32,
}

impl Reach {
    /// Records how far a try came. `asked` tells whether the server was asked, and `read` whether it sent any bytes.
    fn came_to(&mut self, offset: u64, asked: bool, read: bool) {
        if offset > self.farthest {
            *self = Self { farthest: offset, fruitless: 1, reread: 0 };
        } else if asked {
            self.fruitless += 1;
            self.reread += i32::from(read && offset > 0);
        }
    }
}

/// Sends one request for the file and reads the body. `fetch` keeps what was read, even if the body breaks off.
async fn attempt<W: World>(
    world: &W,
    server: &Arc<FhirServer>,
    plan: &LandPlan,
    file: &LandFile,
    fetch: &mut Option<Fetch<W>>,
    found: &mut Findings,
) -> Result<Tried<W>, Obstacle> {
    let resume = fetch.as_ref().and_then(Fetch::resume);
    if resume.is_none() {
        *fetch = None;
    }
    let resumed = resume.is_some();
    let compressed = !found.uncompressed;
    let request = FileRequest { url: file.url.clone(), with_token: plan.with_token, resume, compressed };
    let (head, pieces) = match world.wire().open(server, &request).await {
        Ok(FileAnswer::Opened(head, pieces)) => (head, pieces),
        Ok(FileAnswer::Unusable(body)) => {
            *fetch = None;
            return unusable(file, &body, compressed);
        }
        Ok(FileAnswer::Refused(answer)) if resumed && answer.status == 416 => {
            // Either the file ends exactly there, or the server has another file by now.
            if !fetch.as_mut().is_some_and(Fetch::ask_for_last_byte) {
                *fetch = None;
            }
            let message = format!("the server does not go on with {} where it broke off", file.blob);
            return Ok(Tried::Again(Passing::new(Reason::DownloadFailed, message)));
        }
        Ok(FileAnswer::Refused(answer)) => return refused(file, &answer),
        Ok(FileAnswer::Elsewhere(message)) => {
            return Err(Obstacle::new(LandFailureKind::Missing, Reason::OriginNotAllowed, message));
        }
        Err(failure) => return unanswered(failure, world.clock().now()),
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
        *fetch = Some(Fetch::anew(world, server, plan, file, &head, chance, found.other_type));
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
    ended(poured, file, fetch, found)
}

/// Decides how to go on after the end of a body.
fn ended<W: World>(
    poured: Poured,
    file: &LandFile,
    fetch: &mut Option<Fetch<W>>,
    found: &mut Findings,
) -> Result<Tried<W>, Obstacle> {
    match poured {
        Poured::Whole => Ok(fetch.take().and_then(Fetch::finish).map_or_else(
            || Tried::Again(Passing::new(Reason::DownloadFailed, "nothing came")),
            |whole| Tried::Whole(Box::new(whole)),
        )),
        Poured::Broken => {
            let message = format!("the download of {} broke off; it is gone on with", file.blob);
            Ok(Tried::Again(Passing::new(Reason::DownloadFailed, message)))
        }
        Poured::Undecodable => {
            *fetch = None;
            let message = format!(
                "{} cannot be decompressed as its Content-Encoding says; tell the server's owner",
                file.blob
            );
            Ok(Tried::Uncompressed(Passing::new(Reason::DownloadFailed, message)))
        }
        Poured::OtherType => {
            *fetch = None;
            found.other_type = true;
            Ok(Tried::Again(Passing::new(Reason::UnexpectedAnswer, of_another_type(file))))
        }
        Poured::TooLong => Err(Obstacle::new(
            LandFailureKind::Permanent,
            Reason::UploadFailed,
            format!("{} is larger than an object of the store can be; export it in parts", file.blob),
        )),
    }
}

/// Decides how to go on after an answer without the file.
fn refused<W: World>(file: &LandFile, answer: &Answer) -> Result<Tried<W>, Obstacle> {
    match read_answer(answer, &file.blob) {
        Step::Again { retry_after, reason, message } => {
            Ok(Tried::Again(Passing { reason, message, retry_after, asked: true }))
        }
        Step::Fail(kind, reason, message) => Err(Obstacle::new(kind, reason, message)),
    }
}

/// Decides how to go on if no answer came.
fn unanswered<W: World>(failure: Failure, now: Timestamp) -> Result<Tried<W>, Obstacle> {
    let Failure { kind, reason, message, .. } = failure;
    match kind {
        FailureKind::Missing => Err(Obstacle::new(LandFailureKind::Missing, reason, message)),
        FailureKind::Unreachable => Ok(Tried::Again(Passing::new(reason, message))),
        FailureKind::HeldBack { until } => {
            let retry_after = Duration::try_from(until.duration_since(now)).ok();
            Ok(Tried::Again(Passing { reason, message, retry_after, asked: false }))
        }
    }
}

/// Decides how to go on after a body that cannot be used.
fn unusable<W: World>(file: &LandFile, body: &UnusableBody, compressed: bool) -> Result<Tried<W>, Obstacle> {
    match body {
        UnusableBody::OtherRange => {
            let message = format!("the server gives another part of {} than it was asked for", file.blob);
            Ok(Tried::Again(Passing::new(Reason::DownloadFailed, message)))
        }
        UnusableBody::Coding(coding) => {
            let message = format!(
                "{} comes with the Content-Encoding {coding}, which was not asked for and is not decoded; tell the \
                 server's owner to send it as it is or as gzip",
                file.blob
            );
            if compressed {
                Ok(Tried::Uncompressed(Passing::new(Reason::DownloadRefused, message)))
            } else {
                Err(Obstacle::new(LandFailureKind::Permanent, Reason::DownloadRefused, message))
            }
        }
    }
}

fn of_another_type(file: &LandFile) -> String {
    format!("the first line of {} is of another type; it is fetched once more", file.blob)
}

impl Findings {
    /// Returns why a file that was read to its end must be fetched once more, if it must.
    fn doubts(&mut self, file: &LandFile, sum: &Sum, form: FileForm) -> Option<Passing> {
        let seen = match form {
            FileForm::Framed | FileForm::Unframed => true,
            FileForm::OtherType => std::mem::replace(&mut self.other_type, true),
            FileForm::Cut => self.cut.replace(sum.clone()).as_ref() == Some(sum),
        };
        if !seen {
            self.doubted = true;
            let message = match form {
                FileForm::OtherType => of_another_type(file),
                FileForm::Framed | FileForm::Unframed | FileForm::Cut => {
                    format!("{} ends in the middle of a line; it is fetched once more", file.blob)
                }
            };
            return Some(Passing::new(Reason::DownloadFailed, message));
        }
        let claims = &file.claims;
        let wrong = claims.count.is_some_and(|n| n != sum.lines)
            || claims.bytes.is_some_and(|n| n != sum.bytes)
            || claims.sha256.as_ref().is_some_and(|said| *said != sum.sha256);
        (wrong && !std::mem::replace(&mut self.doubted, true)).then(|| {
            let message = format!("{} is not what the server says of it; it is fetched once more", file.blob);
            Passing::new(Reason::DownloadFailed, message)
        })
    }
}

/// Compares an object that existed before the commit with this file. Fails if their bytes differ.
async fn landed_before<W: World>(
    world: &W,
    server: &Arc<FhirServer>,
    plan: &LandPlan,
    file: &LandFile,
    ours: &Marks,
) -> Result<(), Obstacle> {
    let target = Target::new(server, &plan.container);
    let theirs = world.objects().marks(target, &plan.folder, &file.blob).await?;
    if theirs.is_some_and(|theirs| theirs.are_of_the_same_bytes(ours)) {
        Ok(())
    } else {
        Err(Obstacle::other_file(file))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whoever_reads_the_same_bytes_again_and_again_is_noticed() {
        let mut reach = Reach::default();
        let mut ends = Vec::new();
        // The tries break off after 5 MB and 6 MB in turn: some get farther than the one before, but none
        // reads a new byte.
        for offset in [5, 6, 5, 6, 5] {
            reach.came_to(offset, true, true);
            ends.push(reach.reread);
        }
        assert_eq!((ends.as_slice(), reach.farthest), ([0, 0, 1, 2, 3].as_slice(), 6));
        reach.came_to(7, true, true);
        assert_eq!((reach.fruitless, reach.reread), (1, 0), "it came farther");
        reach.came_to(7, false, true);
        assert_eq!((reach.fruitless, reach.reread), (1, 0), "another request was told to wait");
        reach.came_to(0, true, true);
        assert_eq!((reach.fruitless, reach.reread), (2, 0), "nothing was read");
        reach.came_to(7, true, false);
        assert_eq!(
            (reach.fruitless, reach.reread),
            (3, 0),
            "what is gone on with was kept, and nothing was read"
        );
    }
}
