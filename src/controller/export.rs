//! Reconciles one `FhirExport`: resolves the facts, decides, writes the status, performs the effect, and
//! repeats this while something is due.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use kube::ResourceExt;

use super::facts::resolve;
use super::perform::perform;
use super::places::wake_next;
use super::request::{self, Asked};
use super::runs::{Kept, Unwritten};
use super::transitions;
use super::world::World;
use crate::api::{FhirExport, FhirExportStatus, FhirServer, RunState, UNREAD_ANNOTATION};
use crate::cluster::stores::server_key;
use crate::core::effect::{Effect, Note, Observation, Requeue};
use crate::core::export::{
    Decision, Facts, Inputs, JobOwner, Memory, competes, decide, ends_pods, holds_place, is_terminal,
    job_owner, must_write_first,
};
use crate::core::planted::{Fault, planted};
use crate::core::trace;
use crate::ports::{Clock, Cluster, ClusterFailure, Randomness};

/// The most effects, requests included, before a run rests. No path needs as many, so the bound only ends an
/// endless loop.
const MAX_EFFECTS: usize = 12;
/// The wait before the next look at a run whose look stopped at the largest number of effects.
pub const BREATHER: Duration = Duration::from_secs(1);
/// The wait before the next look at an export without a seat. Its deadline may come before the seat does.
const WITHOUT_SEAT: Duration = Duration::from_mins(5);

/// Looks at one export, does what is due, and returns when to look again. A request to a server or to storage
/// is sent beside the reconcile: the look ends with it, and the next one continues with its answer.
///
/// # Errors
///
/// Fails if a call to the API server fails. The state of the run is kept for the next look.
pub async fn reconcile_export<W: World>(
    world: &Arc<W>,
    object: Arc<FhirExport>,
) -> Result<Requeue, ClusterFailure> {
    let newest = world.runs().newest(&object);
    // The watch may have shown a newer object than the one that this look began with.
    if [&object, &newest].iter().any(|seen| seen.annotations().contains_key(UNREAD_ANNOTATION)) {
        return Ok(Requeue::AwaitChange);
    }
    let uid = newest.uid().unwrap_or_default();
    // A request of the run is on its way. Its answer wakes the export, and the next look sees all changes.
    let Some(kept) = world.runs().recall(&uid) else { return Ok(Requeue::AwaitChange) };
    let owed = world.runs().owes(&uid);
    let mut look = Look::go_on(&newest, kept);
    match look.go(world).await {
        Ok(Looked::Asks(asked)) => {
            let base = look.base.clone();
            world.runs().goes_out(&uid, look.stopped(), asked.effect.is_waited_for());
            request::send(world, base, *asked);
            Ok(Requeue::AwaitChange)
        }
        Ok(Looked::HasNoSeat) => {
            world.runs().keep(&uid, look.stopped(), false);
            Ok(Requeue::After(WITHOUT_SEAT))
        }
        Ok(Looked::Rests(requeue)) => {
            if let (true, Requeue::After(wait), Some(RunState::Running)) =
                (look.polled, requeue, look.status.state)
            {
                world.note_poll_wait(wait);
            }
            let ended = look.base.status.as_ref().is_some_and(is_terminal);
            if ended && requeue == Requeue::AwaitChange {
                request::wake(world.as_ref(), &world.runs().ended(&uid));
            } else {
                request::keep(world.as_ref(), &uid, look.over(), false);
            }
            Ok(requeue)
        }
        // The export was deleted during the look, so its state is no longer needed.
        Err(ClusterFailure::NotFound) => {
            request::forget(world.as_ref(), &uid);
            Ok(Requeue::AwaitChange)
        }
        Err(failure) => {
            // After a conflict the next look writes the answer, even if the operator was told to stop.
            let owes = owed && failure == ClusterFailure::Conflict;
            if failure == ClusterFailure::Conflict {
                read_again(world.as_ref(), &object).await;
            }
            request::keep(world.as_ref(), &uid, look.over(), owes);
            Err(failure)
        }
    }
}

