//! Replies and `OperationOutcome`s as the service words them.

use std::convert::Infallible;
use std::time::Duration;

use futures::{StreamExt, stream};
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::body::{Bytes, Frame};
use serde_json::{Value, json};

/// A body that can break off.
pub type Body = BoxBody<Bytes, std::io::Error>;

/// What a request gets.
#[derive(Debug)]
pub enum Answer {
    /// An HTTP answer.
    Reply(Reply),
    /// An HTTP answer whose body is made while it is sent.
    Streamed(Box<hyper::Response<Body>>),
    /// RST.
    Reset,
    /// FIN.
    Close,
    /// Nothing, for ever.
    Hang,
}

/// An HTTP answer.
#[derive(Debug, Clone)]
pub struct Reply {
    /// HTTP status.
    pub status: u16,
    /// Header names and values.
    pub headers: Vec<(String, String)>,
    /// The body as it is sent.
    pub body: Vec<u8>,
    /// Whether the body breaks off before its `Content-Length`.
    pub truncated: bool,
}

impl From<Reply> for Answer {
    fn from(reply: Reply) -> Self {
        Self::Reply(reply)
    }
}

impl Reply {
    /// No body.
    pub fn empty(status: u16) -> Self {
        Self { status, headers: Vec::new(), body: Vec::new(), truncated: false }
    }

    /// A text of any type.
    pub fn text(status: u16, content_type: &str, body: &str) -> Self {
        Self { body: body.as_bytes().to_vec(), ..Self::empty(status) }.header("Content-Type", content_type)
    }

    /// A JSON body.
    pub fn json(status: u16, content_type: &str, body: &Value) -> Self {
        Self::text(status, content_type, &body.to_string())
    }

    /// Adds a header.
    #[must_use]
    pub fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    /// An `OperationOutcome` with one issue.
    pub fn outcome(status: u16, code: &str, diagnostics: &str) -> Self {
        let body = json!({
            "resourceType": "OperationOutcome",
            "id": "a6c1c5d0-5d2a-4c0f-9a56-0c1f2c7a9f10",
            "issue": [{ "severity": "error", "code": code, "diagnostics": diagnostics }],
        });
        Self::json(status, "application/fhir+json; charset=utf-8", &body)
    }

    /// 400 for a request that the service does not take.
    pub fn invalid(diagnostics: &str) -> Self {
        Self::outcome(400, "invalid", diagnostics)
    }

    /// 404 for a job, whether it never was or is gone.
    pub fn job_not_found(id: &str) -> Self {
        Self::outcome(404, "not-found", &format!("The requested job \"{id}\" was not found."))
    }

    /// 401.
    pub fn unauthorized() -> Self {
        Self::outcome(401, "login", "Authentication failed.").header("WWW-Authenticate", "Bearer")
    }

    /// 403 for the caller.
    pub fn forbidden() -> Self {
        Self::outcome(403, "forbidden", "Authorization failed.")
    }

    /// As hyper wants it.
    pub fn into_response(self) -> hyper::Response<Body> {
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
