//! Token endpoints, and how requests to them are sent.

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

/// Answers are cut off after this many bytes. They hold a token or a SMART configuration.
const MAX_BODY: usize = 256 * 1024;

/// What a request to a token endpoint needs from a `FhirServer`: its HTTP clients, and the headers for its own origins.
pub struct Way {
    pub server: FhirServer,
    pub clients: Arc<Clients>,
    pub headers: HeaderMap,
}

/// A token endpoint whose URL has been checked.
pub struct TokenEndpoint {
    pub url: Url,
    pub origin: Origin,
    /// Whether only the server named the endpoint, so that it must have a public address.
    pub is_strange: bool,
    /// The URL exactly as written, which is the audience of an assertion.
    pub written: String,
}

impl TokenEndpoint {
    /// Checks a URL that the `FhirServer` names. Token endpoints commonly have another origin than the FHIR
    /// server. `place` names the field or document for messages.
    pub fn named(way: &Way, written: &str, place: &str) -> Result<Self, CredentialProblem> {
        let endpoint = Self::parse(&way.server, written, place)?;
        check_address(&way.clients.reach, &endpoint.url).map_err(|refused| address_refused(&refused))?;
        Ok(endpoint)
    }

    /// Checks a URL that the server's own SMART configuration names. The owner of the `FhirServer` did not
    /// choose it, so unless its origin is trusted it must have a public address. `place` names the document
    /// for messages.
    pub fn discovered(way: &Way, written: &str, place: &str) -> Result<Self, CredentialProblem> {
        let endpoint = Self::parse(&way.server, written, place)?;
        let is_strange = !is_trusted(&way.server, &endpoint.origin);
        let reach = if is_strange { way.clients.reach.public() } else { way.clients.reach.clone() };
        check_address(&reach, &endpoint.url).map_err(|refused| address_refused(&refused))?;
        Ok(Self { is_strange, ..endpoint })
    }

    fn parse(server: &FhirServer, written: &str, place: &str) -> Result<Self, CredentialProblem> {
        let url = Url::parse(written).ok();
        let Some((origin, url)) = url.and_then(|url| Some((Origin::of(&url)?, url))) else {
            let message = format!("{place} is not an https URL, so no token was requested; correct it");
            return Err(CredentialProblem::lasting(Reason::TokenUnavailable, message));
        };
        if !origin.is_encrypted() && server.spec.allow_insecure_http != Some(true) {
            let message = format!("{place} is {origin}, not https, so no token was requested; use https");
            return Err(CredentialProblem::lasting(Reason::TokenUnavailable, message));
        }
        Ok(Self { url, origin, is_strange: false, written: written.to_owned() })
    }
}

impl Way {
    /// Sends one request to `origin`, without repeating it. `longest` is its time limit.
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
                tracing::debug!(host, status = answer.status, "answer to a token or discovery request");
                Ok(answer)
            }
            Err(error) => {
                let cause = Cause::of(&error);
                tracing::debug!(host, ?cause, "no answer to a token or discovery request");
                Err(no_answer(&cause, host, "tls of the FhirServer"))
            }
        }
    }
}
