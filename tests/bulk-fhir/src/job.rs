//! A job: what was asked, how far it is, what it has to give.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use azure_fhir::{Level, Life, Step};
use jiff::Timestamp;
use serde::Serialize;
use tokio::time::Instant;

use crate::ask::Asked;
use crate::content::Content;
use crate::file_script::FileScript;
use crate::script::{AfterCancel, Ending, Script};
use crate::stats::{self, Stats};

/// Which list of the manifest a file is in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum List {
    /// `output`.
    Output,
    /// `deleted`.
    Deleted,
    /// `error`, or in version 4 `outcome`.
    Error,
}

impl List {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Output => "output",
            Self::Deleted => "deleted",
            Self::Error => "error",
        }
    }
}

/// How far a job is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum State {
    /// Polls get 202.
    Running,
    /// Polls get the manifest.
    Completed,
    /// Polls get the failure.
    Failed,
    /// Polls get 404.
    Gone,
}

/// A file of a job as tests see it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct FileView {
    /// Which list it is in.
    pub list: List,
    /// Its place in the list, over all pages.
    pub index: usize,
    /// Resource type; `None` where output is organized.
    #[serde(rename = "type")]
    pub kind: Option<String>,
    /// The path of its URL.
    pub path: String,
    /// Its size.
    pub bytes: u64,
    /// Its lines.
    pub lines: u64,
    /// Requests that were answered with 200, from the first byte on.
    pub whole: u32,
    /// Requests that were answered with 206.
    pub ranges: u32,
    /// Requests that got no part of it: redirects, faults, expired links.
    pub refused: u32,
    /// Answers that were sent to their end.
    pub completed: u32,
    /// Bytes of the file that were given to the network, uncompressed and over all answers.
    pub bytes_sent: u64,
}

impl FileView {
    /// Whether some of it was sent more than once.
    pub fn sent_twice(&self) -> bool {
        self.bytes_sent > self.bytes || self.completed > 1
    }
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
    /// `GET` or `POST`.
    pub method: String,
    /// The kick-off URL as it came.
    pub kick_off_url: String,
    /// The status URL, right whatever `Content-Location` said.
    pub status_url: String,
    /// The parameters.
    pub asked: Asked,
    /// When it was made.
    pub created: Timestamp,
    /// How far it is.
    pub state: State,
    /// `GET`s of the status URL.
    pub polls: u32,
    /// `DELETE`s of the status URL, refused ones included.
    pub cancel_requests: u32,
    /// When the first `DELETE` was accepted.
    pub cancelled_at: Option<Timestamp>,
    /// Its files.
    pub files: Vec<FileView>,
}

impl JobView {
    /// Files of which some was sent more than once.
    pub fn sent_twice(&self) -> Vec<&FileView> {
        self.files.iter().filter(|file| file.sent_twice()).collect()
    }
}

/// A file inside the server.
#[derive(Debug)]
pub(crate) struct JobFile {
    pub(crate) list: List,
    pub(crate) index: usize,
    pub(crate) kind: Option<String>,
    pub(crate) content: Content,
    pub(crate) lines: u64,
    pub(crate) script: FileScript,
    pub(crate) stats: Arc<Stats>,
    /// Whether its last block goes on in the next file.
    pub(crate) continues: bool,
    sha256: Option<String>,
}

impl JobFile {
    pub(crate) fn new(list: List, kind: Option<String>, content: Content, script: FileScript) -> Self {
        let lines = content.lines();
        let stats = Arc::default();
        Self { list, index: 0, kind, content, lines, script, stats, continues: false, sha256: None }
    }

    /// Made once, since it takes seconds for gigabytes.
    pub(crate) fn sha256(&mut self) -> String {
        self.sha256.get_or_insert_with(|| self.content.sha256()).clone()
    }

    pub(crate) fn path(&self, job: &str) -> String {
        format!("/bulk-files/{job}/{}/{}", self.list.name(), self.index)
    }

    fn view(&self, job: &str) -> FileView {
        FileView {
            list: self.list,
            index: self.index,
            kind: self.kind.clone(),
            path: self.path(job),
            bytes: self.content.len(),
            lines: self.lines,
            whole: stats::read(&self.stats.whole),
            ranges: stats::read(&self.stats.ranges),
            refused: stats::read(&self.stats.refused),
            completed: self.stats.completions(),
            bytes_sent: self.stats.bytes_sent(),
        }
    }
}

/// A signature of links: one for each time a manifest was given out.
#[derive(Debug)]
pub(crate) struct Signature {
    pub(crate) made: Instant,
    /// Requests with it, by path.
    pub(crate) used: BTreeMap<String, u32>,
}

/// A job inside the server.
#[derive(Debug)]
pub(crate) struct Job {
    pub(crate) view: JobView,
    pub(crate) script: Script,
    pub(crate) files: Vec<JobFile>,
    /// Whose it is, for the rule of one job a client and group.
    pub(crate) caller: String,
    pub(crate) started: Instant,
    pub(crate) signatures: BTreeMap<String, Signature>,
    /// Requests for each further page.
    pub(crate) page_requests: BTreeMap<usize, u32>,
}

impl Job {
    pub(crate) fn new(view: JobView, script: Script, mut files: Vec<JobFile>, caller: String) -> Self {
        let mut next: BTreeMap<List, usize> = BTreeMap::new();
        for file in &mut files {
            let index = next.entry(file.list).or_default();
            file.index = *index;
            *index += 1;
        }
        Self {
            view,
            script,
            files,
            caller,
            started: Instant::now(),
            signatures: BTreeMap::new(),
            page_requests: BTreeMap::new(),
        }
    }

    pub(crate) fn view(&self) -> JobView {
        let files = self.files.iter().map(|file| file.view(&self.view.id)).collect();
        JobView { files, ..self.view.clone() }
    }

    /// Whether the script's time is over. A poll being answered is already counted.
    fn lived(&self) -> bool {
        match self.script.life {
            Life::Polls(polls) => self.view.polls > polls,
            Life::Millis(millis) => self.started.elapsed() >= Duration::from_millis(millis),
            Life::Stuck => false,
        }
    }

    /// Brings the state up to date.
    pub(crate) fn advance(&mut self) {
        let held = self.view.cancelled_at.is_some() && self.script.cancel.after == AfterCancel::Running;
        if self.view.state != State::Running || held || !self.lived() {
            return;
        }
        self.view.state = match self.script.ending {
            Ending::Complete => State::Completed,
            Ending::Failed { .. } => State::Failed,
        };
    }

    /// Counts a poll; the fault that it gets instead, if any.
    pub(crate) fn poll(&mut self) -> Option<azure_fhir::Fault> {
        let fault = Step::take(&mut self.script.status_faults);
        // A poll that never reached the job does not bring it nearer to its end.
        if fault.is_none() {
            self.view.polls += 1;
        }
        fault
    }

    pub(crate) fn file(&mut self, list: &str, index: &str) -> Option<&mut JobFile> {
        let index: usize = index.parse().ok()?;
        self.files.iter_mut().find(|file| file.list.name() == list && file.index == index)
    }
}
