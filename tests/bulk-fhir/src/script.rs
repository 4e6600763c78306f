//! What the next matching kick-off, and the job that it makes, do.

use std::collections::BTreeMap;

use azure_fhir::{Fault, Level, Life, Progress, Step};
use serde::{Deserialize, Serialize};

use crate::file_script::FileScript;
use crate::shape::Shape;

/// One kick-off and its job.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Script {
    /// Which kick-offs it is for.
    pub matching: Matching,
    /// For how many of them; `None` is all. A script without uses left is dropped.
    pub uses: Option<u32>,
    /// The answer to the kick-off.
    pub kick_off: KickOffAnswer,
    /// How long the job runs.
    pub life: Life,
    /// Headers on each 202.
    pub progress: Option<Progress>,
    /// The body of each 202.
    pub running: Running,
    /// How it ends.
    pub ending: Ending,
    /// Faults on `GET` of the status URL, one after the other.
    pub status_faults: Vec<Step>,
    /// What `DELETE` does.
    pub cancel: Cancel,
    /// The manifest.
    pub manifest: Shape,
    /// What the files hold.
    pub data: Data,
    /// How files are served.
    pub files: FileScript,
    /// Other ways for some files of `output`, by their place in it.
    pub file_overrides: BTreeMap<usize, FileScript>,
}

impl Default for Script {
    fn default() -> Self {
        Self {
            matching: Matching::default(),
            uses: Some(1),
            kick_off: KickOffAnswer::default(),
            life: Life::Polls(1),
            progress: None,
            running: Running::default(),
            ending: Ending::default(),
            status_faults: Vec::new(),
            cancel: Cancel::default(),
            manifest: Shape::default(),
            data: Data::default(),
            files: FileScript::default(),
            file_overrides: BTreeMap::new(),
        }
    }
}

impl Script {
    /// Runs for `polls` answers of 202, then completes.
    pub fn polls(polls: u32) -> Self {
        Self { life: Life::Polls(polls), ..Self::default() }
    }

    /// Runs for so long, then completes.
    pub fn millis(millis: u64) -> Self {
        Self { life: Life::Millis(millis), ..Self::default() }
    }

    /// Runs for ever.
    pub fn stuck() -> Self {
        Self { life: Life::Stuck, ..Self::default() }
    }

    /// Fails at the first poll with this status and an `OperationOutcome`.
    pub fn fails(status: u16, code: &str, text: &str) -> Self {
        let outcome = Some((code.to_owned(), text.to_owned()));
        Self { life: Life::Polls(0), ending: Ending::Failed { status, outcome }, ..Self::default() }
    }

    /// Makes no job; the kick-off gets `fault`.
    pub fn refuses(fault: Fault) -> Self {
        Self { kick_off: KickOffAnswer::Refused(fault), ..Self::default() }
    }

    /// Makes the job and cuts the connection instead of answering.
    pub fn loses_answer() -> Self {
        Self { kick_off: KickOffAnswer::Lost(Fault::Close), ..Self::default() }
    }

    /// `files` made files of about `file_bytes` each.
    #[must_use]
    pub fn made(mut self, kind: &str, files: u64, file_bytes: u64) -> Self {
        self.data =
            Data::Made(vec![MadeFiles { kind: kind.to_owned(), files, file_bytes, line_bytes: 1000 }]);
        self
    }

    /// Only for kick-offs of this group.
    #[must_use]
    pub fn group(mut self, id: &str) -> Self {
        self.matching.group = Some(id.to_owned());
        self
    }

    /// For all matching kick-offs instead of one.
    #[must_use]
    pub fn every_time(mut self) -> Self {
        self.uses = None;
        self
    }

    /// How files are served.
    #[must_use]
    pub fn files(mut self, files: FileScript) -> Self {
        self.files = files;
        self
    }

    /// The form of the manifest.
    #[must_use]
    pub fn manifest(mut self, manifest: Shape) -> Self {
        self.manifest = manifest;
        self
    }
}

/// Which kick-offs a script is for: all of its members must agree; an empty one agrees with every kick-off.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Matching {
    /// The group's id.
    pub group: Option<String>,
    /// The level.
    pub level: Option<Level>,
    /// A text in the URL or the body as it came.
    pub contains: Option<String>,
}

/// The answer to a kick-off.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum KickOffAnswer {
    /// 202 with an absolute `Content-Location`.
    #[default]
    Accepted,
    /// The same with an informational `OperationOutcome` as body.
    WithOutcome,
    /// 202 without `Content-Location`.
    NoContentLocation,
    /// `Content-Location` is a path.
    Relative,
    /// `Content-Location` has the foreign host.
    ForeignHost,
    /// The job is made, but the answer is this fault.
    Lost(Fault),
    /// No job is made, and the answer is this fault.
    Refused(Fault),
}

/// The body of a 202 while the job runs.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Running {
    /// None.
    #[default]
    Empty,
    /// A FHIR `Parameters`, which is JSON and no manifest.
    Parameters,
    /// The first page of the manifest, if the kick-off allowed partial manifests.
    PartialManifest,
}

/// How a job ends.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Ending {
    /// With a manifest.
    #[default]
    Complete,
    /// With an error.
    Failed {
        /// The status, or with the separate export status that of `X-Export-Status`.
        status: u16,
        /// Code and text of an `OperationOutcome`; `None` is an HTML page.
        outcome: Option<(String, String)>,
    },
}

/// What `DELETE` does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Cancel {
    /// Status for a running job; from 400 on, the job goes on.
    pub running: u16,
    /// Status for a job that has ended; from 400 on, it stays.
    pub finished: u16,
    /// What polls get after an accepted one.
    pub after: AfterCancel,
}

impl Default for Cancel {
    fn default() -> Self {
        Self { running: 202, finished: 202, after: AfterCancel::Gone }
    }
}

/// What polls get after a `DELETE`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum AfterCancel {
    /// 404 with an `OperationOutcome`.
    #[default]
    Gone,
    /// 202 for ever, as HAPI did in 2025.
    Running,
    /// The job ends and can be read as if nothing had been.
    Readable,
}

/// What the files hold.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", rename_all_fields = "camelCase")]
pub enum Data {
    /// What the kick-off asks for of the server's patients.
    Patients {
        /// Where a file ends.
        lines_per_file: usize,
    },
    /// Made resources, whatever the kick-off asks for but `_type`.
    Made(Vec<MadeFiles>),
    /// Nothing.
    Empty,
}

impl Default for Data {
    fn default() -> Self {
        Self::Patients { lines_per_file: 500 }
    }
}

/// Made files of one type.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct MadeFiles {
    /// Resource type.
    #[serde(rename = "type")]
    pub kind: String,
    /// How many.
    pub files: u64,
    /// The size of each, rounded down to whole lines.
    pub file_bytes: u64,
    /// The size of a line; 1000 makes round files.
    #[serde(default = "round")]
    pub line_bytes: usize,
}

fn round() -> usize {
    1000
}
