//! The objects of the world, and what people do to them.

use fhir_export_operator::api::{AuthType, Compression, Dialect, FhirExport, FhirServer, UNREAD_ANNOTATION};
use fhir_export_operator::cluster::stores::Key;
use fhir_export_operator::core::export::is_terminal;
use fhir_export_operator::core::kick_off;
use kube::ResourceExt;
use serde_json::json;

use super::export_key;
use crate::container::{ENDPOINT, SECOND_ENDPOINT};
use crate::faults::Outage;
use crate::fhir::{FILES, Fhir, JobState};
use crate::laws::{Law, is_unread};
use crate::plan::{Account, Ending, FilePlan, Flaw, JobPlan, Kind};
use crate::state::State;

/// The namespace of the exports.
pub const NAMESPACE: &str = "research";
/// The namespace of FhirServers that are not beside the exports.
const PLATFORM: &str = "platform";

/// The endpoint of a storage account.
fn endpoint(account: Account) -> &'static str {
    if account.second { SECOND_ENDPOINT } else { ENDPOINT }
}

/// The compression of files in this account.
fn compression(account: Account) -> Compression {
    if account.gzip { Compression::Gzip } else { Compression::None }
}

impl State {
    /// Whether a part is out now.
    pub fn out(&self, what: Outage) -> bool {
        self.faults.is_out(what, self.time.now)
    }

    /// The namespace and name of a FhirServer.
    pub fn server_key(&self, number: usize) -> Key {
        let beside = self.plan.servers.get(number).is_some_and(|server| server.beside);
        let namespace = if beside { NAMESPACE } else { PLATFORM };
        (namespace.to_owned(), format!("s{number}"))
    }

    /// Creates a FhirServer and its Secret.
    pub fn create_server(&mut self, number: usize) {
        let (namespace, name) = self.server_key(number);
        let Some(plan) = self.plan.servers.get(number).cloned() else { return };
        let secret = json!({"name": format!("cred-{number}"), "key": "token"});
        let token = json!({"type": "BearerToken", "bearerToken": {"secretRef": secret}});
        let auth = if plan.token { token } else { json!({"type": "None"}) };
        let bulk = plan.dialect == Dialect::BulkData;
        let storage = (plan.storage || bulk).then(|| {
            json!({"type": "AzureBlob", "exportLog": plan.log, "compression": compression(plan.account),
                "azureBlob": {"endpoint": endpoint(plan.account), "auth": {"type": "SameAsServer"}}})
        });
        let limits = match self.plan.kind {
            // A fixed interval between polls, so that a late poll is noticed.
            Kind::Crowd => {
                json!({"maxConcurrentExports": plan.places, "minPollSeconds": 10, "maxPollSeconds": 10})
            }
            // There are many jobs, and single polls are not the point.
            Kind::Schedules => json!({"maxConcurrentExports": plan.places, "minPollSeconds": 60}),
            Kind::Anything | Kind::Outage(_) | Kind::Lease | Kind::Place => {
                json!({"maxConcurrentExports": plan.places})
            }
        };
        let team = if plan.refuses { "another" } else { "research" };
        let spec = json!({
            "url": Fhir::base(number), "dialect": plan.dialect, "auth": auth, "fileOrigins": [FILES],
            "limits": limits,
            "consumers": {"namespaces": {"from": "Selector", "selector": {"matchLabels": {"team": team}}}},
            "storage": storage, "defaultContainer": plan.container,
            "bulkData": bulk.then(|| json!({"finishedJobs": plan.finished})),
        });
        let object = json!({"apiVersion": "fhirexport.dev/v1alpha1", "kind": "FhirServer",
            "metadata": {"name": name, "namespace": namespace}, "spec": spec});
        let Ok(object) = serde_json::from_value::<FhirServer>(object) else {
            self.broken(Law::Simulation, "the simulation goes on", "a FhirServer that cannot be read");
            return;
        };
        debug_assert!(plan.token == (object.spec.auth.type_ != AuthType::None));
        let now = self.time.stamp();
        if self.api.create(object, now) {
            self.tell(60, || format!("FhirServer s{number} is made"));
        }
        self.create_secret(number);
    }

