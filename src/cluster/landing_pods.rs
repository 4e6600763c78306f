//! The Jobs whose pods land files, and the Secrets with what they need.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use async_trait::async_trait;
use k8s_openapi::ByteString;
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::{Pod, Secret};
use kube::api::{DeleteParams, ListParams, Patch, PatchParams, PostParams, Preconditions, PropagationPolicy};
use kube::{Api, Client, ResourceExt};
use secrecy::ExposeSecret;
use serde_json::json;

use super::NAME;
use super::call::{CallError, call};
use crate::api::{FhirServer, Reason, Transfer};
use crate::core::landing::{
    Assignments, JobOrder, JobStands, Named, PodTemplate, RUN_LABEL, job, job_name, named, stands,
};
use crate::credentials::{CredentialProblem, CredentialSource, Federated, Handed};
use crate::ports::{ClusterFailure, LandingPods, PodsFailure, PodsStand, Tenure};

/// The largest Secret that the API server stores, in bytes, less what its metadata take.
const MAX_SECRET: usize = 1_000_000;

/// Makes Jobs in one namespace.
pub struct KubeLandingPods {
    client: Client,
    credentials: Arc<dyn CredentialSource>,
    template: PodTemplate,
    /// PEM bundles of additional certificate authorities.
    extra_ca: String,
    /// Namespaces whose servers may name a `ServiceAccount` for the pods.
    own_identity_namespaces: BTreeSet<String>,
    tenure: Tenure,
}

impl KubeLandingPods {
    /// Makes Jobs like `template`. `credentials` reads what servers name.
    pub fn new(
        client: Client,
        credentials: Arc<dyn CredentialSource>,
        template: PodTemplate,
        extra_ca: String,
        own_identity_namespaces: BTreeSet<String>,
    ) -> Self {
        let tenure = Tenure::default();
        Self { client, credentials, template, extra_ca, own_identity_namespaces, tenure }
    }

    /// Makes this writer write only while `tenure` lasts.
    #[must_use]
    pub fn within(mut self, tenure: Tenure) -> Self {
        self.tenure = tenure;
        self
    }

    fn jobs(&self) -> Api<Job> {
        Api::namespaced(self.client.clone(), &self.template.namespace)
    }

    fn secrets(&self) -> Api<Secret> {
        Api::namespaced(self.client.clone(), &self.template.namespace)
    }

    /// Makes a call that writes. Each try first checks that this process may still act.
    async fn change<T, F, Fut>(&self, request: F) -> Result<T, CallError>
    where
        F: Fn() -> Fut,
        Fut: Future<Output = kube::Result<T>>,
    {
        call(|| {
            self.tenure.look();
            request()
        })
        .await
    }

    fn order(&self, uid: &str, server: &FhirServer, landing: &Assignments) -> Result<JobOrder, PodsFailure> {
        let namespace = server.namespace().unwrap_or_default();
        let transfer: Transfer = server.spec.transfer.clone().unwrap_or_default();
        if transfer.service_account_name.is_some() && !self.own_identity_namespaces.contains(&namespace) {
            let message = format!(
                "transfer.serviceAccountName is not allowed for FhirServers of namespace {namespace}; remove it, or \
                 ask the operator's owner to add the namespace to ownIdentityNamespaces of the chart"
            );
            return Err(PodsFailure { reason: Reason::OwnIdentityNotAllowed, message });
        }
        let storage = server.spec.storage.as_ref();
        Ok(JobOrder {
            uid: uid.to_owned(),
            pods: landing.assignment.pods,
            digest: self.template.digest(&landing.digest),
            transfer,
            claim: storage.and_then(|storage| Some(storage.volume.as_ref()?.claim_name.clone())),
        })
    }

