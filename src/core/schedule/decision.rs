//! What a decision about a schedule depends on, and what it consists of.

use std::collections::BTreeSet;
use std::sync::Arc;

use jiff::Timestamp;

use crate::api::{
    FhirExport, FhirExportSchedule, FhirExportScheduleStatus, FhirServer, MemberList, PatientsBlob,
};
use crate::core::effect::{Note, Requeue};
use crate::core::ledger::{FolderDeletion, FolderPlan, StorageFailure};

/// What a decision depends on besides the schedule itself.
#[derive(Clone, Debug, Default)]
pub struct ScheduleFacts {
    /// The server that the template names, if it exists.
    pub server: Option<Arc<FhirServer>>,
    /// The exports that this schedule owns. An export that the status lists as active and that is
    /// missing here does not exist.
    pub children: Vec<Arc<FhirExport>>,
    /// Container and folder of every other export and schedule, in any storage account. These folders are never
    /// deleted.
    pub claimed: BTreeSet<(String, String)>,
}

/// Everything that a decision depends on. Equal inputs give equal decisions.
#[derive(Debug)]
pub struct ScheduleInputs<'a> {
    /// The schedule. The decision starts from the status that it carries.
    pub schedule: &'a FhirExportSchedule,
    /// What is known besides the schedule.
    pub facts: &'a ScheduleFacts,
    /// The result of the previous decision's effect, if there was one.
    pub seen: Option<ScheduleObservation>,
    /// The current time.
    pub now: Timestamp,
}

/// One action of a schedule. The caller writes the decision's status first, and drops the effect if that write fails.
#[derive(Clone, Debug, PartialEq)]
pub enum ScheduleEffect {
    /// Creates the `FhirExport` of a run.
    Create(Box<FhirExport>),
    /// Deletes a `FhirExport`: either a newer run replaces it, or it has ended and its result is in the status.
    Delete(Arc<FhirExport>),
    /// Starts to list the members of the group, or asks for the state of the listing.
    ListMembers(ListMembers),
    /// Deletes files of a folder that `spec.retention` does not keep.
    DeleteFolder(Arc<FhirServer>, FolderPlan),
}

/// Reads the members of the group from the files of an export, and stores two lists beside those files: all members,
/// and those who joined.
#[derive(Clone, Debug, PartialEq)]
pub struct ListMembers {
    /// The server whose storage account holds the files.
    pub server: Arc<FhirServer>,
    /// The export whose files name the members.
    pub export: Arc<FhirExport>,
    /// The list of members to compare with. Absent if the run is full, since then nobody counts as new.
    pub before: Option<MemberList>,
}

/// The members of a group, and those of them that are new.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listed {
    /// The list of all members. Absent if the group has more members than a list can hold.
    pub members: Option<MemberList>,
    /// The members that are new.
    pub newcomers: Newcomers,
}

/// The patients that joined a group since the last run that counts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Newcomers {
    /// Nobody joined, or the run exports everybody in full anyway.
    None,
    /// The stored list of those who joined.
    Listed(PatientsBlob),
    /// More patients joined than one kick-off can name.
    TooMany,
    /// It is not known who joined. The text says why, as half a sentence.
    Unknown(String),
}

/// The state of a listing of members.
#[derive(Clone, Debug, PartialEq)]
pub enum Listing {
    /// The files are being read. Their end triggers the next decision.
    Running,
    /// The lists are stored.
    Done(Listed),
    /// The files could not be read, or the lists could not be stored.
    Failed(StorageFailure),
}

/// The result of a [`ScheduleEffect`].
#[derive(Clone, Debug, PartialEq)]
pub enum ScheduleObservation {
    /// The `FhirExport` was created.
    Created(Arc<FhirExport>),
    /// A `FhirExport` of that name already existed.
    Exists(Arc<FhirExport>),
    /// The API server refused the `FhirExport`, with this message.
    Refused(String),
    /// The `FhirExport` is gone, or is being deleted.
    Deleted,
    /// The state of a listing of members.
    Members {
        /// The listing that was requested.
        asked: ListMembers,
        /// The state of the listing.
        listing: Listing,
    },
    /// The result of deleting files of a folder.
    FolderDeleted(Result<FolderDeletion, StorageFailure>),
}

/// What is decided about a schedule: write the status, publish the events, then perform the effect or wait.
#[derive(Clone, Debug, PartialEq)]
pub struct ScheduleDecision {
    /// The status to write.
    pub status: FhirExportScheduleStatus,
    /// The effect to perform after the status is written.
    pub effect: Option<ScheduleEffect>,
    /// When to decide again if there is no effect.
    pub requeue: Requeue,
    /// The events to publish after the status is written.
    pub notes: Vec<Note>,
}

/// What a schedule does next.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Next {
    /// Performs an effect, and decides again with its result.
    Perform(ScheduleEffect),
    /// Waits for the earliest of these times; a `None` among them counts as never.
    Wait(Vec<Option<Timestamp>>),
}
