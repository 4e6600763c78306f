//! What Entra's refusals mean, and why no token came, in one sentence each.

use std::error::Error;

use azure_core::error::ErrorKind;

use super::CredentialProblem;
use super::cause::{Cause, chain};
use super::transport::AddressRefused;
use crate::api::Reason;

/// What went wrong with a token request, from the error of a [`TokenCredential`]. `host` is where it went.
///
/// [`TokenCredential`]: azure_core::credentials::TokenCredential
pub fn token_problem(error: &azure_core::Error, host: &str) -> CredentialProblem {
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
            unavailable(format!("{host} gives no token now (HTTP {status}{code}); it is asked again"))
        }
        Some((status, Some(code))) => refused(status, code),
        Some((status, None)) => lasting(format!(
            "{host} refuses to give a token (HTTP {status}); check the identity and its tenant"
        )),
        None => unanswered(&chain, host),
    }
}

fn unanswered(chain: &[&(dyn Error + 'static)], host: &str) -> CredentialProblem {
    let Some(http) = chain.iter().find(|e| e.is::<reqwest::Error>()) else {
        return unavailable(format!(
            "{host} answered a token request with something else than a token; check proxies on the way"
        ));
    };
    no_answer(&Cause::of(*http), host, "the operator's extra CA")
}

/// There is no token because a request got no answer; `authorities` is where TLS is repaired.
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
        Cause::Broken => format!("the connection to {host} broke, so there is no token; it is asked again"),
    })
}

/// A token would be asked for where nothing is connected to.
pub fn address_refused(refused: &AddressRefused) -> CredentialProblem {
    let message =
        format!("{refused}, so no token was asked for; if it is right, name the token endpoint in tokenURL");
    CredentialProblem::lasting(Reason::AddressNotAllowed, message)
}

/// No answer in time.
pub fn token_timed_out(host: &str) -> CredentialProblem {
    unavailable(timed_out(host))
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

/// The numbers are Entra's own (AADSTS error codes); where there are several, the first one tells.
fn refused(status: u16, codes: &str) -> CredentialProblem {
    let code = codes.split(',').next().unwrap_or(codes);
    let (cause, next) = match code {
        "7000215" => ("the client secret is wrong", "put the secret's value, not its id, into the Secret"),
        "7000222" => ("the client secret has expired", "make a new one and put it into the Secret"),
        "700016" => ("the tenant does not know the client id", "check clientID and tenantID"),
        "90002" | "900023" | "900021" => ("there is no such tenant", "check tenantID and cloud"),
        "7000112" => ("the application is disabled", "have it enabled in the tenant"),
        "70021" | "700211" | "700212" | "700213" => (
            "no federated credential matches the ServiceAccount",
            "add one for its issuer, subject and the audience api://AzureADTokenExchange",
        ),
        "700024" => ("the ServiceAccount token is not valid now", "check the clocks"),
        "700027" => ("the assertion's signature is not accepted", "check the cluster's issuer and its keys"),
        "500011" => (
            "the tenant knows no such resource",
            "check url and audience, and that the FHIR service is of this tenant",
        ),
        "501051" | "50105" => ("the application has no role on the resource", "assign it one"),
        "53003" | "530003" => ("conditional access blocks it", "ask the owner of the tenant"),
        _ if code.bytes().all(|b| b.is_ascii_digit()) => ("", "look the number up, and check the identity"),
        _ => {
            return lasting(format!(
                "Entra refuses the credential (HTTP {status}); check the identity and its tenant"
            ));
        }
    };
    let colon = if cause.is_empty() { "" } else { ": " };
    lasting(format!("Entra refuses the credential (AADSTS{code}{colon}{cause}); {next}"))
}