    /// Reads the credentials that a server names.
    async fn gather(&self, server: &FhirServer) -> Result<Handed, CredentialProblem> {
        let namespace = server.namespace().unwrap_or_default();
        let source = self.credentials.as_ref();
        let mut handed = Handed::default();
        for credential in named(&server.spec) {
            match credential {
                Named::Key(key) => {
                    let value = source.secret_key(&namespace, &key).await?;
                    handed.add_key(&key, value.expose_secret());
                }
                Named::Secret(name) => {
                    for (key, value) in source.secret(&namespace, &name).await? {
                        let key = crate::api::KeyRef { name: name.clone(), key };
                        handed.add_key(&key, value.expose_secret());
                    }
                }
                Named::ConfigMap(name, key) => {
                    let value = source.config_map_key(&namespace, &name, &key).await?;
                    handed.add_config_map_key(&name, &key, &value);
                }
                Named::EntraToken(name, id) => {
                    let of = Federated::Entra(id);
                    let token = source.service_account_token(&namespace, &name, &of).await?;
                    handed.add_token(&name, &of, token.expose_secret());
                }
                Named::AwsToken(name, role) => {
                    let of = Federated::AwsRole(role);
                    let token = source.service_account_token(&namespace, &name, &of).await?;
                    handed.add_token(&name, &of, token.expose_secret());
                }
            }
        }
        Ok(handed)
    }

