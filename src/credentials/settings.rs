//! The operator's configuration for Entra.

use std::collections::BTreeSet;
use std::time::Duration;

use url::Url;

use super::transport;

/// The operator's settings for Entra identities.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EntraSettings {
    /// The https URL of the authority that issues tokens, in place of the cloud's own.
    pub authority_host: Option<Url>,
    /// Additional certificate authorities for connections to Entra, as PEM bundles.
    pub extra_ca: Vec<String>,
    /// Audiences that a `FhirServer` may request besides the origin of its own `url`.
    pub allowed_audiences: BTreeSet<String>,
    /// Namespaces whose `FhirServer`s may use the operator's own workload or managed identity.
    pub own_identity_namespaces: BTreeSet<String>,
}

impl EntraSettings {
    /// The HTTP client for token requests to Entra. It is not bound to a range of addresses, since the
    /// authority is not named by any `FhirServer`. Bodies are not decompressed.
    ///
    /// # Errors
    ///
    /// Fails if `extra_ca` is not PEM, or if the system has no certificate authorities.
    pub fn http_client(&self) -> Result<reqwest::Client, reqwest::Error> {
        transport::client_builder(&self.extra_ca, None)?
            .no_gzip()
            .no_deflate()
            .read_timeout(Duration::from_secs(60))
            .build()
    }
}
