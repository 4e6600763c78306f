//! Performs effects: each returns one observation.

use std::sync::{Arc, Mutex};

use kube::ResourceExt;

use super::land_by_pods;
use super::landing;
use super::patients;
use super::runs::{Beside, tell};
use super::spans::Begun;
use super::world::World;
use crate::api::{FhirExport, FhirServer, IN_USE_FINALIZER, Reason};
use crate::core::effect::{Check, Effect, Observation};
use crate::core::landing::{LandFailure, LandFailureKind, LandPlan, LandProgress, LandState};
use crate::core::ledger::{Verification, VerifyPlan};
use crate::core::trace::{Outcome, SpanName, of_store};
use crate::core::wire::{Failure, reached};
use crate::ports::{Cluster, ClusterFailure, ExportTask, ObjectStore, Panicked, Target, Wire, guarded};

/// Performs one effect, and returns what was observed. `base` is the object as the API server has it, and is
/// replaced if the effect changes it.
///
/// # Errors
///
/// Fails if the API server did not do what was asked.
pub(super) async fn perform<W: World>(
    world: &Arc<W>,
    base: &mut FhirExport,
    server: Option<&Arc<FhirServer>>,
    effect: Effect,
) -> Result<Observation, ClusterFailure> {
    let on_the_object = match &effect {
        Effect::AddFinalizer => {
            if let Some(server) = server {
                hold_server(world.as_ref(), server).await?;
            }
            *base = world.cluster().set_export_finalizer(base, true).await?;
            world.runs().wrote(base);
            true
        }
        Effect::RemoveFinalizer => {
            *base = world.cluster().set_export_finalizer(base, false).await?;
            world.runs().wrote(base);
            true
        }
        Effect::DeleteSelf => {
            world.cluster().delete_export(base).await?;
            true
        }
        Effect::StopLanding => {
            world.runs().stop_landing(&base.uid().unwrap_or_default());
            true
        }
        Effect::Authorize(_)
        | Effect::KickOff(_)
        | Effect::Poll(_)
        | Effect::Cancel(_)
        | Effect::FindJobs { .. }
        | Effect::CountFiles { .. }
        | Effect::Verify(_)
        | Effect::Land(_)
        | Effect::CountType { .. }
        | Effect::StoreLog { .. }
        | Effect::StoreManifest { .. }
        | Effect::CleanUp(_) => false,
    };
    Ok(match server {
        Some(server) if !on_the_object => outside(world, base, server, effect).await,
        Some(_) | None => effect.without_server(),
    })
}

/// Adds the finalizer that keeps a server until its exports have ended, because it is needed to cancel them.
async fn hold_server<W: World>(world: &W, server: &FhirServer) -> Result<(), ClusterFailure> {
    if !server.finalizers().iter().any(|f| f == IN_USE_FINALIZER) {
        world.cluster().set_server_finalizer(server, true).await?;
    }
    Ok(())
}

/// Performs an effect outside the cluster, and returns what was observed.
pub(super) async fn outside<W: World>(
    world: &Arc<W>,
    base: &FhirExport,
    server: &Arc<FhirServer>,
    effect: Effect,
) -> Observation {
    let begun = Begun::effect(world.as_ref(), base, &effect);
    let seen = ask(world, base, server, effect).await;
    if let Some(begun) = begun {
        begun.observed(world.as_ref(), &seen);
    }
    seen
}

