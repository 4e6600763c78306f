//! Servers whose data change all the time.

use std::cell::Cell;
use std::time::Duration;

use bulk_fhir::{Script, Server};
use replay::{Change, Changes, Journal, State};
use serde_json::Value;

use crate::fhir::{Fhir, Scope};
use crate::patients::name;
use crate::{Error, Result};

/// The types that are changed and exported.
pub const TYPES: [&str; 2] = ["Patient", "Observation"];

/// A server whose data can be changed.
#[derive(Debug, Clone, Copy)]
pub enum Changing<'a> {
    /// The project's test server.
    Test(&'a Server),
    /// Another server, by FHIR's REST API.
    Rest(&'a Fhir),
}

impl Changing<'_> {
    /// Changes data until `stop` is set, and deletes resources while `deletes` is set. Returns a journal of the
    /// changes.
    pub async fn keep_changing(&self, stop: &Cell<bool>, deletes: &Cell<bool>) -> Result<Journal> {
        let (seed, pace) = match self {
            Self::Test(_) => (11, Duration::from_millis(10)),
            Self::Rest(_) => (12, Duration::from_millis(20)),
        };
        let mut journal = Journal::default();
        let mut changes = Changes::new(seed, true);
        while !stop.get() {
            if !deletes.get() {
                changes.delete_no_more();
            }
            match changes.next() {
                Some(Change::Put(resource)) => journal.put(&self.put(resource).await?),
                Some(Change::Delete { kind, id }) => {
                    let name = format!("{kind}/{id}");
                    self.delete(&kind, &id).await?;
                    journal.deleted(&name);
                }
                None => break,
            }
            tokio::time::sleep(pace).await;
        }
        Ok(journal)
    }

    async fn put(&self, resource: Value) -> Result<Value> {
        match self {
            Self::Test(server) => {
                let name = name(&resource);
                let (kind, id) = name.split_once('/').unwrap_or_default();
                let mut patients = server.patients();
                patients.change(resource)?;
                patients.get(kind, id).cloned().ok_or_else(|| Error::Fhir(format!("{name} is not there")))
            }
            Self::Rest(fhir) => fhir.change(&resource).await,
        }
    }

    async fn delete(&self, kind: &str, id: &str) -> Result<()> {
        match self {
            Self::Test(server) if server.patients().remove(kind, id) => Ok(()),
            Self::Test(_) => Err(Error::Fhir(format!("{kind}/{id} is not there"))),
            Self::Rest(fhir) => fhir.delete(&format!("{kind}/{id}")).await,
        }
    }

    /// All resources on the server.
    pub async fn all(&self) -> Result<State> {
        Ok(match self {
            Self::Test(server) => {
                let patients = server.patients();
                let there = patients.latest().filter(|latest| TYPES.contains(&latest.kind));
                State::of(there.filter_map(|latest| latest.resource.cloned()))
            }
            Self::Rest(fhir) => State::of(fhir.find(Scope::System, &TYPES).await?.into_values()),
        })
    }

    /// Makes the next job fail, if the server can be scripted. Returns whether it can.
    pub fn next_job_fails(&self) -> bool {
        let Self::Test(server) = self else { return false };
        server.script(Script::fails(400, "invalid", "the job failed on purpose"));
        true
    }
}
