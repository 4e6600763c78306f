//! A made-up cluster, a clock, and an operator that can be killed at any point.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use serde_json::Value;

use super::fake::{Fake, KickOff};
use super::{export, start};
use crate::api::{
    CANCEL_FINALIZER, Condition, ConditionType, FhirExport, FhirExportStatus, FhirServer, RunState,
};
use crate::core::condition;
use crate::core::effect::{Note, Observation, Requeue};
use crate::core::export::memory::LandingStage;
use crate::core::export::{Decision, Followers, Memory, Phase, PhaseName, is_terminal};
use crate::core::tuning::Tuning;
use crate::core::wire::{Failure, FailureKind, Sent};

/// The point at which a look is broken off.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Broken {
    /// The operator is killed before the status is written.
    BeforeWrite,
    /// The operator is killed after the write and before the effect.
    AfterWrite,
    /// The operator is killed after the effect, before its result is taken in.
    AfterEffect,
    /// The API server refuses the write: somebody else changed the object.
    Conflict,
}

/// The state of a test: cluster, clock and operator.
#[allow(clippy::struct_excessive_bools)] // each is a switch of its own
#[derive(Clone)]
pub(super) struct World {
    /// The object in the API server.
    pub(super) export: FhirExport,
    pub(super) server: Option<Arc<FhirServer>>,
    pub(super) fake: Fake,
    pub(super) now: Timestamp,
    pub(super) jitter: f64,
    pub(super) tuning: Tuning,
    pub(super) admitted: bool,
    /// Whether other exports have taken all places of the server.
    pub(super) full: bool,
    pub(super) claimed: BTreeSet<String>,
    /// Other exports that name the same job.
    pub(super) followers: Followers,
    pub(super) gone: bool,
    pub(super) status_writes: usize,
    pub(super) other_writes: usize,
    pub(super) notes: Vec<Note>,
    pub(super) memory: Memory,
    pub(super) unsaved: Option<Observation>,
    pub(super) checking: bool,
    /// Whether this process gave the run a place, although the status may not show it yet.
    pub(super) placed: bool,
    /// The phases that the run went through, and the conditions that it showed in them.
    pub(super) witness: Witness,
}

/// The moves and conditions that were seen.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Witness {
    pub(super) changes: BTreeSet<(PhaseName, PhaseName)>,
    pub(super) words: BTreeSet<(PhaseName, RunState)>,
    pub(super) shown: BTreeSet<(PhaseName, String, String, &'static str)>,
}

impl Witness {
    pub(super) fn see(&mut self, decided: &Decision) {
        self.changes.extend(decided.changes.iter().copied());
        self.words.extend(decided.status.state.map(|word| (decided.memory.phase.name(), word)));
        let shown = crate::core::export::states::witness::take();
        self.shown.extend(shown.into_iter().map(|(phase, c, status, reason)| {
            (phase, c.to_string(), format!("{status:?}"), reason.as_str())
        }));
    }

    pub(super) fn add(&mut self, other: &Self) {
        self.changes.extend(other.changes.iter().copied());
        self.words.extend(other.words.iter().copied());
        self.shown.extend(other.shown.iter().cloned());
    }
}

impl World {
    /// A world with this server and an export of these fields of `spec`.
    pub(super) fn new(server: FhirServer, spec: Value) -> Self {
        let bulk = server.spec.dialect == crate::api::Dialect::BulkData;
        Self {
            export: export(spec),
            server: Some(Arc::new(server)),
            fake: Fake { bulk, ..Fake::new() },
            now: start(),
            jitter: 0.5,
            tuning: Tuning::default(),
            admitted: true,
            full: false,
            claimed: BTreeSet::new(),
            followers: Followers::None,
            gone: false,
            status_writes: 0,
            other_writes: 0,
            notes: Vec::new(),
            memory: Memory::default(),
            unsaved: None,
            checking: false,
            placed: false,
            witness: Witness::default(),
        }
    }

    pub(super) fn status(&self) -> FhirExportStatus {
        self.export.status.clone().unwrap_or_default()
    }

    pub(super) fn condition(&self, type_: ConditionType) -> Option<Condition> {
        condition::find(&self.status().conditions, type_).cloned()
    }

