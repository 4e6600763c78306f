//! What messages need to know of a token request.

/// A token request, as messages about its answer tell of it.
pub struct TokenRequest<'a> {
    /// The host of the token endpoint.
    pub host: &'a str,
    /// The client that asks.
    pub client_id: &'a str,
    /// The scopes that are asked for, separated by spaces.
    pub scope: &'a str,
    /// Whether the client authenticates with a signed assertion, not with a secret.
    pub by_assertion: bool,
    /// The secret or the assertion that was sent. Servers may repeat it, and messages must not.
    pub hush: &'a str,
}
