//! The law `place-pinned`: where an attempt lands is written with its intent and does not change with the FhirServer.

use fhir_export_operator::api::{
    Compression, Destination, Dialect, FhirExport, FhirExportStatus, FhirServer,
};
use fhir_export_operator::ports::Target;
use kube::ResourceExt;

use crate::laws::Law;
use crate::state::State;

/// The endpoint that a server names now.
pub fn endpoint_of(server: &FhirServer) -> Option<&str> {
    Some(server.spec.storage.as_ref()?.azure_blob.as_ref()?.endpoint.as_str())
}

impl State {
    /// Learns the place of an attempt from the status with its intent, and checks that later statuses do not
    /// change it.
    pub(super) fn learn_place(&mut self, object: &FhirExport, status: &FhirExportStatus) {
        let Some(job) = &status.job else { return };
        let Some(record) = self.laws.records.get_mut(&object.uid().unwrap_or_default()) else { return };
        let same_attempt = record.status.job.as_ref().filter(|old| old.intent_time == job.intent_time);
        let moved = same_attempt.is_some_and(|old| old.destination != job.destination);
        if let Some(place) = &job.destination
            && let Some(folder) = &place.folder
        {
            record.places.entry(folder.clone()).or_insert_with(|| place.clone());
        }
        if moved {
            let text = format!("{}: {:?}", object.name_any(), job.destination);
            self.broken(Law::PlacePinned, "the place of an attempt does not change", text);
        }
    }

    /// Checks a write to storage before it is sent: a landing writes only where an intent of the run says.
    /// `compression` is given for files of data. If an Azure server writes the files, the place follows from
    /// its job.
    pub fn check_place(&mut self, target: Target<'_>, key: Option<&str>, compression: Option<Compression>) {
        if target.server.spec.dialect == Dialect::Azure {
            return;
        }
        let Some(record) = self.laws.records.get(&self.laws.acting.uid) else { return };
        let (container, endpoint) = (Some(target.container), endpoint_of(target.server));
        let here = |place: &Destination| {
            place.container.as_deref() == container
                && place.endpoint.as_deref() == endpoint
                && compression.is_none_or(|compression| place.compression == Some(compression))
        };
        let pinned = match key.map(|key| key.split('/').next().unwrap_or_default()) {
            Some(folder) => record.places.get(folder).is_some_and(here),
            None => record.places.values().any(here),
        };
        if !pinned {
            let text = format!(
                "{}: {key:?} in {container:?} of {endpoint:?}, {compression:?}, of {:?}",
                record.name,
                record.places.values().collect::<Vec<_>>()
            );
            self.broken(Law::PlacePinned, "files land where the intent said", text);
        }
    }
}
