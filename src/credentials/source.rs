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

/// What the token of a `ServiceAccount` is exchanged for. The `ServiceAccount` must name it in an annotation, so that
/// not everybody who may write a `FhirServer` can use each `ServiceAccount` for each identity.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Federated {
    /// The client id of an Entra identity.
    Entra(String),
    /// The ARN of an AWS role.
    AwsRole(String),
}

impl Federated {
    /// The audience of the token.
    pub fn audience(&self) -> &'static str {
        match self {
            // Entra accepts no other.
            Self::Entra(_) => "api://AzureADTokenExchange",
            Self::AwsRole(_) => "sts.amazonaws.com",
        }
    }

    /// The annotation of the `ServiceAccount` that names the identity.
    pub fn annotation(&self) -> &'static str {
        match self {
            Self::Entra(_) => "azure.workload.identity/client-id",
            Self::AwsRole(_) => "eks.amazonaws.com/role-arn",
        }
    }

    /// The field of a `FhirServer` that names the identity.
    pub fn field(&self) -> &'static str {
        match self {
            Self::Entra(_) => "clientID",
            Self::AwsRole(_) => "roleARN",
        }
    }

    /// The identity.
    pub fn name(&self) -> &str {
        match self {
            Self::Entra(name) | Self::AwsRole(name) => name,
        }
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

    /// A short-lived token of a labelled ServiceAccount, to be exchanged for the identity `of` (TokenRequest API). The
    /// ServiceAccount's annotation must name that identity, else the error is `ServiceAccountMismatch`.
    async fn service_account_token(
        &self,
        namespace: &str,
        name: &str,
        of: &Federated,
    ) -> Result<SecretString, CredentialProblem>;
}
