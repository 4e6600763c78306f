//! Where a token is asked for, and the way there.

use std::sync::Arc;
use std::time::Duration;

use reqwest::RequestBuilder;
use reqwest::header::{ACCEPT, HeaderMap};
use url::Url;

use crate::api::{FhirServer, Reason};
use crate::core::wire::Answer;
use crate::credentials::cause::Cause;
use crate::credentials::transport::check_address;
use crate::credentials::{CredentialProblem, address_refused, no_answer};
use crate::fhir::answer;
use crate::fhir::clients::Clients;
use crate::fhir::origin::{Origin, is_trusted};

/// No answer is longer: a token, or a SMART configuration.
const MAX_BODY: usize = 256 * 1024;

/// The way from a `FhirServer`: its certificates, and the headers for its own origins.
pub struct Way {
    pub server: FhirServer,
    pub clients: Arc<Clients>,
    pub headers: HeaderMap,
}

/// A token endpoint that may be asked.
pub struct Endpoint {
    pub url: Url,
    pub origin: Origin,
    /// Only the server named it: it must be at a public address.
    pub strange: bool,
    /// Letter by letter as it was written; that is what an assertion is meant for.
    pub written: String,
}

impl Endpoint {
    /// Checks what the `FhirServer` says in `place`. The token endpoint is commonly of another origin than the FHIR
    /// server.
    pub fn named(way: &Way, written: &str, place: &str) -> Result<Self, CredentialProblem> {
        let endpoint = Self::parse(&way.server, written, place)?;
        check_address(&way.clients.reach, &endpoint.url).map_err(|refused| address_refused(&refused))?;
        Ok(endpoint)
    }

    /// Likewise, of what the server itself says of another host. Nobody who may decide that named it, so that it must
    /// be a public one.
    pub fn told(way: &Way, written: &str, place: &str) -> Result<Self, CredentialProblem> {
        let endpoint = Self::parse(&way.server, written, place)?;
        let strange = !is_trusted(&way.server, &endpoint.origin);
        let reach = if strange { way.clients.reach.public() } else { way.clients.reach.clone() };
        check_address(&reach, &endpoint.url).map_err(|refused| address_refused(&refused))?;
        Ok(Self { strange, ..endpoint })
    }

    fn parse(server: &FhirServer, written: &str, place: &str) -> Result<Self, CredentialProblem> {
        let url = Url::parse(written).ok();
        let Some((origin, url)) = url.and_then(|url| Some((Origin::of(&url)?, url))) else {
            let message = format!("{place} is not a URL of https, so no token was asked for; correct it");
            return Err(CredentialProblem::lasting(Reason::TokenUnavailable, message));
        };
        if !origin.is_encrypted() && server.spec.allow_insecure_http != Some(true) {
            let message = format!("{place} is {origin}, not https, so no token was asked for; use https");
            return Err(CredentialProblem::lasting(Reason::TokenUnavailable, message));
        }
        Ok(Self { url, origin, strange: false, written: written.to_owned() })
    }
}

impl Way {
    /// Sends one request, which is not repeated.
    pub async fn send(
        &self,
        request: RequestBuilder,
        origin: &Origin,
        longest: Duration,
    ) -> Result<Answer, CredentialProblem> {
        let mut request = request.header(ACCEPT, "application/json").timeout(longest);
        if is_trusted(&self.server, origin) {
            request = request.headers(self.headers.clone());
        }
        let host = origin.host();
        match request.send().await {
            Ok(response) => {
                let answer = answer::read(response, MAX_BODY).await;
                tracing::debug!(host, status = answer.status, "answered on the way to a token");
                Ok(answer)
            }
            Err(error) => {
                let cause = Cause::of(&error);
                tracing::debug!(host, ?cause, "no answer on the way to a token");
                Err(no_answer(&cause, host, "tls of the FhirServer"))
            }
        }
    }
}
