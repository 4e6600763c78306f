//! SMART Backend Services: discovery and the token endpoint.

use azure_fhir::outcome::Reply;
use jiff::Timestamp;
use jsonwebtoken::jwk::Jwk;
use jsonwebtoken::{Algorithm, DecodingKey, Validation, decode, decode_header};
use serde_json::{Value, json};
use std::time::Duration;
use tokio::time::Instant;

use crate::access::{Access, Client, Proof, Smart, basic};
use crate::routes::Caller;
use crate::world::{Issued, World};

const JWT_BEARER: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";

/// The longest that an assertion may be good.
const LONGEST: i64 = 300;

/// `/.well-known/smart-configuration`.
pub(crate) fn configuration(world: &World, caller: &Caller) -> Reply {
    if !matches!(*world.access(), Access::Smart(_)) {
        return Reply::outcome(404, "not-found", "This server has no SMART configuration.");
    }
    let body = json!({
        "token_endpoint": format!("{}/token", caller.origin()),
        "grant_types_supported": ["client_credentials"],
        "token_endpoint_auth_methods_supported": ["private_key_jwt", "client_secret_basic", "client_secret_post"],
        "token_endpoint_auth_signing_alg_values_supported": ["RS384", "ES384"],
        "scopes_supported": ["system/*.rs", "system/*.read"],
        "capabilities": ["client-confidential-asymmetric", "client-confidential-symmetric", "permission-v1", "permission-v2"],
    });
    Reply::json(200, "application/json", &body)
}

fn error(status: u16, code: &str, text: &str) -> Reply {
    Reply::json(status, "application/json", &json!({ "error": code, "error_description": text }))
        .header("Cache-Control", "no-store")
}

fn invalid_client(text: &str) -> Reply {
    error(401, "invalid_client", text)
}

/// `POST /token`.
pub(crate) fn token(world: &World, caller: &Caller, body: &str) -> Reply {
    let Access::Smart(smart) = world.access().clone() else { return Reply::empty(404) };
    if caller.method != "POST" {
        return Reply::empty(405);
    }
    let form: Vec<(String, String)> = url::form_urlencoded::parse(body.as_bytes()).into_owned().collect();
    let get = |name: &str| form.iter().find(|(found, _)| found == name).map(|(_, value)| value.as_str());
    if get("grant_type") != Some("client_credentials") {
        return error(400, "unsupported_grant_type", "The grant type must be client_credentials.");
    }
    let proved = if let Some(assertion) = get("client_assertion") {
        if get("client_assertion_type") == Some(JWT_BEARER) {
            asserted(world, &smart, assertion, &format!("{}/token", caller.origin()))
        } else {
            Err(error(400, "invalid_request", "The client_assertion_type is not jwt-bearer."))
        }
    } else {
        let posted =
            get("client_id").zip(get("client_secret")).map(|(id, it)| (id.to_owned(), it.to_owned()));
        let given = caller
            .authorization
            .as_deref()
            .and_then(basic)
            .map(|(id, secret)| (decoded(&id), decoded(&secret)));
        with_secret(&smart, given.or(posted))
    };
    let client = match proved {
        Ok(client) => client,
        Err(reply) => return reply,
    };
    let scope = get("scope").unwrap_or_default();
    let mut scopes = scope.split_whitespace().peekable();
    if scopes.peek().is_none() || !scopes.all(|scope| client.scopes.iter().any(|may| covers(may, scope))) {
        return error(400, "invalid_scope", &format!("The client may not have the scope '{scope}'."));
    }
    let token = format!("bulk-{}", world.fresh());
    let until = Instant::now() + Duration::from_secs(smart.lifetime_seconds);
    world.tokens().insert(token.clone(), Issued { client: client.id.clone(), until });
    let seconds = smart.lifetime_seconds;
    let expires_in = if smart.expires_in_as_text { json!(seconds.to_string()) } else { json!(seconds) };
    let body =
        json!({ "access_token": token, "token_type": "bearer", "expires_in": expires_in, "scope": scope });
    Reply::json(200, "application/json", &body).header("Cache-Control", "no-store")
}

