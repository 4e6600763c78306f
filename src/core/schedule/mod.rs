//! A schedule, as a state machine: spec, status and the runs that are there go in; status, one effect and when to
//! look again come out.
//!
//! The intent to make a run is in the status before the run is made, under a name that follows from its time. So
//! nothing is made twice, and what a crash leaves unmade is made after it.

mod absorb;
mod calendar;
mod chain;
mod child;
mod due;
mod history;
mod instant;
pub mod members;
mod ready;
mod rebuild;
mod retention;
pub mod slots;
mod stages;
mod turn;

#[cfg(test)]
mod tests;

use std::collections::BTreeSet;
use std::sync::Arc;

use jiff::Timestamp;

use crate::api::{
    FhirExport, FhirExportSchedule, FhirExportScheduleStatus, FhirServer, MemberList, PatientsBlob,
};
use crate::core::effect::{Note, Requeue};
use crate::core::ledger::{FolderDeletion, FolderPlan, StorageFailure};

pub use child::{name_of_token, owned_by};
use turn::Turn;

/// What the decision is about, beside the object itself.
#[derive(Clone, Debug, Default)]
pub struct Facts {
    /// The server that the template names, if it exists.
    pub server: Option<Arc<FhirServer>>,
    /// The exports that this schedule owns. What its status calls active and is not among them is not there.
    pub children: Vec<Arc<FhirExport>>,
    /// Container and folder of all that other exports and schedules have, whatever their account: never deleted.
    pub claimed: BTreeSet<(String, String)>,
}

/// All that a decision depends on.
#[derive(Debug)]
pub struct Inputs<'a> {
    /// The object, with its spec and metadata; its status is the one that counts.
    pub schedule: &'a FhirExportSchedule,
    /// What is known beside it.
    pub facts: &'a Facts,
    /// What came of the last effect.
    pub seen: Option<Observation>,
    /// The time.
    pub now: Timestamp,
}

/// One thing to do, after the status that came with it was written.
#[derive(Clone, Debug, PartialEq)]
pub enum Effect {
    /// Make a run.
    Create(Box<FhirExport>),
    /// Delete a run: one that is replaced, or that is done and taken in.
    Delete(Arc<FhirExport>),
    /// Read who is in the group from what an export has landed, and list that, and those who joined, beside it.
    ListMembers {
        /// Whose storage account it is.
        server: Arc<FhirServer>,
        /// The export that found the members out.
        export: Arc<FhirExport>,
        /// Who was in the group before; absent where nobody counts as new.
        before: Option<MemberList>,
    },
    /// Delete files of a folder that `spec.retention` does not keep.
    DeleteFolder(Arc<FhirServer>, FolderPlan),
}

/// Who is in the group, and who joined it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listed {
    /// The list of all members; absent where they are too many.
    pub members: Option<MemberList>,
    /// Those of them that are new.
    pub newcomers: Newcomers,
}

/// Patients that joined a group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Newcomers {
    /// Nobody joined, or all are exported in any case.
    None,
    /// Their list.
    Listed(PatientsBlob),
    /// More than a list can name.
    TooMany,
    /// It cannot be said who is new, for this reason.
    Unknown(String),
}

/// What came of an effect.
#[derive(Clone, Debug, PartialEq)]
pub enum Observation {
    /// The run is made.
    Made(Arc<FhirExport>),
    /// An object of that name was there already; this one.
    Exists(Arc<FhirExport>),
    /// The API server refuses the run, with these words.
    Refused(String),
    /// The run is being deleted, or is gone.
    Deleted,
    /// The members of the group are listed.
    Listed(Listed),
    /// They could not be.
    Unlisted(StorageFailure),
    /// What became of the folder.
    FolderDeleted(Result<FolderDeletion, StorageFailure>),
}

/// A decision.
#[derive(Clone, Debug, PartialEq)]
pub struct Step {
    /// The status as it should be.
    pub status: FhirExportScheduleStatus,
    /// What to do, after the status was written.
    pub effect: Option<Effect>,
    /// When to look again, if there is nothing to do.
    pub requeue: Requeue,
    /// Events to publish, after the status was written.
    pub notes: Vec<Note>,
}

/// Names of the runs that the status speaks of: whether they are there must be known for certain.
pub fn named(status: &FhirExportScheduleStatus) -> impl Iterator<Item = &str> {
    status.active.iter().map(|run| run.name.as_str())
}

/// Decides what comes next. Pure: the same inputs give the same step.
pub fn step(inputs: Inputs<'_>) -> Step {
    let seen = inputs.seen.clone();
    let mut turn = Turn::new(inputs);
    if turn.deleting() {
        // Its runs go with it: that is the garbage collector's.
        return turn.rest();
    }
    if turn.never_seen() {
        rebuild::from_children(&mut turn);
        retention::from_children(&mut turn);
    }
    chain::only_if_incremental(&mut turn);
    turn.status.observed_generation = turn.schedule.metadata.generation;
    if let Some(seen) = seen {
        absorb::answered(&mut turn, seen);
    }
    absorb::ended(&mut turn);
    due::decide(turn)
}
