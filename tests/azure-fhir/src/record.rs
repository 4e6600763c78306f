//! What came in, so that tests can say "exactly one kick-off" or "the token went nowhere else".

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::Serialize;

/// Which of the server's sockets a request came to. Each has an origin of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Listener {
    /// The FHIR server over http.
    Fhir,
    /// The same FHIR server over https.
    FhirTls,
    /// Another host, which must never see a token.
    Foreign,
    /// The token server.
    Entra,
}

/// One request and how it was answered.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Request {
    /// Counts from 0.
    pub number: usize,
    /// When it came.
    pub at: Timestamp,
    /// Where it came.
    pub listener: Listener,
    /// HTTP method.
    pub method: String,
    /// The path as it came.
    pub path: String,
    /// The query as it came, without `?`.
    pub query: Option<String>,
    /// All headers but `Authorization`, names in lower case.
    pub headers: BTreeMap<String, String>,
    /// Whether `Authorization` came.
    pub authorized: bool,
    /// `Authorization` as it came; left out of `/_test/requests`.
    #[serde(skip)]
    pub authorization: Option<String>,
    /// The body as text.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub body: String,
    /// The answer's status; `None` while there is none, and for ever if the connection was broken.
    pub status: Option<u16>,
}

impl Request {
    /// Whether it is a `$export`.
    pub fn is_kick_off(&self) -> bool {
        self.path.ends_with("/$export") || self.path.ends_with("/%24export")
    }

    /// Whether it is a `GET` of a status URL.
    pub fn is_poll(&self) -> bool {
        self.method == "GET" && self.is_about_job()
    }

    /// Whether it is a `DELETE` of a status URL.
    pub fn is_cancel(&self) -> bool {
        self.method == "DELETE" && self.is_about_job()
    }

    /// Whether path or query contain `text`: a container, a group, a job.
    pub fn mentions(&self, text: &str) -> bool {
        self.path.contains(text) || self.query.as_deref().is_some_and(|query| query.contains(text))
    }

    /// Whether it is for a file that the server serves.
    pub fn is_file(&self) -> bool {
        self.path.contains("/bulk-files/")
    }

    /// Whether it is for a further page of a manifest.
    pub fn is_page(&self) -> bool {
        self.path.contains("/bulk-status/") && self.path.contains("/page/")
    }

    /// Whether it is for a token.
    pub fn is_token(&self) -> bool {
        self.path.ends_with("/token")
    }

    fn is_about_job(&self) -> bool {
        self.path.contains("/_operations/export/") || (self.path.contains("/bulk-status/") && !self.is_page())
    }
}
