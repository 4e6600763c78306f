//! What a probe says of a `FhirServer`: who it is, whether it lets us export, whether the files can be seen.

use std::time::Duration;

use jiff::Timestamp;

use super::answer::{StatusAnswer, status as read_status};
use super::bulk::Deviations;
use super::capability::Capability;
use super::condition;
use super::ledger::{StorageFailure, StorageFailureKind};
use super::tuning::Tuning;
use super::wire::{Failure, FailureKind, Method, Reply, Request};
use super::words;
use crate::api::{
    AuthType, ConditionStatus, ConditionType, Dialect, FhirServerSpec, FhirServerStatus, Reason,
};

/// `CapabilityStatement`s of large servers reach several MiB.
const MAX_METADATA: usize = 16 * 1024 * 1024;
const MAX_OUTCOME: usize = 256 * 1024;
/// Longest FHIR version taken over from a server, in characters.
const MAX_VERSION: usize = 32;
/// How long a good probe is believed.
const WHEN_READY: Duration = Duration::from_secs(600);
/// How soon a bad one is repeated.
const WHEN_NOT: Duration = Duration::from_secs(30);

/// What a probe saw.
#[derive(Clone, Debug, PartialEq)]
pub struct Probe {
    /// The answer to `/metadata`.
    pub metadata: Reply,
    /// The answer to a status request for a job that cannot exist: 404 with the right to export, 403 without.
    pub access: Reply,
    /// Whether the storage account can be listed; absent when none is set.
    pub storage: Option<Result<(), StorageFailure>>,
}

impl Probe {
    /// How long to wait if the server, or another one of its origin, asked for patience.
    pub fn put_off(&self, now: Timestamp) -> Option<Duration> {
        let wait = |reply: &Reply| match reply {
            Err(Failure { kind: FailureKind::HeldBack { until }, .. }) => {
                Duration::try_from(until.duration_since(now)).ok().or(Some(Duration::ZERO))
            }
            Ok(answer) if answer.status == 429 => Some(answer.retry_after.unwrap_or(WHEN_NOT)),
            _ => None,
        };
        let waits = [wait(&self.metadata), wait(&self.access)];
        waits.into_iter().flatten().max().map(|wait| wait.max(Duration::from_secs(1)).min(WHEN_READY))
    }
}

/// The request for the server's `CapabilityStatement`; it needs no token.
pub fn metadata_request(spec: &FhirServerSpec) -> Request {
    Request {
        method: Method::Get,
        url: format!("{}/metadata", spec.url.trim_end_matches('/')),
        accept: super::export::plan::FHIR_JSON,
        prefer: None,
        max_body: MAX_METADATA,
        with_token: false,
        body: None,
        patients: None,
    }
}

/// The request that shows whether the identity may export, without doing anything. A Bulk Data server has no place to
/// ask for that: there it shows only whether the token is accepted.
pub fn access_request(spec: &FhirServerSpec) -> Request {
    if spec.dialect == Dialect::BulkData {
        return Request { with_token: true, ..metadata_request(spec) };
    }
    Request {
        method: Method::Get,
        url: format!("{}/_operations/export/0", spec.url.trim_end_matches('/')),
        accept: super::export::plan::FHIR_JSON,
        prefer: None,
        max_body: MAX_OUTCOME,
        with_token: true,
        body: None,
        patients: None,
    }
}

/// The status of a server that is being deleted while exports still need it.
pub fn deleting(old: &FhirServerStatus, users: usize, generation: i64, now: Timestamp) -> FhirServerStatus {
    let mut status = old.clone();
    let who = if users == 1 {
        "one export still uses it".to_owned()
    } else {
        format!("{users} exports still use it")
    };
    let message = format!("it is being deleted, and {who}; cancel or delete them, or wait for their end");
    let (type_, no) = (ConditionType::Ready, ConditionStatus::False);
    condition::set(&mut status.conditions, type_, no, Reason::ServerDeleting, &message, generation, now);
    status
}

/// One condition in the making.
struct Finding {
    status: ConditionStatus,
    reason: Reason,
    message: String,
}

impl Finding {
    fn new(status: ConditionStatus, reason: Reason, message: impl Into<String>) -> Self {
        Self { status, reason, message: message.into() }
    }
}

