//! The source of credentials, and what can be wrong with one.

use std::collections::BTreeMap;

use async_trait::async_trait;
use secrecy::SecretString;

use crate::api::{KeyRef, Reason};

/// Why a credential cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct CredentialProblem {
    /// The reason for the condition: one of those for missing credentials (`SecretNotFound`,
    /// `SecretKeyMissing`, `SecretInvalid`, `CredentialNotLabelled`, `ServiceAccountNotFound`,
    /// `ServiceAccountMismatch`, `OwnIdentityNotAllowed`, `AudienceNotAllowed`, `ConnectionNotAllowed`,
    /// `DependencyMissing`), or `TokenRefused` or `TokenUnavailable`.
    pub reason: Reason,
    /// A message for people: the cause and the next step, but never the credential itself.
    pub message: String,
    /// Whether retrying may help because something in between failed (the API server, the identity provider)
    /// and nothing in the cluster needs repair.
    pub passing: bool,
}

impl CredentialProblem {
    /// A problem that lasts until somebody repairs it.
    pub fn lasting(reason: Reason, message: impl Into<String>) -> Self {
        Self { reason, message: message.into(), passing: false }
    }

    /// A problem that may pass without anybody's help.
    pub fn passing(reason: Reason, message: impl Into<String>) -> Self {
        Self { reason, message: message.into(), passing: true }
    }
}

/// Reads credentials. The implementation over the API server is `cluster::credentials`, which does not cache.
///
/// Each method rejects objects without the credential label (`CredentialNotLabelled`), except ConfigMaps,
/// which hold nothing secret. A 403 from the API server is `ConnectionNotAllowed`; a failure of the API
/// server is `DependencyMissing` with `passing`.
#[async_trait]
pub trait CredentialSource: Send + Sync {
    /// One key of a labelled Secret, as UTF-8 without surrounding white space.
    ///
    /// # Errors
    ///
    /// `SecretNotFound`; `SecretKeyMissing`; `SecretInvalid` if the value is empty or not UTF-8.
    async fn secret_key(&self, namespace: &str, key: &KeyRef) -> Result<SecretString, CredentialProblem>;

    /// All keys of a labelled Secret, verbatim. For Secrets of the types `kubernetes.io/basic-auth` and
    /// `kubernetes.io/tls`.
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

    /// A short-lived token of a labelled ServiceAccount for `audience` (TokenRequest API). The
    /// ServiceAccount's annotation `azure.workload.identity/client-id` must equal `client_id`, else the error
    /// is `ServiceAccountMismatch`.
    async fn service_account_token(
        &self,
        namespace: &str,
        name: &str,
        audience: &str,
        client_id: &str,
    ) -> Result<SecretString, CredentialProblem>;
}
