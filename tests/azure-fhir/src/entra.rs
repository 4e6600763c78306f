//! A token server that speaks Entra's `/{tenant}/oauth2/v2.0/token`, over https as its clients insist.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use jiff::Timestamp;
use serde_json::{Value, json};

use crate::Error;
use crate::listen::{Answering, Socket, WholeRequest};
use crate::outcome::{Answer, Reply};
use crate::record::{Listener, Request};
use crate::tls::TestCa;
use crate::token::{claims, unsigned_jwt};

/// What the token server takes and gives.
#[derive(Debug, Clone)]
pub struct EntraOptions {
    /// Port; 0 is any.
    pub port: u16,
    /// The tenant in the path.
    pub tenant: String,
    /// The client.
    pub client_id: String,
    /// How the client proves itself.
    pub secret: Secret,
    /// Audiences, without `/.default`.
    pub audiences: Vec<String>,
    /// How long tokens are good, in seconds.
    pub lifetime: i64,
    /// The `roles` claim, if any.
    pub roles: Option<Vec<String>>,
}

impl Default for EntraOptions {
    fn default() -> Self {
        Self {
            port: 0,
            tenant: "11111111-2222-3333-4444-555555555555".into(),
            client_id: "99999999-8888-7777-6666-555555555555".into(),
            secret: Secret::Any,
            audiences: vec!["https://storage.azure.com".into()],
            lifetime: 3600,
            roles: None,
        }
    }
}

/// How a client proves itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Secret {
    /// Any secret or assertion.
    Any,
    /// This `client_secret`.
    Text(String),
    /// A `client_assertion`: a JWT with this `sub`, whoever signed it.
    AssertionOf(String),
}

/// A wrong answer of the token server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EntraFault {
    /// 401 with this AADSTS number, such as 7000215 (wrong secret).
    Error(u32),
    /// 502 and a page.
    GatewayPage,
    /// 503 without a body.
    Unavailable,
    /// 429 with `Retry-After`, in seconds.
    Throttled(u64),
    /// The connection is closed without an answer.
    Close,
}

/// A running token server; it ends when it is dropped.
#[derive(Debug)]
pub struct Entra {
    state: Arc<State>,
    ca: Arc<TestCa>,
    socket: Socket,
}

