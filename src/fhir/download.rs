//! Downloads of a server's files: opened from permitted origins only, and read as a stream.

use std::sync::Arc;
use std::time::Duration;

use futures::future::ready;
use futures::stream::{StreamExt, once};
use jiff::Timestamp;
use reqwest::header::{
    ACCEPT, ACCEPT_ENCODING, ACCEPT_RANGES, AUTHORIZATION, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_RANGE,
    CONTENT_TYPE, ETAG, HeaderMap, HeaderValue, IF_RANGE, LOCATION, RANGE, TRANSFER_ENCODING,
};
use reqwest::{Response, Version};
use url::Url;

use super::authorization::Credentials;
use super::download_limits::DownloadPermit;
use super::held_back::Client;
use super::hush::Hush;
use super::origin::{FileTrust, Origin, file_trust};
use super::pieces::{self, BodyHead};
use super::wire::{FhirWire, TokenSource, token};
use super::{answer, failure};
use crate::api::FhirServer;
use crate::core::wire::{Answer, Failure, FileHead, FileRequest, Method};
use crate::core::words;
use crate::credentials::cause::Cause;
use crate::ports::{BrokenOff, FileAnswer, Tenure, UnusableBody};

/// The `Accept` header of downloads. HAPI wraps files into JSON for any other value.
const NDJSON: &str = "application/fhir+ndjson";
/// How many redirects are followed for one file. A pre-signed URL takes one.
const MAX_HOPS: usize = 3;
const MAX_OUTCOME: usize = 64 * 1024;

impl FhirWire {
    /// Opens a file; see [`Wire::open`](crate::ports::Wire::open).
    pub(super) async fn open_file(
        &self,
        server: &Arc<FhirServer>,
        file: &FileRequest,
    ) -> Result<FileAnswer, Failure> {
        let permit = self.download_limits().take(server).await.ok_or_else(|| failure::no_turn(server))?;
        let Ok(mut url) = Url::parse(&file.url) else {
            return Ok(FileAnswer::Elsewhere(failure::no_file_url(server)));
        };
        for _ in 0..=MAX_HOPS {
            let (response, hush) = match self.ask(server, &url, file).await? {
                FileReply::Answered(response, hush) => (response, hush),
                FileReply::Elsewhere(message) => return Ok(FileAnswer::Elsewhere(message)),
            };
            if response.status().is_redirection() {
                let location = response.headers().get(LOCATION).and_then(|value| value.to_str().ok());
                if let Some(next) = location.and_then(|location| url.join(location).ok()) {
                    url = next;
                    continue;
                }
            }
            return Ok(self.read_answer(server, &url, file, (response, &hush), permit).await);
        }
        Ok(FileAnswer::Refused(Answer { status: 310, ..Answer::default() }))
    }

    /// Sends one request, and repeats it with a new token if the first token is rejected.
    async fn ask(
        &self,
        server: &Arc<FhirServer>,
        url: &Url,
        file: &FileRequest,
    ) -> Result<FileReply, Failure> {
        let Some(origin) = Origin::of(url) else {
            return Ok(FileReply::Elsewhere(failure::no_file_url(server)));
        };
        let Some(trust) = file_trust(server, &origin) else {
            return Ok(FileReply::Elsewhere(failure::file_elsewhere(server, &origin)));
        };
        self.check_address(server, url, &origin)?;
        let client = Client::of(server, &origin);
        if let Some(until) = self.held_back().until(&client, Method::Get, Timestamp::now()) {
            return Err(failure::held_back(&origin, until));
        }
        let own = trust == FileTrust::WithToken;
        let credentials =
            self.read(server, own && file.with_token).await.map_err(failure::without_credential)?;
        let header = if own {
            token(&credentials, TokenSource::Current).await.map_err(failure::without_credential)?
        } else {
            None
        };
        let seconds = self.timeout_seconds(server);
        let ask = Ask { tenure: self.tenure(), seconds, server, url, file, origin: &origin, own };
        let response = ask.send(&credentials, header.as_ref()).await?;
        let hush = Hush::of(header.as_ref(), &credentials.headers);
        let Some(refused) = header.filter(|_| response.status().as_u16() == 401) else {
            return Ok(FileReply::Answered(response, hush));
        };
        match self.instead(server, &credentials, &refused).await {
            Ok(Some((other, header))) => {
                let hush = Hush::of(Some(&header), &other.headers);
                ask.send(&other, Some(&header)).await.map(|response| FileReply::Answered(response, hush))
            }
            _ => Ok(FileReply::Answered(response, hush)),
        }
    }

