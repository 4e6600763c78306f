//! Tokens from OAuth 2.0 token endpoints, for SMART Backend Services and for clients with a secret.

mod client;
mod discovery;
mod endpoint;
mod grant;
mod refusal;
mod token_request;

use std::sync::Arc;

use azure_core::credentials::TokenCredential;
use reqwest::header::HeaderMap;
use secrecy::{ExposeSecret, SecretString};
use serde_json::json;
use sha2::{Digest, Sha256};

use self::client::{OAuthClient, Proof};
use self::endpoint::Way;
use super::clients::Clients;
use super::origin::Origin;
use crate::api::{FhirServer, KeyRef, Reason};
use crate::credentials::{ClientKey, CredentialProblem, Identities, Identity, SigningKey, USABLE_KEYS};

/// The OAuth client that a `FhirServer` describes.
struct Wanted<'s> {
    kind: ClientKind<'s>,
    client_id: &'s str,
    secret: &'s KeyRef,
    token_url: Option<&'s str>,
    scopes: &'s [String],
}

enum ClientKind<'s> {
    Assertion { key_id: Option<&'s str> },
    Secret,
}

impl<'s> Wanted<'s> {
    fn of(server: &'s FhirServer) -> Option<Self> {
        let auth = &server.spec.auth;
        if let Some(smart) = &auth.smart_backend_services {
            return Some(Self {
                kind: ClientKind::Assertion { key_id: smart.key_id.as_deref() },
                client_id: &smart.client_id,
                secret: &smart.private_key_secret_ref,
                token_url: smart.token_url.as_deref(),
                scopes: smart.scopes.as_deref().unwrap_or_default(),
            });
        }
        let oauth = auth.oauth_client_secret.as_ref()?;
        Some(Self {
            kind: ClientKind::Secret,
            client_id: &oauth.client_id,
            secret: &oauth.secret_ref,
            token_url: Some(&oauth.token_url),
            scopes: oauth.scopes.as_deref().unwrap_or_default(),
        })
    }
}

/// The key of the Secret that holds the private key or the client secret.
pub fn secret(server: &FhirServer) -> Option<&KeyRef> {
    Wanted::of(server).map(|wanted| wanted.secret)
}

/// The identity of the OAuth client that `server` names, and the scope to request, which is empty for the
/// default. `None` if `server` names no OAuth client.
pub async fn identity(
    identities: &Identities,
    namespace: &str,
    server: &FhirServer,
    clients: &Arc<Clients>,
    headers: &HeaderMap,
) -> Option<Result<(Arc<Identity>, String), CredentialProblem>> {
    let wanted = Wanted::of(server)?;
    let place = Origin::parse(wanted.token_url.unwrap_or(&server.spec.url));
    let host = place.map_or_else(|| "the token endpoint".to_owned(), |origin| origin.host().to_owned());
    let make = |secret: SecretString| -> Result<Arc<dyn TokenCredential>, CredentialProblem> {
        let way = Way { server: server.clone(), clients: clients.clone(), headers: headers.clone() };
        let proof = proof(&wanted, namespace, secret)?;
        let (id, url) = (wanted.client_id.to_owned(), wanted.token_url.map(str::to_owned));
        Ok(Arc::new(OAuthClient::new(way, proof, id, url)))
    };
    let key = key(namespace, server);
    let made = identities.client(key, wanted.secret, digest(clients, headers), host, make).await;
    Some(made.map(|identity| (identity, wanted.scopes.join(" "))))
}

fn proof(wanted: &Wanted, namespace: &str, secret: SecretString) -> Result<Proof, CredentialProblem> {
    let ClientKind::Assertion { key_id } = wanted.kind else { return Ok(Proof::secret(secret)) };
    let key = SigningKey::parse(secret.expose_secret()).map_err(|problem| {
        let KeyRef { name, key } = wanted.secret;
        CredentialProblem::lasting(
            Reason::SecretInvalid,
            format!(
                "key {key} of Secret {namespace}/{name} holds no private key for signing ({problem}); \
                 use {USABLE_KEYS}"
            ),
        )
    })?;
    Ok(Proof::Assertion { key_id: key.key_id(key_id), key })
}

/// The key of the client: all parts of the spec that decide which endpoint is asked for which token.
fn key(namespace: &str, server: &FhirServer) -> ClientKey {
    let spec = &server.spec;
    let parts =
        json!([spec.url, spec.auth, spec.tls, spec.headers, spec.trusted_origins, spec.allow_insecure_http]);
    ClientKey { namespace: namespace.to_owned(), spec: parts.to_string() }
}

/// A digest of the certificates and headers. If it changes, the client must be created anew.
fn digest(clients: &Clients, headers: &HeaderMap) -> [u8; 32] {
    let mut hash = Sha256::new_with_prefix(clients.certificates);
    for (name, value) in headers {
        for part in [name.as_str().as_bytes(), value.as_bytes()] {
            hash.update(part.len().to_be_bytes());
            hash.update(part);
        }
    }
    hash.finalize().into()
}
