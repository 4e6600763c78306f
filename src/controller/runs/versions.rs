//! The version and the uid of an object.

use std::sync::Arc;

use kube::ResourceExt;

use crate::api::FhirExport;

/// The resource version as a number. Resource versions of one resource increase (guaranteed by Kubernetes
/// 1.35 and later).
pub(super) fn version(object: &FhirExport) -> u64 {
    object.resource_version().and_then(|v| v.parse().ok()).unwrap_or(0)
}

/// The newer of an object as the watch shows it and as this process wrote it last, if it did.
pub(super) fn newer<'a>(
    shown: &'a Arc<FhirExport>,
    written: Option<&'a Arc<FhirExport>>,
) -> &'a Arc<FhirExport> {
    written.filter(|written| version(written) > version(shown)).unwrap_or(shown)
}

/// The uid of an object; empty if it has none.
pub(super) fn uid_of(object: &FhirExport) -> String {
    object.uid().unwrap_or_default()
}
