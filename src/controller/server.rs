//! Reconciles a `FhirServer`: probes it periodically, and keeps it while its exports run.

use std::sync::Arc;

use kube::ResourceExt;

use super::request;
use super::runs::Probing;
use super::transitions;
use super::world::World;
use crate::api::{FhirServer, IN_USE_FINALIZER};
use crate::cluster::stores::key;
use crate::core::effect::Requeue;
use crate::core::server::{Probe, access_request, deleting, judge, metadata_request};
use crate::ports::{Clock, Cluster, ClusterFailure, ExportTask, ObjectStore, Randomness, Wire};

/// Reconciles one server, and returns when the next reconcile is due.
pub async fn reconcile_server<W: World>(
    world: &Arc<W>,
    object: Arc<FhirServer>,
) -> Result<Requeue, ClusterFailure> {
    let held = object.finalizers().iter().any(|f| f == IN_USE_FINALIZER);
    if object.metadata.deletion_timestamp.is_some() {
        let users = world.runs().users_of(&key(object.as_ref()));
        if held && users == 0 {
            world.cluster().set_server_finalizer(&object, false).await?;
        } else if held {
            let old = object.status.clone().unwrap_or_default();
            let status = deleting(&old, users, object.metadata.generation.unwrap_or(0), world.clock().now());
            if status != old {
                world.cluster().write_server_status(&object, &status).await?;
            }
        }
        return Ok(Requeue::AwaitChange);
    }
    let uid = object.uid().unwrap_or_default();
    let generation = object.metadata.generation.unwrap_or(0);
    match world.runs().probes().take(&uid, generation) {
        // The probe wakes the server when it is done.
        Probing::Runs => Ok(Requeue::AwaitChange),
        Probing::Done(probe) => {
            let result = take_in(world, &object, &probe).await;
            if result.is_err() {
                // The next reconcile writes these findings without another probe.
                world.runs().probes().ended(&uid, generation, Some(*probe));
            }
            result
        }
        Probing::None => {
            if let Some(left) = world.runs().probes().due_in(&uid, generation, world.clock().now()) {
                return Ok(Requeue::After(left));
            }
            if !request::sit_to_probe(world.as_ref(), &object) {
                return Ok(Requeue::AwaitChange);
            }
            world.runs().probes().begins(&uid, generation);
            begin(world, &object);
            Ok(Requeue::AwaitChange)
        }
    }
}

/// Starts the probe of a server beside the reconciles, because the server may not answer for an hour.
fn begin<W: World>(world: &Arc<W>, server: &Arc<FhirServer>) {
    let (beside, server) = (Arc::clone(world), Arc::clone(server));
    let task = async move {
        let uid = server.uid().unwrap_or_default();
        let generation = server.metadata.generation.unwrap_or(0);
        let (namespace, name) = (server.namespace().unwrap_or_default(), server.name_any());
        let asks = probe(beside.as_ref(), &server);
        let found = request::caught(beside.as_ref(), ExportTask::Probe, (&namespace, &name), asks).await;
        beside.runs().probes().ended(&uid, generation, found);
        request::leave(beside.as_ref(), &uid);
        beside.wake_server(&namespace, &name);
    };
    drop(world.spawn(Box::pin(task)));
}

/// Writes the findings of a probe, and returns when the next one is due.
async fn take_in<W: World>(
    world: &Arc<W>,
    object: &FhirServer,
    probe: &Probe,
) -> Result<Requeue, ClusterFailure> {
    let uid = object.uid().unwrap_or_default();
    let generation = object.metadata.generation.unwrap_or(0);
    let old = object.status.clone().unwrap_or_default();
    if let Some(wait) =
        probe.put_off(world.clock().now()).filter(|_| old.observed_generation == Some(generation))
    {
        // No request was sent, so the earlier findings stay.
        world.runs().probes().done(&uid, generation, world.clock().now(), wait);
        return Ok(Requeue::After(wait));
    }
    let (status, wait) = judge(&object.spec, &old, generation, probe, world.tuning(), world.clock().now());
    if object.status.as_ref() != Some(&status) {
        world.cluster().write_server_status(object, &status).await?;
        transitions::log_server(&old.conditions, &status.conditions, object);
    }
    let wait = wait.mul_f64(0.9 + world.randomness().unit() * 0.2);
    world.runs().probes().done(&uid, generation, world.clock().now(), wait);
    Ok(Requeue::After(wait))
}

async fn probe<W: World>(world: &W, server: &Arc<FhirServer>) -> Probe {
    let storage = async {
        server.spec.storage.as_ref()?;
        Some(world.objects().probe(server, server.spec.default_container.as_deref()).await)
    };
    let access = async {
        world.wire().authorize(server).await?;
        world.wire().send(server, &access_request(&server.spec)).await
    };
    let metadata = metadata_request(&server.spec);
    let (metadata, access, storage) = futures::join!(world.wire().send(server, &metadata), access, storage);
    Probe { metadata, access, storage }
}
