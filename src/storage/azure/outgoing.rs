//! The last step before a request is sent.

use std::time::Duration;

use async_trait::async_trait;
use azure_core::error::ErrorKind;
use azure_core::http::{AsyncRawResponse, HttpClient, Method, Request};
use azure_core::{Bytes, Error};
use futures::stream::{Stream, unfold};
use tokio::time::{error::Elapsed, timeout};

use super::bounded::Bounded;
use super::upload::ONE_REQUEST;
use crate::ports::Tenure;

/// How long an answer may not begin, or bring no byte, before it counts as broken.
const STALLED: Duration = Duration::from_secs(15);
/// The lowest rate, in bytes per second, at which a body is sent: the answer to it may take that much longer.
const SLOWEST: u64 = 64 << 10;
/// The longest time that any request waits for its answer.
pub(super) const LONGEST_WAIT: Duration = Duration::from_secs(STALLED.as_secs() + ONE_REQUEST / SLOWEST);

/// Sends requests, each of which is answered in time or fails. Requests that write are sent only while this
/// process may act (invariant lease-before-act).
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
        let wait = wait_for(request.body().len().unwrap_or_default());
        let answer = timeout(wait, self.http.execute_request(request)).await.map_err(late)??;
        let (status, headers, body) = answer.deconstruct();
        Ok(AsyncRawResponse::new(status, headers, Box::pin(punctual(body, STALLED))))
    }
}

/// How long to wait for the answer to a request with a body of `length` bytes.
fn wait_for(length: u64) -> Duration {
    (STALLED + Duration::from_secs(length / SLOWEST)).min(LONGEST_WAIT)
}

/// The pieces of a body until one takes longer than `within`, which is an error.
fn punctual<B: Stream<Item = azure_core::Result<Bytes>> + Send + Unpin>(
    body: B,
    within: Duration,
) -> impl Stream<Item = azure_core::Result<Bytes>> + Send {
    use futures::StreamExt;
    unfold(Some(body), move |body| async move {
        let mut body = body?;
        match timeout(within, body.next()).await {
            Ok(piece) => Some((piece?, Some(body))),
            Err(elapsed) => Some((Err(late(elapsed)), None)),
        }
    })
}

fn late(elapsed: Elapsed) -> Error {
    Error::with_error(ErrorKind::Io, elapsed, "no answer in time")
}

#[cfg(test)]
mod tests {
    use futures::{StreamExt, stream};

    use super::*;
    use crate::credentials::cause::Cause;

    #[tokio::test(start_paused = true)]
    async fn a_body_that_stalls_is_broken_off_and_a_slow_one_is_not() {
        let piece = |after: u64| async move {
            tokio::time::sleep(Duration::from_secs(after)).await;
            Ok(Bytes::from_static(b"a"))
        };
        let slow = Box::pin(stream::iter([14, 14]).then(piece));
        let read: Vec<_> = punctual(slow, STALLED).collect().await;
        assert!(read.len() == 2 && read.iter().all(Result::is_ok));
        let stalling = Box::pin(stream::iter([14, 16, 1]).then(piece));
        let read: Vec<_> = punctual(stalling, STALLED).collect().await;
        assert!(read.len() == 2 && read[0].is_ok());
        let error = read[1].as_ref().unwrap_err();
        assert!(matches!(Cause::of(error), Cause::Timeout) && matches!(error.kind(), ErrorKind::Io));
    }

    #[test]
    fn a_large_body_gets_longer_than_a_small_one() {
        let seconds = [0, 4 << 20, 8 << 20, 1 << 40].map(|length| wait_for(length).as_secs());
        assert_eq!(seconds, [15, 15 + 64, 15 + 128, 15 + 128]);
    }
}