async fn ask<W: World>(
    world: &Arc<W>,
    base: &FhirExport,
    server: &Arc<FhirServer>,
    effect: Effect,
) -> Observation {
    match effect {
        Effect::Authorize(check) => Observation::Authorized(authorize(world.as_ref(), server, check).await),
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

/// Checks that a kick-off could be sent: credentials, token, list of patients, connection.
async fn authorize<W: World>(world: &W, server: &Arc<FhirServer>, check: Check) -> Result<(), Failure> {
    world.wire().authorize(server).await?;
    if let Some(list) = check.patients {
        patients::read(world, server, &list).await?;
    }
    match check.reach {
        Some(request) => reached(world.wire().send(server, &request).await),
        None => Ok(()),
    }
}

/// Returns the state of this attempt's verification. If there is none, starts it beside the reconcile,
/// because it may take hours.
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
    let begun = Begun::work(world.as_ref(), base, SpanName::Verify);
    let task = async move {
        let read = |files: u64| tell(&told, Verification::Running { files });
        let checked = guarded(beside.objects().verify(&server, &plan, &read)).await;
        let result = checked.map_or_else(
            |Panicked| {
                panicked(beside.as_ref(), ExportTask::Verification, &namespace, &name);
                Verification::Panicked
            },
            |result| result.map_or_else(Verification::Failed, Verification::Done),
        );
        if let Some(begun) = begun {
            begun.ended(beside.as_ref(), verified(&result), None);
        }
        tell(&told, result);
        beside.wake_export(&namespace, &name);
    };
    let end = world.spawn(Box::pin(task));
    world.runs().verification_started(&uid, Beside { attempt, state, end });
    running
}

/// Returns the state of this attempt's landing. If there is none, starts it beside the reconcile, because it
/// may take hours.
fn land<W: World>(
    world: &Arc<W>,
    base: &FhirExport,
    server: &Arc<FhirServer>,
    plan: Arc<LandPlan>,
) -> LandState {
    let (uid, attempt) = task_of(base);
    if let Some(state) = world.runs().look_at_landing(&uid, attempt) {
        return state;
    }
    let running = LandState::Running(LandProgress { of: plan.files.len() as u64, ..LandProgress::default() });
    let state = Arc::new(Mutex::new(running.clone()));
    let (namespace, name) = (base.namespace().unwrap_or_default(), base.name_any());
    let (beside, told, server) = (Arc::clone(world), Arc::clone(&state), Arc::clone(server));
    let of_run = uid.clone();
    let begun = Begun::work(world.as_ref(), base, SpanName::Land);
    let task = async move {
        let parts = begun.as_ref().map(Begun::parts);
        let progress = |progress: LandProgress| tell(&told, LandState::Running(progress));
        let landed = if land_by_pods::wanted(&server) {
            guarded(land_by_pods::land_by_pods(&beside, &of_run, &server, &plan, parts, &progress))
                .await
                .flatten()
        } else {
            // Pods may land for the run, if the FhirServer wanted them until now.
            land_by_pods::until_none_is_left(beside.as_ref(), &of_run).await;
            guarded(landing::land(&beside, &server, &plan, parts, &progress)).await.flatten()
        };
        let result = landed.unwrap_or_else(|Panicked| {
            panicked(beside.as_ref(), ExportTask::Landing, &namespace, &name);
            LandState::Failed(landing_panicked())
        });
        if let Some(begun) = begun {
            begun.ended(beside.as_ref(), landed_all(&result), None);
        }
        tell(&told, result);
        beside.wake_export(&namespace, &name);
    };
    let end = world.spawn(Box::pin(task));
    world.runs().landing_started(&uid, Beside { attempt, state, end });
    running
}

fn verified(result: &Verification) -> Outcome {
    match result {
        Verification::Failed(failure) => of_store(failure),
        Verification::Panicked => Outcome::Failed(Reason::TaskPanicked.as_str().to_owned()),
        Verification::Running { .. } | Verification::Done(_) => Outcome::Done,
    }
}

fn landed_all(result: &LandState) -> Outcome {
    match result {
        LandState::Failed(failure) => Outcome::Failed(failure.reason.as_str().to_owned()),
        LandState::Running(_) | LandState::Done(_) => Outcome::Done,
    }
}

/// Counts and logs that a task ended by a panic.
pub(super) fn panicked<W: World>(world: &W, task: ExportTask, namespace: &str, name: &str) {
    world.note_panic(task);
    tracing::error!(
        export = %format!("{namespace}/{name}"),
        ?task,
        "a programming error, please report it: a task ended by a panic; it is started again"
    );
}

fn landing_panicked() -> LandFailure {
    let message =
        "the task that lands the files ended by a defect of the operator, see its log; it is started again";
    LandFailure {
        kind: LandFailureKind::Panicked,
        reason: Reason::TaskPanicked,
        message: message.to_owned(),
        progress: LandProgress::default(),
        obstructed: Vec::new(),
    }
}

/// The uid of the run that a task belongs to, and the number of its attempt.
fn task_of(base: &FhirExport) -> (String, i32) {
    let attempt = base.status.as_ref().and_then(|s| s.attempts).unwrap_or(0);
    (base.uid().unwrap_or_default(), attempt)
}
