//! Reconciles one `FhirExportSchedule`: resolves the facts, decides, publishes the decision, performs its
//! effect, and repeats this while there is an effect.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;

use kube::ResourceExt;

use super::facts::folders_of_others;
use super::members;
use super::world::World;
use crate::api::{FhirExport, FhirExportSchedule, FhirExportScheduleStatus, UNREAD_ANNOTATION};
use crate::cluster::stores::template_server_key;
use crate::core::effect::{Note, Requeue};
use crate::core::planted::{Fault, planted};
use crate::core::schedule::{
    ScheduleDecision, ScheduleEffect, ScheduleFacts, ScheduleInputs, ScheduleObservation, active_names,
    decide_schedule, owned_by,
};
use crate::ports::{Clock, Cluster, ClusterFailure, Creation, ObjectStore, Stores};

/// The most effects of one reconcile. No path needs as many, so the bound only ends an endless loop.
const MAX_EFFECTS: usize = 12;
/// The wait after a reconcile that performed [`MAX_EFFECTS`] effects.
const BREATHER: Duration = Duration::from_secs(1);

/// Reconciles one schedule, and returns when to reconcile it again.
pub async fn reconcile_schedule<W: World>(
    world: &Arc<W>,
    object: Arc<FhirExportSchedule>,
) -> Result<Requeue, ClusterFailure> {
    if object.annotations().contains_key(UNREAD_ANNOTATION) {
        return Ok(Requeue::AwaitChange);
    }
    let mut look = Look { base: FhirExportSchedule::clone(&object), seen: None, fresh: HashMap::new() };
    // Boxed, because the future holds whole objects and many are queued.
    match Box::pin(look.go(world)).await {
        // The schedule was deleted meanwhile. The garbage collector deletes its runs.
        Err(ClusterFailure::NotFound) => Ok(Requeue::AwaitChange),
        result => result,
    }
}

/// One reconcile of a schedule, in progress.
struct Look {
    /// The schedule as the API server has it.
    base: FhirExportSchedule,
    seen: Option<ScheduleObservation>,
    /// Exports that this reconcile created or deleted, by uid, since the watch may lag behind. `None` stands
    /// for an export that is gone.
    fresh: HashMap<String, Option<Arc<FhirExport>>>,
}

impl Look {
    async fn go<W: World>(&mut self, world: &Arc<W>) -> Result<Requeue, ClusterFailure> {
        for _ in 0..MAX_EFFECTS {
            let facts = self.resolve(world.as_ref()).await?;
            let ScheduleDecision { status, effect, requeue, notes } = decide_schedule(ScheduleInputs {
                schedule: &self.base,
                facts: &facts,
                seen: self.seen.take(),
                now: world.clock().now(),
            });
            let creates = matches!(effect, Some(ScheduleEffect::Create(_)));
            let deletes = matches!(effect, Some(ScheduleEffect::Delete(_)));
            let early =
                creates && planted(Fault::SlotAfterRun) || deletes && planted(Fault::AbsorbAfterDelete);
            if !early {
                self.publish(world.as_ref(), &status, &notes, creates).await?;
            }
            let Some(effect) = effect else { return Ok(requeue) };
            self.seen = Some(self.perform(world, effect).await?);
            if early {
                self.publish(world.as_ref(), &status, &notes, creates).await?;
            }
        }
        Ok(Requeue::After(BREATHER))
    }

    /// The facts that the decision depends on. An active export that the watch does not show is read from the API
    /// server, so that no run is lost because the watch lags behind.
    async fn resolve<W: World>(&self, world: &W) -> Result<ScheduleFacts, ClusterFailure> {
        let uid = self.base.uid().unwrap_or_default();
        let namespace = self.base.namespace().unwrap_or_default();
        let (of_server, server) = template_server_key(&self.base);
        let server = world.stores().server(&of_server, &server);
        let mut children: HashMap<String, Arc<FhirExport>> = world
            .stores()
            .children_of(&uid)
            .iter()
            .map(|child| (child.uid().unwrap_or_default(), world.runs().newest(child)))
            .collect();
        for (uid, state) in &self.fresh {
            match state {
                Some(child) => drop(children.insert(uid.clone(), child.clone())),
                None => drop(children.remove(uid)),
            }
        }
        let status = self.base.status.clone().unwrap_or_default();
        for name in active_names(&status) {
            if children.values().any(|child| child.name_any() == name) {
                continue;
            }
            if let Some(child) = world.cluster().read_export(&namespace, name).await?
                && owned_by(&child, &uid)
            {
                children.insert(child.uid().unwrap_or_default(), Arc::new(child));
            }
        }
        let mut children: Vec<Arc<FhirExport>> = children.into_values().collect();
        children.sort_by_cached_key(|child| child.name_any());
        let claimed =
            if status.retention.is_some() { folders_of_others(world, &uid) } else { BTreeSet::new() };
        Ok(ScheduleFacts { server, children, claimed })
    }

    /// Writes the status if it changed, on the resource version that the decision was made on, and publishes
    /// the events only after that write. Before a run is created, an unchanged status is written too: a cache
    /// that lags may show a run as active and not yet created although it has ended and is gone. That write
    /// then ends in a conflict.
    async fn publish<W: World>(
        &mut self,
        world: &W,
        status: &FhirExportScheduleStatus,
        notes: &[Note],
        creates: bool,
    ) -> Result<(), ClusterFailure> {
        if creates || self.base.status.as_ref() != Some(status) {
            self.base = world.cluster().write_schedule_status(&self.base, status).await?;
        }
        for note in notes {
            world.cluster().publish_of_schedule(&self.base, note).await;
        }
        Ok(())
    }

    async fn perform<W: World>(
        &mut self,
        world: &Arc<W>,
        effect: ScheduleEffect,
    ) -> Result<ScheduleObservation, ClusterFailure> {
        match effect {
            ScheduleEffect::Create(export) => Ok(match world.cluster().create_export(&export).await? {
                Creation::Made(run) => {
                    let run = Arc::new(*run);
                    self.fresh.insert(run.uid().unwrap_or_default(), Some(run.clone()));
                    ScheduleObservation::Created(run)
                }
                Creation::Exists(other) => {
                    let other = Arc::new(*other);
                    if owned_by(&other, &self.base.uid().unwrap_or_default()) {
                        self.fresh.insert(other.uid().unwrap_or_default(), Some(other.clone()));
                    }
                    ScheduleObservation::Exists(other)
                }
                Creation::Refused(words) => ScheduleObservation::Refused(words),
            }),
            ScheduleEffect::Delete(run) => {
                world.cluster().delete_export(&run).await?;
                let namespace = run.namespace().unwrap_or_default();
                let left = world.cluster().read_export(&namespace, &run.name_any()).await?;
                let left = left.filter(|left| left.uid() == run.uid()).map(Arc::new);
                self.fresh.insert(run.uid().unwrap_or_default(), left);
                Ok(ScheduleObservation::Deleted)
            }
            ScheduleEffect::ListMembers(asked) => {
                let listing = members::listing(world, &self.base, &asked);
                Ok(ScheduleObservation::Members { asked, listing })
            }
            ScheduleEffect::DeleteFolder(server, plan) => {
                Ok(ScheduleObservation::FolderDeleted(world.objects().delete_folder(&server, &plan).await))
            }
        }
    }
}
