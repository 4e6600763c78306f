//! Replies and `OperationOutcome`s as the service words them.

use std::convert::Infallible;
use std::time::Duration;

use futures::{StreamExt, stream};
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::body::{Bytes, Frame};
use serde_json::{Value, json};

/// A body that can break off.
pub(crate) type Body = BoxBody<Bytes, std::io::Error>;

/// What a request gets.
#[derive(Debug, Clone)]
pub(crate) enum Answer {
    /// An HTTP answer.
    Reply(Reply),
    /// RST.
    Reset,
    /// FIN.
    Close,
    /// Nothing, for ever.
    Hang,
}

/// An HTTP answer.
#[derive(Debug, Clone)]
pub(crate) struct Reply {
    pub(crate) status: u16,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
    /// Whether the body breaks off before its `Content-Length`.
    pub(crate) truncated: bool,
}

impl From<Reply> for Answer {
    fn from(reply: Reply) -> Self {
        Self::Reply(reply)
    }
}

impl Reply {
    pub(crate) fn empty(status: u16) -> Self {
        Self { status, headers: Vec::new(), body: Vec::new(), truncated: false }
    }

    pub(crate) fn text(status: u16, content_type: &str, body: &str) -> Self {
        Self { body: body.as_bytes().to_vec(), ..Self::empty(status) }.header("Content-Type", content_type)
    }

    pub(crate) fn json(status: u16, content_type: &str, body: &Value) -> Self {
        Self::text(status, content_type, &body.to_string())
    }

    pub(crate) fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    /// An `OperationOutcome` with one issue.
    pub(crate) fn outcome(status: u16, code: &str, diagnostics: &str) -> Self {
        let body = json!({
            "resourceType": "OperationOutcome",
            "id": "a6c1c5d0-5d2a-4c0f-9a56-0c1f2c7a9f10",
            "issue": [{ "severity": "error", "code": code, "diagnostics": diagnostics }],
        });
        Self::json(status, "application/fhir+json; charset=utf-8", &body)
    }

    /// 400 for a request that the service does not take.
    pub(crate) fn invalid(diagnostics: &str) -> Self {
        Self::outcome(400, "invalid", diagnostics)
    }

    /// 404 for a job, whether it never was or is gone.
    pub(crate) fn job_not_found(id: &str) -> Self {
        Self::outcome(404, "not-found", &format!("The requested job \"{id}\" was not found."))
    }

    /// 401.
    pub(crate) fn unauthorized() -> Self {
        Self::outcome(401, "login", "Authentication failed.").header("WWW-Authenticate", "Bearer")
    }

    /// 403 for the caller.
    pub(crate) fn forbidden() -> Self {
        Self::outcome(403, "forbidden", "Authorization failed.")
    }

    /// As hyper wants it.
    pub(crate) fn into_response(self) -> hyper::Response<Body> {
        let mut builder = hyper::Response::builder().status(self.status);
        for (name, value) in &self.headers {
            builder = builder.header(name, value);
        }
        let body = if self.truncated {
            builder = builder.header("Content-Length", self.body.len() * 2);
            let broken = std::io::Error::other("the answer breaks off here on purpose");
            let start = Ok(Frame::data(Bytes::from(self.body)));
            let end = async {
                // The start must have left before the connection is dropped.
                tokio::time::sleep(Duration::from_millis(30)).await;
                Err(broken)
            };
            let frames = stream::once(async { start }).chain(stream::once(end));
            BodyExt::boxed(StreamBody::new(frames))
        } else {
            full(self.body)
        };
        builder.body(body).unwrap_or_else(|_| {
            let mut response = hyper::Response::new(full(b"a scripted header is no header".to_vec()));
            *response.status_mut() = hyper::StatusCode::NOT_IMPLEMENTED;
            response
        })
    }
}

fn full(body: Vec<u8>) -> Body {
    Full::new(Bytes::from(body)).map_err(|never: Infallible| match never {}).boxed()
}
