//! A role of AWS that is assumed with the token of a ServiceAccount, at a security token service (STS).

use std::sync::Arc;

use async_trait::async_trait;
use azure_core::credentials::{AccessToken, TokenCredential, TokenRequestOptions};
use azure_core::error::ErrorKind;
use azure_core::time::OffsetDateTime;
use jiff::Timestamp;
use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Serialize};
use url::{Url, form_urlencoded};

use super::cause::Cause;
use super::{CredentialProblem, CredentialSource, Federated, no_answer};
use crate::api::Reason;

/// The longest answer that is read, in bytes.
const LONGEST: usize = 64 << 10;
/// The longest name of a session of a role (public documentation of AssumeRoleWithWebIdentity).
const LONGEST_SESSION: usize = 64;

/// A role, and the ServiceAccount whose token assumes it. Its tokens hold [`RoleKeys`].
pub struct AssumedRole {
    pub(super) source: Arc<dyn CredentialSource>,
    pub(super) http: reqwest::Client,
    pub(super) namespace: String,
    pub(super) service_account: String,
    pub(super) role_arn: String,
    pub(super) endpoint: Url,
}

/// The temporary access key of an assumed role.
#[derive(Clone)]
pub struct RoleKeys {
    /// The id of the access key.
    pub id: String,
    /// The secret of the access key.
    pub secret: SecretString,
    /// The token that goes with it.
    pub session: SecretString,
}

/// An access key as the text of an access token.
#[derive(Deserialize, Serialize)]
struct Packed {
    id: String,
    secret: String,
    session: String,
}

impl RoleKeys {
    /// Reads the access key from the text of a token; `None` if the token is not that of an [`AssumedRole`].
    pub fn of_token(token: &str) -> Option<Self> {
        let Packed { id, secret, session } = serde_json::from_str(token).ok()?;
        Some(Self { id, secret: secret.into(), session: session.into() })
    }
}

/// The answer of the service to a request that it grants.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Granted {
    #[serde(rename = "AssumeRoleWithWebIdentityResult")]
    result: Assumed,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Assumed {
    credentials: Credentials,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Credentials {
    access_key_id: String,
    secret_access_key: String,
    session_token: String,
    expiration: String,
}

/// The answer of the service to a request that it refuses.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Refused {
    error: Refusal,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Refusal {
    code: String,
}

impl AssumedRole {
    /// The name of the session, which CloudTrail shows: the namespace and the name of the ServiceAccount.
    fn session(&self) -> String {
        let name = format!("fhir-export@{}.{}", self.namespace, self.service_account);
        name.chars().take(LONGEST_SESSION).collect()
    }

    fn host(&self) -> &str {
        self.endpoint.host_str().unwrap_or_default()
    }

    /// The request for keys. The token goes in its body, since URLs get into logs.
    fn form(&self, token: &SecretString) -> String {
        let mut form = form_urlencoded::Serializer::new(String::new());
        form.append_pair("Action", "AssumeRoleWithWebIdentity").append_pair("Version", "2011-06-15");
        form.append_pair("RoleArn", &self.role_arn).append_pair("RoleSessionName", &self.session());
        form.append_pair("WebIdentityToken", token.expose_secret()).finish()
    }

    async fn assume(&self) -> Result<AccessToken, CredentialProblem> {
        let of = Federated::AwsRole(self.role_arn.clone());
        let token = self.source.service_account_token(&self.namespace, &self.service_account, &of).await?;
        let request = self.http.post(self.endpoint.clone()).body(self.form(&token));
        let request = request.header("content-type", "application/x-www-form-urlencoded");
        let unanswered =
            |error: reqwest::Error| no_answer(&Cause::of(&error), self.host(), "the operator's extra CA");
        let mut answer = request.send().await.map_err(unanswered)?;
        let status = answer.status().as_u16();
        let mut body = Vec::new();
        while let Some(piece) = answer.chunk().await.map_err(unanswered)? {
            body.extend_from_slice(&piece);
            if body.len() > LONGEST {
                return Err(self.no_keys());
            }
        }
        let body = String::from_utf8(body).map_err(|_| self.no_keys())?;
        if status == 200 { self.granted(&body) } else { Err(self.refused(status, &body)) }
    }

    fn granted(&self, body: &str) -> Result<AccessToken, CredentialProblem> {
        let granted: Granted = quick_xml::de::from_str(body).map_err(|_| self.no_keys())?;
        let keys = granted.result.credentials;
        let end: Timestamp = keys.expiration.parse().map_err(|_| self.no_keys())?;
        let end = OffsetDateTime::from_unix_timestamp(end.as_second()).map_err(|_| self.no_keys())?;
        let (id, secret, session) = (keys.access_key_id, keys.secret_access_key, keys.session_token);
        let packed = serde_json::to_string(&Packed { id, secret, session }).map_err(|_| self.no_keys())?;
        Ok(AccessToken::new(packed, end))
    }

    fn no_keys(&self) -> CredentialProblem {
        CredentialProblem::passing(
            Reason::TokenUnavailable,
            format!(
                "{} answered a token request with something other than keys; check any proxies in between",
                self.host()
            ),
        )
    }

    /// Explains a refusal by the code of the service, which is all of the answer that is repeated.
    fn refused(&self, status: u16, body: &str) -> CredentialProblem {
        let code = quick_xml::de::from_str::<Refused>(body).map(|refused| refused.error.code).ok();
        let code = code.filter(|code| code.len() <= 64 && code.bytes().all(|b| b.is_ascii_alphanumeric()));
        let said = code.as_ref().map_or_else(|| status.to_string(), |code| format!("{status} {code}"));
        let host = self.host();
        let passing = matches!(code.as_deref(), Some("IDPCommunicationError" | "Throttling"));
        if passing || status == 429 || status >= 500 {
            return CredentialProblem::passing(
                Reason::TokenUnavailable,
                format!("{host} cannot issue keys at the moment ({said}); the operator retries"),
            );
        }
        let Self { namespace, service_account, role_arn, .. } = self;
        let next = match code.as_deref() {
            Some("AccessDenied") => format!(
                "let the trust policy of the role admit system:serviceaccount:{namespace}:{service_account} with the \
                 audience sts.amazonaws.com"
            ),
            Some("InvalidIdentityToken" | "IDPRejectedClaim") => {
                "register the issuer of the cluster as an identity provider of the account, with the audience \
                 sts.amazonaws.com"
                    .to_owned()
            }
            Some("ExpiredTokenException") => "check the clocks of the cluster".to_owned(),
            Some("RegionDisabledException") => "enable STS in the region, or name another one".to_owned(),
            _ => "check the role, its trust policy and the endpoint".to_owned(),
        };
        CredentialProblem::lasting(
            Reason::TokenRefused,
            format!(
                "{host} does not let ServiceAccount {service_account} assume {role_arn} ({said}): {next}"
            ),
        )
    }
}

impl std::fmt::Debug for AssumedRole {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "AssumedRole({}/{})", self.namespace, self.service_account)
    }
}

#[async_trait]
impl TokenCredential for AssumedRole {
    async fn get_token(
        &self,
        _: &[&str],
        _: Option<TokenRequestOptions<'_>>,
    ) -> azure_core::Result<AccessToken> {
        self.assume().await.map_err(|problem| azure_core::Error::new(ErrorKind::Credential, problem))
    }
}
