//! One Entra identity and its tokens.

use std::collections::HashMap;
use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use azure_core::credentials::{AccessToken, TokenCredential, TokenRequestOptions};
use azure_core::error::ErrorKind;
use azure_core::time::OffsetDateTime;
use tokio::time::{Instant, timeout};

use super::CredentialProblem;
use super::token_problem::{token_problem, token_timed_out};
use crate::api::Reason;

/// No token request takes longer, retries included.
const LONGEST: Duration = Duration::from_secs(15);
/// Tokens are renewed so long before they end, or in the middle of a short life.
const AHEAD: azure_core::time::Duration = azure_core::time::Duration::seconds(300);
/// A token this near its end is not used any more.
const LAST_USE: Duration = Duration::from_secs(5);
/// What failed is not tried again within this time, however many ask.
const FAILURE_KEPT: Duration = Duration::from_secs(5);
/// A refused token is replaced at most so often: a server that refuses any token must not make the
/// operator ask for a token with each request.
const FORCED_APART: Duration = Duration::from_secs(30);

/// Makes the credential object anew; that is how its own cache of tokens is emptied.
pub type Maker = Box<dyn Fn() -> Result<Arc<dyn TokenCredential>, CredentialProblem> + Send + Sync>;

/// An identity with its tokens, renewed ahead. Where a renewal fails, a token that is still good is used on.
pub struct EntraIdentity {
    host: String,
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
}

#[derive(Default)]
struct Asking {
    credential: Option<Arc<dyn TokenCredential>>,
    failed: HashMap<String, (Instant, CredentialProblem)>,
    forced: Option<Instant>,
}

impl EntraIdentity {
    /// `host` is the authority's, for messages.
    pub(super) fn new(host: String, make: Maker) -> Self {
        Self {
            host,
            make,
            longest: LONGEST,
            held: Mutex::default(),
            refused: AtomicBool::new(false),
            asking: tokio::sync::Mutex::default(),
        }
    }

    /// Whether the last answer to a token request was that the credential is not good.
    pub(super) fn is_refused(&self) -> bool {
        self.refused.load(Ordering::Relaxed)
    }

    /// A token for `scope`.
    pub async fn token(&self, scope: &str) -> Result<AccessToken, CredentialProblem> {
        let held = self.kept(scope);
        if let Some(held) = &held
            && OffsetDateTime::now_utc() < held.renew
        {
            return Ok(held.token.clone());
        }
        let old = held.filter(|held| is_usable(&held.token)).map(|held| held.token);
        let mut asking = match &old {
            // Somebody is renewing it: the old one does meanwhile.
            Some(old) => match self.asking.try_lock() {
                Ok(asking) => asking,
                Err(_) => return Ok(old.clone()),
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
            (Err(_), Some(old)) if is_usable(&old) => Ok(old),
            (asked, _) => asked,
        }
    }

    /// A token for `scope` other than `refused`, which a server did not accept; the same one if there was a
    /// fresh one for it only seconds ago.
    pub async fn token_instead_of(
        &self,
        scope: &str,
        refused: &str,
    ) -> Result<AccessToken, CredentialProblem> {
        let mut asking = self.asking.lock().await;
        if let Some(held) = self.kept(scope) {
            let too_soon = asking.forced.is_some_and(|at| at.elapsed() < FORCED_APART);
            if held.token.token.secret() != refused || too_soon {
                return Ok(held.token);
            }
        }
        asking.forced = Some(Instant::now());
        asking.credential = None;
        self.ask(&mut asking, scope).await
    }

    /// The token in hand, if it is still good: for what must go on although the credential is gone.
    pub fn held_token(&self, scope: &str) -> Option<AccessToken> {
        self.kept(scope).map(|held| held.token).filter(is_usable)
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
        let asked = self.ask_entra(asking, scope).await;
        let refused = asked.as_ref().is_err_and(|problem| problem.reason == Reason::TokenRefused);
        self.refused.store(refused, Ordering::Relaxed);
        match &asked {
            Ok(token) => {
                asking.failed.remove(scope);
                let held = Held { token: token.clone(), renew: renewal(token) };
                self.held.lock().unwrap_or_else(PoisonError::into_inner).insert(scope.to_owned(), held);
            }
            Err(problem) => {
                asking.failed.insert(scope.to_owned(), (Instant::now(), problem.clone()));
            }
        }
        asked
    }

    async fn ask_entra(&self, asking: &mut Asking, scope: &str) -> Result<AccessToken, CredentialProblem> {
        let credential = match &asking.credential {
            Some(credential) => credential.clone(),
            None => asking.credential.insert((self.make)()?).clone(),
        };
        match timeout(self.longest, credential.get_token(&[scope], None)).await {
            Ok(answer) => answer.map_err(|error| token_problem(&error, &self.host)),
            Err(_) => Err(token_timed_out(&self.host)),
        }
    }
}

fn is_usable(token: &AccessToken) -> bool {
    OffsetDateTime::now_utc() + LAST_USE < token.expires_on
}

fn renewal(token: &AccessToken) -> OffsetDateTime {
    let life = token.expires_on - OffsetDateTime::now_utc();
    token.expires_on - (life / 2_i32).min(AHEAD)
}

impl fmt::Debug for EntraIdentity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EntraIdentity").field("host", &self.host).finish_non_exhaustive()
    }
}

#[async_trait]
impl TokenCredential for EntraIdentity {
    async fn get_token(
        &self,
        scopes: &[&str],
        _: Option<TokenRequestOptions<'_>>,
    ) -> azure_core::Result<AccessToken> {
        // One scope per request is what Entra's client credentials flow takes.
        let scope = scopes.first().copied().unwrap_or_default();
        self.token(scope).await.map_err(|problem| azure_core::Error::new(ErrorKind::Credential, problem))
    }
}

#[cfg(test)]
#[path = "identity_tests.rs"]
mod tests;