#[derive(Debug)]
struct State {
    options: Mutex<EntraOptions>,
    faults: Mutex<VecDeque<EntraFault>>,
    requests: Mutex<Vec<Request>>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Entra {
    /// Starts on 127.0.0.1 with a certificate of `ca`.
    pub async fn start(options: EntraOptions, ca: Arc<TestCa>) -> Result<Self, Error> {
        let port = options.port;
        let state = Arc::new(State {
            options: Mutex::new(options),
            faults: Mutex::default(),
            requests: Mutex::default(),
        });
        let socket = Socket::open(port, Some(ca.acceptor()?), Arc::clone(&state)).await?;
        Ok(Self { state, ca, socket })
    }

    /// The authority host for `azure_identity`.
    pub fn url(&self) -> String {
        format!("https://localhost:{}", self.socket.address.port())
    }

    /// The authority's certificate for clients.
    pub fn ca_pem(&self) -> &str {
        self.ca.pem()
    }

    /// All requests so far; the body has the secret or the assertion.
    pub fn requests(&self) -> Vec<Request> {
        lock(&self.state.requests).clone()
    }

    /// The next requests get these, one each.
    pub fn fail_next(&self, faults: impl IntoIterator<Item = EntraFault>) {
        lock(&self.state.faults).extend(faults);
    }

    /// Changes what it takes and gives: a new secret, another lifetime.
    pub fn change(&self, change: impl FnOnce(&mut EntraOptions)) {
        change(&mut lock(&self.state.options));
    }
}

impl Answering for State {
    async fn answer(&self, request: WholeRequest) -> Answer {
        let (parts, body) = request.into_parts();
        let body = String::from_utf8_lossy(&body).into_owned();
        let headers = parts.headers.iter().map(|(name, value)| {
            (name.as_str().to_owned(), String::from_utf8_lossy(value.as_bytes()).into_owned())
        });
        let authorization =
            parts.headers.get("authorization").map(|v| String::from_utf8_lossy(v.as_bytes()).into_owned());
        let fault = lock(&self.faults).pop_front();
        let answer = match fault {
            Some(fault) => broken(&fault),
            None => token(&lock(&self.options), parts.method.as_str(), parts.uri.path(), &body).into(),
        };
        let mut requests = lock(&self.requests);
        let number = requests.len();
        requests.push(Request {
            number,
            at: Timestamp::now(),
            listener: Listener::Entra,
            method: parts.method.as_str().to_owned(),
            path: parts.uri.path().to_owned(),
            query: parts.uri.query().map(str::to_owned),
            headers: headers.filter(|(name, _)| name != "authorization").collect(),
            authorized: authorization.is_some(),
            authorization,
            body,
            status: match &answer {
                Answer::Reply(reply) => Some(reply.status),
                _ => None,
            },
        });
        answer
    }
}

fn broken(fault: &EntraFault) -> Answer {
    match fault {
        EntraFault::Error(number) => error(401, "invalid_client", *number, "Scripted by the test.").into(),
        EntraFault::GatewayPage => {
            Reply::text(502, "text/html", "<html><body><h1>502 Bad Gateway</h1></body></html>").into()
        }
        EntraFault::Unavailable => Reply::empty(503).into(),
        EntraFault::Throttled(seconds) => error(429, "temporarily_unavailable", 90055, "Too many requests.")
            .header("Retry-After", &seconds.to_string())
            .into(),
        EntraFault::Close => Answer::Close,
    }
}

fn error(status: u16, code: &str, number: u32, text: &str) -> Reply {
    let trace = "5f6f0e1c-0d5c-4d0f-8a44-6b1f0a3c0200";
    let now = Timestamp::now().strftime("%Y-%m-%d %H:%M:%SZ").to_string();
    let body = json!({
        "error": code,
        "error_description": format!("AADSTS{number}: {text} Trace ID: {trace} Correlation ID: {trace} Timestamp: {now}"),
        "error_codes": [number],
        "timestamp": now,
        "trace_id": trace,
        "correlation_id": trace,
        "error_uri": format!("https://login.microsoftonline.com/error?code={number}"),
    });
    Reply::json(status, "application/json; charset=utf-8", &body)
}

fn token(options: &EntraOptions, method: &str, path: &str, body: &str) -> Reply {
    let Some(tenant) = path.strip_prefix('/').and_then(|path| path.strip_suffix("/oauth2/v2.0/token")) else {
        return Reply::empty(404);
    };
    if method != "POST" {
        return error(400, "invalid_request", 900_561, "The endpoint only accepts POST requests.");
    }
    if tenant != options.tenant {
        return error(400, "invalid_request", 90002, &format!("Tenant '{tenant}' not found."));
    }
    let form: Vec<(String, String)> = url::form_urlencoded::parse(body.as_bytes()).into_owned().collect();
    let get = |name: &str| form.iter().find(|(found, _)| found == name).map(|(_, value)| value.as_str());
    if get("grant_type") != Some("client_credentials") {
        return error(400, "unsupported_grant_type", 70003, "The app requested an unsupported grant type.");
    }
    let client = get("client_id").unwrap_or_default();
    if client != options.client_id {
        let text = format!("Application with identifier '{client}' was not found in the directory.");
        return error(400, "unauthorized_client", 700_016, &text);
    }
    if let Err(reply) =
        proved(options, get("client_secret"), get("client_assertion_type"), get("client_assertion"))
    {
        return reply;
    }
    let scope = get("scope").unwrap_or_default();
    let Some(audience) =
        scope.strip_suffix("/.default").filter(|a| options.audiences.iter().any(|known| known == a))
    else {
        return error(400, "invalid_scope", 70011, &format!("The scope '{scope}' is not valid."));
    };
    let now = Timestamp::now().as_second();
    let mut content = json!({
        "aud": audience,
        "iss": format!("https://sts.windows.net/{tenant}/"),
        "tid": tenant,
        "appid": client,
        "oid": client,
        "iat": now,
        "nbf": now,
        "exp": now + options.lifetime,
    });
    if let (Some(roles), Some(content)) = (&options.roles, content.as_object_mut()) {
        content.insert("roles".into(), json!(roles));
    }
    let body = json!({
        "token_type": "Bearer",
        "expires_in": options.lifetime,
        "ext_expires_in": options.lifetime,
        "access_token": unsigned_jwt(&content),
    });
    Reply::json(200, "application/json; charset=utf-8", &body)
}

fn proved(
    options: &EntraOptions,
    secret: Option<&str>,
    assertion_type: Option<&str>,
    assertion: Option<&str>,
) -> Result<(), Reply> {
    const JWT_BEARER: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";
    if secret.is_none() && assertion.is_none() {
        let text =
            "The request body must contain the following parameter: 'client_assertion' or 'client_secret'.";
        return Err(error(401, "invalid_client", 7_000_218, text));
    }
    let asserted = assertion.filter(|_| assertion_type == Some(JWT_BEARER)).and_then(claims);
    if assertion.is_some() && asserted.is_none() {
        return Err(error(401, "invalid_client", 50027, "JWT token is invalid or malformed."));
    }
    match &options.secret {
        Secret::Any => Ok(()),
        Secret::Text(wanted) if secret == Some(wanted) => Ok(()),
        Secret::Text(_) => Err(error(401, "invalid_client", 7_000_215, "Invalid client secret provided.")),
        Secret::AssertionOf(wanted) => {
            let subject = asserted.as_ref().and_then(|claims| claims.get("sub")).and_then(Value::as_str);
            if subject == Some(wanted) {
                return Ok(());
            }
            let text = "No matching federated identity record found for presented assertion subject.";
            Err(error(401, "invalid_client", 700_213, text))
        }
    }
}
