//! Requests to FHIR servers: each is sent once, with the credentials of its `FhirServer`, to the origins of
//! that server.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use kube::ResourceExt;
use reqwest::header::{ACCEPT, AUTHORIZATION, CACHE_CONTROL, CONTENT_TYPE, HeaderValue};
use secrecy::SecretString;
use tokio::time::Instant;
use url::Url;

use super::authorization::{self, Authorization, Credentials, bearer_header};
use super::clients::{ClientPool, timeout_seconds};
use super::download_limits::DownloadLimits;
use super::held_back::{Client, HeldBack};
use super::hush::Hush;
use super::origin::{Origin, is_trusted};
use super::{answer, failure};
use crate::api::{FhirServer, KeyRef, Reason};
use crate::core::reach::Reach;
use crate::core::wire::{Answer, Failure, FileRequest, Method, Reply, Request};
use crate::credentials::cause::Cause;
use crate::credentials::{CredentialProblem, CredentialSource, Identities, transport};
use crate::ports::FileAnswer;
use crate::ports::Tenure;
use crate::ports::Wire;

/// The operator's settings for requests to FHIR servers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct WireSettings {
    /// Additional certificate authorities to trust for all servers, as PEM bundles.
    pub extra_ca: Vec<String>,
    /// How many files are downloaded at once, over all servers; 0 stands for the default of 16.
    pub max_downloads: usize,
    /// The longest time that one request may take, whatever its `FhirServer` says; `None` adds no bound to
    /// that of the `FhirServer`.
    pub max_request_timeout: Option<Duration>,
    /// The addresses that hosts named by a `FhirServer` may resolve to.
    pub reach: Reach,
}

/// How many files are downloaded at once unless the settings say otherwise.
const DOWNLOADS: usize = 16;

/// How long credentials stay in use after their Secret is gone: long enough to cancel a job, but not for
/// ever, because deleting a Secret must end its use.
const OUTLIVES: Duration = Duration::from_secs(3600);

/// Sends requests to FHIR servers. There is one for the whole operator.
pub struct FhirWire {
    identities: Arc<Identities>,
    clients: ClientPool,
    held_back: HeldBack,
    last: Mutex<HashMap<String, Last>>,
    download_limits: DownloadLimits,
    max_request_timeout: Option<Duration>,
    tenure: Tenure,
}

/// The last complete credentials of a server.
struct Last {
    generation: Option<i64>,
    credentials: Credentials,
    read: Instant,
}

/// Where a request may get its token from.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum TokenSource {
    /// From the credentials that are in the cluster now; a new token may be requested.
    Current,
    /// From the cache only, because the Secret behind the credentials is gone.
    Held,
}

impl FhirWire {
    /// Creates a wire that has not sent anything yet.
    pub fn new(identities: Arc<Identities>, settings: WireSettings) -> Self {
        Self {
            identities,
            clients: ClientPool::new(settings.extra_ca, settings.reach),
            held_back: HeldBack::default(),
            last: Mutex::default(),
            download_limits: DownloadLimits::new(if settings.max_downloads == 0 {
                DOWNLOADS
            } else {
                settings.max_downloads
            }),
            max_request_timeout: settings.max_request_timeout,
            tenure: Tenure::default(),
        }
    }

    /// Makes this wire send only while `tenure` lasts.
    #[must_use]
    pub fn within(mut self, tenure: Tenure) -> Self {
        self.tenure = tenure;
        self
    }

    /// The time that one request to `server` may take, in seconds.
    pub(super) fn timeout_seconds(&self, server: &FhirServer) -> u64 {
        let longest = self.max_request_timeout.map_or(u64::MAX, |longest| longest.as_secs());
        timeout_seconds(server).min(longest)
    }

    pub(super) fn tenure(&self) -> &Tenure {
        &self.tenure
    }

    pub(super) fn download_limits(&self) -> &DownloadLimits {
        &self.download_limits
    }

    pub(super) fn held_back(&self) -> &HeldBack {
        &self.held_back
    }

    /// Records how long the origin asks the client to send no requests.
    pub(super) fn learn(&self, server: &FhirServer, origin: &Origin, answer: &Answer) {
        let client = Client::of(server, origin);
        self.held_back.learn(&client, answer, longest_wait(server), Timestamp::now());
    }