/// Both halves of a Basic header are form-encoded first (RFC 6749, 2.3.1).
fn decoded(text: &str) -> String {
    percent_encoding::percent_decode_str(&text.replace('+', " ")).decode_utf8_lossy().into_owned()
}

fn with_secret(smart: &Smart, given: Option<(String, String)>) -> Result<Client, Reply> {
    let Some((id, secret)) = given else { return Err(invalid_client("There is no proof of the client.")) };
    let found = smart.clients.iter().find(|client| client.id == id);
    match found.map(|client| (client, &client.proof)) {
        Some((client, Proof::Secret(right))) if *right == secret => Ok(client.clone()),
        _ => Err(invalid_client("The client is unknown or its secret is wrong.")),
    }
}

/// A signed assertion, checked in all that the guide says of it.
fn asserted(world: &World, smart: &Smart, assertion: &str, audience: &str) -> Result<Client, Reply> {
    let header = decode_header(assertion).map_err(|_| invalid_client("The assertion is not a JWT."))?;
    if ![Algorithm::RS384, Algorithm::ES384].contains(&header.alg) {
        return Err(invalid_client("The assertion must be signed with RS384 or ES384."));
    }
    if header.typ.as_deref() != Some("JWT") {
        return Err(invalid_client("The header typ must be JWT."));
    }
    let kid = header.kid.as_deref().ok_or_else(|| invalid_client("The header kid is missing."))?;
    let (claims, client) = smart
        .clients
        .iter()
        .find_map(|client| Some((verified(client, kid, header.alg, assertion, audience)?, client)))
        .ok_or_else(|| {
            invalid_client("No key of a client verifies the assertion for this audience and time.")
        })?;
    let text = |name: &str| claims.get(name).and_then(Value::as_str);
    if text("iss") != Some(&client.id) || text("sub") != Some(&client.id) {
        return Err(invalid_client("The claims iss and sub must be the client's id."));
    }
    let left = claims.get("exp").and_then(Value::as_i64).unwrap_or(i64::MAX) - Timestamp::now().as_second();
    if left > LONGEST {
        return Err(invalid_client("The assertion must end within five minutes."));
    }
    match text("jti") {
        None => Err(invalid_client("The claim jti is missing.")),
        Some(jti) if !world.first_use(&format!("{} {jti}", client.id)) && !smart.replay_allowed => {
            Err(invalid_client("The assertion was used before."))
        }
        Some(_) => Ok(client.clone()),
    }
}

fn verified(
    client: &Client,
    kid: &str,
    algorithm: Algorithm,
    assertion: &str,
    audience: &str,
) -> Option<Value> {
    let Proof::Keys(keys) = &client.proof else { return None };
    let mut validation = Validation::new(algorithm);
    validation.leeway = 0;
    validation.set_audience(&[audience]);
    validation.set_required_spec_claims(&["exp", "aud", "iss", "sub"]);
    let mut named = keys.iter().filter(|key| key.get("kid").and_then(Value::as_str) == Some(kid));
    named.find_map(|key| {
        let jwk: Jwk = serde_json::from_value(key.clone()).ok()?;
        let key = DecodingKey::from_jwk(&jwk).ok()?;
        decode::<Value>(assertion, &key, &validation).ok().map(|token| token.claims)
    })
}

/// Whether a scope that a client may have holds the one that it asks for.
fn covers(may: &str, asked: &str) -> bool {
    let parts = |scope: &str| {
        let (kind, rights) = scope.strip_prefix("system/")?.split_once('.')?;
        let rights = if rights == "read" { "rs" } else { rights };
        Some((kind.to_owned(), rights.split('?').next().unwrap_or_default().to_owned()))
    };
    let (Some((may_kind, may_rights)), Some((kind, rights))) = (parts(may), parts(asked)) else {
        return false;
    };
    (may_kind == "*" || may_kind == kind) && rights.chars().all(|right| may_rights.contains(right))
}
