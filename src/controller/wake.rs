//! Which objects are reconciled again when something changes.

use std::sync::Arc;

use futures::StreamExt;
use futures::channel::mpsc::{UnboundedReceiver, UnboundedSender, unbounded};
use kube::ResourceExt;
use kube::runtime::reflector::ObjectRef;

use crate::api::{
    ConditionStatus, ConditionType, FhirExport, FhirExportSchedule, FhirServer, RUN_NOW_ANNOTATION,
};
use crate::cluster::stores::{KubeStores, key, owner_of, server_key, template_server_key};
use crate::cluster::watch::{Change, matters, reference};
use crate::ports::Stores;

/// Requests reconciles of objects. This is cheap: repeated wakes of an object that was not reconciled yet
/// count as one.
#[derive(Clone, Debug)]
pub struct Wakes {
    exports: UnboundedSender<ObjectRef<FhirExport>>,
    servers: UnboundedSender<ObjectRef<FhirServer>>,
    schedules: UnboundedSender<ObjectRef<FhirExportSchedule>>,
}

/// The receiving ends of [`Wakes`], for kube's runtime.
pub struct Woken {
    /// Exports to reconcile.
    pub exports: UnboundedReceiver<ObjectRef<FhirExport>>,
    /// Servers to reconcile.
    pub servers: UnboundedReceiver<ObjectRef<FhirServer>>,
    /// Schedules to reconcile.
    pub schedules: UnboundedReceiver<ObjectRef<FhirExportSchedule>>,
}

impl Woken {
    /// Discards wakes until all senders are gone.
    pub async fn ignore(&mut self) {
        let (exports, servers, schedules) = (&mut self.exports, &mut self.servers, &mut self.schedules);
        futures::join!(
            exports.by_ref().for_each(|_| std::future::ready(())),
            servers.by_ref().for_each(|_| std::future::ready(())),
            schedules.by_ref().for_each(|_| std::future::ready(()))
        );
    }
}

impl Wakes {
    /// Creates the sending and the receiving ends.
    pub fn new() -> (Self, Woken) {
        let (exports, woken_exports) = unbounded();
        let (servers, woken_servers) = unbounded();
        let (schedules, woken_schedules) = unbounded();
        let woken = Woken { exports: woken_exports, servers: woken_servers, schedules: woken_schedules };
        (Self { exports, servers, schedules }, woken)
    }

    /// Requests a reconcile of an export.
    pub fn export(&self, namespace: &str, name: &str) {
        // This fails only while the operator is stopping.
        let _ = self.exports.unbounded_send(reference(namespace, name));
    }

    /// Requests a reconcile of a server.
    pub fn server(&self, namespace: &str, name: &str) {
        let _ = self.servers.unbounded_send(reference(namespace, name));
    }

    /// Requests a reconcile of every object.
    pub fn all(&self, stores: &KubeStores) {
        for server in stores.server_store().state() {
            let (namespace, name) = key(server.as_ref());
            self.server(&namespace, &name);
        }
        for export in stores.exports() {
            let (namespace, name) = key(export.as_ref());
            self.export(&namespace, &name);
        }
        for schedule in stores.schedules() {
            let (namespace, name) = key(schedule.as_ref());
            self.schedule(&namespace, &name);
        }
    }

    /// Requests a reconcile of a schedule.
    pub fn schedule(&self, namespace: &str, name: &str) {
        let _ = self.schedules.unbounded_send(reference(namespace, name));
    }

    /// Wakes a schedule that changed.
    pub fn schedule_changed(&self, change: &Change<FhirExportSchedule>) {
        let asked = |schedule: &Option<Arc<FhirExportSchedule>>| {
            schedule.as_ref().and_then(|schedule| schedule.annotations().get(RUN_NOW_ANNOTATION).cloned())
        };
        if let Some(new) =
            change.new.as_ref().filter(|_| matters(change) || asked(&change.old) != asked(&change.new))
        {
            let (namespace, name) = key(new.as_ref());
            self.schedule(&namespace, &name);
        }
    }

    /// Wakes an export that changed, its server and its schedule.
    pub fn export_changed(&self, change: &Change<FhirExport>) {
        if let (true, Some(new)) = (matters(change), &change.new) {
            let (namespace, name) = key(new.as_ref());
            self.export(&namespace, &name);
        }
        let (was, is) = (change.old.as_deref(), change.new.as_deref());
        // One change can cover both: the object was deleted and recreated while the watch was interrupted.
        let gone = change.gone().is_some();
        let appeared = was.is_none() || gone && is.is_some();
        let ended = was.is_some_and(|was| !finished(was)) && (gone || is.is_none_or(finished));
        let Some((namespace, name)) = is.or(was).map(server_key) else { return };
        let deleting = |export: &FhirExport| export.metadata.deletion_timestamp.is_some();
        if (ended || gone || is.is_some_and(deleting))
            && let Some(export) = is.or(was)
            && let Some(owner) = owner_of(export).filter(|owner| owner.kind == "FhirExportSchedule")
        {
            self.schedule(&export.namespace().unwrap_or_default(), &owner.name);
        }
        if appeared || ended || gone {
            self.server(&namespace, &name);
        }
    }

    /// Wakes a server that changed, and the exports and schedules that name it.
    pub fn server_changed(&self, stores: &impl Stores, change: &Change<FhirServer>) {
        let Some(server) = change.new.as_ref().or(change.old.as_ref()) else { return };
        let (namespace, name) = key(server.as_ref());
        if matters(change) {
            self.server(&namespace, &name);
        }
        let readiness = |server: &Option<Arc<FhirServer>>| server.as_deref().map(ready);
        if matters(change) || change.new.is_none() || readiness(&change.old) != readiness(&change.new) {
            for export in stores.exports_of(&namespace, &name).iter().filter(|e| !finished(e)) {
                let (namespace, name) = key(export.as_ref());
                self.export(&namespace, &name);
            }
            let theirs = stores.schedules().into_iter();
            let server = (namespace, name);
            for schedule in theirs.filter(|schedule| template_server_key(schedule) == server) {
                let (namespace, name) = key(schedule.as_ref());
                self.schedule(&namespace, &name);
            }
        }
    }
}

fn finished(export: &FhirExport) -> bool {
    export.status.as_ref().is_some_and(|status| status.completion_time.is_some())
}

/// Whether the server is ready, and for which generation. A schedule waits until the operator has looked at a
/// change.
fn ready(server: &FhirServer) -> Option<(Option<i64>, Option<ConditionStatus>)> {
    let status = server.status.as_ref()?;
    let ready = status.conditions.iter().find(|c| c.is(ConditionType::Ready));
    Some((status.observed_generation, ready.map(|c| c.status)))
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::needless_pass_by_value)]
#[path = "wake_tests.rs"]
mod tests;
