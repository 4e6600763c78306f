//! Requests about the Lease at the API server of a cluster.

use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;
use kube::api::{ObjectMeta, PostParams};
use kube::{Api, Client, Config};

use super::call::CallError;
use super::lease_lock::{LeaseKey, LeaseLock};
use crate::core::lease::{LeaseAnswer, LeaseRecord, LeaseRequest, SeenLease, Windows};

/// The label of each Lease that a release of the operator holds, by which a release finds others.
pub(super) const LABEL: &str = "fhirexport.dev/operator";

/// Reads and writes a Lease at the API server.
pub(super) struct KubeLease {
    settings: Config,
    name: LeaseKey,
    /// A separate client, so that no other request's connection delays it. A new one is created after each failure.
    client: Option<Client>,
    /// The Lease as it was seen last. The next write keeps what others wrote to it.
    last: Option<Lease>,
}

impl KubeLease {
    /// Prepares requests about a Lease. Nothing is sent yet.
    pub(super) fn new(settings: Config, name: LeaseKey) -> Self {
        Self { settings, name, client: None, last: None }
    }

    fn client(&mut self) -> Result<Client, String> {
        if let Some(client) = &self.client {
            return Ok(client.clone());
        }
        let mut settings = self.settings.clone();
        let limit = Windows::default().request;
        settings.connect_timeout = Some(limit);
        let client = Client::try_from(settings).map_err(|error| error.to_string())?;
        self.client = Some(client.clone());
        Ok(client)
    }

    async fn send(&self, client: Client, request: &LeaseRequest) -> Result<Lease, CallError> {
        let LeaseKey { namespace, name } = &self.name;
        let api: Api<Lease> = Api::namespaced(client, namespace);
        let answer = match request {
            LeaseRequest::Write { record, on } => {
                let lease = self.lease(record, on.as_deref());
                match on {
                    Some(_) => api.replace(name, &PostParams::default(), &lease).await,
                    None => api.create(&PostParams::default(), &lease).await,
                }
            }
            LeaseRequest::Read => api.get(name).await,
        };
        answer.map_err(|error| match &error {
            kube::Error::Api(status) if status.code == 409 => CallError::Conflict,
            error => CallError::of(error),
        })
    }

    /// The object to write: the Lease with this record, on this resource version.
    fn lease(&self, record: &LeaseRecord, version: Option<&str>) -> Lease {
        let known = self.last.as_ref().filter(|last| last.metadata.resource_version.as_deref() == version);
        let mut lease = known.cloned().unwrap_or_default();
        lease.metadata = ObjectMeta {
            name: Some(self.name.name.clone()),
            resource_version: version.map(Into::into),
            ..lease.metadata
        };
        lease.metadata.labels.get_or_insert_default().insert(LABEL.into(), "true".into());
        lease.spec = Some(LeaseSpec {
            holder_identity: record.holder.clone(),
            lease_duration_seconds: record.duration_seconds,
            acquire_time: record.acquired.map(MicroTime),
            renew_time: record.renewed.map(MicroTime),
            lease_transitions: Some(record.transitions),
            ..lease.spec.unwrap_or_default()
        });
        lease
    }

    fn hindrance(&self, error: CallError, request: &LeaseRequest) -> String {
        let verb = match request {
            LeaseRequest::Write { on: Some(_), .. } => "write",
            LeaseRequest::Write { on: None, .. } => "create",
            LeaseRequest::Read => "read",
        };
        match error {
            CallError::NotFound => {
                format!(
                    "There is no namespace {} for the Lease; create it, or name another.",
                    self.name.namespace
                )
            }
            error => error.failure(&format!("{verb} Lease {}", self.name)).to_string(),
        }
    }
}

impl LeaseLock for KubeLease {
    fn name(&self) -> &LeaseKey {
        &self.name
    }

    async fn ask(&mut self, request: &LeaseRequest) -> Result<LeaseAnswer, String> {
        let limit = Windows::default().request;
        let answer = match self.client() {
            Ok(client) => match tokio::time::timeout(limit, self.send(client, request)).await {
                Ok(answer) => answer,
                Err(_) => Err(CallError::Unreachable(format!("no answer within {} s", limit.as_secs()))),
            },
            Err(cause) => Err(CallError::Unreachable(cause)),
        };
        match answer {
            Ok(lease) => {
                let seen = seen(&lease);
                self.last = Some(lease);
                Ok(LeaseAnswer::Lease(seen))
            }
            Err(CallError::Conflict) => Ok(LeaseAnswer::Conflict),
            // A 404 to a creation means that the namespace is missing.
            Err(CallError::NotFound) if !matches!(request, LeaseRequest::Write { on: None, .. }) => {
                self.last = None;
                Ok(LeaseAnswer::Absent)
            }
            Err(error) => {
                self.client = None;
                Err(self.hindrance(error, request))
            }
        }
    }
}

fn seen(lease: &Lease) -> SeenLease {
    let spec = lease.spec.clone().unwrap_or_default();
    let record = LeaseRecord {
        holder: spec.holder_identity,
        duration_seconds: spec.lease_duration_seconds,
        acquired: spec.acquire_time.map(|time| time.0),
        renewed: spec.renew_time.map(|time| time.0),
        transitions: spec.lease_transitions.unwrap_or(0),
    };
    SeenLease { record, version: lease.metadata.resource_version.clone().unwrap_or_default() }
}
