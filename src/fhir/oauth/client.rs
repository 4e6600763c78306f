//! An OAuth client, which authenticates to the token endpoint with each token request.

use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use azure_core::credentials::{AccessToken, TokenCredential, TokenRequestOptions};
use azure_core::error::ErrorKind;
use azure_core::time::OffsetDateTime;
use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use jiff::Timestamp;
use reqwest::header::{AUTHORIZATION, CONTENT_TYPE, HeaderValue};
use secrecy::{ExposeSecret, SecretString};
use serde_json::json;
use tokio::time::Instant;
use url::form_urlencoded::{Serializer, byte_serialize};

use super::discovery::{Configuration, Discovery};
use super::endpoint::{TokenEndpoint, Way};
use super::grant::{self, NotGranted};
use super::token_request::TokenRequest;
use crate::api::Reason;
use crate::core::wire::Answer;
use crate::credentials::{CredentialProblem, SigningKey};

/// Time limit of a token request.
const LONGEST: Duration = Duration::from_secs(10);
/// How long an assertion is valid, in seconds. Servers accept at most five minutes by their own clock; this
/// leaves one minute for clocks that differ.
const ASSERTION_SECONDS: i64 = 240;
/// The longest wait that a token endpoint may request with `Retry-After`.
const LONGEST_PATIENCE: Duration = Duration::from_secs(300);

/// How a client authenticates.
pub enum Proof {
    /// With a signed assertion.
    Assertion { key: SigningKey, key_id: String },
    /// With a secret: in the `Authorization` header, or in the form if the endpoint accepts only that.
    Secret { secret: SecretString, in_form: AtomicBool },
}

impl Proof {
    /// Authentication with a client secret, which is first sent in the header.
    pub fn secret(secret: SecretString) -> Self {
        Self::Secret { secret, in_form: AtomicBool::new(false) }
    }
}

/// An OAuth client. It caches no tokens; [`Identity`](crate::credentials::Identity) does.
pub struct OAuthClient {
    way: Way,
    proof: Proof,
    id: String,
    token_url: Option<String>,
    discovery: Discovery,
    /// Until when the token endpoint accepts no requests, and its host.
    patience: Mutex<Option<(Instant, String)>>,
}

/// One token request: the fields of its form, its `Authorization` header, and the credential, which must not
/// appear in messages.
struct Outgoing {
    form: Vec<(&'static str, String)>,
    header: Option<HeaderValue>,
    hush: String,
}

impl Outgoing {
    fn body(&self, scope: &str) -> String {
        let mut form = Serializer::new(String::new());
        form.append_pair("grant_type", "client_credentials").extend_pairs(&self.form);
        if !scope.is_empty() {
            form.append_pair("scope", scope);
        }
        form.finish()
    }
}

impl OAuthClient {
    /// Creates the client; this sends no request.
    pub fn new(way: Way, proof: Proof, id: String, token_url: Option<String>) -> Self {
        Self { way, proof, id, token_url, discovery: Discovery::default(), patience: Mutex::default() }
    }

    async fn ask(&self, scope: &str) -> Result<AccessToken, CredentialProblem> {
        if let Some(problem) = self.impatience() {
            return Err(problem);
        }
        let asked = self.ask_endpoint(scope).await;
        if asked.is_err() {
            self.discovery.forget().await;
        }
        asked
    }

    async fn ask_endpoint(&self, scope: &str) -> Result<AccessToken, CredentialProblem> {
        let by_default = scope.is_empty() && matches!(self.proof, Proof::Assertion { .. });
        let (endpoint, found) = match &self.token_url {
            Some(url) => {
                let endpoint = TokenEndpoint::named(&self.way, url, "tokenURL")?;
                // The discovery is only needed for the scopes here. For a server without one, the older
                // form of scope is requested.
                let found = if by_default { self.discovery.get(&self.way).await.ok() } else { None };
                (endpoint, found.unwrap_or_default())
            }
            None => self.discovered().await?,
        };
        let scope = if by_default { found.default_scope() } else { scope };
        match &self.proof {
            Proof::Assertion { key, key_id } => {
                let outgoing = self.assertion(key, key_id, &endpoint)?;
                self.exchange(&endpoint, scope, outgoing).await.map_err(|refused| refused.problem)
            }
            Proof::Secret { secret, in_form } => {
                self.with_secret(&endpoint, scope, secret.expose_secret(), in_form).await
            }
        }
    }

    async fn discovered(&self) -> Result<(TokenEndpoint, Configuration), CredentialProblem> {
        let found = self.discovery.get(&self.way).await?;
        let Some(url) = &found.token_endpoint else {
            let message = "the server's SMART configuration names no token endpoint; name it in tokenURL";
            return Err(CredentialProblem::lasting(Reason::TokenUnavailable, message));
        };
        let place = "the token endpoint in the server's SMART configuration";
        Ok((TokenEndpoint::discovered(&self.way, url, place)?, found))
    }