    async fn delete_job(&self, job: &Job) -> Result<(), CallError> {
        let parameters = DeleteParams {
            propagation_policy: Some(PropagationPolicy::Foreground),
            preconditions: Some(Preconditions { uid: job.uid(), resource_version: None }),
            ..DeleteParams::default()
        };
        let (jobs, name) = (self.jobs(), job.name_any());
        match self.change(|| jobs.delete(&name, &parameters)).await {
            // Another object has taken its place: the next look sees which.
            Ok(_) | Err(CallError::NotFound | CallError::Conflict) => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// Deletes the pods of a run that has no Job. Returns whether some of them may still run.
    async fn end_orphans(&self, uid: &str) -> Result<bool, CallError> {
        let pods: Api<Pod> = Api::namespaced(self.client.clone(), &self.template.namespace);
        let selector = ListParams::default().labels(&format!("{RUN_LABEL}={uid}"));
        let mut left = false;
        for pod in call(|| pods.list(&selector)).await?.items {
            let phase = pod.status.as_ref().and_then(|status| status.phase.as_deref());
            if matches!(phase, Some("Succeeded" | "Failed")) {
                continue;
            }
            left = true;
            let (name, parameters) = (pod.name_any(), DeleteParams::default());
            if pod.metadata.deletion_timestamp.is_none() {
                match self.change(|| pods.delete(&name, &parameters)).await {
                    Ok(_) | Err(CallError::NotFound) => {}
                    Err(error) => return Err(error),
                }
            }
        }
        Ok(left)
    }

    async fn read_job(&self, uid: &str) -> Result<Option<Job>, CallError> {
        let (jobs, name) = (self.jobs(), job_name(uid));
        call(|| jobs.get_opt(&name)).await
    }

    fn failure(&self, error: CallError, what: &str) -> PodsFailure {
        let namespace = &self.template.namespace;
        let message = match error {
            CallError::Forbidden(words) => format!(
                "the operator may not {what} in namespace {namespace} ({words}); check landingJobs of its chart"
            ),
            other => other.failure(what).to_string(),
        };
        PodsFailure { reason: Reason::DependencyMissing, message }
    }
}

#[async_trait]
impl LandingPods for KubeLandingPods {
    async fn equip(
        &self,
        uid: &str,
        server: &Arc<FhirServer>,
        landing: &Assignments,
    ) -> Result<(), PodsFailure> {
        let handed = self
            .gather(server)
            .await
            .map_err(|problem| PodsFailure { reason: problem.reason, message: problem.message })?;
        let unwritable =
            |message: &str| PodsFailure { reason: Reason::DependencyMissing, message: message.to_owned() };
        let as_json = |value: serde_json::Result<Vec<u8>>| {
            value.map_err(|_| unwritable("what the pods need cannot be written as JSON; please report it"))
        };
        let data: BTreeMap<String, ByteString> = [
            ("assignment.json", as_json(serde_json::to_vec(&landing.assignment))?),
            ("credentials.json", as_json(serde_json::to_vec(&handed))?),
            ("ca.pem", self.extra_ca.clone().into_bytes()),
        ]
        .into_iter()
        .map(|(name, content)| (name.to_owned(), ByteString(content)))
        .collect();
        if data.values().map(|content| content.0.len()).sum::<usize>() > MAX_SECRET {
            return Err(unwritable(
                "the credentials of the FhirServer are too large for one Secret; name fewer keys in it",
            ));
        }
        let name = job_name(uid);
        let secret = json!({
            "apiVersion": "v1", "kind": "Secret", "type": "Opaque",
            "metadata": { "name": name, "namespace": self.template.namespace, "labels": self.template.labels(uid) },
            "data": data,
        });
        let (secrets, parameters) = (self.secrets(), PatchParams::apply(NAME).force());
        let patch = Patch::Apply(&secret);
        self.change(|| secrets.patch(&name, &parameters, &patch))
            .await
            .map(|_| ())
            .map_err(|error| self.failure(error, "write Secrets for the pods of landings"))
    }

    async fn go_on(
        &self,
        uid: &str,
        server: &Arc<FhirServer>,
        landing: &Assignments,
    ) -> Result<PodsStand, PodsFailure> {
        let order = self.order(uid, server, landing)?;
        let read = self.read_job(uid).await.map_err(|error| self.failure(error, "read Jobs"))?;
        if let Some(found) = read {
            return match stands(&found, &order.digest) {
                JobStands::Running => Ok(PodsStand::Running),
                JobStands::Ended => Ok(PodsStand::Ended),
                JobStands::Outdated => {
                    self.delete_job(&found).await.map_err(|error| self.failure(error, "delete Jobs"))?;
                    Ok(PodsStand::Running)
                }
            };
        }
        // A Job can be deleted without its pods, by whoever may delete it: two sets of them would land the same files.
        if self.end_orphans(uid).await.map_err(|error| self.failure(error, "list and delete pods"))? {
            return Ok(PodsStand::Running);
        }
        let Some(wanted) = job(&self.template, &order) else {
            let message = "the resources of transfer are none of Kubernetes; correct them in the FhirServer";
            return Err(PodsFailure { reason: Reason::DependencyMissing, message: message.to_owned() });
        };
        let (jobs, parameters) = (self.jobs(), PostParams::default());
        match self.change(|| jobs.create(&parameters, &wanted)).await {
            Ok(_) | Err(CallError::AlreadyExists) => Ok(PodsStand::Running),
            Err(error) => Err(self.failure(error, "create Jobs")),
        }
    }

    async fn end(&self, uid: &str) -> Result<bool, ClusterFailure> {
        if let Some(job) = self.read_job(uid).await.map_err(|error| error.failure("read Jobs of landings"))? {
            if job.metadata.deletion_timestamp.is_none() {
                self.delete_job(&job).await.map_err(|error| error.failure("delete the Job of a landing"))?;
            }
            return Ok(false);
        }
        let orphans = self.end_orphans(uid).await;
        if orphans.map_err(|error| error.failure("list and delete the pods of a landing"))? {
            return Ok(false);
        }
        let (secrets, name, parameters) = (self.secrets(), job_name(uid), DeleteParams::default());
        match self.change(|| secrets.delete(&name, &parameters)).await {
            Ok(_) | Err(CallError::NotFound) => Ok(true),
            Err(error) => Err(error.failure("delete the Secret of a landing")),
        }
    }

    async fn runs(&self) -> Result<Vec<String>, ClusterFailure> {
        let selector = ListParams::default().labels(&self.template.selector());
        let (jobs, secrets) = (self.jobs(), self.secrets());
        let jobs = call(|| jobs.list_metadata(&selector));
        let jobs = jobs.await.map_err(|error| error.failure("list the Jobs of landings"))?;
        let secrets = call(|| secrets.list_metadata(&selector));
        let secrets = secrets.await.map_err(|error| error.failure("list the Secrets of landings"))?;
        let of = |labels: &BTreeMap<String, String>| labels.get(RUN_LABEL).cloned();
        let all: BTreeSet<String> = jobs
            .items
            .iter()
            .filter_map(|job| of(job.labels()))
            .chain(secrets.items.iter().filter_map(|secret| of(secret.labels())))
            .collect();
        Ok(all.into_iter().collect())
    }
}
