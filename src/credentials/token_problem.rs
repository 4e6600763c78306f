//! Why a token request failed, as one sentence with the next step: Entra's error codes, and failures of the
//! network.

use std::error::Error;
use std::fmt;

use azure_core::error::ErrorKind;

use super::CredentialProblem;
use super::cause::{Cause, chain};
use super::transport::AddressRefused;
use crate::api::Reason;

/// Who issues the tokens of an identity. Messages name it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Issuer {
    /// An authority, by its host.
    Host(String),
    /// The endpoint of the node or pod, which issues the tokens of managed identities.
    Node,
}

impl fmt::Display for Issuer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Host(host) => host,
            Self::Node => "the managed identity endpoint",
        })
    }
}

/// The problem behind a failed token request to `issuer`, from the error of a [`TokenCredential`].
///
/// [`TokenCredential`]: azure_core::credentials::TokenCredential
pub fn token_problem(error: &azure_core::Error, issuer: &Issuer) -> CredentialProblem {
    let host = &issuer.to_string();
    let chain = chain(error);
    if let Some(problem) = chain.iter().find_map(|e| e.downcast_ref::<CredentialProblem>()) {
        return problem.clone();
    }
    let answer = chain.iter().find_map(|e| match e.downcast_ref::<azure_core::Error>()?.kind() {
        ErrorKind::HttpResponse { status, error_code, .. } => {
            Some((u16::from(*status), error_code.as_deref()))
        }
        _ => None,
    });
    match answer {
        Some((status, code)) if status == 429 || status >= 500 => {
            let code = code.map(|code| format!(", AADSTS{code}")).unwrap_or_default();
            unavailable(format!(
                "{host} cannot issue a token at the moment (HTTP {status}{code}); the operator retries"
            ))
        }
        // The codes of Entra do not come from a node (azure_identity 1.0, `imds_managed_identity_credential.rs`).
        Some((status, _)) if *issuer == Issuer::Node => lasting(format!(
            "{host} refuses to issue a token (HTTP {status}); assign the managed identity to the node or pod that the \
             operator runs on, and check clientID"
        )),
        Some((status, Some(code))) => refused(status, code),
        Some((status, None)) => lasting(format!(
            "{host} refuses to issue a token (HTTP {status}); check the identity and its tenant"
        )),
        None => unanswered(&chain, host),
    }
}

fn unanswered(chain: &[&(dyn Error + 'static)], host: &str) -> CredentialProblem {
    let Some(http) = chain.iter().find(|e| e.is::<reqwest::Error>()) else {
        return unavailable(format!(
            "{host} answered a token request with something other than a token; check any proxies in between"
        ));
    };
    no_answer(&Cause::of(*http), host, "the operator's extra CA")
}

/// The problem of a token request that got no answer. `authorities` names the setting that holds trusted
/// certificate authorities, for TLS failures.
pub fn no_answer(cause: &Cause, host: &str, authorities: &str) -> CredentialProblem {
    unavailable(match cause {
        Cause::Name(name) => {
            format!("the host name {name} does not resolve, so there is no token; check the cluster's DNS")
        }
        Cause::Address(refused) => return address_refused(refused),
        Cause::Connect(how) => {
            format!("{host} {how}, so there is no token; check the network policy and firewalls")
        }
        Cause::Tls(how) => {
            format!("TLS with {host} failed, so there is no token: {how}; check {authorities}")
        }
        Cause::ConnectTimeout | Cause::Timeout => timed_out(host),
        Cause::Broken => {
            format!("the connection to {host} broke, so there is no token; the operator retries")
        }
    })
}

/// The problem of a token request to an address that the operator does not connect to.
pub fn address_refused(refused: &AddressRefused) -> CredentialProblem {
    let message = format!(
        "{refused}, so no token was requested; if the address is correct, set tokenURL to the token endpoint"
    );
    CredentialProblem::lasting(Reason::AddressNotAllowed, message)
}

/// The problem of a token request that got no answer in time.
pub fn token_timed_out(issuer: &Issuer) -> CredentialProblem {
    unavailable(timed_out(&issuer.to_string()))
}

fn timed_out(host: &str) -> String {
    format!("{host} did not answer a token request in time; check the network policy and firewalls")
}

fn unavailable(message: String) -> CredentialProblem {
    CredentialProblem::passing(Reason::TokenUnavailable, message)
}

fn lasting(message: String) -> CredentialProblem {
    CredentialProblem::lasting(Reason::TokenRefused, message)
}

/// Explains a rejection by its AADSTS code. If Entra lists several codes, the first one is the cause.
fn refused(status: u16, codes: &str) -> CredentialProblem {
    let code = codes.split(',').next().unwrap_or(codes);
    let (cause, next) = match code {
        "7000215" => ("the client secret is wrong", "put the secret's value, not its id, into the Secret"),
        "7000222" => ("the client secret has expired", "create a new one and put it into the Secret"),
        "700016" => ("the tenant does not know the client id", "check clientID and tenantID"),
        "90002" | "900023" | "900021" => ("there is no such tenant", "check tenantID and cloud"),
        "7000112" => ("the application is disabled", "ask the tenant's administrator to enable it"),
        "70021" | "700211" | "700212" | "700213" => (
            "no federated credential matches the ServiceAccount",
            "add one for its issuer, subject and the audience api://AzureADTokenExchange",
        ),
        "700024" => ("the ServiceAccount token is not valid at this time", "check the clocks of the cluster"),
        "700027" => {
            ("Entra does not accept the assertion's signature", "check the cluster's issuer and its keys")
        }
        "500011" => (
            "the tenant does not know the resource",
            "check url and audience, and that the FHIR service belongs to this tenant",
        ),
        "501051" | "50105" => ("the application has no role on the resource", "assign one"),
        "53003" | "530003" => ("conditional access blocks it", "ask the tenant's administrator"),
        _ if code.bytes().all(|b| b.is_ascii_digit()) => ("", "look up the code, and check the identity"),
        _ => {
            return lasting(format!(
                "Entra refuses the credential (HTTP {status}); check the identity and its tenant"
            ));
        }
    };
    let colon = if cause.is_empty() { "" } else { ": " };
    lasting(format!("Entra refuses the credential (AADSTS{code}{colon}{cause}); {next}"))
}
