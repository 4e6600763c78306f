//! Who may call, and how callers prove themselves to the token endpoint.

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// Who may call.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Access {
    /// Anybody.
    #[default]
    Open,
    /// The bearer of this token.
    Bearer(String),
    /// User and password.
    Basic(String, String),
    /// Bearers of tokens from `/token`.
    Smart(Smart),
}

/// The token endpoint.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Smart {
    /// Who may ask.
    pub clients: Vec<Client>,
    /// How long tokens are good, in seconds.
    pub lifetime_seconds: u64,
    /// BCDA: `expires_in` is a text.
    pub expires_in_as_text: bool,
    /// Whether an assertion can be used again.
    pub replay_allowed: bool,
}

impl Default for Smart {
    fn default() -> Self {
        Self { clients: Vec::new(), lifetime_seconds: 300, expires_in_as_text: false, replay_allowed: false }
    }
}

impl Smart {
    /// One client.
    pub fn client(id: &str, proof: Proof) -> Self {
        Self { clients: vec![Client::new(id, proof)], ..Self::default() }
    }
}

/// A registered client.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Client {
    /// `client_id`.
    pub id: String,
    /// How it proves itself.
    pub proof: Proof,
    /// What it may have.
    pub scopes: Vec<String>,
}

impl Client {
    /// A client that may read everything.
    pub fn new(id: &str, proof: Proof) -> Self {
        let scopes = vec!["system/*.rs".to_owned(), "system/*.read".to_owned()];
        Self { id: id.to_owned(), proof, scopes }
    }
}

/// How a client proves itself.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Proof {
    /// `private_key_jwt`, checked against these public JWKs.
    Keys(Vec<Value>),
    /// `client_secret_basic` or `client_secret_post`.
    Secret(String),
}

/// User and password of an `Authorization: Basic`.
pub(crate) fn basic(authorization: &str) -> Option<(String, String)> {
    let (scheme, text) = authorization.split_once(' ')?;
    if !scheme.eq_ignore_ascii_case("basic") {
        return None;
    }
    let text = String::from_utf8(BASE64_STANDARD.decode(text.trim()).ok()?).ok()?;
    let (user, password) = text.split_once(':')?;
    Some((user.to_owned(), password.to_owned()))
}

/// The token of an `Authorization: Bearer`.
pub(crate) fn bearer(authorization: &str) -> Option<&str> {
    let (scheme, token) = authorization.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
}
