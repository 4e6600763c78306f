//! What was recorded: by the FHIR servers, the API server, the storage account and in the operators' logs. The
//! audit reads nothing else.

use fhir_export_operator::api::FhirExportStatus;

/// All of it, after the end.
#[derive(Debug, Clone, Default)]
pub struct Records {
    /// Every export that was to be made.
    pub exports: Vec<Export>,
    /// Every job that a server made.
    pub jobs: Vec<Job>,
    /// Every blob of the containers.
    pub blobs: Vec<Blob>,
    /// Namespaces whose deletion has not ended.
    pub namespaces_left: Vec<String>,
    /// Where a secret, a token or a patient's id was seen, in a sentence.
    pub seen: Vec<String>,
    /// What else must not be: panics, tokens at foreign hosts; in a sentence.
    pub trouble: Vec<String>,
}

/// How an export must end that nobody stops.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Must {
    /// `Complete`, whatever happens around it.
    Complete,
    /// `Failed`: what the server gives is wrong.
    Fail,
    /// One of both: the server does something that leaves it open.
    Either,
    /// Only a cancel, a deletion or the deadline ends it.
    BeStopped,
}

/// What its owner does with an export on the way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Act {
    /// Nothing.
    Wait,
    /// Deletes it.
    Delete,
    /// Deletes it, and has said that its job is to be left alone.
    Abandon,
    /// Sets `spec.cancel`.
    Cancel,
    /// Deletes the namespace that it is in.
    DeleteNamespace,
}

impl Act {
    /// Whether the object must be gone at the end.
    pub fn deletes(self) -> bool {
        matches!(self, Self::Delete | Self::Abandon | Self::DeleteNamespace)
    }
}

/// Something that the operator told about an export besides its status.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Told {
    /// The reason of the event.
    pub reason: String,
    /// Its sentence.
    pub note: String,
}

/// An export, as the API server has it or had it last.
#[derive(Debug, Clone)]
// Each is a fact of its own.
#[allow(clippy::struct_excessive_bools)]
pub struct Export {
    /// Its number, which its kick-offs carry.
    pub number: u32,
    /// Namespace and name, for people.
    pub name: String,
    /// Whether the operator lands its files.
    pub lands: bool,
    /// How it must end.
    pub must: Must,
    /// Whether it has a deadline that is shorter than the run.
    pub deadline: bool,
    /// What its owner did.
    pub act: Act,
    /// Whether what the server serves is spoiled on purpose, so that a landed file may differ.
    pub spoiled: bool,
    /// The uid; none for one that was never seen.
    pub uid: Option<String>,
    /// Whether it is there at the end.
    pub there: bool,
    /// Whether it is there and being deleted.
    pub deleting: bool,
    /// The last status that was seen.
    pub status: FhirExportStatus,
    /// Whether its status changed after it had ended.
    pub changed_after_end: bool,
    /// What was told besides the status: events, and where there can be none, lines of the log.
    pub told: Vec<Told>,
}

/// What became of a job, as its server has it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// It runs, or nobody asked after its end.
    Running,
    /// It has a manifest.
    Completed,
    /// It failed.
    Failed,
    /// The server does not know it any more, or accepted its cancel.
    Gone,
}

/// A job, as its server has it.
#[derive(Debug, Clone)]
pub struct Job {
    /// The id in its status URL.
    pub id: String,
    /// The number of the export that it was started for; none if its kick-off had none.
    pub export: Option<u32>,
    /// When it was made, in milliseconds since 1970.
    pub made: i64,
    /// What became of it.
    pub end: End,
    /// How often its cancel was asked for.
    pub cancel_requests: u32,
    /// Whether a cancel was accepted.
    pub cancelled: bool,
    /// The container that its server writes to; none where the operator lands the files.
    pub container: Option<String>,
    /// What must lie in the container: where the operator lands, by the name in the run's folder, else by the whole
    /// name.
    pub files: Vec<File>,
}

/// A file of a job.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct File {
    /// Its name.
    pub name: String,
    /// SHA-256 in hexadecimal.
    pub sha256: String,
}

/// A blob.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Blob {
    /// Its container.
    pub container: String,
    /// Its whole name.
    pub name: String,
    /// SHA-256 in hexadecimal.
    pub sha256: String,
}

impl Export {
    /// Status and reason of a condition.
    pub fn condition(&self, type_: &str) -> Option<(bool, &str)> {
        let found = self.status.conditions.iter().find(|condition| condition.type_ == type_)?;
        Some((condition_holds(&format!("{:?}", found.status)), &found.reason))
    }

    /// Whether a condition is true.
    pub fn is(&self, type_: &str) -> bool {
        self.condition(type_).is_some_and(|(holds, _)| holds)
    }

    /// How it ended; none if it did not.
    pub fn end(&self) -> Option<(&'static str, &str)> {
        self.status.completion_time.as_ref()?;
        ["Complete", "Failed"].into_iter().find_map(|type_| {
            let (holds, reason) = self.condition(type_)?;
            holds.then_some((type_, reason))
        })
    }

    /// The ids of jobs that its status knows by their ids: the last, earlier ones, those whose end is not known.
    pub fn knows(&self, job: &str) -> bool {
        let last = self.status.job.as_ref().and_then(|job| job.id.as_deref());
        let earlier = self.status.previous_jobs.iter().filter_map(|job| job.id.as_deref());
        last.into_iter().chain(earlier).any(|id| id == job) || self.left_behind(job)
    }

    /// Whether its status says of a job that it may still run.
    pub fn left_behind(&self, job: &str) -> bool {
        let urls = self.status.unsettled_jobs.iter().filter_map(|job| job.status_url.as_deref());
        urls.map(last_of).any(|id| id == job)
    }
}

fn condition_holds(status: &str) -> bool {
    status == "True"
}

/// The last part of a URL's path: the id of a job, also where it is a parameter.
pub fn last_of(url: &str) -> &str {
    url.rsplit(['/', '=']).next().unwrap_or(url)
}
