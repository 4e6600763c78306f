//! A made-up cluster: one schedule, its runs, and a caller that performs each decision. A look can end at
//! any effect, as in a crash.

mod cluster;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use kube::ResourceExt;
use serde_json::{Value, json};

use crate::api::{ConditionStatus, ConditionType, FhirExport, FhirExportSchedule, FhirServer, Reason};
use crate::core::condition;
use crate::core::effect::{Note, Requeue};
use crate::core::ledger::{FolderDeletion, FolderPlan, StorageFailure, StorageFailureKind};
use crate::core::schedule::{ScheduleFacts, ScheduleInputs, decide_schedule, owned_by};

/// Parses a time.
pub(super) fn at(text: &str) -> Timestamp {
    text.parse().unwrap()
}

/// Merges objects recursively; `null` removes a member.
pub(super) fn merge(into: &mut Value, change: Value) {
    match (into, change) {
        (Value::Object(into), Value::Object(change)) => {
            for (key, value) in change {
                if value.is_null() {
                    into.remove(&key);
                } else {
                    merge(into.entry(key).or_insert(Value::Null), value);
                }
            }
        }
        (into, change) => *into = change,
    }
}

/// How a run ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    Exported,
    WithErrors,
    Failed,
    Cancelled,
    /// The server refuses the request.
    Rejected,
}

/// The state of the made-up cluster.
pub(super) struct World {
    pub(super) schedule: FhirExportSchedule,
    pub(super) server: Option<FhirServer>,
    pub(super) runs: BTreeMap<String, FhirExport>,
    pub(super) now: Timestamp,
    /// Names of the runs that were made, in order.
    pub(super) made: Vec<String>,
    /// Names of the runs that were deleted.
    pub(super) deleted: Vec<String>,
    pub(super) notes: Vec<Note>,
    /// The message with which the API server refuses runs.
    pub(super) refuses: Option<String>,
    /// Folders that other objects name.
    pub(super) claimed: BTreeSet<(String, String)>,
    /// Folders that the schedule wanted to delete, in order, with the beginning of the hash of their manifest.
    pub(super) doomed: Vec<FolderPlan>,
    /// The results of deletions to come, in order; afterwards each deletes one file.
    pub(super) deletions: VecDeque<Result<FolderDeletion, StorageFailure>>,
    /// The number of status writes.
    pub(super) writes: usize,
    /// The members of the group.
    pub(super) group: BTreeSet<String>,
    /// The members of the group when each job began.
    pub(super) began_with: BTreeMap<String, BTreeSet<String>>,
    /// Lists that lie in the storage account, by container and path.
    pub(super) lists: BTreeMap<String, String>,
    /// The failure of the storage account, if it cannot be used.
    pub(super) storage: Option<StorageFailureKind>,
    /// Listings of members do not end while this is set.
    pub(super) reads_slowly: bool,
    /// How often the state of a listing was requested.
    pub(super) asked_for_lists: usize,
    uids: u32,
}

impl World {
    /// A schedule at 02:00 each day for an Azure server, created at noon; `spec` is merged into it.
    pub(super) fn new(spec: Value) -> Self {
        let mut whole = json!({
            "schedule": "0 2 * * *",
            "template": { "spec": { "serverRef": { "name": "clinic" },
                "request": { "level": "System", "types": ["Patient", "Observation"] } } },
        });
        merge(&mut whole, spec);
        let schedule = json!({
            "metadata": { "name": "nightly", "namespace": "ns", "uid": "s-1", "generation": 1,
                "creationTimestamp": "2026-11-23T12:00:00Z" },
            "spec": whole,
            "status": { "observedGeneration": -1 },
        });
        Self {
            schedule: serde_json::from_value(schedule).unwrap(),
            server: Some(server(json!({}))),
            runs: BTreeMap::new(),
            now: at("2026-11-23T12:00:00Z"),
            made: Vec::new(),
            deleted: Vec::new(),
            notes: Vec::new(),
            refuses: None,
            claimed: BTreeSet::new(),
            doomed: Vec::new(),
            deletions: VecDeque::new(),
            writes: 0,
            group: BTreeSet::new(),
            began_with: BTreeMap::new(),
            lists: BTreeMap::new(),
            storage: None,
            reads_slowly: false,
            asked_for_lists: 0,
            uids: 0,
        }
    }

    /// A schedule with incremental runs.
    pub(super) fn incremental(more: Value) -> Self {
        let mut incremental = json!({ "overlapSeconds": 0 });
        merge(&mut incremental, more);
        Self::new(json!({ "incremental": incremental }))
    }

