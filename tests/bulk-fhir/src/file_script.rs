//! How files are served, and what is odd about their bytes.

use azure_fhir::Step;
use serde::{Deserialize, Serialize};

/// How a file is served. The default is a good server with ranges and gzip.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
// Each is a switch of its own.
#[allow(clippy::struct_excessive_bools)]
pub struct FileScript {
    /// Whether a client that accepts gzip gets it.
    pub gzip: bool,
    /// Whether `Range` is heeded.
    pub ranges: bool,
    /// What tells one version of the file from another.
    pub validator: Validator,
    /// Whether it is elsewhere.
    pub redirect: Redirect,
    /// How old a link may be.
    pub expires_millis: Option<u64>,
    /// How many requests for this file a link is good for.
    pub expires_requests: Option<u32>,
    /// What an expired link gets: 403, 404 or 410.
    pub expired_status: u16,
    /// The connection breaks after some bytes.
    pub cut: Option<Breaks>,
    /// The message is whole, with a right length, but the file in it is not.
    pub short: Option<Breaks>,
    /// An HTML page with status 200 in its place for so many requests.
    pub html_pages: u32,
    /// Bytes a second.
    pub trickle: Option<u64>,
    /// Faults in place of it, one after the other: 404 just after the end, 429, 503.
    pub faults: Vec<Step>,
    /// A JSON `Binary` for a client that accepts `application/fhir+json`, as HAPI does.
    pub json_binary: bool,
    /// One byte is not what it was when the checksum was made.
    pub wrong_bytes: bool,
    /// Windows line ends.
    pub crlf: bool,
    /// The last line has no end.
    pub no_final_newline: bool,
    /// It begins with a byte order mark.
    pub byte_order_mark: bool,
    /// `Content-Type`.
    pub content_type: String,
}

impl Default for FileScript {
    fn default() -> Self {
        Self {
            gzip: true,
            ranges: true,
            validator: Validator::default(),
            redirect: Redirect::default(),
            expires_millis: None,
            expires_requests: None,
            expired_status: 403,
            cut: None,
            short: None,
            html_pages: 0,
            trickle: None,
            faults: Vec::new(),
            json_binary: false,
            wrong_bytes: false,
            crlf: false,
            no_final_newline: false,
            byte_order_mark: false,
            content_type: "application/fhir+ndjson".into(),
        }
    }
}

impl FileScript {
    /// Whether links are signed anew with each manifest.
    pub(crate) fn expires(&self) -> bool {
        self.expires_millis.is_some() || self.expires_requests.is_some()
    }
}

/// What tells one version of a file from another.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Validator {
    /// Nothing.
    None,
    /// A strong `ETag` and `Last-Modified`.
    #[default]
    Strong,
    /// A weak `ETag`, which is no good for `If-Range`.
    Weak,
    /// `Last-Modified` only.
    LastModified,
    /// A strong `ETag` that is another with each request.
    Changing,
}

/// Whether a file is elsewhere.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Redirect {
    /// It is here.
    #[default]
    No,
    /// 307 to the foreign host, which refuses `Authorization`.
    Foreign,
    /// 307 to another path of the same origin.
    SameOrigin,
    /// 307 to itself, for ever.
    Loop,
}

/// Downloads that do not reach their end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Breaks {
    /// How many bytes of each are sent.
    pub after: u64,
    /// For how many requests; `None` is all.
    pub times: Option<u32>,
}

impl Breaks {
    /// The first `times` downloads end after so many bytes.
    pub fn after(after: u64, times: u32) -> Self {
        Self { after, times: Some(times) }
    }
}
