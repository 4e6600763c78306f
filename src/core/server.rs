//! What a probe says about a `FhirServer`: what it is, whether the operator may export, and whether the
//! storage can be read.

use std::time::Duration;

use jiff::Timestamp;

use super::answer::{StatusAnswer, status as read_status};
use super::bulk::{self, Deviations};
use super::capability::Capability;
use super::condition;
use super::ledger::{StorageFailure, StorageFailureKind};
use super::outcome::OperationOutcome;
use super::tuning::Tuning;
use super::wire::{Failure, FailureKind, Method, Reply, Request};
use super::words;
use crate::api::{
    AuthType, Condition, ConditionStatus, ConditionType, Dialect, FhirServerSpec, FhirServerStatus, Reason,
    StorageType,
};

/// The longest `CapabilityStatement` that is read, in bytes. Those of large servers reach several MiB.
const MAX_METADATA: usize = 16 * 1024 * 1024;
const MAX_OUTCOME: usize = 256 * 1024;
/// The longest FHIR version that is copied from a server, in characters.
const MAX_VERSION: usize = 32;
/// How long a successful probe remains valid.
const WHEN_READY: Duration = Duration::from_secs(600);
/// How soon an unsuccessful probe is repeated at first.
const WHEN_NOT: Duration = Duration::from_secs(30);
/// The longest delay before an unsuccessful probe is repeated.
const LONGEST_WHEN_NOT: Duration = Duration::from_secs(300);
/// The longest delay before a probe is repeated that found something missing in the cluster.
const LONGEST_WHEN_MISSING: Duration = Duration::from_secs(60);

/// The answers that a probe got.
#[derive(Clone, Debug, PartialEq)]
pub struct Probe {
    /// The answer to `/metadata`.
    pub metadata: Reply,
    /// The answer to a status request for a job that cannot exist: 404 with the right to export, 403 without
    /// it. With dialect BulkData, the answer to `/metadata` with a token.
    pub access: Reply,
    /// Whether the storage can be used; `None` if none is configured.
    pub storage: Option<Result<(), StorageFailure>>,
}

impl Probe {
    /// How long to wait, if the server or another one on its origin is throttling.
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

/// The request for the server's `CapabilityStatement`, which needs no token.
pub fn metadata_request(spec: &FhirServerSpec) -> Request {
    Request {
        method: Method::Get,
        url: format!("{}/metadata", spec.url.trim_end_matches('/')),
        accept: super::requests::FHIR_JSON,
        prefer: None,
        no_cache: false,
        max_body: MAX_METADATA,
        with_token: false,
        body: None,
        patients: None,
    }
}

/// A request that shows whether the server can be connected to. Its answer is not read.
pub fn reach_request(spec: &FhirServerSpec) -> Request {
    Request { max_body: 0, ..metadata_request(spec) }
}

/// A request that shows whether the identity may export, without any effect. Bulk Data servers have no such
/// request; for them it shows only whether the server accepts the token.
pub fn access_request(spec: &FhirServerSpec) -> Request {
    if spec.dialect == Dialect::BulkData {
        return Request { with_token: true, ..metadata_request(spec) };
    }
    Request {
        method: Method::Get,
        url: format!("{}/_operations/export/0", spec.url.trim_end_matches('/')),
        accept: super::requests::FHIR_JSON,
        prefer: None,
        no_cache: false,
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
    let message = format!("it is being deleted, and {who}; cancel or delete them, or wait until they end");
    let (type_, no) = (ConditionType::Ready, ConditionStatus::False);
    condition::set(&mut status.conditions, type_, no, Reason::ServerDeleting, &message, generation, now);
    status
}

/// The status, reason and message of a condition.
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

/// The status after a probe, and how long the probe remains valid.
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
    // Some servers show even their metadata only to authenticated clients.
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
        // Without storage, no file can land.
        (Ok(_), _, unsure) if lands && unsure.reason == Reason::StorageUnreachable => {
            Finding::new(ConditionStatus::Unknown, unsure.reason, unsure.message.clone())
        }
        (Ok(capability), _, _) => Finding::new(
            ConditionStatus::True,
            Reason::ProbeSucceeded,
            format!("{} answers as expected", capability.software()),
        ),
    };
    let missing = [probe.access.as_ref().err(), probe.metadata.as_ref().err()]
        .into_iter()
        .flatten()
        .any(|f| f.kind == FailureKind::Missing)
        || matches!(&probe.storage, Some(Err(f)) if f.kind == StorageFailureKind::Missing)
        // Exports wait until the storage can be used.
        || lands && storage.status == ConditionStatus::False;
    let container_missing = storage.reason == Reason::ContainerNotFound;
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
    let ready = condition::find(&status.conditions, ConditionType::Ready);
    let lasted =
        ready.filter(|ready| !ready.is_true()).map(|ready| now.duration_since(ready.last_transition_time));
    let lasted = lasted.and_then(|lasted| Duration::try_from(lasted).ok()).unwrap_or_default();
    let wait = match ready.is_some_and(Condition::is_true) {
        _ if missing => grown(lasted, tuning.missing_retry, LONGEST_WHEN_MISSING),
        // Repeat the probe soon, to notice when the missing container is created.
        true if container_missing => WHEN_NOT,
        true => WHEN_READY,
        false => grown(lasted, WHEN_NOT, LONGEST_WHEN_NOT),
    };
    (status, wait)
}