    pub(super) async fn read(
        &self,
        server: &FhirServer,
        with_token: bool,
    ) -> Result<Credentials, CredentialProblem> {
        let namespace = server.namespace().unwrap_or_default();
        let read =
            authorization::read(&self.identities, &self.clients, &namespace, server, with_token).await?;
        if with_token {
            let last = Last {
                generation: server.metadata.generation,
                credentials: read.clone(),
                read: Instant::now(),
            };
            let mut all = self.last.lock().unwrap_or_else(PoisonError::into_inner);
            all.retain(|_, last| last.read.elapsed() < OUTLIVES);
            if let Some(uid) = server.uid() {
                all.insert(uid, last);
            }
        }
        Ok(read)
    }

    /// The credentials that were read last, if they may outlive `problem`: their Secret is gone or cannot be
    /// read. They may not outlive a problem that was caused on purpose, for example by removing the label.
    fn outliving(&self, server: &FhirServer, problem: &CredentialProblem) -> Option<Credentials> {
        let gone = matches!(problem.reason, Reason::SecretNotFound | Reason::ConnectionNotAllowed);
        let all = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        let last = all.get(&server.uid()?)?;
        let fits = last.generation == server.metadata.generation && last.read.elapsed() < OUTLIVES;
        (fits && (gone || problem.passing)).then(|| last.credentials.clone())
    }

    /// Parses `url` and checks that a request for `server` may go there now.
    fn admitted(&self, server: &FhirServer, url: &str, method: Method) -> Result<(Url, Origin), Failure> {
        let url = Url::parse(url).map_err(|_| failure::untrusted(server, None))?;
        let origin = Origin::of(&url).ok_or_else(|| failure::untrusted(server, None))?;
        if !is_trusted(server, &origin) {
            return Err(failure::untrusted(server, Some(&origin)));
        }
        self.check_address(server, &url, &origin)?;
        match self.held_back.until(&Client::of(server, &origin), method, Timestamp::now()) {
            Some(until) => Err(failure::held_back(&origin, until)),
            None => Ok((url, origin)),
        }
    }

    /// Checks the address in a URL. A host name is checked when it is resolved.
    pub(super) fn check_address(
        &self,
        server: &FhirServer,
        url: &Url,
        origin: &Origin,
    ) -> Result<(), Failure> {
        let unanswered = |refused| failure::unanswered(&Cause::Address(refused), server, origin, 0);
        transport::check_address(self.clients.reach(), url).map_err(unanswered)
    }

    async fn exchange(
        &self,
        server: &FhirServer,
        (url, origin): &(Url, Origin),
        request: &Request,
        credentials: &Credentials,
        token: Option<&HeaderValue>,
    ) -> Reply {
        let seconds = self.timeout_seconds(server);
        // Only kick-offs send `Prefer`, and they must not meet a connection that the server has just closed.
        let client =
            if request.prefer.is_some() { &credentials.clients.fresh } else { &credentials.clients.kept };
        let method = match request.method {
            Method::Get => reqwest::Method::GET,
            Method::Post => reqwest::Method::POST,
            Method::Delete => reqwest::Method::DELETE,
        };
        let mut outgoing = client
            .request(method, url.clone())
            .headers(credentials.headers.clone())
            .header(ACCEPT, request.accept)
            .timeout(Duration::from_secs(seconds));
        if let Some(prefer) = request.prefer {
            outgoing = outgoing.header("prefer", prefer);
        }
        if request.no_cache {
            outgoing = outgoing.header(CACHE_CONTROL, "no-cache");
        }
        if let Some(body) = &request.body {
            outgoing = outgoing.header(CONTENT_TYPE, request.accept).json(body);
        }
        if let Some(token) = token {
            outgoing = outgoing.header(AUTHORIZATION, token.clone());
        }
        let begun = Instant::now();
        self.tenure.look();
        let answer = match outgoing.send().await {
            Ok(response) => answer::read(response, request.max_body).await,
            Err(error) => {
                let cause = Cause::of(&error);
                tracing::debug!(server = %failure::named(server), method = ?request.method, ?cause, "no answer");
                return Err(failure::unanswered(&cause, server, origin, seconds));
            }
        };
        let took = begun.elapsed();
        let (method, status) = (request.method, answer.status);
        tracing::debug!(server = %failure::named(server), ?method, status, ?took, "answered");
        self.learn(server, origin, &answer);
        Ok(Hush::of(token, &credentials.headers).on(answer))
    }

