//! Downloads of a server's files: opened from permitted origins only, and read as a stream.

use std::sync::Arc;
use std::time::Duration;

use futures::future::ready;
use futures::stream::{StreamExt, once};
use jiff::Timestamp;
use kube::ResourceExt;
use reqwest::Response;
use reqwest::header::{
    ACCEPT, ACCEPT_ENCODING, ACCEPT_RANGES, AUTHORIZATION, CONTENT_ENCODING, CONTENT_RANGE, CONTENT_TYPE,
    ETAG, HeaderMap, HeaderValue, IF_RANGE, LOCATION, RANGE,
};
use url::Url;

use super::authorization::Credentials;
use super::download_limits::DownloadPermit;
use super::origin::{FileTrust, Origin, file_trust};
use super::wire::{FhirWire, TokenSource, token};
use super::{answer, failure, pieces};
use crate::api::FhirServer;
use crate::core::wire::{Answer, Failure, FileHead, FileRequest, Method};
use crate::credentials::cause::Cause;
use crate::ports::{BrokenOff, FileAnswer, Tenure};

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
        let permit = self.download_limits().take(server).await;
        let Ok(mut url) = Url::parse(&file.url) else {
            return Ok(FileAnswer::Elsewhere(failure::no_file_url(server)));
        };
        for _ in 0..=MAX_HOPS {
            let response = match self.ask(server, &url, file).await? {
                FileReply::Answered(response) => response,
                FileReply::Elsewhere(message) => return Ok(FileAnswer::Elsewhere(message)),
            };
            if response.status().is_redirection() {
                let location = response.headers().get(LOCATION).and_then(|value| value.to_str().ok());
                if let Some(next) = location.and_then(|location| url.join(location).ok()) {
                    url = next;
                    continue;
                }
            }
            return Ok(self.read_answer(server, &url, file, response, permit).await);
        }
        Ok(FileAnswer::Refused(Answer { status: 310, ..Answer::default() }))
    }

    /// Sends one request, and repeats it with another token if the first is rejected.
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
        let namespace = server.namespace().unwrap_or_default();
        if let Some(until) = self.held_back().until(&origin, &namespace, Method::Get, Timestamp::now()) {
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
        let Some(refused) = header.filter(|_| response.status().as_u16() == 401) else {
            return Ok(FileReply::Answered(response));
        };
        match self.instead(server, &credentials, &refused).await {
            Ok(Some((other, header))) => ask.send(&other, Some(&header)).await.map(FileReply::Answered),
            _ => Ok(FileReply::Answered(response)),
        }
    }

    async fn read_answer(
        &self,
        server: &FhirServer,
        url: &Url,
        file: &FileRequest,
        response: Response,
        permit: Option<DownloadPermit>,
    ) -> FileAnswer {
        let status = response.status().as_u16();
        if !matches!(status, 200 | 206) {
            let answer = answer::read(response, MAX_OUTCOME).await;
            if let Some(origin) = Origin::of(url) {
                self.learn(server, &origin, &answer);
            }
            return FileAnswer::Refused(answer);
        }
        let headers = response.headers();
        let text = |name| headers.get(name).and_then(|v| v.to_str().ok()).map(|v: &str| v.trim().to_owned());
        let encoding =
            text(CONTENT_ENCODING).filter(|e| !e.is_empty() && !e.eq_ignore_ascii_case("identity"));
        let gzip =
            encoding.as_ref().is_some_and(|e| matches!(e.to_ascii_lowercase().as_str(), "gzip" | "x-gzip"));
        let offset = if status == 206 { first_byte(headers) } else { Some(0) };
        let fits = match (offset, &file.resume) {
            (Some(0), None) => true,
            (Some(offset), Some(resume)) => offset == 0 || offset == resume.offset && encoding.is_none(),
            _ => false,
        };
        if !fits || encoding.is_some() && !gzip {
            // The body is not what was requested, so the caller must request the file again.
            return FileAnswer::Refused(Answer { status: 416, ..Answer::default() });
        }
        let etag = text(ETAG).filter(|tag| tag.starts_with('"'));
        let ranges = status == 206 || text(ACCEPT_RANGES).is_some_and(|r| r.eq_ignore_ascii_case("bytes"));
        let head = FileHead {
            offset: offset.unwrap_or_default(),
            resumable: ranges && etag.is_some() && encoding.is_none(),
            resumable_as_it_is: ranges && etag.is_some(),
            etag,
            content_type: text(CONTENT_TYPE),
        };
        let part = status == 206 && ends_early(headers);
        let pieces = pieces::of(response, gzip, permit);
        // The server sent less than requested, so the end of the body is not the end of the file.
        FileAnswer::Opened(
            head,
            if part { pieces.chain(once(ready(Err(BrokenOff)))).boxed() } else { pieces },
        )
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
    Answered(Response),
    Elsewhere(String),
}

/// Whether the body of a 206 response ends before the file does.
fn ends_early(headers: &HeaderMap) -> bool {
    let range = headers.get(CONTENT_RANGE).and_then(|range| range.to_str().ok());
    let ends = || {
        let (range, whole) = range?.split_once('/')?;
        let last: u64 = range.rsplit('-').next()?.trim().parse().ok()?;
        Some(last.checked_add(1)? < whole.trim().parse().ok()?)
    };
    ends().unwrap_or(false)
}

/// The offset at which the body of a 206 response begins, in bytes.
fn first_byte(headers: &HeaderMap) -> Option<u64> {
    let range = headers.get(CONTENT_RANGE)?.to_str().ok()?;
    range.trim().strip_prefix("bytes ")?.split('-').next()?.trim().parse().ok()
}