/// A delay as long as a state has already lasted, within these bounds: it doubles with each look.
fn grown(lasted: Duration, first: Duration, longest: Duration) -> Duration {
    lasted.clamp(first, longest.max(first))
}

fn unreachable(failure: &Failure) -> Finding {
    let status = match failure.kind {
        FailureKind::HeldBack { .. } => ConditionStatus::Unknown,
        FailureKind::Missing | FailureKind::Unreachable => ConditionStatus::False,
    };
    Finding::new(status, failure.reason, failure.message.clone())
}

/// The software behind the server, according to its CapabilityStatement.
fn identity(spec: &FhirServerSpec, metadata: &Reply) -> Result<Capability, Finding> {
    let answer = metadata.as_ref().map_err(unreachable)?;
    let no = |reason, message: String| Finding::new(ConditionStatus::False, reason, message);
    if answer.status == 429 {
        return Err(Finding::new(
            ConditionStatus::Unknown,
            Reason::Throttled,
            "the server is throttling requests (429); the operator retries later",
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
            "{} answers {} to /metadata, without a CapabilityStatement; check url, and any proxies in between",
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
                "the server's software is {software}, which does not speak dialect Azure; create a FhirServer with \
                 dialect BulkData"
            ),
        )),
        (Dialect::BulkData, true) => Err(no(
            Reason::WrongDialect,
            format!(
                "the server's software is {software}, which writes its files itself; create a FhirServer with \
                 dialect Azure"
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
        StatusAnswer::NotNow(refusal)
            if refusal.reason == Reason::Forbidden && spec.dialect == Dialect::BulkData =>
        {
            let refusal = bulk::answer::forbidden(answer, OperationOutcome::parse(&answer.body).as_ref());
            Finding::new(ConditionStatus::False, refusal.reason, refusal.message)
        }
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
                    "the server accepts the token; the first export will show whether it may export"
                }
            };
            Finding::new(ConditionStatus::True, Reason::TokenAccepted, message)
        }
    }
}

/// The finding for a server that shows its metadata to anybody. Its answer to a request with credentials says
/// nothing about them, but a token from an identity provider does.
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
            "the server shows its metadata to anybody, so the first export will test the credentials",
        ),
        AuthType::Entra | AuthType::SmartBackendServices | AuthType::OAuthClientSecret => Finding::new(
            ConditionStatus::True,
            Reason::TokenAccepted,
            "a token was issued; the first export will show whether the server accepts it",
        ),
    }
}

fn storage(spec: &FhirServerSpec, seen: Option<&Result<(), StorageFailure>>) -> Finding {
    match seen {
        None => Finding::new(
            ConditionStatus::Unknown,
            Reason::NotConfigured,
            "no storage is configured, so files cannot be checked; set storage",
        ),
        Some(Ok(())) => {
            let message = match spec.storage.as_ref().map(|storage| storage.type_) {
                Some(StorageType::Volume) => "the volume is mounted and can be written to",
                Some(StorageType::S3) => "the S3 store can be listed",
                Some(StorageType::AzureBlob) | None => "the storage account can be listed",
            };
            Finding::new(ConditionStatus::True, Reason::ContainerListed, message)
        }
        Some(Err(failure)) => {
            let (status, reason) = match failure.kind {
                StorageFailureKind::NotConfigured => (ConditionStatus::Unknown, Reason::NotConfigured),
                StorageFailureKind::Missing => (ConditionStatus::False, Reason::DependencyMissing),
                StorageFailureKind::HostNotAllowed => (ConditionStatus::False, Reason::StorageHostNotAllowed),
                StorageFailureKind::NotGranted => (ConditionStatus::False, Reason::VolumeNotAllowed),
                StorageFailureKind::NotMounted => (ConditionStatus::False, Reason::VolumeNotMounted),
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
                    format!("{}, or let {who} create it with the first export", failure.message)
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
