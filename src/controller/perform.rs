//! Perform: one effect goes out, one observation comes back.

use std::sync::{Arc, Mutex};

use kube::ResourceExt;

use super::landing;
use super::patients;
use super::runs::{Beside, tell};
use super::world::World;
use crate::api::{FhirExport, FhirServer, IN_USE_FINALIZER, Reason};
use crate::core::effect::{Effect, Observation};
use crate::core::landing::{LandFailure, LandFailureKind, LandPlan, LandProgress, Landing};
use crate::core::ledger::{StorageFailure, StorageFailureKind, Verification, VerifyPlan};
use crate::core::wire::{Failure, FailureKind, Sent};
use crate::ports::{Cluster, ClusterFailure, ObjectStore, Target, Wire};

/// Performs one effect. `base` is the object as the API server has it; it is replaced where the effect changes it.
pub(super) async fn perform<W: World>(
    world: &Arc<W>,
    base: &mut FhirExport,
    server: Option<&Arc<FhirServer>>,
    effect: Effect,
) -> Result<Observation, ClusterFailure> {
    match effect {
        Effect::AddFinalizer | Effect::RemoveFinalizer => {
            let on = effect == Effect::AddFinalizer;
            if on && let Some(server) = server {
                hold_server(world.as_ref(), server).await?;
            }
            *base = world.cluster().set_export_finalizer(base, on).await?;
            world.runs().wrote(base);
            Ok(Observation::FinalizerChanged)
        }
        Effect::DeleteSelf => {
            world.cluster().delete_export(base).await?;
            Ok(Observation::DeletedSelf)
        }
        Effect::StopLanding => {
            world.runs().stop_landing(&base.uid().unwrap_or_default());
            Ok(Observation::LandingStopped)
        }
        effect => Ok(match server {
            Some(server) => outside(world, base, server, effect).await,
            None => without_server(&effect),
        }),
    }
}

/// A server that is used stays until its exports have ended: it is needed to cancel them.
async fn hold_server<W: World>(world: &W, server: &FhirServer) -> Result<(), ClusterFailure> {
    if !server.finalizers().iter().any(|f| f == IN_USE_FINALIZER) {
        world.cluster().set_server_finalizer(server, true).await?;
    }
    Ok(())
}

async fn outside<W: World>(
    world: &Arc<W>,
    base: &FhirExport,
    server: &Arc<FhirServer>,
    effect: Effect,
) -> Observation {
    match effect {
        Effect::Authorize(list) => {
            let authorized = world.wire().authorize(server).await;
            Observation::Authorized(match (authorized, list) {
                (Ok(()), Some(list)) => patients::read(world.as_ref(), server, &list).await.map(|_| ()),
                (authorized, _) => authorized,
            })
        }
        Effect::KickOff(request) => {
            Observation::KickOff(match patients::add(world.as_ref(), server, request).await {
                Ok(request) => world.wire().send(server, &request).await,
                Err(failure) => Err(failure),
            })
        }
        Effect::Poll(request) => Observation::Poll(world.wire().send(server, &request).await),
        Effect::Cancel(request) => Observation::Cancel(world.wire().send(server, &request).await),
        Effect::FindJobs { container, after } => {
            Observation::Jobs(world.objects().find_jobs(server, container.as_deref(), after).await)
        }
        Effect::CountFiles { container, job_id, began } => Observation::Files(
            world.objects().count_files(Target::new(server, &container), job_id.as_deref(), began).await,
        ),
        Effect::Verify(plan) => Observation::Verification(verify(world, base, server, plan)),
        Effect::StoreManifest { container, path, body } => Observation::ManifestStored(
            world.objects().store(Target::new(server, &container), &path, &body).await,
        ),
        Effect::Land(plan) => Observation::Landing(land(world, base, server, plan)),
        Effect::CountType { type_, request } => {
            let reply = world.wire().send(server, &request).await;
            Observation::TypeCounted { type_, reply }
        }
        Effect::StoreLog { container, path, body } => {
            Observation::LogStored(world.objects().store(Target::new(server, &container), &path, &body).await)
        }
        Effect::CleanUp(request) => Observation::CleanedUp(world.wire().send(server, &request).await),
        Effect::AddFinalizer | Effect::RemoveFinalizer => Observation::FinalizerChanged,
        Effect::DeleteSelf => Observation::DeletedSelf,
        Effect::StopLanding => Observation::LandingStopped,
    }
}

