//! What a Lease says, what can be asked of it, and what a replica does next.

use jiff::Timestamp;

use super::Moment;

/// The contents of a Lease.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LeaseRecord {
    /// `holderIdentity`. Absent or empty if nobody holds the Lease.
    pub holder: Option<String>,
    /// `leaseDurationSeconds`.
    pub duration_seconds: Option<i32>,
    /// `acquireTime`, by the holder's clock. For people to read only.
    pub acquired: Option<Timestamp>,
    /// `renewTime`, by the holder's clock. For people to read only.
    pub renewed: Option<Timestamp>,
    /// `leaseTransitions`: how often the holder changed.
    pub transitions: i32,
}

impl LeaseRecord {
    pub(super) fn holder(&self) -> Option<&str> {
        self.holder.as_deref().filter(|holder| !holder.is_empty())
    }
}

/// A Lease as it was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SeenLease {
    /// The contents of the Lease.
    pub record: LeaseRecord,
    /// The `resourceVersion`.
    pub version: String,
}

/// A request about the Lease.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LeaseRequest {
    /// Reads the Lease from the API server, not from a cache.
    Read,
    /// Replaces the Lease, or creates it.
    Write {
        /// The new contents of the Lease.
        record: LeaseRecord,
        /// The version that the Lease must still have. Absent to create it.
        on: Option<String>,
    },
}

/// The next step of a replica.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LeaseStep {
    /// Sends this request.
    Ask(LeaseRequest),
    /// Does nothing until this moment.
    Wait(Moment),
    /// Ends the process, which may not act any more.
    End(CampaignEnd),
    /// Leaves the election: the Lease is given back, or was not held.
    Left,
}

/// Why a replica that led must end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CampaignEnd {
    /// The replica could not renew the Lease in time, so another one may lead.
    Lapsed,
    /// The Lease names this other replica.
    Taken(String),
}

/// The result of a [`LeaseRequest`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LeaseAnswer {
    /// The Lease, as it is or as it was just written.
    Lease(SeenLease),
    /// The Lease does not exist.
    Absent,
    /// The Lease has another version than the write was for.
    Conflict,
    /// There was no answer, or one that says nothing about the Lease. A write may have been done or not.
    Failed,
}
