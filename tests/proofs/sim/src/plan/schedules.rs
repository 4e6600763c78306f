//! Schedules of a plan, and what people do to them.

use fhir_export_operator::api::ConcurrencyPolicy;
use serde_json::Value;

use super::JobPlan;

/// A `FhirExportSchedule`.
#[derive(Clone, Debug)]
pub struct SchedulePlan {
    /// The number of the server of its runs.
    pub server: usize,
    /// When it is created, in seconds.
    pub at: i64,
    /// Members of its spec without those that follow from the other fields here, as JSON.
    pub spec: Value,
    /// Its runs are due each hour at the minutes that this number divides, which in turn divides 60.
    pub every: i64,
    /// What becomes of the jobs of its runs, one after the other, and again from the first.
    pub jobs: Vec<JobPlan>,
    /// How it is deleted after everything was repaired. It is suspended instead if this is absent.
    pub deleted: Option<Propagation>,
}

/// What a deletion of a schedule does to its runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Propagation {
    /// The schedule goes, and the garbage collector deletes its runs.
    Background,
    /// The schedule stays until all of its runs are gone.
    Foreground,
    /// The runs stay, and are no longer the schedule's.
    Orphan,
}

/// What somebody does to a schedule or to its runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ScheduleEvent {
    /// `spec.suspend`.
    Suspend(bool),
    /// The annotation `fhirexport.dev/run-now` gets a value that it never had, with or without `full-`.
    RunNow(u8, bool),
    /// The spec is edited.
    Edit(ScheduleEdit),
    /// The newest export of a run is deleted, or with 1 the one before, and so on.
    DeleteRun(usize),
    /// `spec.cancel` of the newest export of a run.
    CancelRun,
    /// The status is lost, as after a restore from a backup.
    LoseStatus,
    /// Somebody makes an export under the name of the next run.
    Foreign,
    /// The schedule is deleted.
    Delete(Propagation),
    /// A schedule of that name is created again.
    CreateAgain,
}

/// An edit of a schedule's spec.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ScheduleEdit {
    /// `schedule`: each hour at the minutes that this number divides.
    Every(i64),
    /// `concurrencyPolicy`; `Allow` only if runs are not incremental.
    Policy(ConcurrencyPolicy),
    /// One more or one less type is requested.
    Types(bool),
    /// `successfulRunsHistoryLimit` and `failedRunsHistoryLimit`.
    Keep(i32, i32),
    /// `incremental.overlapSeconds`, if runs are incremental.
    Overlap(i64),
    /// `startingDeadlineSeconds`.
    StartingDeadline(Option<i64>),
}