    /// Somebody edits the storage of a server.
    pub(super) fn move_storage(&mut self, number: usize, account: Account) {
        let at = self.server_key(number);
        self.api.edit::<FhirServer>(&at, true, |server| {
            let Some(storage) = &mut server.spec.storage else { return };
            storage.compression = Some(compression(account));
            if let Some(blob) = &mut storage.azure_blob {
                endpoint(account).clone_into(&mut blob.endpoint);
            }
        });
    }

    pub(super) fn create_secret(&mut self, number: usize) {
        let (namespace, _) = self.server_key(number);
        if !self.api.terminating.contains(&namespace) {
            self.api.secrets.insert((namespace, format!("cred-{number}")));
        }
    }

    /// Creates an export, unless its name is taken.
    pub(super) fn create_export(&mut self, number: usize) {
        let Some(plan) = self.plan.exports.get(number).cloned() else { return };
        let (namespace, name) = export_key(number);
        let (server_namespace, server) = self.server_key(plan.server);
        let mut spec = plan.spec;
        if let Some(members) = spec.as_object_mut() {
            members.insert("serverRef".into(), json!({"name": server, "namespace": server_namespace}));
        }
        let object = json!({"apiVersion": "fhirexport.dev/v1alpha1", "kind": "FhirExport",
            "metadata": {"name": name, "namespace": namespace}, "spec": spec});
        let Ok(object) = serde_json::from_value::<FhirExport>(object) else {
            self.broken(Law::Simulation, "the simulation goes on", "a FhirExport that cannot be read");
            return;
        };
        let now = self.time.stamp();
        if self.api.create(object, now)
            && let Some(made) = self.api.exports.objects.get(&export_key(number)).cloned()
        {
            self.tell(61, || {
                format!("e{number} is made: {}", serde_json::to_string(&made.spec).unwrap_or_default())
            });
            self.made(&made, None);
        }
    }

    pub fn delete_export_object(&mut self, at: &Key) {
        let now = self.time.stamp();
        let Some(object) = self.api.exports.objects.get(at).cloned() else { return };
        if self.api.delete::<FhirExport>(at, now) {
            self.gone(&object);
        }
    }

    pub(super) fn delete_server_object(&mut self, at: &Key) {
        let now = self.time.stamp();
        self.api.delete::<FhirServer>(at, now);
    }

    pub(super) fn edit_export(&mut self, number: usize, change: impl FnOnce(&mut FhirExport)) {
        self.api.edit::<FhirExport>(&export_key(number), true, change);
    }

    /// Another version writes words that this one does not know into a status. The watches of this version
    /// leave those words out and say so in an annotation.
    pub(super) fn another_version(&mut self, number: usize) {
        let at = export_key(number);
        let Some(object) = self.api.exports.objects.get(&at).cloned() else { return };
        let (Some(whole), false) = (object.status.clone(), is_unread(&object)) else { return };
        let mut part = whole.clone();
        // An end that is read in part does not count as an end.
        part.completion_time = None;
        match self.chance.below(4) {
            0 => part.cancellation = None,
            1 => part.conditions.truncate(part.conditions.len() / 2),
            2 => part.job.iter_mut().for_each(|job| job.destination = None),
            _ => part.output = None,
        }
        self.unread.insert(object.uid().unwrap_or_default(), whole);
        self.api.edit::<FhirExport>(&at, false, |export| {
            export.status = Some(part);
            export
                .annotations_mut()
                .insert(UNREAD_ANNOTATION.to_owned(), "status: of another version".to_owned());
        });
    }

