//! The records of the FHIR servers, the API server, the storage account and the operators' logs. The audit reads
//! nothing else.

use fhir_export_operator::api::FhirExportStatus;

/// All records at the end of a run of this program.
#[derive(Debug, Clone, Default)]
pub struct Records {
    /// Every planned export.
    pub exports: Vec<Export>,
    /// Every job that a server started.
    pub jobs: Vec<Job>,
    /// Every blob of the containers.
    pub blobs: Vec<Blob>,
    /// Namespaces whose deletion has not ended.
    pub namespaces_left: Vec<String>,
    /// One sentence for each place where a secret, a token or a patient's id was found.
    pub seen: Vec<String>,
    /// One sentence for each other fault, such as a panic or a token at a foreign host.
    pub trouble: Vec<String>,
}

/// How an export must end if its owner does not stop it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Must {
    /// With `Complete`, whatever happens around the export.
    Complete,
    /// With `Failed`: the server's job or data is faulty.
    Fail,
    /// With `Complete` or `Failed`: the server's behaviour permits both.
    Either,
    /// Only a cancel, a deletion or the deadline ends it.
    BeStopped,
}

/// What the owner of an export does during the run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Act {
    /// Nothing.
    Wait,
    /// Deletes the export.
    Delete,
    /// Deletes the export, which has deletion policy `Abandon`.
    Abandon,
    /// Sets `spec.cancel`.
    Cancel,
    /// Deletes the namespace of the export.
    DeleteNamespace,
}

impl Act {
    /// Whether the object must be gone at the end.
    pub fn deletes(self) -> bool {
        matches!(self, Self::Delete | Self::Abandon | Self::DeleteNamespace)
    }
}

/// A message of the operator about an export outside its status: an event, or a line of the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Told {
    /// The reason of the event.
    pub reason: String,
    /// The message of the event.
    pub note: String,
}

/// An export as the API server last had it.
#[derive(Debug, Clone)]
// The booleans are independent facts.
#[allow(clippy::struct_excessive_bools)]
pub struct Export {
    /// The number of the export, which its kick-offs carry.
    pub number: u32,
    /// Namespace and name, for people.
    pub name: String,
    /// Whether the operator lands its files.
    pub lands: bool,
    /// How the export must end if its owner does not stop it.
    pub must: Must,
    /// Whether the export has a deadline that expires within the run of this program.
    pub deadline: bool,
    /// What the owner of the export did.
    pub act: Act,
    /// Whether the server serves corrupted files on purpose, so that a landed file may differ.
    pub spoiled: bool,
    /// The uid. `None` if the export was never seen.
    pub uid: Option<String>,
    /// Whether the object exists at the end.
    pub there: bool,
    /// Whether the object exists and is being deleted.
    pub deleting: bool,
    /// The last status that was seen.
    pub status: FhirExportStatus,
    /// Whether its status changed after it had ended.
    pub changed_after_end: bool,
    /// The messages outside the status: events, or lines of the log if there can be no events.
    pub told: Vec<Told>,
}

/// The state of a job at the end, by its server's records.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// The job runs, or nobody has requested its status since its end.
    Running,
    /// The job has a manifest.
    Completed,
    /// The job failed.
    Failed,
    /// The server no longer knows the job, or accepted its cancel.
    Gone,
}

/// A job, by its server's records.
#[derive(Debug, Clone)]
pub struct Job {
    /// The id in the job's status URL.
    pub id: String,
    /// The number of the export that the job was started for. `None` if the kick-off carried none.
    pub export: Option<u32>,
    /// When the server created the job, in milliseconds since 1970.
    pub made: i64,
    /// The state of the job at the end.
    pub end: End,
    /// The number of cancel requests for the job.
    pub cancel_requests: u32,
    /// Whether the server accepted a cancel.
    pub cancelled: bool,
    /// The container that the server writes to. `None` if the operator lands the files.
    pub container: Option<String>,
    /// The files that must be in the container. The names are those in the run's folder if the operator lands them,
    /// otherwise those in the container.
    pub files: Vec<File>,
}

/// A file of a job.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct File {
    /// The name of the file.
    pub name: String,
    /// SHA-256 in hexadecimal.
    pub sha256: String,
}

/// The kinds of stores.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Store {
    /// A storage account.
    Account,
    /// A bucket of an S3 store.
    Bucket,
    /// A volume.
    Volume,
}

impl Store {
    /// All kinds.
    pub const ALL: [Self; 3] = [Self::Account, Self::Bucket, Self::Volume];

    /// Where files of such a store are, in words.
    pub fn place(self) -> &'static str {
        match self {
            Self::Account => "in a storage account",
            Self::Bucket => "in an S3 store",
            Self::Volume => "on a volume",
        }
    }
}

/// A blob in the storage account.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Blob {
    /// The store of the blob.
    pub store: Store,
    /// The container of the blob.
    pub container: String,
    /// The name of the blob in the container.
    pub name: String,
    /// SHA-256 in hexadecimal.
    pub sha256: String,
}

impl Export {
    /// Whether a condition is true, and its reason. `None` if the condition is absent.
    pub fn condition(&self, type_: &str) -> Option<(bool, &str)> {
        let found = self.status.conditions.iter().find(|condition| condition.type_ == type_)?;
        Some((condition_holds(&format!("{:?}", found.status)), &found.reason))
    }

    /// Whether a condition is true.
    pub fn is(&self, type_: &str) -> bool {
        self.condition(type_).is_some_and(|(holds, _)| holds)
    }

    /// The condition with which the export ended, and its reason. `None` if the export has not ended.
    pub fn end(&self) -> Option<(&'static str, &str)> {
        self.status.completion_time.as_ref()?;
        ["Complete", "Failed"].into_iter().find_map(|type_| {
            let (holds, reason) = self.condition(type_)?;
            holds.then_some((type_, reason))
        })
    }

    /// Whether the status names a job by its id: as the current one, an earlier one, or an unsettled one.
    pub fn knows(&self, job: &str) -> bool {
        let last = self.status.job.as_ref().and_then(|job| job.id.as_deref());
        let earlier = self.status.previous_jobs.iter().filter_map(|job| job.id.as_deref());
        last.into_iter().chain(earlier).any(|id| id == job) || self.left_behind(job)
    }

    /// Whether the status says that a job may still run.
    pub fn left_behind(&self, job: &str) -> bool {
        let urls = self.status.unsettled_jobs.iter().filter_map(|job| job.status_url.as_deref());
        urls.map(last_of).any(|id| id == job)
    }
}

fn condition_holds(status: &str) -> bool {
    status == "True"
}

/// The id of a job in its status URL: the last part of the path, or the value of the last parameter.
pub fn last_of(url: &str) -> &str {
    url.rsplit(['/', '=']).next().unwrap_or(url)
}