/// Replaces this process's copy of an export by the one that the API server has, if the copy is newer than
/// what the watch shows. After a restore of etcd, such a copy would otherwise hide the restored object for
/// ever. If the export cannot be read, the copy stays, and the next conflict tries again.
async fn read_again<W: World>(world: &W, shown: &Arc<FhirExport>) {
    if Arc::ptr_eq(&world.runs().newest(shown), shown) {
        return;
    }
    let (namespace, name) = (shown.namespace().unwrap_or_default(), shown.name_any());
    if let Ok(Some(stored)) = world.cluster().read_export(&namespace, &name).await
        && stored.uid() == shown.uid()
    {
        world.runs().wrote(&stored);
    }
}

/// Why a look at an export has stopped.
enum Looked {
    /// Nothing is due until this requeue or a change.
    Rests(Requeue),
    /// A request must be sent beside the reconcile.
    Asks(Box<Asked>),
    /// A request is due, but no seat is free. The export is woken when it gets one.
    HasNoSeat,
}

/// One look at an export.
struct Look {
    /// The object as the API server has it.
    base: FhirExport,
    /// The status that the decisions led to. Effects that only read do not wait until it is written.
    status: FhirExportStatus,
    memory: Memory,
    seen: Option<Observation>,
    /// Events of decisions whose status is not written yet.
    notes: Vec<Note>,
    /// Whether the run, without a place, may want one. Then others may wait behind it.
    competes: bool,
    /// Effects since the run last came to rest.
    effects: usize,
    /// Whether this look began with the answer to a poll.
    polled: bool,
}

impl Look {
    /// Continues where the last look stopped. Decisions that it did not write are kept only if the export has
    /// not changed since.
    fn go_on(newest: &FhirExport, kept: Kept) -> Self {
        let Kept { memory, seen, unwritten } = kept;
        let stored = || newest.status.clone().unwrap_or_default();
        let unwritten = unwritten.filter(|unwritten| unwritten.version == newest.resource_version());
        let (status, notes, effects) = unwritten.map_or_else(
            || (stored(), Vec::new(), 0),
            |kept| {
                let Unwritten { status, notes, effects, .. } = *kept;
                (status, notes, effects)
            },
        );
        Self {
            base: newest.clone(),
            competes: competes(&status),
            effects,
            polled: matches!(seen, Some(Observation::Poll(_))),
            status,
            memory,
            seen,
            notes,
        }
    }

    /// Returns the state that the next look needs to continue where this one stopped.
    fn stopped(self) -> Kept {
        let version = self.base.resource_version();
        let unwritten = Unwritten { version, status: self.status, notes: self.notes, effects: self.effects };
        Kept { memory: self.memory, seen: self.seen, unwritten: Some(Box::new(unwritten)) }
    }

    /// Returns the state for the look after this one ended or failed. It drops decisions that were not written.
    fn over(self) -> Kept {
        Kept { memory: self.memory, seen: self.seen, unwritten: None }
    }

    async fn go<W: World>(&mut self, world: &Arc<W>) -> Result<Looked, ClusterFailure> {
        while self.effects < MAX_EFFECTS {
            let (server, next) = self.decide(world).await?;
            let lane = server.as_deref().and_then(|server| next.effect.as_ref()?.lane(server));
            let seated = lane.as_ref().is_none_or(|lane| request::sit(world.as_ref(), &self.base, lane));
            let stored = self.base.status.clone().unwrap_or_default();
            if !seated && !names_new_job(&stored, &next) {
                // The look after the export gets a seat decides again.
                return Ok(Looked::HasNoSeat);
            }
            if ends_pods(&stored, &next) {
                end_pods(world.as_ref(), &self.base).await?;
            }
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
            self.note_place(world.as_ref(), server.as_deref());
            let Some(effect) = effect else { return Ok(Looked::Rests(requeue)) };
            if !seated {
                return Ok(Looked::HasNoSeat);
            }
            self.effects += 1;
            if let (Some(_), Some(server)) = (lane, &server) {
                return Ok(Looked::Asks(Box::new(Asked { server: Arc::clone(server), effect })));
            }
            let settled = matches!(effect, Effect::DeleteSelf);
            let finalizer = matches!(effect, Effect::AddFinalizer | Effect::RemoveFinalizer);
            let seen = perform(world, &mut self.base, server.as_ref(), effect).await?;
            if settled {
                return Ok(Looked::Rests(Requeue::AwaitChange));
            }
            if finalizer
                && self.base.metadata.deletion_timestamp.is_some()
                && self.base.finalizers().is_empty()
            {
                if let Some(span) =
                    world.traces().then(|| trace::deleted(&self.base, world.clock().now())).flatten()
                {
                    world.note_span(span);
                }
                return Ok(Looked::Rests(Requeue::AwaitChange));
            }
            self.seen = Some(seen);
        }
        Ok(Looked::Rests(Requeue::After(BREATHER)))
    }

