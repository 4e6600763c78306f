//! How requests are sent, and their answers taken in.

use std::time::Duration;

use bytes::Bytes;
use futures::StreamExt;
use jiff::Timestamp;
use reqwest::header::{CONTENT_LENGTH, HeaderMap, HeaderName, HeaderValue};
use rusty_s3::Method;
use tokio::time::{Instant, timeout};

use super::answer::Answer;
use super::bucket::Bucket;
use super::call::{Call, SLOWEST, STALLED};
use super::failure;
use crate::core::ledger::StorageFailure;
use crate::credentials::cause::Cause;

/// No try of a request begins later than this after the first one.
const PATIENCE: Duration = Duration::from_secs(15);
/// The first wait between two tries; it doubles.
const FIRST_WAIT: Duration = Duration::from_millis(250);
/// The longest answer that is taken in whole, in bytes: a page of a thousand keys, each of 1 KiB that is encoded as
/// three.
const LONGEST: usize = 4 << 20;
/// The longest answer that tells of a failure, in bytes.
const LONGEST_FAILURE: usize = 1 << 20;

/// An answer whose body is still to come.
pub(super) struct Opened {
    pub(super) status: u16,
    pub(super) headers: HeaderMap,
    response: reqwest::Response,
}

impl Opened {
    /// The next piece of the body; `None` at its end. Fails if it breaks off, or takes too long.
    pub(super) async fn piece(&mut self) -> Result<Option<Bytes>, Cause> {
        match timeout(STALLED, self.response.chunk()).await {
            Ok(piece) => piece.map_err(|error| Cause::of(&error)),
            Err(_) => Err(Cause::Timeout),
        }
    }
}

impl Bucket {
    /// Sends a request and takes in its answer, whatever it says. Passing failures are sat out for a while.
    pub(super) async fn send(&self, call: &Call) -> Result<Answer, StorageFailure> {
        // An answer without an end is no answer.
        let endless = || failure::unanswered(self, &Cause::Broken);
        self.send_for(call, LONGEST).await?.ok_or_else(endless)
    }

    /// Sends a request as [`send`](Self::send) does. `None` if the answer is longer than `most` bytes.
    pub(super) async fn send_for(&self, call: &Call, most: usize) -> Result<Option<Answer>, StorageFailure> {
        let until = Instant::now() + PATIENCE;
        let mut wait = FIRST_WAIT;
        loop {
            let answer = match self.once(call).await {
                Ok(opened) => taken_in(opened, call, most).await,
                Err(cause) => Err(cause),
            };
            let wait_now = match &answer {
                Ok(Some(answer)) if answer.is_passing() => answer.retry_after().unwrap_or(wait),
                Err(Cause::Connect(_) | Cause::ConnectTimeout | Cause::Timeout | Cause::Broken) => wait,
                Ok(_) | Err(Cause::Name(_) | Cause::Address(_) | Cause::Tls(_)) => {
                    return answer.map_err(|cause| failure::unanswered(self, &cause));
                }
            };
            if wait_now > until.saturating_duration_since(Instant::now()) {
                return answer.map_err(|cause| failure::unanswered(self, &cause));
            }
            tokio::time::sleep(wait_now).await;
            wait *= 2;
        }
    }

    /// Sends a request whose answer must be one of success.
    pub(super) async fn done(&self, call: &Call) -> Result<Answer, StorageFailure> {
        let answer = self.send(call).await?;
        if answer.is_success() { Ok(answer) } else { Err(failure::refused(self, &answer, call.right)) }
    }

    /// Sends a request whose answer may be long. The body of an answer that is no success is taken in.
    pub(super) async fn open(&self, call: &Call) -> Result<Result<Opened, Answer>, Cause> {
        let opened = self.once(call).await?;
        if (200..300).contains(&opened.status) {
            return Ok(Ok(opened));
        }
        taken_in(opened, call, LONGEST).await?.map(Err).ok_or(Cause::Broken)
    }

    /// Sends a request once. One that writes is sent only while this process may act (invariant lease-before-act).
    async fn once(&self, call: &Call) -> Result<Opened, Cause> {
        let mut headers = call.headers.clone();
        headers.extend(self.owner().map(|owner| ("x-amz-expected-bucket-owner", owner.to_owned())));
        let url = self.signed(call.method, &call.key, &call.query, &headers);
        let mut map = HeaderMap::with_capacity(headers.len());
        for (name, value) in headers {
            // A value that is not signed as it is sent makes the store refuse the request.
            if let Ok(value) = HeaderValue::try_from(value) {
                map.insert(HeaderName::from_static(name), value);
            }
        }
        // An empty body has a length, too, which some stores insist on.
        if call.body.is_empty() && matches!(call.method, Method::Post | Method::Put) {
            map.insert(CONTENT_LENGTH, HeaderValue::from_static("0"));
        }
        let method = match call.method {
            Method::Head => reqwest::Method::HEAD,
            Method::Get => reqwest::Method::GET,
            Method::Post => reqwest::Method::POST,
            Method::Put => reqwest::Method::PUT,
            Method::Delete => reqwest::Method::DELETE,
        };
        if !matches!(call.method, Method::Head | Method::Get) {
            self.tenure().look();
        }
        let request = self.http().request(method, url).headers(map).body(call.body.clone()).send();
        let response = match timeout(call.wait(), request).await {
            Ok(response) => response.map_err(|error| Cause::of(&error))?,
            Err(_) => return Err(Cause::Timeout),
        };
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        Ok(Opened { status, headers, response })
    }
}

/// The whole answer; `None` if it is longer than `most` bytes. One that comes too slowly counts as none.
async fn taken_in(opened: Opened, call: &Call, most: usize) -> Result<Option<Answer>, Cause> {
    let success = (200..300).contains(&opened.status);
    let most = if success { most } else { LONGEST_FAILURE };
    let whole = call.wait() + Duration::from_secs(60 + most as u64 / SLOWEST);
    match timeout(whole, body(opened, call.stalled, most)).await {
        Ok(Ok(None)) if !success => Err(Cause::Broken),
        Ok(answer) => answer,
        Err(_) => Err(Cause::Timeout),
    }
}

async fn body(opened: Opened, stalled: Duration, most: usize) -> Result<Option<Answer>, Cause> {
    let Opened { status, headers, response } = opened;
    let mut body = Vec::new();
    let mut pieces = response.bytes_stream();
    loop {
        match timeout(stalled, pieces.next()).await {
            Ok(Some(Ok(piece))) if body.len() + piece.len() <= most => body.extend_from_slice(&piece),
            Ok(Some(Ok(_))) => return Ok(None),
            Ok(Some(Err(error))) => return Err(Cause::of(&error)),
            Ok(None) => return Ok(Some(Answer::new(status, headers, body, Timestamp::now()))),
            Err(_) => return Err(Cause::Timeout),
        }
    }
}
