//! The loop around [`core::lease`](crate::core::lease).

use jiff::Timestamp;
use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;
use kube::api::{ObjectMeta, PostParams};
use kube::{Api, Client};
use tokio::sync::{oneshot, watch};
use tracing::{debug, info, warn};

use super::call::CallError;
use super::lead::{Election, Place, Standing};
use crate::controller::tenure::{end, steady};
use crate::core::lease::{Answer, Ask, Candidate, Ending, Record, Seen, Windows};

/// One replica's part in an election.
pub(super) struct Campaign {
    candidate: Candidate,
    election: Election,
    /// Its own, since a request that hangs must not be waited for by another; a fresh one after each failure.
    client: Option<Client>,
    /// The Lease as it was seen last: what others wrote on it stays.
    last: Option<Lease>,
    standing: watch::Sender<Standing>,
    trouble: Option<String>,
}

impl Campaign {
    /// Nothing asked yet.
    pub(super) fn new(me: &str, election: Election, standing: watch::Sender<Standing>) -> Self {
        let candidate = Candidate::new(me, Windows::default());
        Self { candidate, election, client: None, last: None, standing, trouble: None }
    }

    /// Until the Lease is given back, after `leaving` said so.
    pub(super) async fn run(mut self, mut leaving: oneshot::Receiver<()>) {
        let (mut heard, mut leaves) = (false, false);
        loop {
            match self.candidate.decide(steady(), Timestamp::now()) {
                Ask::Wait(until) => {
                    let wait = until.saturating_sub(steady());
                    tokio::select! {
                        () = tokio::time::sleep(wait) => {}
                        told = &mut leaving, if !heard => {
                            heard = true;
                            // The other end may have gone without a word: the process is ending.
                            if told.is_ok() {
                                leaves = true;
                                self.election.tenure.resign();
                                self.candidate.leave();
                            }
                        }
                    }
                }
                Ask::End(ending) => self.end(&ending),
                Ask::Left => return,
                ask => {
                    let began = steady();
                    let answer = self.carry_out(&ask).await;
                    let ended = steady();
                    debug!(?ask, ?answer, took = ?ended.saturating_sub(began), "asked about the Lease");
                    self.candidate.learn(&ask, answer, began, ended);
                    if !leaves {
                        self.tell();
                    }
                }
            }
        }
    }

    /// Tells what has been learned.
    fn tell(&self) {
        let was = self.standing.borrow().clone();
        let new = match (self.candidate.until(), self.candidate.other()) {
            (Some(until), _) => {
                self.election.tenure.extend(until);
                Standing::Leads
            }
            (None, Some(_)) => Standing::Waiting,
            (None, None) if matches!(was, Standing::Unknown(_)) => Standing::Unknown(self.trouble.clone()),
            (None, None) => was.clone(),
        };
        if new == was {
            return;
        }
        let lease = &self.election.place;
        match new {
            Standing::Leads => info!(%lease, "this replica leads"),
            Standing::Waiting => {
                info!(%lease, holder = self.candidate.other(), "another replica leads: standing by");
            }
            Standing::Unknown(_) => {}
        }
        self.standing.send_replace(new);
    }

    fn end(&self, ending: &Ending) -> ! {
        match ending {
            Ending::Lapsed => self.election.tenure.lapsed(),
            Ending::Taken(holder) => end(&format!(
                "The operator ends since its Lease {} was taken from it and names {holder}; it must be started again.",
                self.election.place
            )),
        }
    }

    async fn carry_out(&mut self, ask: &Ask) -> Answer {
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
                self.recovered();
                let seen = seen(&lease);
                self.last = Some(lease);
                Answer::Lease(seen)
            }
            Err(CallError::Conflict) => {
                self.recovered();
                Answer::Conflict
            }
            // Where a new one cannot be found, its namespace is missing.
            Err(CallError::NotFound) if !matches!(ask, Ask::Write { on: None, .. }) => {
                self.recovered();
                self.last = None;
                Answer::Absent
            }
            Err(error) => {
                self.hindered(error, ask);
                self.client = None;
                Answer::Failed
            }
        }
    }

    fn client(&mut self) -> Result<Client, String> {
        if let Some(client) = &self.client {
            return Ok(client.clone());
        }
        let mut settings = self.election.settings.clone();
        let limit = Windows::default().request;
        settings.connect_timeout = Some(limit);
        let client = Client::try_from(settings).map_err(|error| error.to_string())?;
        self.client = Some(client.clone());
        Ok(client)
    }

    async fn request(&self, client: Client, ask: &Ask) -> Result<Lease, CallError> {
        let Place { namespace, name } = &self.election.place;
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
            name: Some(self.election.place.name.clone()),
            resource_version: version.map(Into::into),
            ..lease.metadata
        };
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

    fn hindered(&mut self, error: CallError, ask: &Ask) {
        let verb = match ask {
            Ask::Write { on: Some(_), .. } => "write",
            Ask::Write { on: None, .. } => "create",
            _ => "read",
        };
        let trouble = match error {
            CallError::NotFound => {
                format!(
                    "There is no namespace {} for the Lease; create it, or name another.",
                    self.election.place.namespace
                )
            }
            error => error.failure(&format!("{verb} Lease {}", self.election.place)).to_string(),
        };
        self.election.tenure.hindered(&trouble);
        if self.trouble.is_none() {
            warn!("{trouble}");
        }
        self.trouble = Some(trouble);
    }

    fn recovered(&mut self) {
        if self.trouble.take().is_some() {
            self.election.tenure.hindered("");
            info!(lease = %self.election.place, "the Lease can be reached again");
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
