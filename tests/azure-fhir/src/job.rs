//! A job: what was asked, how far it is, what it has written.

use std::time::Duration;

use jiff::Timestamp;
use serde::Serialize;
use tokio::sync::watch;
use tokio::time::Instant;

use crate::failure::Failure;
use crate::parameters::{Level, Parameters};
use crate::script::{CancelProfile, Ending, Life, Script};

/// The 15 seconds for which the service takes a finished sub-job for a running one.
const SETTLE: Duration = Duration::from_secs(15);

/// How far a job is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum State {
    /// Queued or running.
    Running,
    /// The manifest can be had.
    Completed,
    /// It keeps answering the failure.
    Failed(Failure),
    /// `DELETE` was accepted, but the job does not stop at once.
    Stopping {
        /// Polls until it has stopped.
        polls: u32,
    },
    /// It answers 404.
    Gone,
    /// It answers 200 with an empty manifest.
    CancelledEmpty,
}

/// A file of a job.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct File {
    /// Resource type.
    #[serde(rename = "type")]
    pub kind: String,
    /// Container.
    pub container: String,
    /// Blob, folder included.
    pub blob: String,
    /// Lines.
    pub count: usize,
    /// Bytes.
    pub bytes: usize,
    /// Their SHA-256 in hexadecimal.
    pub sha256: String,
    /// Whether it is in the container; a quirk can leave it out, and without a storage nothing is written.
    pub written: bool,
}

/// A job as tests see it.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct JobView {
    /// The id in the status URL.
    pub id: String,
    /// Level.
    pub level: Level,
    /// The group of a group export.
    pub group: Option<String>,
    /// `_container` as asked.
    pub container: Option<String>,
    /// The kick-off URL as it came.
    pub kick_off_url: String,
    /// The status URL, right whatever `Content-Location` said.
    pub status_url: String,
    /// When it was made.
    pub created: Timestamp,
    /// How far it is, as of its last poll or cancel.
    pub state: State,
    /// `GET`s of the status URL.
    pub polls: u32,
    /// `DELETE`s of the status URL, refused ones included.
    pub cancel_requests: u32,
    /// When the first `DELETE` was accepted.
    pub cancelled_at: Option<Timestamp>,
    /// Whether all files are written.
    pub written: bool,
    /// Its files so far.
    pub files: Vec<File>,
}

/// A job inside the server.
#[derive(Debug)]
pub(crate) struct Job {
    pub(crate) view: JobView,
    pub(crate) parameters: Parameters,
    pub(crate) script: Script,
    pub(crate) started: Instant,
    /// When the life of the script was over.
    ended: Option<Instant>,
    /// Set by the writer when the data itself does not allow the export.
    pub(crate) failure: Option<Failure>,
    pub(crate) written: watch::Sender<bool>,
}

impl Job {
    pub(crate) fn new(view: JobView, parameters: Parameters, script: Script) -> Self {
        let written = watch::Sender::new(false);
        Self { view, parameters, script, started: Instant::now(), ended: None, failure: None, written }
    }

    /// Whether files may still be written.
    pub(crate) fn cancelled(&self) -> bool {
        self.view.cancelled_at.is_some()
    }

    /// Whether the script's time is over. The poll being answered is already counted.
    pub(crate) fn lived(&self) -> bool {
        match self.script.life {
            Life::Polls(polls) => self.view.polls > polls,
            Life::Millis(millis) => self.started.elapsed() >= Duration::from_millis(millis),
            Life::Stuck => false,
        }
    }

    /// Brings the state up to date; call it when the writer is done or the script's time is not over.
    pub(crate) fn advance(&mut self) {
        if self.view.state != State::Running {
            return;
        }
        // A failure shows when the script says that the job ends, so that the number of polls is known.
        if let Some(failure) = &self.failure
            && (self.lived() || self.script.life == Life::Stuck)
        {
            self.view.state = State::Failed(failure.clone());
            return;
        }
        if !self.lived() {
            return;
        }
        let ended = *self.ended.get_or_insert_with(Instant::now);
        self.view.state = match &self.script.ending {
            // A failed sub-job fails the job at once; only a good end is held back.
            Ending::Failed(failure) => State::Failed(failure.clone()),
            _ if ended.elapsed() < SETTLE.mul_f64(self.script.settle_factor.max(0.0)) => State::Running,
            Ending::Complete if *self.written.borrow() => State::Completed,
            Ending::Complete => State::Running,
            Ending::CancelledBySystem => State::CancelledEmpty,
            Ending::Expired => State::Gone,
        };
    }

    /// Counts a poll of a job that is being stopped.
    pub(crate) fn stop_further(&mut self) {
        if let State::Stopping { polls } = &mut self.view.state {
            match polls.checked_sub(1) {
                Some(left) => *polls = left,
                None => {
                    self.view.state = match self.script.cancel {
                        CancelProfile::Build2026 | CancelProfile::Slow { .. } => State::Gone,
                        _ => State::CancelledEmpty,
                    }
                }
            }
        }
    }
}
