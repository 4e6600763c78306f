//! What the cluster, the server and the storage account do: they create, start, end and delete runs, and list members.

use std::sync::Arc;

use kube::ResourceExt;
use serde_json::json;

use super::{End, World};
use crate::api::{ConditionStatus, ConditionType, FhirExport, MemberList, PatientsBlob, Reason};
use crate::core::condition;
use crate::core::ledger::{FolderDeletion, StorageFailure};
use crate::core::manifest::sha256_hex;
use crate::core::schedule::members::Reader;
use crate::core::schedule::{ListMembers, Listed, Listing, Newcomers, ScheduleEffect, ScheduleObservation};

impl World {
    pub(super) fn perform(&mut self, effect: ScheduleEffect) -> ScheduleObservation {
        match effect {
            ScheduleEffect::Create(export) => {
                if let Some(words) = &self.refuses {
                    return ScheduleObservation::Refused(words.clone());
                }
                let name = export.name_any();
                if let Some(there) = self.runs.get(&name) {
                    return ScheduleObservation::Exists(Arc::new(there.clone()));
                }
                self.uids += 1;
                let mut made = *export;
                made.metadata.uid = Some(format!("u-{}", self.uids));
                made.metadata.generation = Some(1);
                self.made.push(name.clone());
                self.runs.insert(name, made.clone());
                ScheduleObservation::Created(Arc::new(made))
            }
            ScheduleEffect::Delete(run) => {
                let name = run.name_any();
                assert_eq!(self.runs.get(&name).and_then(FhirExport::uid), run.uid());
                let ended = run.status.as_ref().is_some_and(|status| status.completion_time.is_some());
                // Replace may give up a run whose members could not be listed yet: the run itself has not ended.
                let active = &self.status().active;
                let waits = active.iter().any(|active| active.name == name && active.stage.is_none());
                assert!(!(ended && waits), "absorb-before-delete: {name} goes before its result is written");
                self.deleted.push(name.clone());
                self.delete(&name);
                ScheduleObservation::Deleted
            }
            ScheduleEffect::ListMembers(asked) => {
                let listing = self.list_members(&asked);
                ScheduleObservation::Members { asked, listing }
            }
            ScheduleEffect::DeleteFolder(_, plan) => {
                self.doomed.push(plan);
                let done = Ok(FolderDeletion::Done { files: 1, others: 0 });
                ScheduleObservation::FolderDeleted(self.deletions.pop_front().unwrap_or(done))
            }
        }
    }

    fn list_members(&mut self, asked: &ListMembers) -> Listing {
        let ListMembers { export, before, .. } = asked;
        self.asked_for_lists += 1;
        if self.reads_slowly {
            return Listing::Running;
        }
        if let Some(kind) = self.storage {
            return Listing::Failed(StorageFailure { kind, message: "no storage".into() });
        }
        let mut reader = Reader::default();
        for id in &self.began_with[&export.name_any()] {
            reader.feed(format!("{}\n", json!({ "resourceType": "Patient", "id": id })).as_bytes());
        }
        let members = reader.finish().unwrap();
        if members.is_empty() {
            let empty = MemberList { path: None, sha256: sha256_hex(b"") };
            return Listing::Done(Listed { members: Some(empty), newcomers: Newcomers::None });
        }
        let mut write = |name: &str, text: String| {
            let path = format!("lake/{}/{name}", export.name_any());
            let sha256 = sha256_hex(text.as_bytes());
            let there = self.lists.insert(path.clone(), text.clone());
            assert!(there.is_none_or(|there| there == text), "done again, it writes the same");
            PatientsBlob { path, sha256 }
        };
        let list = write("members.txt", members.text());
        let new = before.as_ref().map(|before| {
            let text = before.path.as_ref().map_or(Some(String::new()), |path| self.lists.get(path).cloned());
            text.filter(|text| sha256_hex(text.as_bytes()) == before.sha256).map(|text| members.since(&text))
        });
        let newcomers = match new {
            None => Newcomers::None,
            Some(None) => Newcomers::Unknown("it is gone".into()),
            Some(Some(None)) => Newcomers::TooMany,
            Some(Some(Some(new))) if new.is_empty() => Newcomers::None,
            Some(Some(Some(new))) => {
                let path = format!("lake/{}/newcomers.txt", export.name_any());
                let sha256 = sha256_hex(new.text().as_bytes());
                self.lists.insert(path.clone(), new.text());
                Newcomers::Listed(PatientsBlob { path, sha256 })
            }
        };
        let members = Some(MemberList { path: Some(list.path), sha256: list.sha256 });
        Listing::Done(Listed { members, newcomers })
    }

    /// Deletes a run. A run that has a job stays until the job is cancelled.
    pub(in super::super) fn delete(&mut self, name: &str) {
        let runs = self.runs.get(name).is_some_and(|run| {
            run.status.as_ref().is_some_and(|s| s.job.is_some() && s.completion_time.is_none())
        });
        if runs {
            let now = k8s_openapi::apimachinery::pkg::apis::meta::v1::Time(self.now);
            self.runs.get_mut(name).unwrap().metadata.deletion_timestamp = Some(now);
        } else {
            self.runs.remove(name);
        }
    }

    /// Starts the run's job on the present server.
    pub(in super::super) fn start(&mut self, name: &str) {
        let server = self.server.as_ref().unwrap();
        let (uid, url, now) = (server.uid().unwrap(), server.spec.url.clone(), self.now);
        self.began_with.insert(name.to_owned(), self.group.clone());
        let run = self.runs.get_mut(name).unwrap();
        let mut status = run.status.clone().unwrap_or_default();
        status.server = Some(crate::api::ServerIdentity { uid, url });
        status.transaction_time = Some(format!("{}.1234567+00:00", now.strftime("%Y-%m-%dT%H:%M:%S")));
        let id = run.metadata.uid.clone().unwrap();
        status.job = serde_json::from_value(json!({ "id": id, "intentTime": now.to_string() })).unwrap();
        run.status = Some(status);
    }

    /// Ends the run like this.
    pub(in super::super) fn end(&mut self, name: &str, end: End) {
        if self.runs[name].status.as_ref().is_none_or(|status| status.job.is_none()) {
            self.start(name);
        }
        let now = self.now;
        let run = self.runs.get_mut(name).unwrap();
        let mut status = run.status.clone().unwrap_or_default();
        status.completion_time = Some(now);
        let (type_, reason) = match end {
            End::Exported => (ConditionType::Complete, Reason::Exported),
            End::WithErrors => (ConditionType::Complete, Reason::CompletedWithErrors),
            End::Failed => (ConditionType::Failed, Reason::ExportFailed),
            End::Cancelled => (ConditionType::Failed, Reason::Cancelled),
            End::Rejected => (ConditionType::Failed, Reason::KickOffRejected),
        };
        condition::set(&mut status.conditions, type_, ConditionStatus::True, reason, "as a test", 1, now);
        let folder = format!("{}-{}", now.strftime("%Y%m%dT%H%M%S"), run.metadata.uid.clone().unwrap());
        let mut output = json!({ "container": "lake", "folder": folder });
        if matches!(end, End::Exported | End::WithErrors) {
            let sha256 = sha256_hex(folder.as_bytes());
            output["manifest"] = json!({ "path": format!("{folder}/manifest.json"), "sha256": sha256 });
        }
        status.output = serde_json::from_value(output).unwrap();
        run.status = Some(status);
    }
}
