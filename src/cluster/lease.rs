//! Requests about the Lease.

use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;
use kube::api::{ObjectMeta, PostParams};
use kube::{Api, Client, Config};

use super::call::CallError;
use super::campaign::LeaseLock;
use super::lead::Place;
use crate::core::lease::{Answer, Ask, Record, Seen, Windows};

/// The label of each Lease that a release of the operator holds, by which a release finds others.
pub(super) const LABEL: &str = "fhirexport.dev/operator";

/// The Lease at the API server of a cluster.
pub(super) struct KubeLease {
    settings: Config,
    place: Place,
    /// Its own, since a request that hangs must not be waited for by another; a fresh one after each failure.
    client: Option<Client>,
    /// The Lease as it was seen last: what others wrote on it stays.
    last: Option<Lease>,
}

impl KubeLease {
    /// Nothing asked yet.
    pub(super) fn new(settings: Config, place: Place) -> Self {
        Self { settings, place, client: None, last: None }
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

    async fn request(&self, client: Client, ask: &Ask) -> Result<Lease, CallError> {
        let Place { namespace, name } = &self.place;
        let api: Api<Lease> = Api::namespaced(client, namespace);
        let answer = match ask {
            Ask::Write { record, on } => {
                let lease = self.lease(record, on.as_deref());
                match on {
                    Some(_) => api.replace(name, &PostParams::default(), &lease).await,
                    None => api.create(&PostParams::default(), &lease).await,
                }
            }
            _ => api.get(name).await,
        };
        answer.map_err(|error| match &error {
            kube::Error::Api(status) if status.code == 409 => CallError::Conflict,
            error => CallError::of(error),
        })
    }

    /// The Lease with this record, on this version.
    fn lease(&self, record: &Record, version: Option<&str>) -> Lease {
        let known = self.last.as_ref().filter(|last| last.metadata.resource_version.as_deref() == version);
        let mut lease = known.cloned().unwrap_or_default();
        lease.metadata = ObjectMeta {
            name: Some(self.place.name.clone()),
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

    fn hindrance(&self, error: CallError, ask: &Ask) -> String {
        let verb = match ask {
            Ask::Write { on: Some(_), .. } => "write",
            Ask::Write { on: None, .. } => "create",
            _ => "read",
        };
        match error {
            CallError::NotFound => {
                format!(
                    "There is no namespace {} for the Lease; create it, or name another.",
                    self.place.namespace
                )
            }
            error => error.failure(&format!("{verb} Lease {}", self.place)).to_string(),
        }
    }
}

impl LeaseLock for KubeLease {
    fn place(&self) -> &Place {
        &self.place
    }

    async fn ask(&mut self, ask: &Ask) -> Result<Answer, String> {
        let limit = Windows::default().request;
        let answer = match self.client() {
            Ok(client) => match tokio::time::timeout(limit, self.request(client, ask)).await {
                Ok(answer) => answer,
                Err(_) => Err(CallError::Unreachable(format!("no answer within {} s", limit.as_secs()))),
            },
            Err(cause) => Err(CallError::Unreachable(cause)),
        };
        match answer {
            Ok(lease) => {
                let seen = seen(&lease);
                self.last = Some(lease);
                Ok(Answer::Lease(seen))
            }
            Err(CallError::Conflict) => Ok(Answer::Conflict),
            // Where a new one cannot be found, its namespace is missing.
            Err(CallError::NotFound) if !matches!(ask, Ask::Write { on: None, .. }) => {
                self.last = None;
                Ok(Answer::Absent)
            }
            Err(error) => {
                self.client = None;
                Err(self.hindrance(error, ask))
            }
        }
    }
}

fn seen(lease: &Lease) -> Seen {
    let spec = lease.spec.clone().unwrap_or_default();
    let record = Record {
        holder: spec.holder_identity,
        duration_seconds: spec.lease_duration_seconds,
        acquired: spec.acquire_time.map(|time| time.0),
        renewed: spec.renew_time.map(|time| time.0),
        transitions: spec.lease_transitions.unwrap_or(0),
    };
    Seen { record, version: lease.metadata.resource_version.clone().unwrap_or_default() }
}
