//! The schedules of a plan, and what people do to them.

use fhir_export_operator::api::ConcurrencyPolicy;
use serde_json::Value;

use super::JobPlan;

/// A `FhirExportSchedule`.
#[derive(Clone, Debug)]
pub struct SchedulePlan {
    /// The number of the server that the runs export from.
    pub server: usize,
    /// When the schedule is created, in seconds.
    pub at: i64,
    /// Members of the schedule's spec that do not follow from the other fields here, as JSON.
    pub spec: Value,
    /// The runs are due each hour at the minutes that this number divides. It divides 60.
    pub every: i64,
    /// The plans of the jobs of its runs, in order, and again from the first.
    pub jobs: Vec<JobPlan>,
    /// How the schedule is deleted after everything was repaired. If absent, it is suspended instead.
    pub deleted: Option<Propagation>,
}

/// What a deletion of a schedule does to its runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Propagation {
    /// The schedule is removed, and the garbage collector deletes its runs.
    Background,
    /// The schedule stays until all of its runs are gone.
    Foreground,
    /// The runs stay, and no longer belong to the schedule.
    Orphan,
}

/// What somebody does to a schedule or its runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ScheduleEvent {
    /// Somebody sets `spec.suspend`.
    Suspend(bool),
    /// Somebody sets the annotation `fhirexport.dev/run-now` to a new value, with or without `full-`.
    RunNow(u8, bool),
    /// The spec is edited.
    Edit(ScheduleEdit),
    /// Somebody deletes the newest run, or with 1 the one before it, and so on.
    DeleteRun(usize),
    /// Somebody sets `spec.cancel` of the newest run.
    CancelRun,
    /// The status is lost, as after a restore from a backup.
    LoseStatus,
    /// Somebody creates an export under the name of the next run.
    Foreign,
    /// The schedule is deleted.
    Delete(Propagation),
    /// A schedule of the same name is created again.
    CreateAgain,
}

/// An edit of a schedule's spec.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ScheduleEdit {
    /// `schedule` becomes each hour at the minutes that this number divides.
    Every(i64),
    /// `concurrencyPolicy` changes; to `Allow` only if runs are not incremental.
    Policy(ConcurrencyPolicy),
    /// One more or one fewer type is requested.
    Types(bool),
    /// `successfulRunsHistoryLimit` and `failedRunsHistoryLimit` change.
    Keep(i32, i32),
    /// `incremental.overlapSeconds` changes, if runs are incremental.
    Overlap(i64),
    /// `startingDeadlineSeconds` changes.
    StartingDeadline(Option<i64>),
}