    /// Resolves the facts and decides the next step. If the decision adopts a job that another run has
    /// claimed meanwhile, this decides again without that job.
    async fn decide<W: World>(
        &self,
        world: &Arc<W>,
    ) -> Result<(Option<Arc<FhirServer>>, Decision), ClusterFailure> {
        let mut current = self.base.clone();
        current.status = Some(self.status.clone());
        let searched = matches!(self.seen, Some(Observation::Jobs(_)));
        let mut facts = resolve(world.as_ref(), &current, searched).await?;
        let mut next = self.decide_on(world, &current, &facts);
        while let Some(foreign) = not_ours(world.as_ref(), &current, &next.status) {
            facts.claimed.insert(foreign);
            next = self.decide_on(world, &current, &facts);
        }
        Ok((facts.server, next))
    }

    fn decide_on<W: World>(&self, world: &Arc<W>, current: &FhirExport, facts: &Facts) -> Decision {
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

    /// Writes the status if it changed, on the resource version that the decision was made on, and publishes
    /// the events only after that write.
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
                // The next look makes this decision again from the same observation, and with it its events.
                self.notes.clear();
                return Err(failure);
            }
            let before = std::mem::replace(&mut self.base, written?);
            if self.notes.is_empty() {
                transitions::log_export(before.status.as_ref(), &self.base);
            }
            if let Some(span) =
                world.traces().then(|| trace::ended(before.status.as_ref(), &self.base)).flatten()
            {
                world.note_span(span);
            }
            world.runs().wrote(&self.base);
        }
        for note in std::mem::take(&mut self.notes) {
            world.cluster().publish(&self.base, &note).await;
        }
        Ok(())
    }

    /// Records whether the run holds a place. A run that gave its place back, or left the queue without one,
    /// wakes the exports that get a place now. A run that gave its place back also wakes the server, which
    /// may now be released.
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
            let (namespace, name) = server_key(&self.base);
            world.wake_server(&namespace, &name);
        }
    }
}

/// Ends the pods that land files of this run.
///
/// # Errors
///
/// Fails until none is left, so that the look is repeated and the run goes no farther meanwhile.
async fn end_pods<W: World>(world: &W, export: &FhirExport) -> Result<(), ClusterFailure> {
    let Some(pods) = world.landing_pods() else { return Ok(()) };
    let uid = export.uid().unwrap_or_default();
    // The task would make the Job anew.
    world.runs().stop_landing(&uid);
    if pods.end(&uid).await? {
        return Ok(());
    }
    Err(ClusterFailure::Other("the pods that land the files of this run are ending".to_owned()))
}

/// Whether the decision holds a job's status URL that is not in the stored status. Nothing may delay that write.
fn names_new_job(stored: &FhirExportStatus, decision: &Decision) -> bool {
    let url = |status: &FhirExportStatus| status.job.as_ref().and_then(|job| job.status_url.clone());
    url(&decision.status).is_some() && url(&decision.status) != url(stored)
}

/// Claims the job of the decision for this run. Returns the job's id if the decision newly adopts a job that
/// another run has claimed.
fn not_ours<W: World>(world: &W, export: &FhirExport, status: &FhirExportStatus) -> Option<String> {
    let (job, server) = (status.job.as_ref()?, status.server.as_ref()?);
    let id = job.id.clone()?;
    let claimed = world.runs().claims().claim(&server.url, &id, &export.uid().unwrap_or_default());
    let adopted = job_owner(status) == JobOwner::Adopted;
    let already: BTreeSet<&String> =
        export.status.iter().filter_map(|s| s.job.as_ref()?.id.as_ref()).collect();
    (!claimed && adopted && !already.contains(&id)).then_some(id)
}
