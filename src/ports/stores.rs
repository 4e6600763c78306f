//! The port to the caches that the watches of the API server fill.

use std::sync::Arc;

use crate::api::{FhirExport, FhirExportSchedule, FhirServer};

/// A job in the status of an export. Several exports may have the same job, if a server returns a running
/// job for another kick-off.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct JobKey {
    server_url: String,
    status_url: String,
}

impl JobKey {
    /// The job in the status of an export; `None` if there is none, or if its status URL is not known.
    pub fn of(export: &FhirExport) -> Option<Self> {
        let status = export.status.as_ref()?;
        let status_url = status.job.as_ref()?.status_url.clone()?;
        Some(Self { server_url: status.server.as_ref()?.url.clone(), status_url })
    }
}

/// The objects that the watches of the API server last reported. They may lag behind.
pub trait Stores: Send + Sync {
    /// A server, by namespace and name.
    fn server(&self, namespace: &str, name: &str) -> Option<Arc<FhirServer>>;
    /// The exports that name a server, of all watched namespaces, in no order.
    fn exports_of(&self, namespace: &str, name: &str) -> Vec<Arc<FhirExport>>;
    /// The exports with a job in their status, of all watched namespaces, in no order.
    fn exports_with(&self, job: &JobKey) -> Vec<Arc<FhirExport>>;
    /// An export, by namespace and name.
    fn export(&self, namespace: &str, name: &str) -> Option<Arc<FhirExport>>;
    /// All exports of all watched namespaces, in no order.
    fn exports(&self) -> Vec<Arc<FhirExport>>;
    /// The exports whose controller is the object with this uid, in no order.
    fn children_of(&self, uid: &str) -> Vec<Arc<FhirExport>>;
    /// All schedules of all watched namespaces, in no order.
    fn schedules(&self) -> Vec<Arc<FhirExportSchedule>>;
}
