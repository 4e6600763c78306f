//! Decides which exports get a place of a server, and wakes them when one becomes free.

use kube::ResourceExt;

use super::request;
use super::world::World;
use crate::api::{FhirExport, FhirServer};
use crate::cluster::stores::{Key, key, server_key};
use crate::cluster::watch::Change;
use crate::core::admission::Limits;
use crate::core::export::{ServerView, holds_place, is_terminal};
use crate::ports::Stores;

/// The limits on how many exports of a server may run at once.
fn limits(server: &FhirServer) -> Limits {
    let view = ServerView::new(server);
    Limits { places: view.max_concurrent(), per_group: view.max_concurrent_per_group() }
}

/// Whether an export holds a place of its server or gets one now.
pub(super) fn has_place<W: World>(world: &W, server: &FhirServer, export: &FhirExport) -> bool {
    let uid = export.uid().unwrap_or_default();
    export.status.as_ref().is_some_and(holds_place)
        || world.runs().holds_place(&uid)
        || world.runs().gets_place(&key(server), &server.uid().unwrap_or_default(), limits(server), &uid)
}

/// Wakes the exports that get the places that are free now.
pub(super) fn wake_next<W: World>(world: &W, server: &FhirServer) {
    for (namespace, name) in world.runs().next_in(&key(server), limits(server)) {
        world.wake_export(&namespace, &name);
    }
}

/// Records what the watch shows of an export: drops the state of a deleted one, and wakes the exports that
/// get the place of one that has ended. Call it for each change, before the export is reconciled because of
/// that change.
pub fn shown<W: World>(world: &W, change: &Change<FhirExport>) {
    if let Some(gone) = change.gone() {
        request::forget(world, gone.metadata.uid.as_deref().unwrap_or_default());
    }
    world.runs().shown(change);
    let ended = |export: &FhirExport| export.status.as_ref().is_some_and(is_terminal);
    let Some(was) = change.old.as_deref().filter(|was| !ended(was)) else { return };
    let is_over = change.gone().is_some() || change.new.as_deref().is_some_and(ended);
    let (namespace, name): Key = server_key(was);
    if is_over && let Some(server) = world.stores().server(&namespace, &name) {
        wake_next(world, &server);
    }
}
