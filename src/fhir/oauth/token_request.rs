//! What messages need to know about a token request.

/// The parts of a token request that messages about its answer mention.
pub struct TokenRequest<'a> {
    /// The host of the token endpoint.
    pub host: &'a str,
    /// The id of the client that sends the request.
    pub client_id: &'a str,
    /// The requested scopes, separated by spaces.
    pub scope: &'a str,
    /// Whether the client authenticates with a signed assertion rather than a secret.
    pub by_assertion: bool,
    /// The secret or the assertion that was sent. Servers may repeat it, and messages must not.
    pub hush: &'a str,
}