/// The status after a probe, and how long to believe it.
pub fn judge(
    spec: &FhirServerSpec,
    old: &FhirServerStatus,
    generation: i64,
    probe: &Probe,
    tuning: &Tuning,
    now: Timestamp,
) -> (FhirServerStatus, Duration) {
    let mut status = old.clone();
    status.observed_generation = Some(generation);
    // Some servers show even their metadata only to whom they know.
    let shown = matches!(&probe.metadata, Ok(answer) if answer.status == 200);
    let with_token = spec.dialect == Dialect::BulkData && !shown && probe.access.is_ok();
    let identity = identity(spec, if with_token { &probe.access } else { &probe.metadata });
    let lands = spec.dialect == Dialect::BulkData;
    let authenticated = if lands && shown {
        shown_to_anybody(spec, &probe.access)
    } else {
        authenticated(spec, &probe.access)
    };
    let storage = storage(spec, probe.storage.as_ref());
    if let Ok(capability) = &identity {
        status.software = Some(capability.software());
        let version = capability.fhir_version.as_deref().map(words::clean);
        status.fhir_version = version.map(|v| v.chars().take(MAX_VERSION).collect());
        if spec.dialect == Dialect::BulkData {
            let set = spec.bulk_data.clone().unwrap_or_default();
            let ways = Deviations::decide(&set, &capability.software(), capability.version());
            status.resolved = Some(ways.resolved());
        }
    }
    let wrong = matches!(&identity, Err(f) if f.reason == Reason::WrongDialect);
    let ready = match (identity, &authenticated, &storage) {
        (Err(finding), _, _) => finding,
        (Ok(_), bad, _) | (Ok(_), _, bad) if bad.status == ConditionStatus::False => {
            Finding::new(ConditionStatus::False, bad.reason, bad.message.clone())
        }
        (Ok(_), unsure, _)
            if unsure.status == ConditionStatus::Unknown && unsure.reason != Reason::NotTried =>
        {
            Finding::new(ConditionStatus::Unknown, unsure.reason, unsure.message.clone())
        }
        // Without storage nothing can land.
        (Ok(_), _, unsure) if lands && unsure.reason == Reason::StorageUnreachable => {
            Finding::new(ConditionStatus::Unknown, unsure.reason, unsure.message.clone())
        }
        (Ok(capability), _, _) => Finding::new(
            ConditionStatus::True,
            Reason::ProbeSucceeded,
            format!("{} answers as it should", capability.software()),
        ),
    };
    let missing = [probe.access.as_ref().err(), probe.metadata.as_ref().err()]
        .into_iter()
        .flatten()
        .any(|f| f.kind == FailureKind::Missing)
        || matches!(&probe.storage, Some(Err(f)) if f.kind == StorageFailureKind::Missing)
        // Exports wait for it.
        || lands && storage.status == ConditionStatus::False;
    let wait = match (ready.status, missing) {
        (_, true) => tuning.missing_retry,
        // A container that is made meanwhile is seen soon.
        (ConditionStatus::True, _) if storage.reason != Reason::ContainerNotFound => WHEN_READY,
        _ => WHEN_NOT,
    };
    let mut set = |type_, finding: &Finding| {
        let Finding { status: s, reason, message } = finding;
        condition::set(&mut status.conditions, type_, *s, *reason, message, generation, now);
    };
    set(ConditionType::Authenticated, &authenticated);
    set(ConditionType::StorageAccessible, &storage);
    set(ConditionType::Ready, &ready);
    if wrong {
        set(ConditionType::Stalled, &Finding { status: ConditionStatus::True, ..ready });
    } else {
        condition::remove(&mut status.conditions, ConditionType::Stalled);
    }
    (status, wait)
}

fn unreachable(failure: &Failure) -> Finding {
    let status = match failure.kind {
        FailureKind::HeldBack { .. } => ConditionStatus::Unknown,
        FailureKind::Missing | FailureKind::Unreachable => ConditionStatus::False,
    };
    Finding::new(status, failure.reason, failure.message.clone())
}

/// Who the server is, by its own word.
fn identity(spec: &FhirServerSpec, metadata: &Reply) -> Result<Capability, Finding> {
    let answer = metadata.as_ref().map_err(unreachable)?;
    let no = |reason, message: String| Finding::new(ConditionStatus::False, reason, message);
    if answer.status == 429 {
        return Err(Finding::new(
            ConditionStatus::Unknown,
            Reason::Throttled,
            "the server asks for patience (429); it is asked again later",
        ));
    }
    if answer.status >= 500 {
        let message =
            format!("the server answers {} when asked for its metadata; check the server", answer.status);
        return Err(no(Reason::ServerError, message));
    }
    let capability: Option<Capability> = serde_json::from_slice(&answer.body).ok();
    let Some(capability) =
        capability.filter(|c| answer.status == 200 && c.resource_type == "CapabilityStatement")
    else {
        let message = format!(
            "{} answers {} to /metadata, without a CapabilityStatement; check url, and proxies on the way",
            words::clean(&spec.url),
            answer.status
        );
        return Err(no(Reason::UnexpectedAnswer, message));
    };
    let software = capability.software();
    match (spec.dialect, capability.is_microsoft()) {
        (Dialect::Azure, false) => Err(no(
            Reason::WrongDialect,
            format!(
                "the server says that it is {software}, which does not speak dialect Azure; create a FhirServer with dialect BulkData"
            ),
        )),
        (Dialect::BulkData, true) => Err(no(
            Reason::WrongDialect,
            format!(
                "the server says that it is {software}, which writes its files itself; create a FhirServer with dialect Azure"
            ),
        )),
        _ => Ok(capability),
    }
}

