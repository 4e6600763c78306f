//! Who may call: bearer tokens and what they are worth.

use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// How tokens are checked.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", rename_all_fields = "camelCase")]
pub enum Access {
    /// Anybody may do everything.
    #[default]
    Open,
    /// These tokens and no others.
    Tokens(Vec<KnownToken>),
    /// Any JWT for this audience that has not expired, whoever signed it: this is a test server. A `roles` claim
    /// without `globalExporter` and `globalAdmin` is a caller without the role.
    Jwt {
        /// The `aud` claim, letter for letter.
        audience: String,
    },
}

/// A token that the server knows.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct KnownToken {
    /// What comes after `Bearer `.
    pub token: String,
    /// What its bearer may do.
    #[serde(default)]
    pub role: Role,
    /// Until when it is good.
    #[serde(default)]
    pub expires: Option<Timestamp>,
}

impl KnownToken {
    /// A token of a caller who may export.
    pub fn exporter(token: &str) -> Self {
        Self { token: token.to_owned(), role: Role::Exporter, expires: None }
    }

    /// A token of a caller whom the service knows but who may not export.
    pub fn without_role(token: &str) -> Self {
        Self { role: Role::Nothing, ..Self::exporter(token) }
    }

    /// Good until then.
    #[must_use]
    pub fn until(mut self, expires: Timestamp) -> Self {
        self.expires = Some(expires);
        self
    }
}

/// What a caller may do.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Role {
    /// *FHIR Data Exporter*.
    #[default]
    Exporter,
    /// No role.
    Nothing,
}

impl Access {
    /// The role of a caller, or `None` for 401.
    pub(crate) fn role(&self, authorization: Option<&str>, now: Timestamp) -> Option<Role> {
        let token = || {
            let (scheme, token) = authorization?.split_once(' ')?;
            scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
        };
        match self {
            Self::Open => Some(Role::Exporter),
            Self::Tokens(known) => {
                let token = token()?;
                let found = known.iter().find(|known| known.token == token)?;
                found.expires.is_none_or(|expires| now < expires).then_some(found.role)
            }
            Self::Jwt { audience } => {
                let claims = claims(token()?)?;
                let expires = claims.get("exp").and_then(Value::as_i64)?;
                let right = claims.get("aud").and_then(Value::as_str) == Some(audience);
                if !right || now.as_second() >= expires {
                    return None;
                }
                let may = |role: &Value| matches!(role.as_str(), Some("globalExporter" | "globalAdmin"));
                match claims.get("roles").and_then(Value::as_array) {
                    Some(roles) if !roles.iter().any(may) => Some(Role::Nothing),
                    _ => Some(Role::Exporter),
                }
            }
        }
    }
}

/// The claims of a JWT; its signature is nobody's business here.
pub(crate) fn claims(token: &str) -> Option<Value> {
    let mut parts = token.split('.');
    let (_, payload, _) = (parts.next()?, parts.next()?, parts.next()?);
    let payload = BASE64_URL_SAFE_NO_PAD.decode(payload.trim_end_matches('=')).ok()?;
    serde_json::from_slice(&payload).ok()
}

/// A JWT that nobody signed.
pub fn unsigned_jwt(claims: &Value) -> String {
    let part = |value: &Value| BASE64_URL_SAFE_NO_PAD.encode(value.to_string());
    let header = serde_json::json!({ "alg": "RS256", "typ": "JWT", "kid": "test" });
    format!("{}.{}.{}", part(&header), part(claims), BASE64_URL_SAFE_NO_PAD.encode("unsigned"))
}
