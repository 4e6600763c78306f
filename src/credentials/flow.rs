//! The ways to obtain an Entra token, each as a credential object of `azure_identity`.

use std::sync::Arc;

use async_trait::async_trait;
use azure_core::cloud::{CloudConfiguration, CustomConfiguration};
use azure_core::credentials::{Secret, TokenCredential};
use azure_core::error::ErrorKind;
use azure_core::http::{
    ClientMethodOptions, ClientOptions, ExponentialRetryOptions, RetryOptions, Transport,
};
use azure_core::time::Duration;
use azure_identity::{
    ClientAssertion, ClientAssertionCredential, ClientAssertionCredentialOptions, ClientSecretCredential,
    ClientSecretCredentialOptions, ManagedIdentityCredential, ManagedIdentityCredentialOptions,
    UserAssignedId, WorkloadIdentityCredential, WorkloadIdentityCredentialOptions,
};
use secrecy::{ExposeSecret, SecretString};

use super::{CredentialProblem, CredentialSource, Federated};
use crate::api::Reason;

/// One way to obtain an Entra token.
#[derive(Clone)]
pub enum TokenFlow {
    /// With a token of a federated ServiceAccount in the `FhirServer`'s namespace.
    ServiceAccount { source: Arc<dyn CredentialSource>, namespace: String, name: String },
    /// With the operator's own federated ServiceAccount.
    OwnWorkload,
    /// With the managed identity of the node or pod.
    Managed,
    /// With a client secret.
    ClientSecret(SecretString),
}

/// The identity to obtain a token for, and the authority to obtain it from.
#[derive(Clone)]
pub struct TokenTarget {
    pub tenant_id: String,
    pub client_id: Option<String>,
    pub authority: String,
    pub http: reqwest::Client,
}

impl TokenTarget {
    fn options(&self) -> ClientOptions {
        let mut cloud = CustomConfiguration::default();
        cloud.authority_host.clone_from(&self.authority);
        ClientOptions {
            cloud: Some(Arc::new(CloudConfiguration::Custom(cloud))),
            transport: Some(Transport::new(Arc::new(self.http.clone()))),
            retry: RetryOptions::exponential(ExponentialRetryOptions {
                max_retries: 2,
                max_total_elapsed: Duration::seconds(10),
                max_delay: Duration::seconds(3),
                ..ExponentialRetryOptions::default()
            }),
            ..ClientOptions::default()
        }
    }

    /// Creates the credential object. This sends no request.
    pub fn credential(&self, flow: &TokenFlow) -> Result<Arc<dyn TokenCredential>, CredentialProblem> {
        let client_id = self.client_id.clone().unwrap_or_default();
        let client_options = self.options();
        let made: azure_core::Result<Arc<dyn TokenCredential>> = match flow {
            TokenFlow::ServiceAccount { source, namespace, name } => {
                let assertion = ServiceAccountToken {
                    source: source.clone(),
                    namespace: namespace.clone(),
                    name: name.clone(),
                    of: Federated::Entra(client_id.clone()),
                };
                let options = Some(ClientAssertionCredentialOptions { client_options });
                ClientAssertionCredential::new(self.tenant_id.clone(), client_id, assertion, options)
                    .map(|made| made as Arc<dyn TokenCredential>)
            }
            TokenFlow::OwnWorkload => {
                let options = WorkloadIdentityCredentialOptions {
                    credential_options: ClientAssertionCredentialOptions { client_options },
                    client_id: self.client_id.clone(),
                    tenant_id: Some(self.tenant_id.clone()),
                    ..WorkloadIdentityCredentialOptions::default()
                };
                return WorkloadIdentityCredential::new(Some(options))
                    .map(|made| made as Arc<dyn TokenCredential>)
                    .map_err(|_| no_own_workload());
            }
            TokenFlow::Managed => {
                let options = ManagedIdentityCredentialOptions {
                    user_assigned_id: self.client_id.clone().map(UserAssignedId::ClientId),
                    client_options,
                };
                ManagedIdentityCredential::new(Some(options)).map(|made| made as Arc<dyn TokenCredential>)
            }
            TokenFlow::ClientSecret(secret) => {
                let secret = Secret::new(secret.expose_secret().to_owned());
                let options = Some(ClientSecretCredentialOptions { client_options });
                ClientSecretCredential::new(&self.tenant_id, client_id, secret, options)
                    .map(|made| made as Arc<dyn TokenCredential>)
            }
        };
        made.map_err(|_| {
            CredentialProblem::lasting(
                Reason::InvalidSpec,
                "the Entra identity cannot be used; check tenantID, clientID and the operator's authority host",
            )
        })
    }
}

fn no_own_workload() -> CredentialProblem {
    CredentialProblem::lasting(
        Reason::OwnIdentityNotAllowed,
        "the operator has no workload identity of its own (AZURE_FEDERATED_TOKEN_FILE names no readable file); \
         name a ServiceAccount in workloadIdentity.serviceAccountRef",
    )
}

/// A client assertion that requests a fresh ServiceAccount token for each token request to Entra.
struct ServiceAccountToken {
    source: Arc<dyn CredentialSource>,
    namespace: String,
    name: String,
    of: Federated,
}

impl std::fmt::Debug for ServiceAccountToken {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "ServiceAccountToken({}/{})", self.namespace, self.name)
    }
}

#[async_trait]
impl ClientAssertion for ServiceAccountToken {
    async fn secret(&self, _: Option<ClientMethodOptions<'_>>) -> azure_core::Result<String> {
        self.source
            .service_account_token(&self.namespace, &self.name, &self.of)
            .await
            .map(|token| token.expose_secret().to_owned())
            .map_err(|problem| azure_core::Error::new(ErrorKind::Credential, problem))
    }
}