/// The server vanished between the decision and its effect.
fn without_server(effect: &Effect) -> Observation {
    let failure = Failure {
        sent: Sent::No,
        reason: Reason::ServerNotFound,
        message: "the FhirServer is gone; restore it".to_owned(),
        kind: FailureKind::Missing,
    };
    let storage = StorageFailure { kind: StorageFailureKind::Missing, message: failure.message.clone() };
    match effect {
        Effect::KickOff(_) => Observation::KickOff(Err(failure)),
        Effect::Poll(_) => Observation::Poll(Err(failure)),
        Effect::Cancel(_) => Observation::Cancel(Err(failure)),
        Effect::FindJobs { .. } => Observation::Jobs(Err(storage)),
        Effect::CountFiles { .. } => Observation::Files(Err(storage)),
        Effect::Verify(_) => Observation::Verification(Verification::Failed(storage)),
        Effect::StoreManifest { .. } => Observation::ManifestStored(Err(storage)),
        Effect::StoreLog { .. } => Observation::LogStored(Err(storage)),
        Effect::CleanUp(_) => Observation::CleanedUp(Err(failure)),
        Effect::CountType { type_, .. } => {
            Observation::TypeCounted { type_: type_.clone(), reply: Err(failure) }
        }
        Effect::Land(_) => Observation::Landing(Landing::Failed(LandFailure {
            kind: LandFailureKind::Missing,
            reason: failure.reason,
            message: failure.message,
            progress: LandProgress::default(),
        })),
        _ => Observation::Authorized(Err(failure)),
    }
}

/// Looks at the check of this attempt, or starts it beside the reconcile: it may take hours.
fn verify<W: World>(
    world: &Arc<W>,
    base: &FhirExport,
    server: &Arc<FhirServer>,
    plan: Arc<VerifyPlan>,
) -> Verification {
    let (uid, attempt) = task_of(base);
    if let Some(state) = world.runs().look_at_verification(&uid, attempt) {
        return state;
    }
    let running = Verification::Running { files: 0 };
    let state = Arc::new(Mutex::new(running.clone()));
    let (namespace, name) = (base.namespace().unwrap_or_default(), base.name_any());
    let (beside, told, server) = (Arc::clone(world), Arc::clone(&state), Arc::clone(server));
    let task = async move {
        let read = |files: u64| tell(&told, Verification::Running { files });
        let result = beside.objects().verify(&server, &plan, &read).await;
        tell(&told, result.map_or_else(Verification::Failed, Verification::Done));
        beside.wake_export(&namespace, &name);
    };
    let end = world.spawn(Box::pin(task));
    world.runs().verification_started(&uid, Beside { attempt, state, end });
    running
}

/// Looks at the landing of this attempt, or starts it, likewise.
fn land<W: World>(
    world: &Arc<W>,
    base: &FhirExport,
    server: &Arc<FhirServer>,
    plan: Arc<LandPlan>,
) -> Landing {
    let (uid, attempt) = task_of(base);
    if let Some(state) = world.runs().look_at_landing(&uid, attempt) {
        return state;
    }
    let running = Landing::Running(LandProgress { of: plan.files.len() as u64, ..LandProgress::default() });
    let state = Arc::new(Mutex::new(running.clone()));
    let (namespace, name) = (base.namespace().unwrap_or_default(), base.name_any());
    let (beside, told, server) = (Arc::clone(world), Arc::clone(&state), Arc::clone(server));
    let task = async move {
        let progress = |progress: LandProgress| tell(&told, Landing::Running(progress));
        let result = landing::land(beside.as_ref(), &server, &plan, &progress).await;
        tell(&told, result);
        beside.wake_export(&namespace, &name);
    };
    let end = world.spawn(Box::pin(task));
    world.runs().landing_started(&uid, Beside { attempt, state, end });
    running
}

/// What a task belongs to: a run, and an attempt of it.
fn task_of(base: &FhirExport) -> (String, i32) {
    let attempt = base.status.as_ref().and_then(|s| s.attempts).unwrap_or(0);
    (base.uid().unwrap_or_default(), attempt)
}
