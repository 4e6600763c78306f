//! Discovery of a FHIR server's token endpoint: `.well-known/smart-configuration`.

use std::time::Duration;

use serde::Deserialize;
use tokio::sync::Mutex;
use tokio::time::Instant;

use super::endpoint::{TokenEndpoint, Way};
use crate::api::Reason;
use crate::core::wire::Answer;
use crate::credentials::CredentialProblem;

/// How long a configuration is cached, unless a token request fails.
const FOUND_KEPT: Duration = Duration::from_secs(300);
/// Time limit of a discovery.
const LONGEST: Duration = Duration::from_secs(8);

/// Reads the SMART configuration of a server, and caches it.
#[derive(Default)]
pub struct Discovery(Mutex<Option<(Instant, Configuration)>>);

/// The members of a SMART configuration that the operator uses.
#[derive(Clone, Debug, Default, Deserialize)]
pub struct Configuration {
    pub token_endpoint: Option<String>,
    scopes_supported: Option<Vec<String>>,
    capabilities: Option<Vec<String>>,
}

impl Configuration {
    /// The scope for reading everything: `system/*.read`, or its SMART 2 form `system/*.rs` if the server
    /// supports that.
    pub fn default_scope(&self) -> &'static str {
        const OLDER: &str = "system/*.read";
        const NEWER: &str = "system/*.rs";
        let scopes = self.scopes_supported.as_deref().unwrap_or_default();
        let names = |scope: &str| scopes.iter().any(|supported| supported == scope);
        let newer = |scope: &String| {
            let may = scope.strip_prefix("system/").and_then(|rest| rest.rsplit_once('.'));
            may.is_some_and(|(_, may)| !may.is_empty() && may.chars().all(|c| "cruds".contains(c)))
        };
        let capable = || self.capabilities.iter().flatten().any(|capability| capability == "permission-v2");
        if names(NEWER) || !names(OLDER) && (scopes.iter().any(newer) || capable()) { NEWER } else { OLDER }
    }
}

impl Discovery {
    /// Returns the server's SMART configuration, from the cache or from the server.
    pub async fn get(&self, way: &Way) -> Result<Configuration, CredentialProblem> {
        let mut known = self.0.lock().await;
        if let Some((_, found)) = known.as_ref().filter(|(at, _)| at.elapsed() < FOUND_KEPT) {
            return Ok(found.clone());
        }
        // The path is appended to that of the base URL, because a host may serve several bases.
        let base = way.server.spec.url.trim_end_matches('/');
        let endpoint = TokenEndpoint::named(way, &format!("{base}/.well-known/smart-configuration"), "url")?;
        let request = way.clients.kept.get(endpoint.url);
        let answer = way.send(request, &endpoint.origin, LONGEST).await?;
        let found = read(&answer, endpoint.origin.host())?;
        *known = Some((Instant::now(), found.clone()));
        Ok(found)
    }

    /// Drops the cached configuration, because it did not lead to a token.
    pub async fn forget(&self) {
        *self.0.lock().await = None;
    }
}

fn read(answer: &Answer, host: &str) -> Result<Configuration, CredentialProblem> {
    let status = answer.status;
    let passing = |message| Err(CredentialProblem::passing(Reason::TokenUnavailable, message));
    match status {
        200..=299 => serde_json::from_slice(&answer.body).or_else(|_| {
            passing(format!(
                "{host} answered with something other than its SMART configuration, so there is no token; set tokenURL \
                 to the token endpoint, and check any proxies in between"
            ))
        }),
        429 | 500.. => passing(format!(
            "{host} cannot serve its SMART configuration at the moment (HTTP {status}); the operator retries"
        )),
        _ => Err(CredentialProblem::lasting(
            Reason::TokenUnavailable,
            format!(
                "{host} has no SMART configuration that names a token endpoint (HTTP {status}); name it in \
                 tokenURL, and check url"
            ),
        )),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_scope_is_of_the_form_that_the_server_speaks() {
        for (said, scope) in [
            (json!({}), "system/*.read"),
            (json!({ "scopes_supported": null, "capabilities": null }), "system/*.read"),
            (json!({ "capabilities": ["permission-v1"] }), "system/*.read"),
            (json!({ "capabilities": ["permission-v1", "permission-v2"] }), "system/*.rs"),
            (json!({ "scopes_supported": ["system/*.read", "system/*.rs"] }), "system/*.rs"),
            (
                json!({ "scopes_supported": ["system/*.read"], "capabilities": ["permission-v2"] }),
                "system/*.read",
            ),
            (json!({ "scopes_supported": ["openid", "system/Patient.rs"] }), "system/*.rs"),
            (json!({ "scopes_supported": ["user/*.rs", "system/Patient.read"] }), "system/*.read"),
        ] {
            let found: Configuration = serde_json::from_value(said.clone()).unwrap();
            assert_eq!(found.default_scope(), scope, "{said}");
        }
    }
}
