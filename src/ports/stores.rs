//! The port to what the watches of the API server know.

use std::sync::Arc;

use crate::api::{FhirExport, FhirExportSchedule, FhirServer};

/// What the watches of the API server know, as they last heard it. May lag behind.
pub trait Stores: Send + Sync {
    /// A server, by namespace and name.
    fn server(&self, namespace: &str, name: &str) -> Option<Arc<FhirServer>>;
    /// The exports that name a server, of all watched namespaces, in no order.
    fn exports_of(&self, namespace: &str, name: &str) -> Vec<Arc<FhirExport>>;
    /// An export, by namespace and name.
    fn export(&self, namespace: &str, name: &str) -> Option<Arc<FhirExport>>;
    /// All exports of all watched namespaces, in no order.
    fn exports(&self) -> Vec<Arc<FhirExport>>;
    /// The exports whose controller is the object with this uid, in no order.
    fn children_of(&self, uid: &str) -> Vec<Arc<FhirExport>>;
    /// All schedules of all watched namespaces, in no order.
    fn schedules(&self) -> Vec<Arc<FhirExportSchedule>>;
}
