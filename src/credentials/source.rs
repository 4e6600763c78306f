//! Where credentials come from, and what can be wrong with one.

use std::collections::BTreeMap;

use async_trait::async_trait;
use secrecy::SecretString;

use crate::api::{KeyRef, Reason};

/// Why a credential cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct CredentialProblem {
    /// One of the reasons for missing credentials (`SecretNotFound`, `SecretKeyMissing`, `SecretInvalid`,
    /// `CredentialNotLabelled`, `ServiceAccountNotFound`, `ServiceAccountMismatch`, `OwnIdentityNotAllowed`,
    /// `AudienceNotAllowed`, `ConnectionNotAllowed`, `DependencyMissing`), or `TokenRefused`,
    /// `TokenUnavailable`.
    pub reason: Reason,
    /// One sentence for people: the cause and the next step; never the credential itself.
    pub message: String,
    /// Something on the way failed (the API server, the identity provider) and trying again helps; nothing in
    /// the cluster needs repair.
    pub passing: bool,
}

impl CredentialProblem {
    /// A problem that somebody must repair.
    pub fn lasting(reason: Reason, message: impl Into<String>) -> Self {
        Self { reason, message: message.into(), passing: false }
    }

    /// A problem that may pass by itself.
    pub fn passing(reason: Reason, message: impl Into<String>) -> Self {
        Self { reason, message: message.into(), passing: true }
    }
}

/// Reads credentials. The implementation over the API server is `cluster::credentials`; it caches nothing.
///
/// Each method refuses objects without the credential label (`CredentialNotLabelled`), but for ConfigMaps,
/// which hold nothing secret. An answer of 403 is `ConnectionNotAllowed`; an API server that fails is
/// `DependencyMissing` with `passing`.
#[async_trait]
pub trait CredentialSource: Send + Sync {
    /// One key of a labelled Secret, as UTF-8 without surrounding white space. `SecretNotFound`,
    /// `SecretKeyMissing`; `SecretInvalid` if it is empty or not UTF-8.
    async fn secret_key(&self, namespace: &str, key: &KeyRef) -> Result<SecretString, CredentialProblem>;

    /// All keys of a labelled Secret, verbatim (types `kubernetes.io/basic-auth`, `kubernetes.io/tls`).
    async fn secret(
        &self,
        namespace: &str,
        name: &str,
    ) -> Result<BTreeMap<String, SecretString>, CredentialProblem>;

    /// One key of a ConfigMap.
    async fn config_map_key(
        &self,
        namespace: &str,
        name: &str,
        key: &str,
    ) -> Result<String, CredentialProblem>;

    /// A short-lived token of a labelled ServiceAccount for `audience` (TokenRequest), after checking that its
    /// annotation `azure.workload.identity/client-id` equals `client_id` (`ServiceAccountMismatch`).
    async fn service_account_token(
        &self,
        namespace: &str,
        name: &str,
        audience: &str,
        client_id: &str,
    ) -> Result<SecretString, CredentialProblem>;
}