    /// Makes a status readable again: a newer version of the operator is back, or somebody has corrected it.
    pub(super) fn read_again(&mut self, number: usize) {
        let at = export_key(number);
        let Some(object) = self.api.exports.objects.get(&at).cloned() else { return };
        let Some(whole) = self.unread.remove(&object.uid().unwrap_or_default()) else { return };
        self.api.edit::<FhirExport>(&at, false, |export| {
            export.status = Some(whole);
            export.annotations_mut().remove(UNREAD_ANNOTATION);
        });
    }

    pub(super) fn delete_namespace(&mut self) {
        self.api.terminating.insert(NAMESPACE.to_owned());
        self.api.secrets.retain(|(namespace, _)| namespace != NAMESPACE);
        let inside = |at: &&Key| at.0 == NAMESPACE;
        let exports: Vec<Key> = self.api.exports.objects.keys().filter(inside).cloned().collect();
        let servers: Vec<Key> = self.api.servers.objects.keys().filter(inside).cloned().collect();
        for at in &exports {
            self.delete_export_object(at);
        }
        for at in &servers {
            self.delete_server_object(at);
        }
        self.api.finish_namespaces();
    }

    /// Begins a job of another client, in the container that the exports of the server use.
    pub(super) fn stranger(&mut self, server: usize) {
        let export = self.plan.exports.iter().find(|export| export.server == server);
        let request =
            export.and_then(|export| serde_json::from_value(export.spec.get("request")?.clone()).ok());
        let object = self.api.servers.objects.get(&self.server_key(server)).cloned();
        let (Some(mut request), Some(object)) = (request, object) else { return };
        let request: &mut fhir_export_operator::api::ExportRequest = &mut request;
        request.since = Some("1999-01-01T00:00:00Z".to_owned());
        let Ok(request) = kick_off::request(&object, request, NAMESPACE) else { return };
        let file = FilePlan { type_: "Patient", lines: 3, big: false, flaw: Flaw::None };
        let plan = JobPlan { lasts: 120, ending: Ending::Files(vec![file]) };
        let now = (self.time.now, self.time.stamp());
        let number = self.fhir.begin(server, None, None, plan, &request, now, now.0);
        self.tell(62, || format!("somebody else's job {} begins on s{server}", number + 7));
    }

    pub(super) fn cancelled_by_others(&mut self, number: usize) {
        let now = self.time.now;
        let Some(uid) = self.api.exports.objects.get(&export_key(number)).and_then(|e| e.uid()) else {
            return;
        };
        let mine = self.fhir.jobs.iter_mut().filter(|job| job.owner.as_ref() == Some(&uid));
        let mut cancelled = Vec::new();
        for job in mine.filter(|job| job.works(now)) {
            job.state = JobState::Gone;
            job.agreed = true;
            cancelled.push(job.id());
        }
        for id in cancelled {
            self.tell(63, || format!("somebody else cancels job {id}"));
        }
    }

    /// Repairs everything that is broken.
    pub(super) fn repair(&mut self) {
        for number in 0..self.plan.servers.len() {
            self.create_server(number);
            let at = self.server_key(number);
            self.api.edit::<FhirServer>(&at, true, |server| server.spec.suspend = None);
            // An attempt waits for the account that it began in.
            if let Some(account) = self.plan.servers.get(number).map(|server| server.account) {
                self.move_storage(number, account);
            }
        }
        for number in 0..self.plan.exports.len() {
            self.read_again(number);
            // The owners of refused exports give up.
            let server = self.plan.exports.get(number).and_then(|export| self.fhir.server(export.server));
            if server.is_some_and(|server| server.refuses) {
                self.delete_export_object(&export_key(number));
                continue;
            }
            let open = self
                .api
                .exports
                .objects
                .get(&export_key(number))
                .is_some_and(|export| !export.status.as_ref().is_some_and(is_terminal));
            if open {
                self.edit_export(number, |export| export.spec.suspend = None);
            }
        }
    }
}
