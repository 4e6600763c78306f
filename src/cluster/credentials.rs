//! Reads credentials from the API server when they are used. There is no watch, so the right to read single
//! Secrets suffices, and the operator holds no copy of Secrets that nobody named.

use std::collections::BTreeMap;
use std::fmt::Debug;

use async_trait::async_trait;
use k8s_openapi::NamespaceResourceScope;
use k8s_openapi::api::authentication::v1::{TokenRequest, TokenRequestSpec};
use k8s_openapi::api::core::v1::{ConfigMap, Secret, ServiceAccount};
use kube::api::PostParams;
use kube::{Api, Client, Resource, ResourceExt};
use secrecy::SecretString;
use serde::de::DeserializeOwned;

use super::call::{CallError, call};
use crate::api::{CREDENTIAL_LABEL, KeyRef, Reason};
use crate::credentials::{CredentialProblem, CredentialSource, Federated};

/// Lifetime of a `ServiceAccount` token, in seconds. It is exchanged for an access token at once.
const TOKEN_SECONDS: i64 = 3600;

/// Reads credentials from the API server, without a cache.
#[derive(Clone)]
pub struct KubeCredentials {
    client: Client,
}

/// A kind of object that credentials are read from.
trait Source:
    Resource<DynamicType = (), Scope = NamespaceResourceScope> + Clone + Debug + DeserializeOwned
{
    /// The reason when the object does not exist.
    const MISSING: Reason;
}

impl Source for Secret {
    const MISSING: Reason = Reason::SecretNotFound;
}

impl Source for ServiceAccount {
    const MISSING: Reason = Reason::ServiceAccountNotFound;
}

impl Source for ConfigMap {
    const MISSING: Reason = Reason::DependencyMissing;
}

impl KubeCredentials {
    /// Reads with `client`.
    pub fn new(client: Client) -> Self {
        Self { client }
    }

    async fn read<K: Source>(&self, namespace: &str, name: &str) -> Result<K, CredentialProblem> {
        let api: Api<K> = Api::namespaced(self.client.clone(), namespace);
        let what = format!("{} {namespace}/{name}", K::kind(&()));
        let right = format!("get {}", K::plural(&()));
        call(|| api.get(name))
            .await
            .map_err(|error| problem(error, K::MISSING, &right, &format!("read {what}"), namespace))
    }

    /// Reads an object that must carry the credential label. Without the label, anybody who may write a
    /// `FhirServer` could have any Secret sent to a server of their choice.
    async fn labelled<K: Source>(&self, namespace: &str, name: &str) -> Result<K, CredentialProblem> {
        let object: K = self.read(namespace, name).await?;
        if object.labels().get(CREDENTIAL_LABEL).map(String::as_str) == Some("true") {
            return Ok(object);
        }
        Err(CredentialProblem::lasting(
            Reason::CredentialNotLabelled,
            format!(
                "{} {namespace}/{name} lacks the label {CREDENTIAL_LABEL}=true: add the label if this FhirServer \
                 is meant to use it",
                K::kind(&())
            ),
        ))
    }
}

#[async_trait]
impl CredentialSource for KubeCredentials {
    async fn secret_key(&self, namespace: &str, key: &KeyRef) -> Result<SecretString, CredentialProblem> {
        let secret: Secret = self.labelled(namespace, &key.name).await?;
        let (name, key) = (&key.name, &key.key);
        let Some(value) = secret.data.unwrap_or_default().remove(key) else {
            return Err(CredentialProblem::lasting(
                Reason::SecretKeyMissing,
                format!("Secret {namespace}/{name} has no key {key}; add it, or correct the reference"),
            ));
        };
        match std::str::from_utf8(&value.0).map(str::trim) {
            Ok(text) if !text.is_empty() => Ok(text.into()),
            Ok(_) => Err(CredentialProblem::lasting(
                Reason::SecretInvalid,
                format!("Key {key} of Secret {namespace}/{name} is empty; give it a value"),
            )),
            Err(_) => Err(CredentialProblem::lasting(
                Reason::SecretInvalid,
                format!("Key {key} of Secret {namespace}/{name} is not text (UTF-8); correct its value"),
            )),
        }
    }

