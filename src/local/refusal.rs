//! Why a request to the API is refused, as the API server of a cluster would say it.

use axum::http::StatusCode;
use serde_json::{Value, json};

use crate::show::Key;

/// Why a request is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// 404: there is no such object.
    #[error("{0} not found")]
    NotFound(String),
    /// 409: an object of this name exists.
    #[error("{0} already exists")]
    AlreadyExists(Key),
    /// 409: the object has changed since it was read, or a precondition does not hold.
    #[error("{0} has changed since it was read")]
    Conflict(Key),
    /// 410: the changes after this version are no longer known.
    #[error("the changes since resource version {0} are no longer known")]
    Expired(u64),
    /// 422: the object is not valid, with what is wrong.
    #[error("{0}")]
    Invalid(String),
    /// 400: the request is not one that is answered here.
    #[error("{0}")]
    BadRequest(String),
    /// 500: the state file cannot be written.
    #[error("the state file cannot be written: {0}")]
    NotWritten(String),
}

impl Refusal {
    /// The status code of the answer.
    pub const fn code(&self) -> StatusCode {
        match self {
            Self::NotFound(_) => StatusCode::NOT_FOUND,
            Self::AlreadyExists(_) | Self::Conflict(_) => StatusCode::CONFLICT,
            Self::Expired(_) => StatusCode::GONE,
            Self::Invalid(_) => StatusCode::UNPROCESSABLE_ENTITY,
            Self::BadRequest(_) => StatusCode::BAD_REQUEST,
            Self::NotWritten(_) => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }

    const fn reason(&self) -> &'static str {
        match self {
            Self::NotFound(_) => "NotFound",
            Self::AlreadyExists(_) => "AlreadyExists",
            Self::Conflict(_) => "Conflict",
            Self::Expired(_) => "Expired",
            Self::Invalid(_) => "Invalid",
            Self::BadRequest(_) => "BadRequest",
            Self::NotWritten(_) => "InternalError",
        }
    }

    /// The answer as a `Status` object.
    pub fn status(&self) -> Value {
        json!({ "apiVersion": "v1", "kind": "Status", "metadata": {}, "status": "Failure",
            "message": self.to_string(), "reason": self.reason(), "code": self.code().as_u16() })
    }
}
