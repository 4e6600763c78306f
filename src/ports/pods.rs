//! The port to the pods that land files beside the operator.

use std::sync::Arc;

use async_trait::async_trait;

use super::ClusterFailure;
use crate::api::{FhirServer, Reason};
use crate::core::landing::Assignments;

/// How the pods of a landing stand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PodsStand {
    /// They run, or are to run.
    Running,
    /// None runs any more: each share has landed or was given up.
    Ended,
}

/// Why no pods land: the reason for a condition and one sentence with the next step.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PodsFailure {
    /// The reason for a condition.
    pub reason: Reason,
    /// One sentence: the cause and the next step.
    pub message: String,
}

/// Starts, looks at and ends the pods of landings, at most one set for each run.
#[async_trait]
pub trait LandingPods: Send + Sync {
    /// Hands the credentials that the server names to the pods of the run `uid`; replaces those from before.
    ///
    /// # Errors
    ///
    /// A credential is missing, or the API server refused or failed.
    async fn equip(
        &self,
        uid: &str,
        server: &Arc<FhirServer>,
        landing: &Assignments,
    ) -> Result<(), PodsFailure>;

    /// Makes sure that pods land this for the run `uid`, and says how they stand. Pods that land something else are
    /// ended first.
    ///
    /// # Errors
    ///
    /// The API server refused or failed.
    async fn go_on(
        &self,
        uid: &str,
        server: &Arc<FhirServer>,
        landing: &Assignments,
    ) -> Result<PodsStand, PodsFailure>;

    /// Ends the pods of the run `uid` and takes their credentials away. Returns whether none is left; if not, call it
    /// again.
    ///
    /// # Errors
    ///
    /// The API server refused or failed.
    async fn end(&self, uid: &str) -> Result<bool, ClusterFailure>;

    /// The uids of all runs that have pods or credentials of pods.
    ///
    /// # Errors
    ///
    /// The API server refused or failed.
    async fn runs(&self) -> Result<Vec<String>, ClusterFailure>;
}
