//! Answers that are given in place of the right one.

use serde::{Deserialize, Serialize};

/// A wrong, late or missing answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", rename_all_fields = "camelCase")]
pub enum Fault {
    /// 503, with or without an `OperationOutcome`.
    Unavailable {
        /// Whether the body is an `OperationOutcome` or empty.
        outcome: bool,
    },
    /// 500, with or without an `OperationOutcome`; with one it is a certain answer.
    Internal {
        /// Whether the body is an `OperationOutcome` or empty.
        outcome: bool,
    },
    /// The HTML page of a gateway in front of the server.
    GatewayPage {
        /// Commonly 502; some gateways say 200.
        status: u16,
    },
    /// The connection is reset (RST) without an answer.
    Reset,
    /// The connection is closed (FIN) without an answer.
    Close,
    /// No answer ever comes.
    Hang,
    /// 200 with JSON that stops in the middle, as a complete HTTP message.
    TruncatedJson,
    /// 200 whose body ends before its `Content-Length`.
    TruncatedBody,
    /// 200 without a body.
    EmptyBody,
    /// 200 with JSON that is no manifest.
    WrongJson,
    /// 429 by the server itself, with both retry headers.
    Throttled {
        /// `Retry-After`, whole seconds.
        seconds: u64,
        /// `x-ms-retry-after-ms`.
        millis: u64,
    },
    /// 401, whatever the token.
    Unauthorized,
    /// 403 for the caller (issue code `forbidden`), not for the job.
    Forbidden,
    /// 404 for the job (issue code `not-found`).
    JobNotFound,
    /// 410, which Azure never says of a job.
    Gone,
    /// 307 to the same path of the foreign listener.
    RedirectForeign,
    /// The right answer, late.
    Delay {
        /// How late.
        millis: u64,
    },
    /// Anything else.
    Custom {
        /// HTTP status.
        status: u16,
        /// Header names and values.
        #[serde(default)]
        headers: Vec<(String, String)>,
        /// The body as it is.
        #[serde(default)]
        body: String,
    },
}

/// Which requests a [`RequestFault`] is for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum On {
    /// Every request except those below `/_test`.
    #[default]
    Any,
    /// `$export`.
    KickOff,
    /// `GET` of a status URL.
    Status,
    /// `DELETE` of a status URL.
    Cancel,
    /// `GET /metadata`.
    Metadata,
    /// A file that the server itself serves, which Azure's never does.
    File,
    /// A further page of a manifest.
    Page,
    /// The server's own token endpoint.
    Token,
    /// A search for the number of resources.
    Count,
}

/// A fault for the next requests to the server, before it looks at the job.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RequestFault {
    /// Which requests.
    #[serde(default)]
    pub on: On,
    /// Only those whose path and query contain this text.
    #[serde(default)]
    pub containing: Option<String>,
    /// How many such requests pass first.
    #[serde(default)]
    pub skip: u32,
    /// How many such requests are hit after that; `None` is all.
    #[serde(default)]
    pub times: Option<u32>,
    /// What they get.
    pub fault: Fault,
}

impl RequestFault {
    /// `fault` for the next `times` requests of the kind `on`.
    pub fn next(on: On, times: u32, fault: Fault) -> Self {
        Self { on, containing: None, skip: 0, times: Some(times), fault }
    }

    /// Only for requests whose path and query contain `text`.
    #[must_use]
    pub fn containing(mut self, text: &str) -> Self {
        self.containing = Some(text.to_owned());
        self
    }

    /// Counts one matching request; the fault, if it is this one's turn.
    pub fn take(&mut self, on: On, path_and_query: &str) -> Option<Fault> {
        let meant = (self.on == On::Any || self.on == on)
            && self.containing.as_deref().is_none_or(|text| path_and_query.contains(text));
        if meant { count(&mut self.skip, &mut self.times).then(|| self.fault.clone()) } else { None }
    }

    /// Nothing left of it.
    pub fn spent(&self) -> bool {
        self.times == Some(0)
    }
}

/// A fault for some of the requests about one job.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Step {
    /// How many requests pass first.
    #[serde(default)]
    pub skip: u32,
    /// How many requests are hit after that; `None` is all.
    #[serde(default)]
    pub times: Option<u32>,
    /// What they get.
    pub fault: Fault,
}

impl Step {
    /// `fault` for the next `times` requests.
    pub fn times(times: u32, fault: Fault) -> Self {
        Self { skip: 0, times: Some(times), fault }
    }

    /// `fault` for every request.
    pub fn always(fault: Fault) -> Self {
        Self { skip: 0, times: None, fault }
    }

    /// Lets `skip` requests pass first.
    #[must_use]
    pub fn after(mut self, skip: u32) -> Self {
        self.skip = skip;
        self
    }

    /// Counts one request against each of `steps`; the first fault whose turn it is.
    pub fn take(steps: &mut [Self]) -> Option<Fault> {
        for step in steps {
            if step.times == Some(0) {
                continue;
            }
            return count(&mut step.skip, &mut step.times).then(|| step.fault.clone());
        }
        None
    }
}

fn count(skip: &mut u32, times: &mut Option<u32>) -> bool {
    if *skip > 0 {
        *skip -= 1;
        return false;
    }
    match times {
        None => true,
        Some(0) => false,
        Some(left) => {
            *left -= 1;
            true
        }
    }
}
