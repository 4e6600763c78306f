//! The reconcile of one `FhirExport`: resolve, decide, publish, perform, and again while there is something to do.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use kube::ResourceExt;

use super::facts::{resolve, server_of, wake_next};
use super::perform::perform;
use super::transitions;
use super::world::World;
use crate::api::{FhirExport, FhirExportStatus, FhirServer, RunState};
use crate::core::effect::{Effect, Note, Observation, Requeue};
use crate::core::export::{
    Decision, Inputs, JobOwner, Memory, competes, decide, holds_place, is_terminal, job_owner,
    must_write_first,
};
use crate::core::planted::{Fault, planted};
use crate::ports::{Clock, Cluster, ClusterFailure, Randomness};

/// Effects in one look: more than any path needs, so that none can spin.
const MAX_EFFECTS: usize = 12;
/// After so many effects the next look comes this much later.
const BREATHER: Duration = Duration::from_secs(1);

/// Looks at one export, does what is due, and says when to look again.
pub async fn reconcile_export<W: World>(
    world: &Arc<W>,
    object: Arc<FhirExport>,
) -> Result<Requeue, ClusterFailure> {
    let newest = world.runs().newest(&object);
    let uid = newest.uid().unwrap_or_default();
    let (memory, seen) = world.runs().recall(&uid);
    let mut look = Look {
        status: newest.status.clone().unwrap_or_default(),
        base: FhirExport::clone(&newest),
        memory,
        seen,
        notes: Vec::new(),
        competes: newest.status.as_ref().is_none_or(competes),
        polled: false,
    };
    let result = look.go(world).await;
    if let (true, Ok(Requeue::After(wait)), Some(RunState::Running)) =
        (look.polled, &result, look.status.state)
    {
        world.note_poll_wait(*wait);
    }
    let ended = look.base.status.as_ref().is_some_and(is_terminal);
    if ended && matches!(result, Ok(Requeue::AwaitChange)) {
        world.runs().ended(&uid);
    } else {
        world.runs().keep(&uid, look.memory, look.seen);
    }
    match result {
        // Deleted while we looked: there is nobody left to tell.
        Err(ClusterFailure::NotFound) => {
            world.runs().forget(&uid);
            Ok(Requeue::AwaitChange)
        }
        result => result,
    }
}

/// One look at an export.
struct Look {
    /// The object as the API server has it.
    base: FhirExport,
    /// The status as it should be; effects that only read do not wait for it to be written.
    status: FhirExportStatus,
    memory: Memory,
    seen: Option<Observation>,
    /// Events of decisions that are not written yet.
    notes: Vec<Note>,
    /// Whether others may wait behind it for a place.
    competes: bool,
    /// Whether the job was asked for its status.
    polled: bool,
}

impl Look {
    async fn go<W: World>(&mut self, world: &Arc<W>) -> Result<Requeue, ClusterFailure> {
        for _ in 0..MAX_EFFECTS {
            let mut current = self.base.clone();
            current.status = Some(self.status.clone());
            let mut facts = resolve(world.as_ref(), &current).await?;
            let mut next = self.decide(world, &current, &facts);
            while let Some(foreign) = not_ours(world.as_ref(), &current, &next.status) {
                facts.claimed.insert(foreign);
                next = self.decide(world, &current, &facts);
            }
            let stored = self.base.status.clone().unwrap_or_default();
            let write_first = must_write_first(&stored, &next);
            let Decision { status, memory, effect, requeue, notes, changes } = next;
            transitions::log_phases(&self.base, &changes);
            self.notes.extend(notes);
            if write_first {
                self.publish(world.as_ref(), &status).await?;
            }
            self.status = status;
            self.memory = memory;
            self.seen = None;
            self.note_place(world.as_ref(), facts.server.as_deref());
            let Some(effect) = effect else { return Ok(requeue) };
            self.polled |= matches!(effect, Effect::Poll(_));
            let settled = matches!(effect, Effect::DeleteSelf);
            let finalizer = matches!(effect, Effect::AddFinalizer | Effect::RemoveFinalizer);
            let seen = perform(world, &mut self.base, facts.server.as_ref(), effect).await?;
            if settled {
                return Ok(Requeue::AwaitChange);
            }
            if finalizer
                && self.base.metadata.deletion_timestamp.is_some()
                && self.base.finalizers().is_empty()
            {
                return Ok(Requeue::AwaitChange);
            }
            self.seen = Some(seen);
        }
        Ok(Requeue::After(BREATHER))
    }

    fn decide<W: World>(
        &self,
        world: &Arc<W>,
        current: &FhirExport,
        facts: &crate::core::export::Facts,
    ) -> Decision {
        decide(Inputs {
            export: current,
            facts,
            memory: &self.memory,
            seen: self.seen.clone(),
            tuning: world.tuning(),
            now: world.clock().now(),
            jitter: world.randomness().unit(),
        })
    }

    /// Writes the status if it changed, on the version that it was decided on; then, and only then, the events.
    async fn publish<W: World>(
        &mut self,
        world: &W,
        status: &FhirExportStatus,
    ) -> Result<(), ClusterFailure> {
        if self.base.status.as_ref() != Some(status) {
            let written = match world.cluster().write_export_status(&self.base, status).await {
                Err(ClusterFailure::Conflict) if planted(Fault::ConflictIgnored) => {
                    Ok(FhirExport { status: Some(status.clone()), ..self.base.clone() })
                }
                written => written,
            };
            if let Err(failure) = written {
                // The decision is made anew on the next look, with the same observation, and with it its events.
                self.notes.clear();
                return Err(failure);
            }
            let before = std::mem::replace(&mut self.base, written?);
            if self.notes.is_empty() {
                transitions::log_export(before.status.as_ref(), &self.base);
            }
            world.runs().wrote(&self.base);
        }
        for note in std::mem::take(&mut self.notes) {
            world.cluster().publish(&self.base, &note).await;
        }
        Ok(())
    }

    /// Who leaves a place, or the queue before having one, wakes the next; who ends may let the server go.
    fn note_place<W: World>(&mut self, world: &W, server: Option<&FhirServer>) {
        let uid = self.base.uid().unwrap_or_default();
        let gave_back = world.runs().note_place(&uid, holds_place(&self.status));
        let competed = std::mem::replace(&mut self.competes, competes(&self.status));
        if (gave_back || competed && !self.competes)
            && let Some(server) = server
        {
            wake_next(world, server);
        }
        if gave_back {
            let (namespace, name) = server_of(&self.base);
            world.wake_server(&namespace, &name);
        }
    }
}

/// The id of a job that the decision adopts although another run claimed it meanwhile.
fn not_ours<W: World>(world: &W, export: &FhirExport, status: &FhirExportStatus) -> Option<String> {
    let (job, server) = (status.job.as_ref()?, status.server.as_ref()?);
    let id = job.id.clone()?;
    let claimed = world.runs().claim(&server.url, &id, &export.uid().unwrap_or_default());
    let adopted = job_owner(status) == JobOwner::Adopted;
    let already: BTreeSet<&String> =
        export.status.iter().filter_map(|s| s.job.as_ref()?.id.as_ref()).collect();
    (!claimed && adopted && !already.contains(&id)).then_some(id)
}
