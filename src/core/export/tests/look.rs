//! A reconcile in miniature: facts, decision, write and effect, in the order of the controller.

use super::law;
use super::world::{Broken, World};
use crate::api::{CANCEL_FINALIZER, FhirExport, FhirExportStatus};
use crate::core::effect::{Effect, Observation, Requeue};
use crate::core::export::{Decision, Facts, Inputs, decide, holds_place, is_terminal, must_write_first};
use crate::core::ledger::Verification;

/// The next step after a decision was applied.
pub(super) enum Applied {
    /// An effect is to be performed.
    Effect(Box<Effect>),
    /// There is nothing to do before this time.
    Wait(std::time::Duration),
    /// There is nothing to do.
    Rest,
}

impl World {
    /// Makes and applies one decision, without performing its effect.
    pub(super) fn apply(&mut self, seen: Option<Observation>) -> Applied {
        let current = self.export.clone();
        let facts = self.facts(&self.status());
        let decided = self.decide(&current, &facts, seen);
        law::step(self, &current, &facts, &decided);
        self.take(&decided);
        match (decided.effect, decided.requeue) {
            (Some(effect), _) => Applied::Effect(Box::new(effect)),
            (None, Requeue::After(wait)) => Applied::Wait(wait),
            (None, Requeue::AwaitChange) => Applied::Rest,
        }
    }

    /// Makes a decision the state of the world.
    pub(super) fn take(&mut self, decided: &Decision) {
        self.write(&decided.status);
        self.memory = decided.memory.clone();
        self.placed = holds_place(&decided.status);
    }

    pub(super) fn facts(&self, status: &FhirExportStatus) -> Facts {
        let waiting = !is_terminal(status) && status.job.is_none();
        Facts {
            server: self.server.clone(),
            namespace_admitted: !waiting || self.admitted,
            place: !waiting || holds_place(status) || self.placed || !self.full,
            claimed: self.claimed.clone(),
            followers: self.followers,
        }
    }

    /// Looks at the run like the controller; broken off after this many steps if asked.
    pub(super) fn look_broken(&mut self, broken: Option<(usize, Broken)>) -> Option<Requeue> {
        if self.gone {
            return Some(Requeue::AwaitChange);
        }
        let mut status = self.status();
        let mut seen = self.unsaved.take();
        let mut notes = Vec::new();
        for n in 0..12 {
            let broken = broken.filter(|(at, _)| *at == n).map(|(_, how)| how);
            let mut current = self.export.clone();
            current.status = Some(status.clone());
            let facts = self.facts(&status);
            let decided = self.decide(&current, &facts, seen.clone());
            law::step(self, &current, &facts, &decided);
            self.witness.see(&decided);
            let Decision { status: new, memory, effect, requeue, notes: told, .. } = decided.clone();
            notes.extend(told);
            if effect.is_none() || must_write_first(&self.status(), &decided) {
                match broken {
                    Some(Broken::BeforeWrite) => {
                        self.kill();
                        return None;
                    }
                    Some(Broken::Conflict) if Some(&new) != self.export.status.as_ref() => {
                        self.unsaved = seen;
                        return None;
                    }
                    _ => {}
                }
                self.write(&new);
                self.notes.append(&mut notes);
            }
            status = new;
            self.memory = memory;
            self.placed = holds_place(&status);
            let Some(effect) = effect else { return Some(requeue) };
            if broken == Some(Broken::AfterWrite) {
                self.kill();
                return None;
            }
            law::effect(self, &status, &effect);
            let observation = self.perform(effect);
            if self.gone {
                return Some(Requeue::AwaitChange);
            }
            if broken == Some(Broken::AfterEffect) {
                self.kill();
                return None;
            }
            seen = Some(observation);
        }
        panic!("twelve effects in one look: {status:#?}");
    }

    pub(super) fn decide(&self, current: &FhirExport, facts: &Facts, seen: Option<Observation>) -> Decision {
        decide(Inputs {
            export: current,
            facts,
            memory: &self.memory,
            seen,
            tuning: &self.tuning,
            now: self.now,
            jitter: self.jitter,
        })
    }

    fn write(&mut self, status: &FhirExportStatus) {
        if self.export.status.as_ref() != Some(status) {
            law::write(self, status);
            self.export.status = Some(status.clone());
            self.status_writes += 1;
        }
    }

    pub(super) fn perform(&mut self, effect: Effect) -> Observation {
        match effect {
            Effect::AddFinalizer => {
                assert!(self.export.metadata.deletion_timestamp.is_none(), "the API server forbids that");
                self.export.metadata.finalizers = Some(vec![CANCEL_FINALIZER.to_owned()]);
                self.other_writes += 1;
                Observation::FinalizerChanged
            }
            Effect::RemoveFinalizer => {
                self.export.metadata.finalizers = None;
                self.other_writes += 1;
                self.gone = self.export.metadata.deletion_timestamp.is_some();
                Observation::FinalizerChanged
            }
            Effect::DeleteSelf => {
                self.delete();
                Observation::DeletedSelf
            }
            _ if self.server.is_none() => effect.without_server(),
            Effect::Authorize(check) => Observation::Authorized(self.fake.authorize(check.reach.is_some())),
            Effect::KickOff(request) => Observation::KickOff(self.fake.kick_off(&request, self.now)),
            Effect::Poll(request) => Observation::Poll(self.fake.poll(&request, self.now)),
            Effect::Cancel(request) => Observation::Cancel(self.fake.delete(&request, self.now)),
            Effect::FindJobs { container, after } => {
                Observation::Jobs(self.fake.find_jobs(container.as_deref(), after))
            }
            Effect::CountFiles { .. } => Observation::Files(self.fake.count_files()),
            Effect::Verify(plan) if self.checking => {
                self.checking = false;
                Observation::Verification(self.fake.verify(&plan))
            }
            Effect::Verify(_) => {
                self.checking = true;
                Observation::Verification(Verification::Running { files: 0 })
            }
            Effect::StoreManifest { body, .. } => Observation::ManifestStored(self.fake.store(&body)),
            Effect::StoreLog { body, .. } => Observation::LogStored(self.fake.store_log(&body)),
            Effect::Land(plan) => Observation::Landing(self.fake.land(&plan)),
            Effect::StopLanding => {
                self.fake.landing_stopped += 1;
                Observation::LandingStopped
            }
            Effect::CountType { type_, request } => {
                Observation::TypeCounted { reply: Ok(self.fake.count_type(&type_, &request)), type_ }
            }
            Effect::CleanUp(request) => Observation::CleanedUp(self.fake.clean_up(&request)),
        }
    }
}