    /// Authenticates with the secret: in the header, which RFC 6749 requires servers to accept, and then in
    /// the form, since some servers accept nothing else.
    async fn with_secret(
        &self,
        endpoint: &TokenEndpoint,
        scope: &str,
        secret: &str,
        in_form: &AtomicBool,
    ) -> Result<AccessToken, CredentialProblem> {
        if in_form.load(Ordering::Relaxed) {
            let asked = self.exchange(endpoint, scope, self.secret_in_form(secret)).await;
            return asked.map_err(|refused| refused.problem);
        }
        let first = match self.exchange(endpoint, scope, self.secret_in_header(secret)?).await {
            Ok(token) => return Ok(token),
            Err(refused) if refused.is_of_client() => refused,
            Err(refused) => return Err(refused.problem),
        };
        match self.exchange(endpoint, scope, self.secret_in_form(secret)).await {
            Ok(token) => {
                in_form.store(true, Ordering::Relaxed);
                Ok(token)
            }
            Err(second) if second.is_of_client() => Err(first.problem),
            Err(second) => Err(second.problem),
        }
    }

    async fn exchange(
        &self,
        endpoint: &TokenEndpoint,
        scope: &str,
        outgoing: Outgoing,
    ) -> Result<AccessToken, NotGranted> {
        // An assertion can be used only once, so it must not meet a connection that the server has just closed.
        let clients = &self.way.clients;
        let client = if endpoint.is_strange { &clients.public_only } else { &clients.fresh };
        let mut request = client.post(endpoint.url.clone());
        if let Some(header) = outgoing.header.clone() {
            request = request.header(AUTHORIZATION, header);
        }
        let request =
            request.header(CONTENT_TYPE, "application/x-www-form-urlencoded").body(outgoing.body(scope));
        let begun = OffsetDateTime::now_utc();
        let answer = self.way.send(request, &endpoint.origin, LONGEST).await?;
        self.learn(&answer, endpoint.origin.host());
        let asked = TokenRequest {
            host: endpoint.origin.host(),
            client_id: &self.id,
            scope,
            by_assertion: matches!(self.proof, Proof::Assertion { .. }),
            hush: &outgoing.hush,
        };
        grant::read(&answer, &asked, begun)
    }

    fn assertion(
        &self,
        key: &SigningKey,
        key_id: &str,
        endpoint: &TokenEndpoint,
    ) -> Result<Outgoing, CredentialProblem> {
        let claims = json!({
            "iss": self.id,
            "sub": self.id,
            "aud": endpoint.written,
            "exp": Timestamp::now().as_second() + ASSERTION_SECONDS,
            "jti": URL_SAFE_NO_PAD.encode(rand::random::<[u8; 16]>()),
        });
        let assertion = key.jwt(key_id, &claims).map_err(|problem| {
            let message = format!("the Secret of the private key holds no usable key: {problem}; replace it");
            CredentialProblem::lasting(Reason::SecretInvalid, message)
        })?;
        let form = vec![
            ("client_assertion_type", "urn:ietf:params:oauth:client-assertion-type:jwt-bearer".to_owned()),
            ("client_assertion", assertion.clone()),
        ];
        Ok(Outgoing { form, header: None, hush: assertion })
    }

    /// The request with the secret in the `Authorization` header. RFC 6749, section 2.3.1: both parts are
    /// form-encoded before they are joined.
    fn secret_in_header(&self, secret: &str) -> Result<Outgoing, CredentialProblem> {
        let part = |text: &str| byte_serialize(text.as_bytes()).collect::<String>();
        let pair = STANDARD.encode(format!("{}:{}", part(&self.id), part(secret)));
        let header = HeaderValue::from_str(&format!("Basic {pair}")).map(|mut header| {
            header.set_sensitive(true);
            header
        });
        let header = header.map_err(|_| {
            let message = "the client secret cannot be sent in a header; correct the Secret";
            CredentialProblem::lasting(Reason::SecretInvalid, message)
        })?;
        Ok(Outgoing { form: Vec::new(), header: Some(header), hush: secret.to_owned() })
    }

    fn secret_in_form(&self, secret: &str) -> Outgoing {
        let form = vec![("client_id", self.id.clone()), ("client_secret", secret.to_owned())];
        Outgoing { form, header: None, hush: secret.to_owned() }
    }

    fn learn(&self, answer: &Answer, host: &str) {
        let asked = answer.retry_after.filter(|_| matches!(answer.status, 429 | 503));
        let until = asked.map(|wait| (Instant::now() + wait.min(LONGEST_PATIENCE), host.to_owned()));
        *self.patience.lock().unwrap_or_else(PoisonError::into_inner) = until;
    }

    fn impatience(&self) -> Option<CredentialProblem> {
        let patience = self.patience.lock().unwrap_or_else(PoisonError::into_inner);
        let (_, host) = patience.as_ref().filter(|(until, _)| Instant::now() < *until)?;
        let message = format!("{host} is throttling token requests; the operator retries");
        Some(CredentialProblem::passing(Reason::TokenUnavailable, message))
    }
}

impl fmt::Debug for OAuthClient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OAuthClient").field("id", &self.id).finish_non_exhaustive()
    }
}

#[async_trait]
impl TokenCredential for OAuthClient {
    async fn get_token(
        &self,
        scopes: &[&str],
        _: Option<TokenRequestOptions<'_>>,
    ) -> azure_core::Result<AccessToken> {
        let asked = self.ask(&scopes.join(" ")).await;
        asked.map_err(|problem| azure_core::Error::new(ErrorKind::Credential, problem))
    }
}

#[cfg(test)]
#[path = "client_tests.rs"]
mod tests;
