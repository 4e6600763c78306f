//! What the operator's own configuration says about Entra.

use std::collections::BTreeSet;
use std::time::Duration;

use url::Url;

use super::transport;

/// The operator's settings for Entra identities.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EntraSettings {
    /// Where tokens are asked for, instead of the authority of the cloud; https.
    pub authority_host: Option<Url>,
    /// Further certificate authorities for the way to Entra, PEM; each may hold several certificates.
    pub extra_ca: Vec<String>,
    /// Audiences that a `FhirServer` may ask for besides the origin of its own `url`.
    pub allowed_audiences: BTreeSet<String>,
    /// Namespaces whose `FhirServer`s may use the operator's own workload or managed identity.
    pub own_identity_namespaces: BTreeSet<String>,
}

impl EntraSettings {
    /// The client for Azure: token requests, and the storage account too (bodies are not decompressed, since
    /// ranges of a blob are ranges of what is stored). Fails if `extra_ca` is not PEM, or if the system has no
    /// certificate authorities. It goes wherever the authority is, since no `FhirServer` names that.
    pub fn http_client(&self) -> Result<reqwest::Client, reqwest::Error> {
        transport::client_builder(&self.extra_ca, None)?
            .no_gzip()
            .no_deflate()
            .read_timeout(Duration::from_secs(60))
            .build()
    }
}
