//! The reconcile of one `FhirExportSchedule`: resolve, step, publish, perform, and again while there is something to
//! do.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;

use kube::ResourceExt;

use super::facts::folders_of_others;
use super::members;
use super::world::World;
use crate::api::{FhirExport, FhirExportSchedule, FhirExportScheduleStatus};
use crate::cluster::stores::template_server_key;
use crate::core::effect::{Note, Requeue};
use crate::core::schedule::{Effect, Facts, Inputs, Observation, Step, named, owned_by, step};
use crate::ports::{Clock, Cluster, ClusterFailure, Creation, ObjectStore, Stores};

/// Effects in one look: more than any path needs, so that none can spin.
const MAX_EFFECTS: usize = 12;
/// After so many effects the next look comes this much later.
const BREATHER: Duration = Duration::from_secs(1);

/// Looks at one schedule, does what is due, and says when to look again.
pub async fn reconcile_schedule<W: World>(
    world: &Arc<W>,
    object: Arc<FhirExportSchedule>,
) -> Result<Requeue, ClusterFailure> {
    let mut look = Look { base: FhirExportSchedule::clone(&object), seen: None, fresh: HashMap::new() };
    // Boxed: with the objects that it holds it is too large for a queue of many.
    match Box::pin(look.go(world.as_ref())).await {
        // Deleted while we looked: its runs go with it.
        Err(ClusterFailure::NotFound) => Ok(Requeue::AwaitChange),
        result => result,
    }
}

/// One look at a schedule.
struct Look {
    /// The object as the API server has it.
    base: FhirExportSchedule,
    seen: Option<Observation>,
    /// Runs that this look made or deleted, by uid: the watch may not show that yet. None: it is gone.
    fresh: HashMap<String, Option<Arc<FhirExport>>>,
}

impl Look {
    async fn go<W: World>(&mut self, world: &W) -> Result<Requeue, ClusterFailure> {
        for _ in 0..MAX_EFFECTS {
            let facts = self.resolve(world).await?;
            let Step { status, effect, requeue, notes } = step(Inputs {
                schedule: &self.base,
                facts: &facts,
                seen: self.seen.take(),
                now: world.clock().now(),
            });
            self.publish(world, &status, &notes).await?;
            let Some(effect) = effect else { return Ok(requeue) };
            self.seen = Some(self.perform(world, effect).await?);
        }
        Ok(Requeue::After(BREATHER))
    }

    /// What the decision needs to know beside the object. What the status calls active is asked of the API server,
    /// if the watch does not show it: a run is not lost because the watch lags.
    async fn resolve<W: World>(&self, world: &W) -> Result<Facts, ClusterFailure> {
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
        for name in named(&status) {
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
        Ok(Facts { server, children, claimed })
    }

    /// Writes the status if it changed, on the version that it was decided on; then, and only then, the events.
    async fn publish<W: World>(
        &mut self,
        world: &W,
        status: &FhirExportScheduleStatus,
        notes: &[Note],
    ) -> Result<(), ClusterFailure> {
        if self.base.status.as_ref() != Some(status) {
            self.base = world.cluster().write_schedule_status(&self.base, status).await?;
        }
        for note in notes {
            world.cluster().publish_of_schedule(&self.base, note).await;
        }
        Ok(())
    }

    async fn perform<W: World>(&mut self, world: &W, effect: Effect) -> Result<Observation, ClusterFailure> {
        match effect {
            Effect::Create(export) => Ok(match world.cluster().create_export(&export).await? {
                Creation::Made(run) => {
                    let run = Arc::new(*run);
                    self.fresh.insert(run.uid().unwrap_or_default(), Some(run.clone()));
                    Observation::Made(run)
                }
                Creation::Exists(other) => {
                    let other = Arc::new(*other);
                    if owned_by(&other, &self.base.uid().unwrap_or_default()) {
                        self.fresh.insert(other.uid().unwrap_or_default(), Some(other.clone()));
                    }
                    Observation::Exists(other)
                }
                Creation::Refused(words) => Observation::Refused(words),
            }),
            Effect::Delete(run) => {
                world.cluster().delete_export(&run).await?;
                let namespace = run.namespace().unwrap_or_default();
                let left = world.cluster().read_export(&namespace, &run.name_any()).await?;
                let left = left.filter(|left| left.uid() == run.uid()).map(Arc::new);
                self.fresh.insert(run.uid().unwrap_or_default(), left);
                Ok(Observation::Deleted)
            }
            Effect::ListMembers { server, export, before } => {
                let listed = members::list(world, &server, &export, before.as_ref()).await;
                Ok(listed.map_or_else(Observation::Unlisted, Observation::Listed))
            }
            Effect::DeleteFolder(server, plan) => {
                Ok(Observation::FolderDeleted(world.objects().delete_folder(&server, &plan).await))
            }
        }
    }
}