    async fn secret(
        &self,
        namespace: &str,
        name: &str,
    ) -> Result<BTreeMap<String, SecretString>, CredentialProblem> {
        let secret: Secret = self.labelled(namespace, name).await?;
        // A value that is not text cannot be one of the keys that callers use.
        let text = |(key, value): (String, k8s_openapi::ByteString)| {
            Some((key, String::from_utf8(value.0).ok()?.into()))
        };
        Ok(secret.data.unwrap_or_default().into_iter().filter_map(text).collect())
    }

    async fn config_map_key(
        &self,
        namespace: &str,
        name: &str,
        key: &str,
    ) -> Result<String, CredentialProblem> {
        let map: ConfigMap = self.read(namespace, name).await?;
        map.data.unwrap_or_default().remove(key).ok_or_else(|| {
            CredentialProblem::lasting(
                Reason::DependencyMissing,
                format!("ConfigMap {namespace}/{name} has no key {key}; add it, or correct the reference"),
            )
        })
    }

    async fn service_account_token(
        &self,
        namespace: &str,
        name: &str,
        of: &Federated,
    ) -> Result<SecretString, CredentialProblem> {
        let account: ServiceAccount = self.labelled(namespace, name).await?;
        let (annotation, wanted) = (of.annotation(), of.name());
        let annotated = account.annotations().get(annotation);
        if annotated.map(String::as_str) != Some(wanted) {
            let found = annotated.map_or("has no annotation".to_string(), |id| format!("says {id} in"));
            return Err(CredentialProblem::lasting(
                Reason::ServiceAccountMismatch,
                format!(
                    "ServiceAccount {namespace}/{name} {found} {annotation}, but {} is {wanted}: make them equal",
                    of.field()
                ),
            ));
        }
        let request = TokenRequest {
            spec: TokenRequestSpec {
                audiences: vec![of.audience().to_string()],
                expiration_seconds: Some(TOKEN_SECONDS),
                ..TokenRequestSpec::default()
            },
            ..TokenRequest::default()
        };
        let api: Api<ServiceAccount> = Api::namespaced(self.client.clone(), namespace);
        let parameters = PostParams::default();
        let what = format!("a token of ServiceAccount {namespace}/{name}");
        let answer =
            call(|| api.create_token_request(name, &parameters, &request)).await.map_err(|error| {
                let (right, what) = ("create serviceaccounts/token", format!("request {what}"));
                problem(error, ServiceAccount::MISSING, right, &what, namespace)
            })?;
        answer.status.map(|status| status.token.into()).ok_or_else(|| {
            CredentialProblem::passing(
                Reason::DependencyMissing,
                format!("the API server answered without {what}; check the API server"),
            )
        })
    }
}

/// Explains a failed call. `right` is the verb and the resource in terms of RBAC; `what` says what the operator
/// wanted to do, as in "read Secret research/token".
fn problem(error: CallError, missing: Reason, right: &str, what: &str, namespace: &str) -> CredentialProblem {
    match error {
        CallError::NotFound => {
            let object = what.trim_start_matches("read ").trim_start_matches("request a token of ");
            CredentialProblem::lasting(
                missing,
                format!("{object} does not exist; create it, or correct the reference"),
            )
        }
        CallError::Forbidden(_) => CredentialProblem::lasting(
            Reason::ConnectionNotAllowed,
            format!(
                "the operator lacks the right to {right} in namespace {namespace}, so it cannot {what}; ask its owner \
                 to add {namespace} to credentialNamespaces of the chart, or apply the Role in the chart's README there"
            ),
        ),
        other => CredentialProblem::passing(Reason::DependencyMissing, other.failure(what).to_string()),
    }
}