/// Whether the identity may export.
fn authenticated(spec: &FhirServerSpec, access: &Reply) -> Finding {
    let answer = match access {
        Ok(answer) => answer,
        Err(failure) => return unreachable(failure),
    };
    match read_status(answer) {
        StatusAnswer::NotNow(refusal) if refusal.reason != Reason::Throttled => {
            Finding::new(ConditionStatus::False, refusal.reason, refusal.message)
        }
        StatusAnswer::NotNow(refusal) | StatusAnswer::Transient(refusal) => {
            Finding::new(ConditionStatus::Unknown, refusal.reason, refusal.message)
        }
        _ if spec.auth.type_ == AuthType::None => {
            Finding::new(ConditionStatus::True, Reason::NotRequired, "the server asks for no credentials")
        }
        _ => {
            let message = match spec.dialect {
                Dialect::Azure => "the server accepts the token for exports",
                Dialect::BulkData => {
                    "the server accepts the token; whether it may export shows at the first one"
                }
            };
            Finding::new(ConditionStatus::True, Reason::TokenAccepted, message)
        }
    }
}

/// Where the metadata are shown to anybody, an answer to a request with credentials says nothing of them; a token
/// that the provider gave says something.
fn shown_to_anybody(spec: &FhirServerSpec, access: &Reply) -> Finding {
    let finding = authenticated(spec, access);
    if finding.status != ConditionStatus::True {
        return finding;
    }
    match spec.auth.type_ {
        AuthType::None => Finding::new(
            ConditionStatus::True,
            Reason::NotRequired,
            "no credentials are configured (auth.type None)",
        ),
        AuthType::BearerToken | AuthType::Basic => Finding::new(
            ConditionStatus::Unknown,
            Reason::NotTried,
            "the server shows its metadata to anybody, so the credentials are tried with the first export",
        ),
        AuthType::Entra | AuthType::SmartBackendServices | AuthType::OAuthClientSecret => Finding::new(
            ConditionStatus::True,
            Reason::TokenAccepted,
            "a token was given; whether the server lets it export shows at the first one",
        ),
    }
}

fn storage(spec: &FhirServerSpec, seen: Option<&Result<(), StorageFailure>>) -> Finding {
    match seen {
        None => Finding::new(
            ConditionStatus::Unknown,
            Reason::NotConfigured,
            "no storage is set, so files cannot be checked; set storage to have that done",
        ),
        Some(Ok(())) => {
            Finding::new(ConditionStatus::True, Reason::ContainerListed, "the storage account can be listed")
        }
        Some(Err(failure)) => {
            let (status, reason) = match failure.kind {
                StorageFailureKind::NotConfigured => (ConditionStatus::Unknown, Reason::NotConfigured),
                StorageFailureKind::Missing => (ConditionStatus::False, Reason::DependencyMissing),
                StorageFailureKind::HostNotAllowed => (ConditionStatus::False, Reason::StorageHostNotAllowed),
                StorageFailureKind::NotFound => (ConditionStatus::Unknown, Reason::ContainerNotFound),
                StorageFailureKind::Transient { .. } => {
                    (ConditionStatus::Unknown, Reason::StorageUnreachable)
                }
                StorageFailureKind::Denied
                | StorageFailureKind::Full
                | StorageFailureKind::ReadOnly
                | StorageFailureKind::Permanent => (ConditionStatus::False, Reason::NoStorageAccess),
            };
            let message = match failure.kind {
                StorageFailureKind::NotFound => {
                    let who = match spec.dialect {
                        Dialect::Azure => "the FHIR service",
                        Dialect::BulkData => "the operator",
                    };
                    format!("{}, or let {who} do so with the first export", failure.message)
                }
                _ => failure.message.clone(),
            };
            Finding::new(status, reason, message)
        }
    }
}

#[cfg(test)]
#[path = "server_tests.rs"]
mod tests;
