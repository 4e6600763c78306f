//! The Lease of an election: its name, the requests about it, and whether a replica leads.

use std::fmt;

use crate::core::lease::{LeaseAnswer, LeaseRequest};

/// The namespace and name of a Lease.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LeaseKey {
    /// The namespace.
    pub namespace: String,
    /// The name.
    pub name: String,
}

impl fmt::Display for LeaseKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.namespace, self.name)
    }
}

/// Whether this replica leads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Standing {
    /// This replica has not seen the Lease yet. The text says what hinders it, if anything does.
    Unknown(Option<String>),
    /// Another replica leads.
    Waiting,
    /// This replica leads.
    Leads,
}

/// Requests about a Lease.
pub trait LeaseLock: Send {
    /// The namespace and name of the Lease.
    fn name(&self) -> &LeaseKey;
    /// Reads or writes the Lease, within [`Windows::request`](crate::core::lease::Windows::request). The error says in
    /// a sentence why there is no answer.
    fn ask(&mut self, request: &LeaseRequest) -> impl Future<Output = Result<LeaseAnswer, String>> + Send;
}
