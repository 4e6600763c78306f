//! The HTTP client for storage accounts, which bounds the answers that the Azure libraries buffer as a whole.

use async_trait::async_trait;
use azure_core::error::ErrorKind;
use azure_core::http::{AsyncRawResponse, HttpClient, Method, Request};
use futures::StreamExt;

/// The longest listing or message of an account, in bytes. Blobs may be longer, since they are read in pieces.
const LONGEST: usize = 32 << 20;

/// Bounds every answer except the bytes of a blob. The Azure libraries buffer such an answer before they
/// parse it, and its length is decided by whoever chose the endpoint.
#[derive(Debug)]
pub(super) struct Bounded(pub(super) reqwest::Client);

#[async_trait]
impl HttpClient for Bounded {
    async fn execute_request(&self, request: &Request) -> azure_core::Result<AsyncRawResponse> {
        let answer = self.0.execute_request(request).await?;
        let list = request.url().query_pairs().any(|(name, _)| matches!(name.as_ref(), "comp" | "restype"));
        if answer.status().is_success() && request.method() == Method::Get && !list {
            return Ok(answer);
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
        Ok(AsyncRawResponse::new(status, headers, Box::pin(body)))
    }
}
