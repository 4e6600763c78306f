//! Entra identities: one credential object each, so that tokens are shared.

use std::sync::Arc;

use azure_core::credentials::TokenCredential;

use super::{CredentialProblem, CredentialSource, EntraSettings};
use crate::api::{Entra, Reason};

/// The Entra identities in use.
pub struct Identities {
    #[allow(dead_code)]
    source: Arc<dyn CredentialSource>,
    #[allow(dead_code)]
    settings: EntraSettings,
    #[allow(dead_code)]
    http: reqwest::Client,
}

impl Identities {
    /// None yet. `http` carries the token requests: no redirects, `extra_ca` merged.
    pub fn new(source: Arc<dyn CredentialSource>, settings: EntraSettings, http: reqwest::Client) -> Self {
        Self { source, settings, http }
    }

    /// The identity that a `FhirServer` of `namespace` names; its tokens are cached. `default_audience` is the
    /// origin of the server's `url`, without a trailing slash: `entra.audience` may differ from it only as far
    /// as the operator's list says. An identity for storage alone passes its own default.
    pub async fn entra(
        &self,
        _namespace: &str,
        _entra: &Entra,
        _default_audience: &str,
    ) -> Result<Arc<dyn TokenCredential>, CredentialProblem> {
        Err(CredentialProblem::lasting(Reason::UnsupportedByServer, "Entra identities are not built yet"))
    }
}
