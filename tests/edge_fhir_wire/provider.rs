//! A FHIR server whose base URL has a path, with a token endpoint of its own that checks every assertion.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use fhir_export_operator::api::FhirServer;
use fhir_export_operator::credentials::SigningKey;
use jsonwebtoken::jwk::{Jwk, KeyAlgorithm};
use jsonwebtoken::{Algorithm, DecodingKey, Validation, decode, decode_header};
use rcgen::{KeyPair, SignatureAlgorithm};
use serde_json::{Value, json};
use url::form_urlencoded;

use crate::cluster::server;
use crate::server::{Act, Server, answer};

/// A new private key, as PEM.
pub fn key(kind: &'static SignatureAlgorithm) -> String {
    KeyPair::generate_for(kind).unwrap().serialize_pem()
}

/// The form fields of a token request.
pub fn form(request: &str) -> HashMap<String, String> {
    let body = request.split_once("\r\n\r\n").unwrap().1;
    form_urlencoded::parse(body.as_bytes()).into_owned().collect()
}

/// The settings and the records of the server.
pub struct State {
    pub keys: Vec<Jwk>,
    pub expires_in: Value,
    /// The assertions that the endpoint accepted.
    pub assertions: HashSet<String>,
    pub scopes: Vec<String>,
    good_until: HashMap<String, Instant>,
}

/// A running FHIR server with its token endpoint.
pub struct Provider {
    pub http: Server,
    pub state: Arc<Mutex<State>>,
}

impl Provider {
    /// Starts the server with the key in `pem` registered. Its SMART configuration holds `more` besides the token
    /// endpoint.
    pub async fn start(pem: &str, expires_in: Value, more: Value) -> Self {
        let state = State {
            keys: Vec::new(),
            expires_in,
            assertions: HashSet::new(),
            scopes: Vec::new(),
            good_until: HashMap::new(),
        };
        let state = Arc::new(Mutex::new(state));
        let of_script = state.clone();
        let http = Server::http(move |_, request| of_script.lock().unwrap().act(request, &more)).await;
        let provider = Self { http, state };
        provider.register(pem);
        provider
    }

    /// Registers this key in place of all others.
    pub fn register(&self, pem: &str) {
        let public = SigningKey::parse(pem).unwrap().public_jwk(None);
        self.state.lock().unwrap().keys = vec![serde_json::from_value(json!(public)).unwrap()];
    }

    /// Revokes all tokens.
    pub fn revoke(&self) {
        self.state.lock().unwrap().good_until.clear();
    }

    pub fn base(&self) -> String {
        format!("{}/fhir/r4", self.http.url())
    }

    /// A `FhirServer` with this server's base URL.
    pub fn clinic(&self, auth: &Value) -> Arc<FhirServer> {
        server("clinic", &self.base(), auth, &json!({}))
    }

    /// The requests whose first line begins with `start`.
    pub fn asked(&self, start: &str) -> Vec<String> {
        self.http.seen().into_iter().filter(|request| request.starts_with(start)).collect()
    }
}

impl State {
    fn act(&mut self, request: &str, more: &Value) -> Act {
        let line = request.lines().next().unwrap();
        let host = request.lines().find_map(|line| line.strip_prefix("host: ")).unwrap();
        let token_url = format!("http://{host}/oauth/token");
        if line.starts_with("GET /fhir/r4/.well-known/smart-configuration ") {
            assert!(!request.to_ascii_lowercase().contains("authorization: "), "no token for discovery");
            let mut body = json!({ "token_endpoint": token_url });
            body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
            return answer("200 OK", "content-type: application/json\r\n", &body.to_string());
        }
        if line.starts_with("POST /oauth/token ") {
            return match self.grant(request, &token_url) {
                Ok(token) => {
                    let body = json!({ "access_token": token, "token_type": "bearer", "expires_in": self.expires_in,
                        "scope": "system/Patient.rs" });
                    answer("200 OK", "", &body.to_string())
                }
                Err((code, why)) => {
                    let body = json!({ "error": code, "error_description": why });
                    answer("400 Bad Request", "", &body.to_string())
                }
            };
        }
        if !line.contains(" /fhir/r4/") {
            return answer("404 Not Found", "", "");
        }
        let token = request.lines().find_map(|line| line.strip_prefix("authorization: Bearer "));
        let good =
            token.and_then(|token| self.good_until.get(token)).is_some_and(|end| Instant::now() < *end);
        answer(if good { "200 OK" } else { "401 Unauthorized" }, "", "{}")
    }

    fn grant(&mut self, request: &str, audience: &str) -> Result<String, (&'static str, String)> {
        let form = form(request);
        assert_eq!(form["grant_type"], "client_credentials");
        assert_eq!(form["client_assertion_type"], "urn:ietf:params:oauth:client-assertion-type:jwt-bearer");
        let assertion = &form["client_assertion"];
        let header = decode_header(assertion).unwrap();
        assert_eq!(header.typ.as_deref(), Some("JWT"));
        let known = self.keys.iter().find(|key| key.common.key_id == header.kid);
        let known = known.ok_or(("invalid_client", "Unknown key.".to_owned()))?;
        let algorithm = match known.common.key_algorithm {
            Some(KeyAlgorithm::RS384) => Algorithm::RS384,
            Some(KeyAlgorithm::ES384) => Algorithm::ES384,
            _ => panic!("{known:?}"),
        };
        let mut validation = Validation::new(algorithm);
        validation.set_audience(&[audience]);
        validation.set_issuer(&["my-client"]);
        validation.sub = Some("my-client".to_owned());
        validation.set_required_spec_claims(&["exp", "aud", "iss", "sub"]);
        let claims = decode::<Value>(assertion, &DecodingKey::from_jwk(known).unwrap(), &validation)
            .map_err(|error| ("invalid_client", error.to_string()))?
            .claims;
        let left = claims["exp"].as_u64().unwrap() - jsonwebtoken::get_current_timestamp();
        assert!((60..=300).contains(&left), "{left}");
        if !self.assertions.insert(claims["jti"].as_str().unwrap().to_owned()) {
            return Err(("invalid_client", "This jti was seen before.".to_owned()));
        }
        self.scopes.push(form["scope"].clone());
        let token = format!("token-{}", self.assertions.len());
        let seconds = self.expires_in.as_u64().unwrap_or(3600);
        self.good_until.insert(token.clone(), Instant::now() + Duration::from_secs(seconds));
        Ok(token)
    }
}