    /// `True/Reason`, or an empty text if the condition is not set.
    pub(super) fn says(&self, type_: ConditionType) -> String {
        self.condition(type_).map(|c| format!("{:?}/{}", c.status, c.reason)).unwrap_or_default()
    }

    pub(super) fn message(&self, type_: ConditionType) -> String {
        self.condition(type_).map(|c| c.message).unwrap_or_default()
    }

    pub(super) fn state(&self) -> String {
        self.status().state_word().unwrap_or_default().to_owned()
    }

    /// How often storing the manifest has failed so far.
    pub(super) fn store_failures(&self) -> u32 {
        match &self.memory.phase {
            Phase::Checking(checking) => checking.store.retry.failures,
            Phase::Landing(landing) => match &landing.stage {
                LandingStage::Landed(concluding) => concluding.store.retry.failures,
                LandingStage::Copying { .. } | LandingStage::GivingUp { .. } => 0,
            },
            _ => 0,
        }
    }

    pub(super) fn ended(&self) -> bool {
        is_terminal(&self.status())
    }

    pub(super) fn held(&self) -> bool {
        self.export.metadata.finalizers.iter().flatten().any(|f| f == CANCEL_FINALIZER)
    }

    pub(super) fn noted(&self) -> Vec<&'static str> {
        self.notes.iter().map(|n| n.reason.as_str()).collect()
    }

    pub(super) fn pass(&mut self, seconds: i64) {
        self.now += SignedDuration::from_secs(seconds);
    }

    /// Edits the spec.
    pub(super) fn edit(&mut self, change: impl FnOnce(&mut crate::api::FhirExportSpec)) {
        change(&mut self.export.spec);
        *self.export.metadata.generation.as_mut().unwrap() += 1;
    }

    pub(super) fn edit_server(&mut self, change: impl FnOnce(&mut FhirServer)) {
        let mut server = FhirServer::clone(self.server.as_ref().unwrap());
        change(&mut server);
        self.server = Some(Arc::new(server));
    }

    /// Deletes the object.
    pub(super) fn delete(&mut self) {
        if self.held() {
            let time = k8s_openapi::apimachinery::pkg::apis::meta::v1::Time(self.now);
            self.export.metadata.deletion_timestamp.get_or_insert(time);
        } else {
            self.gone = true;
        }
    }

    /// Kills the operator, which loses its memory.
    pub(super) fn kill(&mut self) {
        self.memory = Memory::default();
        self.unsaved = None;
        self.checking = false;
        self.placed = false;
    }

    pub(super) fn look(&mut self) -> Requeue {
        self.look_broken(None).unwrap()
    }

    /// Looks, and lets the time pass that the operator wants to wait, until it has nothing to wait for or
    /// `until` holds. Returns whether it held.
    pub(super) fn run_until(&mut self, until: impl Fn(&Self) -> bool) -> bool {
        self.go(Timestamp::MAX, until)
    }

    fn go(&mut self, end: Timestamp, until: impl Fn(&Self) -> bool) -> bool {
        for _ in 0..3000 {
            let requeue = self.look();
            if until(self) {
                return true;
            }
            match requeue {
                Requeue::AwaitChange => return false,
                Requeue::After(wait) => {
                    let left = end.duration_since(self.now);
                    self.now += left.min(SignedDuration::try_from(wait).unwrap());
                }
            }
            if self.now >= end {
                return false;
            }
        }
        panic!("no end in sight: {:#?}", self.status());
    }

    /// Looks until there is nothing left to do.
    pub(super) fn run(&mut self) {
        self.run_until(|_| false);
    }

    pub(super) fn run_for(&mut self, wait: Duration) {
        let end = self.now + SignedDuration::try_from(wait).unwrap();
        self.go(end, |_| false);
        self.now = self.now.max(end);
        self.look();
    }

    pub(super) fn kick_off_meets(&mut self, what: impl IntoIterator<Item = KickOff>) {
        self.fake.kick_offs.extend(what);
    }
}

pub(super) fn failure(sent: Sent, kind: FailureKind, reason: crate::api::Reason) -> Failure {
    Failure { sent, reason, message: "the connection broke; check the network".into(), kind }
}
