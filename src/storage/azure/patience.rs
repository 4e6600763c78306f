//! Retries of one request, within a bound.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use azure_core::error::ErrorKind;
use azure_core::http::headers::{HeaderName, Headers};
use azure_core::http::policies::{Policy, PolicyResult};
use azure_core::http::{Context, Request, StatusCode};
use tokio::time::Instant;

const RETRY_AFTER: HeaderName = HeaderName::from_static("retry-after");
const RETRY_AFTER_MS: HeaderName = HeaderName::from_static("x-ms-retry-after-ms");
/// The longest wait that an account may ask for.
const LONGEST_WAIT: Duration = Duration::from_secs(3600);

/// Repeats a request after a passing failure, within a bound. The client's own policies sleep as long as the account
/// asks, which would hold up the reconcile; here a longer wait ends the tries, and the caller is told about it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Patience {
    /// No try begins later than this after the first.
    pub(super) total: Duration,
    /// The first wait between two tries; it doubles.
    pub(super) first: Duration,
}

impl Default for Patience {
    fn default() -> Self {
        Self { total: Duration::from_secs(15), first: Duration::from_millis(250) }
    }
}

#[async_trait]
impl Policy for Patience {
    async fn send(&self, ctx: &Context, request: &mut Request, next: &[Arc<dyn Policy>]) -> PolicyResult {
        let Some((policy, rest)) = next.split_first() else {
            return Err(azure_core::Error::with_message(ErrorKind::Other, "the pipeline has no transport"));
        };
        let until = Instant::now() + self.total;
        let mut wait = self.first;
        loop {
            let result = policy.send(ctx, request, rest).await;
            let wait_now = match &result {
                Ok(response) if is_passing(response.status()) => {
                    retry_after(response.headers()).unwrap_or(wait)
                }
                Err(error) if matches!(error.kind(), ErrorKind::Io | ErrorKind::Connection) => wait,
                _ => return result,
            };
            if wait_now > until.saturating_duration_since(Instant::now()) {
                return result;
            }
            tokio::time::sleep(wait_now).await;
            wait *= 2;
            request.body_mut().reset().await?;
        }
    }
}

/// Whether repeating a request may lead to a better answer.
pub(super) fn is_passing(status: StatusCode) -> bool {
    matches!(u16::from(status), 408 | 429 | 500..=599)
}

/// The wait that the account asks for, in either of its headers; at most an hour.
pub(super) fn retry_after(headers: &Headers) -> Option<Duration> {
    let number = |name: &HeaderName| headers.get_optional_str(name)?.trim().parse::<u64>().ok();
    number(&RETRY_AFTER_MS)
        .map(Duration::from_millis)
        .or_else(|| number(&RETRY_AFTER).map(Duration::from_secs))
        .map(|wait| wait.min(LONGEST_WAIT))
}