    /// Reads the credentials again after `refused` was rejected, and returns them if the `Authorization` or a
    /// header has changed.
    pub(super) async fn instead(
        &self,
        server: &FhirServer,
        refused: &Credentials,
        token: &HeaderValue,
    ) -> Result<Option<(Credentials, HeaderValue)>, CredentialProblem> {
        let namespace = server.namespace().unwrap_or_default();
        for secret in authorization::secrets(server) {
            self.identities.source().forget(&namespace, secret).await;
        }
        let credentials = self.read(server, true).await?;
        let other = match &credentials.authorization {
            Some(Authorization::Token { identity, scope }) => {
                let refused =
                    token.to_str().ok().and_then(|value| value.strip_prefix("Bearer ")).unwrap_or_default();
                let token = identity.token_instead_of(scope, refused).await?;
                Some(bearer_header(&token)?)
            }
            Some(Authorization::Fixed(header)) => Some(header.clone()),
            Some(Authorization::None) | None => None,
        };
        let changed = |other: &HeaderValue| other != token || credentials.headers != refused.headers;
        Ok(other.filter(changed).map(|other| (credentials, other)))
    }
}

impl Wire for FhirWire {
    async fn authorize(&self, server: &Arc<FhirServer>) -> Result<(), Failure> {
        self.admitted(server, &server.spec.url, Method::Get)?;
        let credentials = self.read(server, true).await.map_err(failure::without_credential)?;
        token(&credentials, TokenSource::Current).await.map_err(failure::without_credential)?;
        Ok(())
    }

    async fn send(&self, server: &Arc<FhirServer>, request: &Request) -> Reply {
        let to = self.admitted(server, &request.url, request.method)?;
        let (credentials, first) = match self.read(server, request.with_token).await {
            Ok(credentials) => {
                let first = token(&credentials, TokenSource::Current).await;
                (credentials, first)
            }
            Err(problem) => match self.outliving(server, &problem) {
                Some(credentials) => {
                    let held = token(&credentials, TokenSource::Held).await;
                    (credentials, held.map_err(|_| problem))
                }
                None => return Err(failure::without_credential(problem)),
            },
        };
        let first = first.map_err(failure::without_credential)?;
        let answer = self.exchange(server, &to, request, &credentials, first.as_ref()).await?;
        let Some(refused) = first.filter(|_| answer.status == 401) else { return Ok(answer) };
        match self.instead(server, &credentials, &refused).await {
            Ok(Some((credentials, token))) => {
                self.exchange(server, &to, request, &credentials, Some(&token)).await
            }
            Ok(None) => Ok(answer),
            Err(problem) => after_refusal(answer, problem),
        }
    }

    async fn open(&self, server: &Arc<FhirServer>, file: &FileRequest) -> Result<FileAnswer, Failure> {
        self.open_file(server, file).await
    }

    async fn secret(&self, namespace: &str, key: &KeyRef) -> Result<SecretString, Failure> {
        // Unlike an outdated credential, an outdated list of patients is not rejected by the server, so it is
        // always read anew: a patient who was removed from it must not be exported.
        self.identities.source().forget(namespace, &key.name).await;
        let read = self.identities.source().secret_key(namespace, key).await;
        read.map_err(failure::without_credential)
    }

    fn throttled_origins(&self) -> usize {
        self.held_back.count(Timestamp::now())
    }

    fn throttles(&self, server: &FhirServer) -> bool {
        self.held_back.holds(server, Timestamp::now())
    }

    fn forget(&self, uid: &str) {
        self.last.lock().unwrap_or_else(PoisonError::into_inner).remove(uid);
        self.download_limits.forget(uid);
    }
}

/// The reply after the token was rejected and no other one could be obtained. Why there is no other one says
/// more than the rejection, unless the cause may pass.
fn after_refusal(answer: Answer, problem: CredentialProblem) -> Reply {
    if problem.passing { Ok(answer) } else { Err(failure::without_credential(problem)) }
}

pub(super) async fn token(
    credentials: &Credentials,
    source: TokenSource,
) -> Result<Option<HeaderValue>, CredentialProblem> {
    match &credentials.authorization {
        None | Some(Authorization::None) => Ok(None),
        Some(Authorization::Fixed(header)) => Ok(Some(header.clone())),
        Some(Authorization::Token { identity, scope }) => {
            let token = match source {
                TokenSource::Current => identity.token(scope).await?,
                TokenSource::Held => identity.held_token(scope).ok_or_else(|| {
                    CredentialProblem::lasting(Reason::TokenUnavailable, "the cached token has expired")
                })?,
            };
            bearer_header(&token).map(Some)
        }
    }
}

/// The longest wait that the server may request. Default: two hours.
fn longest_wait(server: &FhirServer) -> Duration {
    let set = server.spec.limits.as_ref().and_then(|limits| limits.max_retry_after_seconds);
    Duration::from_secs(set.and_then(|seconds| u64::try_from(seconds).ok()).unwrap_or(7200))
}
