//! The port to the API server: status, finalizers, events and the exports that schedules create.

use std::collections::BTreeMap;

use crate::api::{
    FhirExport, FhirExportSchedule, FhirExportScheduleStatus, FhirExportStatus, FhirServer, FhirServerStatus,
};
use crate::core::effect::Note;

/// Why the API server could not be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ClusterFailure {
    /// The object changed since it was read, or the cache is behind: read and decide again.
    #[error("the object changed meanwhile")]
    Conflict,
    /// The object is gone.
    #[error("the object is gone")]
    NotFound,
    /// The API server refused (403, 422) or failed; the text says how.
    #[error("{0}")]
    Other(String),
}

/// The result of creating an export.
#[derive(Clone, Debug, PartialEq)]
pub enum Creation {
    /// The API server created the export.
    Made(Box<FhirExport>),
    /// An object of that name exists already: this one.
    Exists(Box<FhirExport>),
    /// The API server refused the export (an admission rule, a quota, a policy), in these words.
    Refused(String),
}

/// Writes to the API server.
pub trait Cluster: Send + Sync {
    /// Writes the status of an export, on the resource version that it was decided on; returns the new object.
    fn write_export_status(
        &self,
        read: &FhirExport,
        status: &FhirExportStatus,
    ) -> impl Future<Output = Result<FhirExport, ClusterFailure>> + Send;
    /// Writes the status of a server, on the resource version that it was decided on; returns the new object.
    fn write_server_status(
        &self,
        read: &FhirServer,
        status: &FhirServerStatus,
    ) -> impl Future<Output = Result<FhirServer, ClusterFailure>> + Send;
    /// Adds or removes the finalizer `fhirexport.dev/cancel`, on the resource version that was read.
    fn set_export_finalizer(
        &self,
        read: &FhirExport,
        on: bool,
    ) -> impl Future<Output = Result<FhirExport, ClusterFailure>> + Send;
    /// Adds or removes the finalizer `fhirexport.dev/in-use` of a server.
    fn set_server_finalizer(
        &self,
        read: &FhirServer,
        on: bool,
    ) -> impl Future<Output = Result<FhirServer, ClusterFailure>> + Send;
    /// Writes the status of a schedule, on the resource version that it was decided on; returns the new object.
    fn write_schedule_status(
        &self,
        read: &FhirExportSchedule,
        status: &FhirExportScheduleStatus,
    ) -> impl Future<Output = Result<FhirExportSchedule, ClusterFailure>> + Send;
    /// Creates an export, unless an object of its name exists.
    fn create_export(
        &self,
        export: &FhirExport,
    ) -> impl Future<Output = Result<Creation, ClusterFailure>> + Send;
    /// Reads an export from the API server itself, since the watches may not know it yet.
    fn read_export(
        &self,
        namespace: &str,
        name: &str,
    ) -> impl Future<Output = Result<Option<FhirExport>, ClusterFailure>> + Send;
    /// Deletes an export, with its uid and resource version as preconditions.
    fn delete_export(&self, read: &FhirExport) -> impl Future<Output = Result<(), ClusterFailure>> + Send;
    /// Publishes an event about an export, without waiting for its way to the API server. A failure is logged and never
    /// fails a run.
    fn publish(&self, about: &FhirExport, note: &Note) -> impl Future<Output = ()> + Send;
    /// Publishes an event about a schedule, without waiting for its way to the API server. A failure is logged and
    /// never fails a schedule.
    fn publish_of_schedule(&self, about: &FhirExportSchedule, note: &Note)
    -> impl Future<Output = ()> + Send;
    /// The labels of a namespace.
    fn namespace_labels(
        &self,
        namespace: &str,
    ) -> impl Future<Output = Result<BTreeMap<String, String>, ClusterFailure>> + Send;
}
