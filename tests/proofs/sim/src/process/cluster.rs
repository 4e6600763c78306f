//! Calls to the API server, with the results that its client would return.

use std::collections::BTreeMap;

use fhir_export_operator::api::{
    CANCEL_FINALIZER, FhirExport, FhirExportSchedule, FhirExportScheduleStatus, FhirExportStatus, FhirServer,
    FhirServerStatus, IN_USE_FINALIZER,
};
use fhir_export_operator::core::effect::Note;
use fhir_export_operator::ports::{Cluster, ClusterFailure, Creation};

use super::{Course, Process};
use crate::plan::{Edge, FaultKind};
use crate::state::{State, locked};
use crate::time::SECOND;

/// The longest time of a call, including its retries, in microseconds (`cluster::call`).
const TIME: i64 = 10 * SECOND;

fn no_answer() -> ClusterFailure {
    ClusterFailure::Other("The API server did not answer.".to_owned())
}

impl Process {
    /// Makes one call that changes something, with its retries.
    async fn change<T: Send + 'static>(
        &self,
        edge: Edge,
        act: impl FnOnce(&mut State) -> Result<T, ClusterFailure> + Send + 'static,
    ) -> Result<T, ClusterFailure> {
        let Course::Goes(fault) = self.course(edge) else {
            self.for_ever().await;
            return Err(no_answer());
        };
        self.leaves(fault.as_ref(), None).await;
        self.call(fault, act).await
    }

    /// Makes one call that only reads.
    async fn read<T: Send + 'static>(
        &self,
        act: impl FnOnce(&mut State) -> T + Send + 'static,
    ) -> Result<T, ClusterFailure> {
        let Course::Goes(fault) = self.course(Edge::Object) else {
            self.for_ever().await;
            return Err(no_answer());
        };
        self.call(fault, |state| Ok(act(state))).await
    }

    async fn call<T: Send + 'static>(
        &self,
        fault: Option<FaultKind>,
        act: impl FnOnce(&mut State) -> Result<T, ClusterFailure> + Send + 'static,
    ) -> Result<T, ClusterFailure> {
        match fault {
            _ if self.is_cut_off() => {
                self.pause(TIME).await;
                return Err(no_answer());
            }
            Some(FaultKind::NotDone | FaultKind::NotSent) => {
                self.travel().await;
                return Err(no_answer());
            }
            // The call is carried out, but too late for the client.
            Some(FaultKind::Slow(seconds)) if seconds * SECOND >= TIME => {
                drop(self.hand_over(None, 0, act));
                self.pause(TIME).await;
                return Err(no_answer());
            }
            _ => {}
        }
        let done = self.carry(fault.as_ref(), act).await;
        match fault {
            Some(FaultKind::AnswerLost) => Err(no_answer()),
            // The client sends the request again, on the version that it read.
            Some(FaultKind::Repeated) => done.and(Err(ClusterFailure::Conflict)),
            _ => done,
        }
    }
}

impl Cluster for Process {
    async fn write_export_status(
        &self,
        read: &FhirExport,
        status: &FhirExportStatus,
    ) -> Result<FhirExport, ClusterFailure> {
        locked(&self.state).quiet("a status is written");
        let (read, status) = (read.clone(), status.clone());
        self.change(Edge::Status, move |state| state.write_export_status(&read, &status)).await
    }

    async fn write_server_status(
        &self,
        read: &FhirServer,
        status: &FhirServerStatus,
    ) -> Result<FhirServer, ClusterFailure> {
        let (read, status) = (read.clone(), status.clone());
        self.change(Edge::Object, move |state| state.write_server_status(&read, &status)).await
    }

    async fn write_schedule_status(
        &self,
        read: &FhirExportSchedule,
        status: &FhirExportScheduleStatus,
    ) -> Result<FhirExportSchedule, ClusterFailure> {
        locked(&self.state).quiet("the status of a schedule is written");
        let (read, status) = (read.clone(), status.clone());
        Box::pin(self.change(Edge::Object, move |state| state.write_schedule_status(&read, &status))).await
    }

    async fn create_export(&self, export: &FhirExport) -> Result<Creation, ClusterFailure> {
        locked(&self.state).quiet("an export is made");
        let export = export.clone();
        self.change(Edge::Object, move |state| Ok(state.make_export(&export))).await
    }

    async fn read_export(&self, namespace: &str, name: &str) -> Result<Option<FhirExport>, ClusterFailure> {
        let at = (namespace.to_owned(), name.to_owned());
        self.read(move |state| state.api.exports.objects.get(&at).map(|e| FhirExport::clone(e))).await
    }

    async fn set_export_finalizer(&self, read: &FhirExport, on: bool) -> Result<FhirExport, ClusterFailure> {
        let read = read.clone();
        self.change(Edge::Object, move |state| state.set_export_finalizer(&read, CANCEL_FINALIZER, on)).await
    }

    async fn set_server_finalizer(&self, read: &FhirServer, on: bool) -> Result<FhirServer, ClusterFailure> {
        let read = read.clone();
        self.change(Edge::Object, move |state| state.set_server_finalizer(&read, IN_USE_FINALIZER, on)).await
    }

    async fn delete_export(&self, read: &FhirExport) -> Result<(), ClusterFailure> {
        locked(&self.state).quiet("an export is deleted");
        let read = read.clone();
        self.change(Edge::Object, move |state| state.delete_export(&read)).await
    }

    async fn publish(&self, about: &FhirExport, note: &Note) {
        locked(&self.state).quiet("an event is published");
        self.leaves(None, None).await;
        // The event is logged before it is posted, and whether posting succeeds makes no difference to the run.
        locked(&self.state).told(about, note);
        let _ = self.change(Edge::Note, |_| Ok(())).await;
    }

    async fn publish_of_schedule(&self, about: &FhirExportSchedule, note: &Note) {
        locked(&self.state).quiet("an event about a schedule is published");
        self.leaves(None, None).await;
        locked(&self.state).told_of_schedule(about, note);
        let _ = self.change(Edge::Note, |_| Ok(())).await;
    }

    async fn namespace_labels(&self, _: &str) -> Result<BTreeMap<String, String>, ClusterFailure> {
        self.read(|_| BTreeMap::from([("team".to_owned(), "research".to_owned())])).await
    }
}