    async fn read_answer(
        &self,
        server: &FhirServer,
        url: &Url,
        file: &FileRequest,
        (response, hush): (Response, &Hush),
        permit: DownloadPermit,
    ) -> FileAnswer {
        let status = response.status().as_u16();
        if !matches!(status, 200 | 206) {
            let answer = answer::read(response, MAX_OUTCOME).await;
            if let Some(origin) = Origin::of(url) {
                self.learn(server, &origin, &answer);
            }
            return FileAnswer::Refused(hush.on(answer));
        }
        let headers = response.headers();
        let range = if status == 206 { Range::of(headers) } else { None };
        let text = |name| headers.get(name).and_then(|v| v.to_str().ok()).map(|v: &str| v.trim().to_owned());
        let encoding =
            text(CONTENT_ENCODING).filter(|e| !e.is_empty() && !e.eq_ignore_ascii_case("identity"));
        let gzip =
            encoding.as_ref().is_some_and(|e| matches!(e.to_ascii_lowercase().as_str(), "gzip" | "x-gzip"));
        if let Some(coding) = encoding.as_ref().filter(|_| !gzip) {
            return FileAnswer::Unusable(UnusableBody::Coding(words::clean(coding)));
        }
        let offset = if status == 206 { range.map(|range| range.first) } else { Some(0) };
        let fits = match (offset, &file.resume) {
            (Some(0), None) => true,
            (Some(offset), Some(resume)) => offset == 0 || offset == resume.offset && encoding.is_none(),
            _ => false,
        };
        if !fits {
            return FileAnswer::Unusable(UnusableBody::OtherRange);
        }
        let etag = text(ETAG).filter(|tag| tag.starts_with('"'));
        let ranges = status == 206 || text(ACCEPT_RANGES).is_some_and(|r| r.eq_ignore_ascii_case("bytes"));
        let head = FileHead {
            offset: offset.unwrap_or_default(),
            resumable: ranges && etag.is_some() && encoding.is_none(),
            resumable_as_it_is: ranges && etag.is_some(),
            etag,
            framed: range.map_or_else(|| is_framed(&response), |range| range.whole.is_some()),
            content_type: text(CONTENT_TYPE),
        };
        let ends_early = range.is_some_and(Range::ends_early);
        let length = range.map(Range::length);
        let body = BodyHead { gzip, may_be_empty: !file.compressed || file.resume.is_some(), length };
        let pieces = pieces::of(response, body, permit);
        // The server sent less than requested, so the end of the body is not the end of the file.
        let early = || once(ready(Err(BrokenOff::Transfer)));
        FileAnswer::Opened(head, if ends_early { pieces.chain(early()).boxed() } else { pieces })
    }
}

/// One HTTP request for a file.
struct Ask<'a> {
    tenure: &'a Tenure,
    /// The time until the body begins, in seconds.
    seconds: u64,
    server: &'a FhirServer,
    url: &'a Url,
    file: &'a FileRequest,
    origin: &'a Origin,
    /// Whether the origin may receive the token, the headers and the client certificate. Other origins only
    /// serve files.
    own: bool,
}

impl Ask<'_> {
    async fn send(
        &self,
        credentials: &Credentials,
        token: Option<&HeaderValue>,
    ) -> Result<Response, Failure> {
        let clients = &credentials.clients;
        let client = if self.own { &clients.files } else { &clients.bare };
        let mut request = client.get(self.url.clone()).header(ACCEPT, NDJSON);
        if self.own {
            request = request.headers(credentials.headers.clone());
        }
        if let Some(token) = token {
            request = request.header(AUTHORIZATION, token.clone());
        }
        request = match &self.file.resume {
            Some(resume) => {
                let ranged = request
                    .header(RANGE, format!("bytes={}-", resume.offset))
                    .header(ACCEPT_ENCODING, "identity");
                match &resume.etag {
                    Some(etag) => ranged.header(IF_RANGE, etag),
                    None => ranged,
                }
            }
            None => request.header(ACCEPT_ENCODING, if self.file.compressed { "gzip" } else { "identity" }),
        };
        self.tenure.look();
        // The time limit covers the time until the body begins; each piece of the body has its own.
        let answered = tokio::time::timeout(Duration::from_secs(self.seconds), request.send()).await;
        let cause = match answered {
            Ok(Ok(response)) => {
                let status = response.status().as_u16();
                tracing::debug!(server = %failure::named(self.server), status, "response to a file request");
                return Ok(response);
            }
            Ok(Err(error)) => Cause::of(&error),
            Err(_) => Cause::Timeout,
        };
        Err(failure::unanswered(&cause, self.server, self.origin, self.seconds))
    }
}

enum FileReply {
    /// The response, and what hides the credentials that were sent.
    Answered(Response, Hush),
    Elsewhere(String),
}

/// The `Content-Range` of a 206 response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Range {
    /// The offset of the first byte.
    first: u64,
    /// The offset of the last byte.
    last: u64,
    /// The length of the whole file in bytes, if the server knows it.
    whole: Option<u64>,
}

impl Range {
    fn of(headers: &HeaderMap) -> Option<Self> {
        let (range, whole) =
            headers.get(CONTENT_RANGE)?.to_str().ok()?.trim().strip_prefix("bytes ")?.split_once('/')?;
        let (first, last) = range.split_once('-')?;
        let (first, last) = (first.trim().parse().ok()?, last.trim().parse().ok()?);
        (first <= last && last < u64::MAX).then(|| Self { first, last, whole: whole.trim().parse().ok() })
    }

    /// The length of the body in bytes.
    fn length(self) -> u64 {
        self.last - self.first + 1
    }

    /// Whether the body ends before the file does.
    fn ends_early(self) -> bool {
        self.whole.is_some_and(|whole| self.last + 1 < whole)
    }
}

/// Whether the end of the body is marked. A body of HTTP/1 without a length and without chunks ends with the
/// connection, so a connection that breaks looks like its end (RFC 9112, section 6.3).
fn is_framed(response: &Response) -> bool {
    let headers = response.headers();
    let chunked = || {
        let last =
            headers.get_all(TRANSFER_ENCODING).iter().next_back().and_then(|value| value.to_str().ok());
        last.and_then(|value| value.rsplit(',').next())
            .is_some_and(|c| c.trim().eq_ignore_ascii_case("chunked"))
    };
    match response.version() {
        Version::HTTP_09 | Version::HTTP_10 => headers.contains_key(CONTENT_LENGTH),
        Version::HTTP_11 => headers.contains_key(CONTENT_LENGTH) || chunked(),
        // HTTP/2 and later mark the end of each stream.
        _ => true,
    }
}