    /// Changes the spec.
    pub(super) fn edit(&mut self, spec: Value) {
        let mut whole = serde_json::to_value(&self.schedule.spec).unwrap();
        merge(&mut whole, spec);
        self.schedule.spec = serde_json::from_value(whole).unwrap();
        self.schedule.metadata.generation = self.schedule.metadata.generation.map(|n| n + 1);
    }

    pub(super) fn annotate(&mut self, token: &str) {
        self.schedule.annotations_mut().insert("fhirexport.dev/run-now".into(), token.into());
    }

    pub(super) fn facts(&self) -> ScheduleFacts {
        let uid = self.schedule.uid().unwrap();
        let own = self.runs.values().filter(|run| owned_by(run, &uid)).cloned().map(Arc::new);
        ScheduleFacts {
            server: self.server.clone().map(Arc::new),
            children: own.collect(),
            claimed: self.claimed.clone(),
        }
    }

    /// Looks at the schedule until nothing is left to do.
    pub(super) fn look(&mut self) -> Requeue {
        self.look_until(usize::MAX).expect("it comes to rest")
    }

    /// Looks at the schedule until nothing is left to do, or until `fuse` writes were made: there
    /// everything ends, as in a crash.
    pub(super) fn look_until(&mut self, mut fuse: usize) -> Option<Requeue> {
        let mut seen = None;
        for _ in 0..60 {
            let facts = self.facts();
            let step = decide_schedule(ScheduleInputs {
                schedule: &self.schedule,
                facts: &facts,
                seen: seen.take(),
                now: self.now,
            });
            let mut burn = || {
                let left = fuse.checked_sub(1)?;
                fuse = left;
                Some(())
            };
            if self.schedule.status.as_ref() != Some(&step.status) {
                burn()?;
                self.schedule.status = Some(step.status);
                self.writes += 1;
            }
            self.notes.extend(step.notes);
            let Some(effect) = step.effect else { return Some(step.requeue) };
            burn()?;
            seen = Some(self.perform(effect));
        }
        panic!("it does not come to rest: {:?}", self.schedule.status)
    }

    pub(super) fn wait(&mut self, seconds: i64) {
        self.now += SignedDuration::from_secs(seconds);
    }

    pub(super) fn hours(&mut self, hours: i64) {
        self.wait(hours * 3600);
    }

    /// Goes to a time, and looks.
    pub(super) fn at(&mut self, time: &str) -> &mut Self {
        self.now = at(time);
        self.look();
        self
    }

    /// The run that was made last.
    pub(super) fn last(&self) -> &str {
        self.made.last().map_or("", String::as_str)
    }

    /// Ends the last run like this, an hour later.
    pub(super) fn ends(&mut self, end: End) -> &mut Self {
        let name = self.last().to_owned();
        self.start(&name);
        self.hours(1);
        self.end(&name, end);
        self.look();
        self
    }

    pub(super) fn since(&self, name: &str) -> Option<&str> {
        self.runs[name].spec.request.since.as_deref()
    }

    pub(super) fn transaction_time(&self, name: &str) -> String {
        self.runs[name].status.clone().unwrap().transaction_time.unwrap()
    }

    pub(super) fn status(&self) -> crate::api::FhirExportScheduleStatus {
        self.schedule.status.clone().unwrap_or_default()
    }

    /// Status, reason and message of a condition.
    pub(super) fn condition(&self, type_: ConditionType) -> (ConditionStatus, String, String) {
        let status = self.status();
        let found = condition::find(&status.conditions, type_).expect("the condition is there");
        (found.status, found.reason.clone(), found.message.clone())
    }

    pub(super) fn says(&self, type_: ConditionType, status: ConditionStatus, reason: Reason) -> String {
        let (is, because, message) = self.condition(type_);
        assert_eq!((is, because.as_str()), (status, reason.as_str()), "{message}");
        message
    }

    pub(super) fn noted(&self, reason: Reason) -> usize {
        self.notes.iter().filter(|note| note.reason == reason).count()
    }
}

/// The server `clinic`: Azure, unless said otherwise.
pub(super) fn server(change: Value) -> FhirServer {
    let mut whole = json!({
        "metadata": { "name": "clinic", "namespace": "ns", "uid": "f-1", "generation": 1 },
        "spec": { "url": "https://clinic.example.org", "dialect": "Azure", "auth": { "type": "None" } },
        "status": { "observedGeneration": 1 },
    });
    merge(&mut whole, change);
    serde_json::from_value(whole).unwrap()
}

/// A Bulk Data server of this software.
pub(super) fn bulk(software: &str) -> FhirServer {
    server(json!({ "spec": { "dialect": "BulkData" }, "status": { "software": software } }))
}
