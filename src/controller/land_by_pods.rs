//! Lands the files of a run by the pods of a Job. The pods land; the ledger says how far they are; and what they could
//! not land, the operator lands itself at the end, or says why it cannot.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use super::landing::{Obstacle, land, open_ledger};
use super::world::World;
use crate::api::{FhirServer, Reason, TransferMode};
use crate::core::landing::{
    Assignments, LandFailure, LandFailureKind, LandPlan, LandProgress, LandState, assignments,
};
use crate::core::ledger::{Ledger, StorageFailureKind};
use crate::core::retry::after;
use crate::core::trace::Trace;
use crate::ports::{Clock, LandingPods, ObjectStore, Panicked, PodsFailure, PodsStand, Target};

/// The time between two looks at the pods and the ledger.
const LOOK: Duration = Duration::from_secs(10);
/// The time between two looks in the first minute, and while pods end.
const SOON: Duration = Duration::from_secs(1);
/// How many looks follow each other soon.
const SOON_LOOKS: u32 = 30;
/// How often the credentials of the pods are renewed: the tokens among them are good for an hour.
const RENEWED: Duration = Duration::from_mins(10);

/// Whether the files of this server are landed by pods.
pub(super) fn wanted(server: &FhirServer) -> bool {
    server.spec.transfer.as_ref().is_some_and(|transfer| transfer.mode == TransferMode::Job)
}

/// Lands all files of a plan by the pods of a Job, for the run with this uid. `trace` gets a span for each file that the
/// operator lands itself.
///
/// # Errors
///
/// Fails if the task of a file panicked.
pub(super) async fn land_by_pods<W: World>(
    world: &Arc<W>,
    uid: &str,
    server: &Arc<FhirServer>,
    plan: &Arc<LandPlan>,
    trace: Option<Trace>,
    told: &(dyn Fn(LandProgress) + Send + Sync),
) -> Result<LandState, Panicked> {
    let Some(pods) = world.landing_pods() else {
        let message = "the FhirServer wants its files to be landed by a Job, and the operator has no namespace for Jobs; \
                       set landingJobs.namespace of its chart, or transfer.mode of the FhirServer to Operator";
        return Ok(failed(Obstacle::new(LandFailureKind::Missing, Reason::DependencyMissing, message), plan));
    };
    if let Err(why) = follow(world.as_ref(), pods, uid, server, plan, told).await {
        // A store that is busy concerns the pods, too; whatever else is wrong may be that they must not go on.
        let passes = matches!(why.kind, LandFailureKind::Storage(StorageFailureKind::Transient { .. }));
        if !passes && let Err(error) = pods.end(uid).await {
            tracing::warn!("the pods of a landing are not ended yet: {error}");
        }
        return Ok(failed(why, plan));
    }
    let state = land(world, server, plan, trace, told).await?;
    // The next try begins with pods of its own.
    until_none_is_left(world.as_ref(), uid).await;
    Ok(state)
}

/// Ends the pods that land files of the run with this uid, and waits until none is left.
pub(super) async fn until_none_is_left<W: World>(world: &W, uid: &str) {
    let Some(pods) = world.landing_pods() else { return };
    loop {
        match pods.end(uid).await {
            Ok(true) => return,
            Ok(false) => {}
            Err(error) => tracing::warn!("the pods of a landing are not ended yet: {error}"),
        }
        world.clock().sleep(SOON).await;
    }
}

/// Follows the pods until they have ended.
async fn follow<W: World>(
    world: &W,
    pods: &dyn LandingPods,
    uid: &str,
    server: &Arc<FhirServer>,
    plan: &LandPlan,
    told: &(dyn Fn(LandProgress) + Send + Sync),
) -> Result<(), Obstacle> {
    let Some(landing) = assignments(server, plan) else {
        let message = "what is to land cannot be written as JSON; please report it";
        return Err(Obstacle::new(LandFailureKind::Permanent, Reason::UploadFailed, message));
    };
    let mut progress = progress(plan, &open_ledger(world, server, plan).await?);
    told(progress);
    if progress.files == progress.of {
        return Ok(());
    }
    hand_out(world, server, &landing).await?;
    let mut renewed = None;
    for look in 0_u32.. {
        let now = world.clock().now();
        if renewed.is_none_or(|at| after(at, RENEWED) <= now) {
            pods.equip(uid, server, &landing).await?;
            renewed = Some(now);
        }
        if pods.go_on(uid, server, &landing).await? == PodsStand::Ended {
            return Ok(());
        }
        world.clock().sleep(if look < SOON_LOOKS { SOON } else { LOOK }).await;
        let seen = self::progress(plan, &open_ledger(world, server, plan).await?);
        let (files, bytes) =
            (seen.files.saturating_sub(progress.files), seen.bytes.saturating_sub(progress.bytes));
        if files > 0 {
            world.note_landed(files, bytes);
            progress = seen;
            told(progress);
        }
    }
    Ok(())
}

/// Writes the plan into the container, where the pods read it.
async fn hand_out<W: World>(
    world: &W,
    server: &Arc<FhirServer>,
    landing: &Assignments,
) -> Result<(), Obstacle> {
    let target = Target::new(server, &landing.assignment.container);
    world.objects().store(target, &landing.assignment.plan, &landing.body).await?;
    Ok(())
}

/// How much of a plan the ledger has.
fn progress(plan: &LandPlan, ledger: &Ledger) -> LandProgress {
    let keys: HashSet<&str> = plan.files.iter().map(|file| file.blob.as_str()).collect();
    let mut progress = LandProgress { of: plan.files.len() as u64, ..LandProgress::default() };
    for entry in &ledger.landed {
        if let Some(marks) = entry.marks.as_ref().filter(|_| keys.contains(entry.blob.as_str())) {
            progress.files += 1;
            progress.bytes += marks.sum.bytes;
        }
    }
    progress
}

fn failed(why: Obstacle, plan: &LandPlan) -> LandState {
    let Obstacle { kind, reason, message, .. } = why;
    let progress = LandProgress { of: plan.files.len() as u64, ..LandProgress::default() };
    LandState::Failed(LandFailure { kind, reason, message, progress, obstructed: Vec::new() })
}

impl From<PodsFailure> for Obstacle {
    fn from(failure: PodsFailure) -> Self {
        Self::new(LandFailureKind::Missing, failure.reason, failure.message)
    }
}
