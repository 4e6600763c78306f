//! Sends the requests of runs beside the reconciles, so that a server that does not answer delays only its
//! own exports.

use std::sync::Arc;
use std::time::Duration;

use kube::ResourceExt;

use super::perform::{outside, panicked};
use super::runs::Kept;
use super::world::World;
use crate::api::{FhirExport, FhirServer};
use crate::core::effect::Effect;
use crate::core::seats::{Caller, CallerKind, Lane};
use crate::ports::{Clock, ExportTask, guarded};

/// How long a run rests after a request of it ended in a panic.
const AFTER_PANIC: Duration = Duration::from_mins(1);

/// A request that ends a look.
pub(super) struct Asked {
    /// The server that the request goes to.
    pub(super) server: Arc<FhirServer>,
    /// The effect that the request carries out.
    pub(super) effect: Effect,
}

/// Sends the request of a run beside the reconciles. `Runs::goes_out` must have marked the run before. The
/// answer wakes the export.
pub(super) fn send<W: World>(world: &Arc<W>, base: FhirExport, asked: Asked) {
    let beside = Arc::clone(world);
    let task = async move {
        let uid = base.uid().unwrap_or_default();
        let (namespace, name) = (base.namespace().unwrap_or_default(), base.name_any());
        let asks = outside(&beside, &base, &asked.server, asked.effect);
        let seen = caught(beside.as_ref(), ExportTask::Request, (&namespace, &name), asks).await;
        let seated = beside.runs().answered(&uid, seen);
        wake(beside.as_ref(), &seated);
        beside.wake_export(&namespace, &name);
    };
    // The handle that ends the task is not needed: an operator that stops ends all tasks.
    drop(world.spawn(Box::pin(task)));
}

/// Awaits a request beside the reconciles. A panic is counted and logged, and returns `None` after [`AFTER_PANIC`].
pub(super) async fn caught<W: World, T>(
    world: &W,
    task: ExportTask,
    (namespace, name): (&str, &str),
    request: impl Future<Output = T>,
) -> Option<T> {
    if let Ok(answer) = guarded(request).await {
        return Some(answer);
    }
    panicked(world, task, namespace, name);
    world.clock().sleep(AFTER_PANIC).await;
    None
}

/// Gives an export a seat in a lane, and returns whether it has one. An export without a seat is woken when
/// it gets one.
pub(super) fn sit<W: World>(world: &W, export: &FhirExport, lane: &Lane) -> bool {
    let caller = Caller {
        kind: CallerKind::Export,
        uid: export.uid().unwrap_or_default(),
        namespace: export.namespace().unwrap_or_default(),
        name: export.name_any(),
    };
    let (sits, seated) = world.runs().take_seat(&caller, lane);
    wake(world, &seated);
    sits
}

/// Gives a server a seat for its probe, and returns whether it has one. A server without a seat is woken when
/// it gets one.
pub(super) fn sit_to_probe<W: World>(world: &W, server: &FhirServer) -> bool {
    let uid = server.uid().unwrap_or_default();
    let caller = Caller {
        kind: CallerKind::Server,
        uid: uid.clone(),
        namespace: server.namespace().unwrap_or_default(),
        name: server.name_any(),
    };
    let (sits, seated) = world.runs().take_seat(&caller, &Lane::Probe(uid));
    wake(world, &seated);
    sits
}

/// Gives a caller's seat back, and wakes the callers that get one.
pub(super) fn leave<W: World>(world: &W, uid: &str) {
    wake(world, &world.runs().leave_seat(uid));
}

/// Wakes the callers that got a seat.
pub(super) fn wake<W: World>(world: &W, seated: &[Caller]) {
    for Caller { kind, namespace, name, .. } in seated {
        match kind {
            CallerKind::Export => world.wake_export(namespace, name),
            CallerKind::Server => world.wake_server(namespace, name),
        }
    }
}

/// Keeps the state of a run after a look at it, and gives its seat back.
pub(super) fn keep<W: World>(world: &W, uid: &str, kept: Kept, owes: bool) {
    world.runs().keep(uid, kept, owes);
    leave(world, uid);
}

/// Drops the state of an export that was deleted.
pub fn forget<W: World>(world: &W, uid: &str) {
    wake(world, &world.runs().forget(uid));
}

/// Drops the state of exports and servers that no longer exist. Call it from time to time, because the watch
/// does not show every deletion.
pub fn retain<W: World>(world: &W, alive: impl Fn(&str) -> bool) {
    wake(world, &world.runs().retain(alive));
}
