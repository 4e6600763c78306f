//! Failures of requests that got no answer, each explained in one sentence.

use kube::ResourceExt;

use super::origin::Origin;
use crate::api::{FhirServer, Reason};
use crate::core::wire::{Failure, FailureKind, Sent};
use crate::credentials::CredentialProblem;
use crate::credentials::cause::Cause;

/// The server's kind, namespace and name, for messages: `FhirServer namespace/name`.
pub fn named(server: &FhirServer) -> String {
    format!("FhirServer {}/{}", server.namespace().unwrap_or_default(), server.name_any())
}

/// Nothing was sent because the credentials are missing or unusable.
pub fn without_credential(problem: CredentialProblem) -> Failure {
    let provider = matches!(problem.reason, Reason::TokenRefused | Reason::TokenUnavailable);
    let kind = if provider || problem.passing { FailureKind::Unreachable } else { FailureKind::Missing };
    Failure { sent: Sent::No, reason: problem.reason, message: problem.message, kind }
}

/// Nothing was sent because the credentials are not meant for the URL's origin.
pub fn untrusted(server: &FhirServer, origin: Option<&Origin>) -> Failure {
    let name = named(server);
    let message = match origin {
        Some(origin) if !origin.is_encrypted() && server.spec.allow_insecure_http != Some(true) => {
            format!("{origin} is not https, so nothing was sent there; use https in url of {name}")
        }
        Some(origin) => format!(
            "the server points to {origin}, which is not the origin of url, so nothing was sent there; if it may \
             receive the token, add it to trustedOrigins of {name}"
        ),
        None => format!(
            "a URL that {name} points to is neither http nor https, so nothing was sent there; check url"
        ),
    };
    Failure { sent: Sent::No, reason: Reason::UnexpectedAnswer, message, kind: FailureKind::Unreachable }
}

/// The message for a file at an origin that files may not come from.
pub fn file_elsewhere(server: &FhirServer, origin: &Origin) -> String {
    let name = named(server);
    if !origin.is_encrypted() && server.spec.allow_insecure_http != Some(true) {
        return format!(
            "the files are at {origin}, which is not https, so nothing was downloaded; contact the server's owner"
        );
    }
    format!(
        "the files are at {origin}, from which the operator downloads nothing; if the origin is correct, add it to \
         fileOrigins of {name} (to trustedOrigins if it needs the token)"
    )
}

/// The message for a file whose URL cannot be fetched.
pub fn no_file_url(server: &FhirServer) -> String {
    format!(
        "a file of {} has a URL that is neither http nor https; contact the server's owner",
        named(server)
    )
}

/// Nothing was sent because the origin had asked clients to wait.
pub fn held_back(origin: &Origin, until: jiff::Timestamp) -> Failure {
    let shown = until.strftime("%Y-%m-%dT%H:%M:%SZ");
    Failure {
        sent: Sent::No,
        reason: Reason::Throttled,
        message: format!("{} is throttling requests; the next request goes out after {shown}", origin.host()),
        kind: FailureKind::HeldBack { until },
    }
}

/// Nothing was sent because the server was deleted, or the operator told to end, while the download waited for its
/// turn.
pub fn no_turn(server: &FhirServer) -> Failure {
    Failure {
        sent: Sent::No,
        reason: Reason::ServerNotFound,
        message: format!(
            "{} was deleted while a download waited for its turn; restore it, and the export goes on",
            named(server)
        ),
        kind: FailureKind::Missing,
    }
}

/// The request got no answer. `seconds` is its time limit.
pub fn unanswered(cause: &Cause, server: &FhirServer, origin: &Origin, seconds: u64) -> Failure {
    let name = named(server);
    let host = origin.host();
    let (sent, reason, message) = match cause {
        Cause::Name(missing) if missing == host => (
            Sent::No,
            Reason::HostNotFound,
            format!("the host name {host} does not resolve; check url of {name}, and the cluster's DNS"),
        ),
        Cause::Name(proxy) => (
            Sent::No,
            Reason::HostNotFound,
            format!(
                "the host name {proxy} of the proxy does not resolve; check the operator's proxy settings"
            ),
        ),
        Cause::Address(refused) => (
            Sent::No,
            Reason::AddressNotAllowed,
            format!("{refused}, so nothing was sent there; check url of {name}"),
        ),
        Cause::Connect(how) => (
            Sent::No,
            Reason::ConnectionFailed,
            format!("{host} {how}; check url of {name}, the network policy and firewalls"),
        ),
        Cause::ConnectTimeout => (
            Sent::No,
            Reason::TimedOut,
            format!(
                "no connection to {host} was established in time; check url of {name}, the network policy and firewalls"
            ),
        ),
        Cause::Tls(how) => (
            Sent::No,
            Reason::TLSFailed,
            format!("TLS with {host} failed: {how}; check url and tls of {name}"),
        ),
        Cause::Timeout => (
            Sent::Maybe,
            Reason::TimedOut,
            format!(
                "{host} did not answer within {seconds} s; check the server, and raise \
                 limits.requestTimeoutSeconds of {name} if it is slow"
            ),
        ),
        Cause::Broken => (
            Sent::Maybe,
            Reason::ConnectionFailed,
            format!(
                "the connection to {host} broke before the answer arrived; check the server and any proxies in between"
            ),
        ),
    };
    Failure { sent, reason, message, kind: FailureKind::Unreachable }
}
