//! The last step before a request leaves.

use async_trait::async_trait;
use azure_core::http::{AsyncRawResponse, HttpClient, Method, Request};

use super::bounded::Bounded;
use crate::ports::Tenure;

/// Sends requests; those that write only while this process may act (invariant lease-before-act).
#[derive(Debug)]
pub(super) struct Outgoing {
    pub(super) http: Bounded,
    pub(super) tenure: Tenure,
}

#[async_trait]
impl HttpClient for Outgoing {
    async fn execute_request(&self, request: &Request) -> azure_core::Result<AsyncRawResponse> {
        if !matches!(request.method(), Method::Get | Method::Head) {
            self.tenure.look();
        }
        self.http.execute_request(request).await
    }
}
