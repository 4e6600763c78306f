//! How long one request is tried, and how much of its answer is taken.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use azure_core::error::ErrorKind;
use azure_core::http::headers::{HeaderName, Headers};
use azure_core::http::policies::{Policy, PolicyResult};
use azure_core::http::{AsyncRawResponse, Context, Method, Request, StatusCode};
use futures::StreamExt;
use tokio::time::Instant;

const RETRY_AFTER: HeaderName = HeaderName::from_static("retry-after");
/// No list, and nothing that an account says of itself or of a failure, is longer, in bytes. Blobs are, and come in pieces.
const LONGEST: usize = 32 << 20;

const RETRY_AFTER_MS: HeaderName = HeaderName::from_static("x-ms-retry-after-ms");

/// Repeats a request that failed in passing, within a bound. The client's own policies sleep as long as the
/// account asks them to, which would hold up the reconcile; here a longer wish ends the tries, and the caller
/// learns of it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Patience {
    /// No try begins later than this after the first.
    pub(super) total: Duration,
    /// The first wait between tries; it doubles.
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
            let result = policy.send(ctx, request, rest).await.map(|answer| bounded(answer, request));
            let wait_now = match &result {
                Ok(response) if is_passing(response.status()) => {
                    retry_after(response.headers()).unwrap_or(wait)
                }
                Err(error) if matches!(error.kind(), ErrorKind::Io | ErrorKind::Connection) => wait,
                _ => return result,
            };
            if Instant::now() + wait_now > until {
                return result;
            }
            tokio::time::sleep(wait_now).await;
            wait *= 2;
            request.body_mut().reset().await?;
        }
    }
}

/// The client reads an answer whole before it looks at it, unless it is a blob; whoever named the endpoint decides how
/// long it is.
fn bounded(answer: AsyncRawResponse, request: &Request) -> AsyncRawResponse {
    let list = request.url().query_pairs().any(|(name, _)| matches!(name.as_ref(), "comp" | "restype"));
    if answer.status().is_success() && request.method() == Method::Get && !list {
        return answer;
    }
    let (status, headers, body) = answer.deconstruct();
    let mut left = LONGEST;
    let body = body.map(move |piece| {
        let piece = piece?;
        left = left.checked_sub(piece.len()).ok_or_else(|| {
            azure_core::Error::with_message(ErrorKind::DataConversion, "an answer without an end")
        })?;
        Ok(piece)
    });
    AsyncRawResponse::new(status, headers, Box::pin(body))
}

/// Whether a repeated request may be answered better.
pub(super) fn is_passing(status: StatusCode) -> bool {
    matches!(u16::from(status), 408 | 429 | 500..=599)
}

/// What the account asks for, in either of its headers.
pub(super) fn retry_after(headers: &Headers) -> Option<Duration> {
    let number = |name: &HeaderName| headers.get_optional_str(name)?.trim().parse::<u64>().ok();
    number(&RETRY_AFTER_MS)
        .map(Duration::from_millis)
        .or_else(|| number(&RETRY_AFTER).map(Duration::from_secs))
}
