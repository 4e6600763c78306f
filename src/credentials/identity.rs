//! An identity and its cached tokens.

use std::collections::HashMap;
use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use azure_core::credentials::{AccessToken, TokenCredential, TokenRequestOptions};
use azure_core::error::ErrorKind;
use azure_core::time::{Duration as TimeDelta, OffsetDateTime};
use tokio::time::{Instant, timeout};

use super::CredentialProblem;
use super::token_problem::{Issuer, token_problem, token_timed_out};
use crate::api::Reason;

/// How long before its expiry a token is renewed. A short-lived token is renewed when a fifth of its lifetime is left.
const AHEAD: TimeDelta = TimeDelta::seconds(300);
/// How long before its expiry a token is no longer used; for a short-lived token, a tenth of its lifetime.
const LAST_USE: TimeDelta = TimeDelta::seconds(5);
/// How long a failed token request is remembered; callers in that time get the same error.
const FAILURE_KEPT: Duration = Duration::from_secs(5);
/// The shortest time between two forced renewals, so that a server that rejects every token does not cause a
/// token request with each request. For a short-lived token it is half of its lifetime.
const FORCED_APART: Duration = Duration::from_secs(30);

/// Creates the credential object. A new object is also how its internal cache of tokens is emptied.
pub type Maker = Box<dyn Fn() -> Result<Arc<dyn TokenCredential>, CredentialProblem> + Send + Sync>;

/// An identity that caches its tokens and renews them ahead of time. If a renewal fails, a token that is
/// still valid stays in use.
pub struct Identity {
    issuer: Issuer,
    make: Maker,
    longest: Duration,
    held: Mutex<HashMap<String, Held>>,
    refused: AtomicBool,
    asking: tokio::sync::Mutex<Asking>,
}

#[derive(Clone)]
struct Held {
    token: AccessToken,
    renew: OffsetDateTime,
    last_use: OffsetDateTime,
    forced_apart: Duration,
}

impl Held {
    /// Keeps a token that was just received.
    fn new(token: AccessToken) -> Self {
        let end = token.expires_on;
        let life = (end - OffsetDateTime::now_utc()).max(TimeDelta::ZERO);
        let half = Duration::try_from(life / 2_i32).unwrap_or_default();
        Self {
            token,
            renew: end - (life / 5_i32).min(AHEAD),
            last_use: end - (life / 10_i32).min(LAST_USE),
            forced_apart: half.min(FORCED_APART),
        }
    }

    fn is_usable(&self) -> bool {
        OffsetDateTime::now_utc() < self.last_use
    }
}

#[derive(Default)]
struct Asking {
    credential: Option<Arc<dyn TokenCredential>>,
    failed: HashMap<String, (Instant, CredentialProblem)>,
    forced: Option<Instant>,
}

impl Identity {
    /// An identity without tokens. A token request takes no longer than `longest`, retries included.
    pub(super) fn new(issuer: Issuer, longest: Duration, make: Maker) -> Self {
        Self {
            issuer,
            make,
            longest,
            held: Mutex::default(),
            refused: AtomicBool::new(false),
            asking: tokio::sync::Mutex::default(),
        }
    }

    /// Whether the authority rejected the credential at the last token request.
    pub(super) fn is_refused(&self) -> bool {
        self.refused.load(Ordering::Relaxed)
    }

    /// A valid token for `scope`, from the cache or from the authority.
    pub async fn token(&self, scope: &str) -> Result<AccessToken, CredentialProblem> {
        let held = self.kept(scope);
        if let Some(held) = &held
            && OffsetDateTime::now_utc() < held.renew
        {
            return Ok(held.token.clone());
        }
        let old = held.filter(Held::is_usable);
        let mut asking = match &old {
            // Another task is renewing the token; the old one suffices until then.
            Some(old) => match self.asking.try_lock() {
                Ok(asking) => asking,
                Err(_) => return Ok(old.token.clone()),
            },
            None => self.asking.lock().await,
        };
        if let Some(held) = self.kept(scope)
            && OffsetDateTime::now_utc() < held.renew
        {
            return Ok(held.token);
        }
        let asked = self.ask(&mut asking, scope).await;
        match (asked, old) {
            (Err(_), Some(old)) if old.is_usable() => Ok(old.token),
            (asked, _) => asked,
        }
    }

    /// A token for `scope` other than `refused`, which a server rejected. Returns the same token if one was
    /// forced only seconds ago.
    pub async fn token_instead_of(
        &self,
        scope: &str,
        refused: &str,
    ) -> Result<AccessToken, CredentialProblem> {
        let mut asking = self.asking.lock().await;
        if let Some(held) = self.kept(scope) {
            let too_soon = asking.forced.is_some_and(|at| at.elapsed() < held.forced_apart);
            if held.token.token.secret() != refused || too_soon {
                return Ok(held.token);
            }
        }
        asking.forced = Some(Instant::now());
        asking.credential = None;
        self.ask(&mut asking, scope).await
    }

    /// The cached token, if it is still valid. Use it for requests that must go out even though the
    /// credential no longer exists.
    pub fn held_token(&self, scope: &str) -> Option<AccessToken> {
        self.kept(scope).filter(Held::is_usable).map(|held| held.token)
    }

    fn kept(&self, scope: &str) -> Option<Held> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner).get(scope).cloned()
    }

    async fn ask(&self, asking: &mut Asking, scope: &str) -> Result<AccessToken, CredentialProblem> {
        if let Some((at, problem)) = asking.failed.get(scope)
            && at.elapsed() < FAILURE_KEPT
        {
            return Err(problem.clone());
        }
        let asked = self.ask_authority(asking, scope).await;
        let refused = asked.as_ref().is_err_and(|problem| problem.reason == Reason::TokenRefused);
        self.refused.store(refused, Ordering::Relaxed);
        match &asked {
            Ok(token) => {
                asking.failed.remove(scope);
                let held = Held::new(token.clone());
                self.held.lock().unwrap_or_else(PoisonError::into_inner).insert(scope.to_owned(), held);
            }
            Err(problem) => {
                asking.failed.insert(scope.to_owned(), (Instant::now(), problem.clone()));
            }
        }
        asked
    }

    async fn ask_authority(
        &self,
        asking: &mut Asking,
        scope: &str,
    ) -> Result<AccessToken, CredentialProblem> {
        let credential = match &asking.credential {
            Some(credential) => credential.clone(),
            None => asking.credential.insert((self.make)()?).clone(),
        };
        match timeout(self.longest, credential.get_token(&[scope], None)).await {
            Ok(answer) => answer.map_err(|error| token_problem(&error, &self.issuer)),
            Err(_) => Err(token_timed_out(&self.issuer)),
        }
    }
}

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Identity").field("issuer", &self.issuer).finish_non_exhaustive()
    }
}

#[async_trait]
impl TokenCredential for Identity {
    async fn get_token(
        &self,
        scopes: &[&str],
        _: Option<TokenRequestOptions<'_>>,
    ) -> azure_core::Result<AccessToken> {
        // Entra's client credentials flow takes one scope per request.
        let scope = scopes.first().copied().unwrap_or_default();
        self.token(scope).await.map_err(|problem| azure_core::Error::new(ErrorKind::Credential, problem))
    }
}

#[cfg(test)]
#[path = "identity_tests.rs"]
mod tests;
