//! What the errors of a token endpoint mean (RFC 6749, section 5.2), in one sentence each.

use percent_encoding::percent_decode_str;

use super::token_request::TokenRequest;
use crate::api::Reason;
use crate::core::words;
use crate::credentials::CredentialProblem;

/// How much of the server's own text is shown, in bytes.
const WORDS: usize = 200;
/// How much of a name from the spec is shown, in bytes.
const NAME: usize = 80;

/// Why the server refused the token, and what to do about it.
pub fn problem(code: &str, description: Option<&str>, asked: &TokenRequest<'_>) -> CredentialProblem {
    let host = asked.host;
    let client = words::cut(&words::clean(asked.client_id), NAME);
    let scope = words::cut(&words::clean(asked.scope), NAME);
    let (refused, next) = match (code, asked.by_assertion) {
        ("invalid_client" | "invalid_grant", true) => (
            format!("does not accept the signature of client {client}"),
            "register the public key that fhir-export-operator jwks prints, and check clientID, keyID, tokenURL and \
             the clocks",
        ),
        ("invalid_client" | "invalid_grant", false) => (
            format!("does not accept the secret of client {client}"),
            "check clientID, and put the current secret into the Secret",
        ),
        ("invalid_scope", _) if scope.is_empty() => (
            format!("gives client {client} no token without a scope"),
            "name in scopes what it is registered for",
        ),
        ("invalid_scope", _) => (
            format!("does not give client {client} the scope {scope}"),
            "name in scopes what it is registered for",
        ),
        ("unauthorized_client", true) => (
            format!("does not give client {client} tokens in this way"),
            "have it registered for SMART Backend Services (grant type client_credentials)",
        ),
        ("unauthorized_client", false) => (
            format!("does not give client {client} tokens in this way"),
            "have it registered for the grant type client_credentials",
        ),
        ("unsupported_grant_type", _) => (
            "does not know the grant type client_credentials".to_owned(),
            "check tokenURL, and that the server has this way to authenticate",
        ),
        _ => ("refuses to give a token".to_owned(), "check tokenURL, clientID and scopes"),
    };
    let said = said(code, description, asked.hush);
    CredentialProblem::lasting(Reason::TokenRefused, format!("{host} {refused} ({said}); {next}"))
}

/// The server's own text, without what may not be shown.
fn said(code: &str, description: Option<&str>, hush: &str) -> String {
    let plain = code.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-' | b'.'));
    let code =
        if plain && !repeats(code, hush) { words::cut(code, NAME) } else { "an unknown error".to_owned() };
    let description = description.filter(|text| !repeats(text, hush)).map(words::clean);
    match description.filter(|text| !text.is_empty()) {
        Some(text) => format!("{code}: {}", words::cut(text.trim_end_matches('.'), WORDS)),
        None => code,
    }
}

/// Whether a text contains the secret, plain or percent-encoded, or any JWT.
fn repeats(text: &str, hush: &str) -> bool {
    let decoded = percent_decode_str(text).decode_utf8_lossy();
    [text, &decoded].iter().any(|text| text.contains(hush) || text.contains("eyJ"))
}
