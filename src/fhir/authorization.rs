//! The credentials of a request: the `Authorization` header, and the headers of the `FhirServer`.

use std::sync::Arc;

use azure_core::credentials::AccessToken;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use reqwest::header::{HeaderMap, HeaderName, HeaderValue};
use secrecy::ExposeSecret;

use super::clients::{ClientPool, Clients, member};
use super::failure::named;
use super::oauth;
use super::origin::Origin;
use crate::api::{AuthType, FhirServer, KeyRef, Reason};
use crate::credentials::{CredentialProblem, CredentialSource, Identities, Identity};

/// Everything that a request to one server needs besides its URL and body.
#[derive(Clone)]
pub struct Credentials {
    pub clients: Arc<Clients>,
    /// Headers from the `FhirServer`'s spec, marked sensitive so that nothing prints them.
    pub headers: HeaderMap,
    /// The `Authorization` header; `None` if the request carries no token.
    pub authorization: Option<Authorization>,
}

/// How the `Authorization` header is obtained.
#[derive(Clone)]
pub enum Authorization {
    /// No header, because the server is open.
    None,
    /// A fixed header.
    Fixed(HeaderValue),
    /// A bearer token that expires and is renewed.
    Token { identity: Arc<Identity>, scope: String },
}

/// Reads the credentials that `server` names. Unless `with_token` is set, they have no `Authorization`.
pub async fn read(
    identities: &Identities,
    pool: &ClientPool,
    namespace: &str,
    server: &FhirServer,
    with_token: bool,
) -> Result<Credentials, CredentialProblem> {
    let source = identities.source();
    let clients = pool.get(source, namespace, server).await?;
    let mut headers = HeaderMap::new();
    for header in server.spec.headers.iter().flatten() {
        let value = source.secret_key(namespace, &header.secret_ref).await?;
        let name =
            HeaderName::try_from(&header.name).map_err(|_| missing(server, "a valid name in headers"))?;
        headers.append(name, from_secret(value.expose_secret(), namespace, &header.secret_ref.name)?);
    }
    let mut credentials = Credentials { clients, headers, authorization: None };
    if with_token {
        credentials.authorization = Some(authorization(identities, namespace, server, &credentials).await?);
    }
    Ok(credentials)
}

async fn authorization(
    identities: &Identities,
    namespace: &str,
    server: &FhirServer,
    way: &Credentials,
) -> Result<Authorization, CredentialProblem> {
    let auth = &server.spec.auth;
    let source = identities.source();
    match auth.type_ {
        AuthType::None => Ok(Authorization::None),
        AuthType::Entra => {
            let entra = auth.entra.as_ref().ok_or_else(|| missing(server, "auth.entra"))?;
            let audience =
                Origin::parse(&server.spec.url).ok_or_else(|| missing(server, "a valid url"))?.to_string();
            let scope = identities.scope(entra, &audience)?;
            let identity = identities.identity(namespace, entra, &audience).await?;
            Ok(Authorization::Token { identity, scope })
        }
        AuthType::BearerToken => {
            let bearer = auth.bearer_token.as_ref().ok_or_else(|| missing(server, "auth.bearerToken"))?;
            let token = source.secret_key(namespace, &bearer.secret_ref).await?;
            let token = token.expose_secret();
            if token.split_whitespace().next().is_some_and(|word| word.eq_ignore_ascii_case("bearer")) {
                let KeyRef { name, key } = &bearer.secret_ref;
                return Err(CredentialProblem::lasting(
                    Reason::SecretInvalid,
                    format!(
                        "key {key} of Secret {namespace}/{name} begins with the word Bearer; store only the token \
                         there"
                    ),
                ));
            }
            let header = format!("Bearer {token}");
            Ok(Authorization::Fixed(from_secret(&header, namespace, &bearer.secret_ref.name)?))
        }
        AuthType::Basic => {
            let basic = auth.basic.as_ref().ok_or_else(|| missing(server, "auth.basic"))?;
            let name = &basic.secret_ref.name;
            let keys = source.secret(namespace, name).await?;
            // Editors append a line break to files; it is never part of a password.
            let value = |key| member(&keys, namespace, name, key).map(|v| v.trim_end_matches(['\r', '\n']));
            let (user, password) = (value("username")?, value("password")?);
            if user.contains(':') {
                return Err(unusable(namespace, name));
            }
            let pair = STANDARD.encode(format!("{user}:{password}"));
            Ok(Authorization::Fixed(from_secret(&format!("Basic {pair}"), namespace, name)?))
        }
        AuthType::SmartBackendServices | AuthType::OAuthClientSecret => {
            let client = oauth::identity(identities, namespace, server, &way.clients, &way.headers).await;
            let (identity, scope) = client.ok_or_else(|| missing(server, "the client in auth"))??;
            Ok(Authorization::Token { identity, scope })
        }
    }
}

/// The `Authorization` header for a token.
pub fn bearer_header(token: &AccessToken) -> Result<HeaderValue, CredentialProblem> {
    sensitive(&format!("Bearer {}", token.token.secret())).ok_or_else(|| {
        let message =
            "the identity provider issued a token that cannot be sent in a header; check any proxies in between";
        CredentialProblem::passing(Reason::TokenUnavailable, message)
    })
}

/// The names of the Secrets that hold the token and headers of `server`.
pub fn secrets(server: &FhirServer) -> impl Iterator<Item = &str> {
    let headers = server.spec.headers.iter().flatten().map(|header| header.secret_ref.name.as_str());
    headers.chain(auth_secret(server))
}

fn auth_secret(server: &FhirServer) -> Option<&str> {
    let auth = &server.spec.auth;
    match auth.type_ {
        AuthType::None => None,
        AuthType::Entra => Some(&auth.entra.as_ref()?.client_secret_ref.as_ref()?.name),
        AuthType::SmartBackendServices | AuthType::OAuthClientSecret => Some(&oauth::secret(server)?.name),
        AuthType::BearerToken => Some(&auth.bearer_token.as_ref()?.secret_ref.name),
        AuthType::Basic => Some(&auth.basic.as_ref()?.secret_ref.name),
    }
}

fn sensitive(value: &str) -> Option<HeaderValue> {
    let mut value = HeaderValue::from_str(value).ok()?;
    value.set_sensitive(true);
    Some(value)
}

fn from_secret(value: &str, namespace: &str, name: &str) -> Result<HeaderValue, CredentialProblem> {
    sensitive(value).ok_or_else(|| unusable(namespace, name))
}

fn unusable(namespace: &str, name: &str) -> CredentialProblem {
    CredentialProblem::lasting(
        Reason::SecretInvalid,
        format!("the content of the Secret {namespace}/{name} cannot be sent in a header; correct its value"),
    )
}

fn missing(server: &FhirServer, what: &str) -> CredentialProblem {
    CredentialProblem::lasting(Reason::InvalidSpec, format!("{} lacks {what}; add it", named(server)))
}
