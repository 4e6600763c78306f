//! Who is looked at again when something changes.

use std::sync::Arc;

use futures::channel::mpsc::{UnboundedReceiver, UnboundedSender, unbounded};
use kube::ResourceExt;
use kube::runtime::reflector::ObjectRef;

use super::world::Stores;
use crate::api::{ConditionStatus, ConditionType, FhirExport, FhirServer};
use crate::cluster::stores::{key, server_key};
use crate::cluster::watch::{Change, matters, reference};

/// How many of the exports that wait for a place are woken when one is free: the others look again by
/// themselves, and ten thousand need not look each time.
const WOKEN: usize = 64;

/// Has objects reconciled. Cheap; many wakes of one object that was not reconciled yet are one.
#[derive(Clone, Debug)]
pub struct Wakes {
    exports: UnboundedSender<ObjectRef<FhirExport>>,
    servers: UnboundedSender<ObjectRef<FhirServer>>,
}

/// The other ends, for kube's runtime.
pub struct Woken {
    /// Exports to reconcile.
    pub exports: UnboundedReceiver<ObjectRef<FhirExport>>,
    /// Servers to reconcile.
    pub servers: UnboundedReceiver<ObjectRef<FhirServer>>,
}

impl Wakes {
    /// Both ends.
    pub fn new() -> (Self, Woken) {
        let (exports, woken_exports) = unbounded();
        let (servers, woken_servers) = unbounded();
        (Self { exports, servers }, Woken { exports: woken_exports, servers: woken_servers })
    }

    /// Has an export reconciled.
    pub fn export(&self, namespace: &str, name: &str) {
        // It can only fail when the operator is stopping.
        let _ = self.exports.unbounded_send(reference(namespace, name));
    }

    /// Has a server reconciled.
    pub fn server(&self, namespace: &str, name: &str) {
        let _ = self.servers.unbounded_send(reference(namespace, name));
    }

    /// An export changed: itself, its server, and who waits for its place.
    pub fn export_changed(&self, stores: &impl Stores, change: &Change<FhirExport>) {
        if let (true, Some(new)) = (matters(change), &change.new) {
            let (namespace, name) = key(new.as_ref());
            self.export(&namespace, &name);
        }
        let (was, is) = (change.old.as_deref(), change.new.as_deref());
        let appeared = was.is_none();
        let ended = was.is_some_and(|was| !finished(was)) && is.is_none_or(finished);
        let gone = is.is_none();
        let Some((namespace, name)) = is.or(was).map(server_key) else { return };
        if appeared || ended || gone {
            self.server(&namespace, &name);
        }
        if ended || gone {
            for export in first_waiting(stores.exports_of(&namespace, &name)) {
                let (namespace, name) = key(export.as_ref());
                self.export(&namespace, &name);
            }
        }
    }

    /// A server changed: itself, and the exports that name it.
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
        }
    }
}

fn finished(export: &FhirExport) -> bool {
    export.status.as_ref().is_some_and(|status| status.completion_time.is_some())
}

fn ready(server: &FhirServer) -> Option<ConditionStatus> {
    let conditions = &server.status.as_ref()?.conditions;
    conditions.iter().find(|c| c.is(ConditionType::Ready)).map(|c| c.status)
}

/// Those without a job, first come first served.
fn first_waiting(mut exports: Vec<Arc<FhirExport>>) -> Vec<Arc<FhirExport>> {
    exports.retain(|export| {
        let has_job = export.status.as_ref().is_some_and(|status| status.job.is_some());
        !finished(export) && !has_job && export.spec.suspend != Some(true)
    });
    exports.sort_by_cached_key(|export| (export.creation_timestamp(), export.uid()));
    exports.truncate(WOKEN);
    exports
}
