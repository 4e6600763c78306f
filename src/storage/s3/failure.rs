//! Explains failures of an S3 store, each in one sentence that says what to do.

use std::time::Duration;

use super::answer::Answer;
use super::bucket::Bucket;
use super::call::Right;
use super::keys::Access;
use crate::core::ledger::{StorageFailure, StorageFailureKind};
use crate::credentials::CredentialProblem;
use crate::credentials::cause::Cause;

/// A clock that differs by more than this is named as the cause of a refusal. AWS admits fifteen minutes.
const SKEW: Duration = Duration::from_secs(300);

/// The failure for a credential that cannot be used.
pub(super) fn of_credential(problem: &CredentialProblem) -> StorageFailure {
    let kind = if problem.passing {
        StorageFailureKind::Transient { retry_after: None }
    } else {
        StorageFailureKind::Missing
    };
    StorageFailure { kind, message: problem.message.clone() }
}

/// The failure for an answer that is not one of S3, such as the page of a gateway.
pub(super) fn not_of_s3(bucket: &Bucket) -> StorageFailure {
    StorageFailure::transient(format!("{} does not answer as S3 does: check the endpoint", bucket.host()))
}

/// The failure for an answer of success that does not say what was done.
pub(super) fn untold(bucket: &Bucket) -> StorageFailure {
    StorageFailure::transient(format!(
        "the S3 store {} does not say whether it has written a file; it is tried again",
        bucket.host()
    ))
}

/// The failure for a listing that has no end, or too many keys to hold.
pub(super) fn too_many(bucket: &Bucket, most: usize) -> StorageFailure {
    StorageFailure::permanent(format!(
        "the bucket {} of the S3 store {} lists more than {most} keys in one folder: move some away",
        bucket.name(),
        bucket.host()
    ))
}

/// Explains the refusal of a request whose answer has no body, and so no code: status 400. It comes if the token of a
/// temporary key has ended.
pub(super) fn ended(bucket: &Bucket, answer: &Answer) -> StorageFailure {
    let (host, said) = (bucket.host(), answer.status);
    if answer.region().is_some_and(|region| region != bucket.region()) {
        return StorageFailure::permanent(elsewhere(bucket, answer, &said.to_string()));
    }
    let message = match bucket.access() {
        Access::Key(_) => format!(
            "the temporary access key for the S3 store {host} has ended ({said}): put a new one into its Secret"
        ),
        Access::Role(_) => {
            format!("the temporary access key of the role for the S3 store {host} has ended ({said})")
        }
        Access::Caller(_) => callers_ended(host, &said.to_string()),
        Access::Anonymous => return refused(bucket, answer, Right::Read),
    };
    StorageFailure { kind: StorageFailureKind::Denied, message }
}

/// Explains an answer that is not one of success. Only the code of the store is repeated, since bodies may hold names.
pub(super) fn refused(bucket: &Bucket, answer: &Answer, right: Right) -> StorageFailure {
    let (host, name) = (bucket.host(), bucket.name());
    let code = answer.code();
    let said = code.map_or_else(|| answer.status.to_string(), |code| format!("{} {code}", answer.status));
    if answer.is_passing() {
        return StorageFailure {
            kind: StorageFailureKind::Transient { retry_after: answer.retry_after() },
            message: format!("the S3 store {host} is busy or out of order ({said}); it is tried again"),
        };
    }
    let of = |kind, message: String| StorageFailure { kind, message };
    match (code, answer.status) {
        (Some("RequestTimeTooSkewed" | "RequestExpired"), _) => StorageFailure::transient(format!(
            "the clocks of the operator's node and of the S3 store {host} differ too much ({said}): set them"
        )),
        (Some("PermanentRedirect" | "TemporaryRedirect" | "AuthorizationHeaderMalformed"), _)
        | (_, 300..=399) => StorageFailure::permanent(elsewhere(bucket, answer, &said)),
        (Some("NoSuchBucket"), _) => of(
            StorageFailureKind::NotFound,
            format!("the S3 store {host} has no bucket {name} ({said}): create it"),
        ),
        (Some("BadDigest" | "XAmzContentChecksumMismatch" | "InvalidDigest"), _) => {
            StorageFailure::transient(format!(
                "bytes changed on their way to the S3 store {host} ({said}); they are sent again"
            ))
        }
        (Some("NotImplemented"), _) | (_, 501) => StorageFailure::permanent(format!(
            "the S3 store {host} lacks a function that landing files needs ({said}): use one that has it"
        )),
        (Some("QuotaExceeded" | "XMinioStorageFull" | "XMinioAdminBucketQuotaExceeded"), _) | (_, 507) => of(
            StorageFailureKind::Full,
            format!(
                "there is no room in the bucket {name} of the S3 store {host} ({said}): make room, or raise its quota"
            ),
        ),
        (Some("InvalidObjectState"), _) => StorageFailure::permanent(format!(
            "a file in the bucket {name} is archived, where it cannot be read ({said}): restore it, which may take hours, \
             then try again"
        )),
        _ if answer.status == 401 || answer.status == 403 || code.is_some_and(is_of_keys) => {
            of(StorageFailureKind::Denied, denied(bucket, answer, right, &said))
        }
        _ => StorageFailure::permanent(format!("the S3 store {host} refuses the request ({said})")),
    }
}

/// Whether a code says that the access key cannot be used. AWS sends some of them with status 400.
fn is_of_keys(code: &str) -> bool {
    matches!(code, "ExpiredToken" | "InvalidToken" | "TokenRefreshRequired" | "InvalidAccessKeyId")
}

fn elsewhere(bucket: &Bucket, answer: &Answer, said: &str) -> String {
    let (host, name) = (bucket.host(), bucket.name());
    match answer.region().filter(|region| region != bucket.region()) {
        Some(region) => format!(
            "the bucket {name} is in the region {region}, not in {} ({said}): correct storage.s3.region",
            bucket.region()
        ),
        None => format!(
            "the S3 store {host} sends requests for the bucket {name} elsewhere ({said}): correct storage.s3.region or \
             storage.s3.endpoint"
        ),
    }
}

fn denied(bucket: &Bucket, answer: &Answer, right: Right, said: &str) -> String {
    let (host, name) = (bucket.host(), bucket.name());
    if let Some(skew) = answer.skew().filter(|skew| *skew > SKEW) {
        return format!(
            "the S3 store {host} refuses the request ({said}), and its clock differs from that of the operator's node \
             by {} s: set the clocks",
            skew.as_secs()
        );
    }
    let rights = format!("permit {} for the bucket {name}", right.actions());
    match (bucket.access(), answer.code()) {
        (Access::Key(_), Some("InvalidAccessKeyId" | "SignatureDoesNotMatch")) => format!(
            "the S3 store {host} does not know the access key ({said}): put the current one into its Secret"
        ),
        (Access::Key(_), Some("ExpiredToken" | "InvalidToken" | "TokenRefreshRequired")) => format!(
            "the temporary access key for the S3 store {host} has ended ({said}): put a new one into its Secret"
        ),
        (Access::Key(_), _) => format!("the S3 store {host} refuses the access key ({said}): {rights}"),
        (Access::Role(_), _) => format!("the S3 store {host} refuses the role ({said}): {rights}"),
        (Access::Caller(_), Some("InvalidAccessKeyId" | "SignatureDoesNotMatch")) => format!(
            "the S3 store {host} does not know your access key ({said}): check which login the AWS tools use here"
        ),
        (Access::Caller(_), Some("ExpiredToken" | "InvalidToken" | "TokenRefreshRequired")) => {
            callers_ended(host, said)
        }
        (Access::Caller(_), _) => format!("the S3 store {host} refuses your access key ({said}): {rights}"),
        (Access::Anonymous, _) => {
            format!("the S3 store {host} refuses requests without a signature ({said}): use an access key")
        }
    }
}

fn callers_ended(host: &str, said: &str) -> String {
    format!("your login for the S3 store {host} has ended ({said}): log in again, and repeat the command")
}

/// Explains why there is no answer.
pub(super) fn unanswered(bucket: &Bucket, cause: &Cause) -> StorageFailure {
    let host = bucket.host();
    StorageFailure::transient(match cause {
        Cause::Name(name) => format!(
            "the S3 store {host} has no address (the name {name} does not resolve): check the endpoint; it is tried \
             again"
        ),
        Cause::Address(refused) => {
            format!("no connection to the S3 store {host} ({refused}): check the endpoint; it is tried again")
        }
        Cause::Connect(what) | Cause::Tls(what) => {
            format!("no connection to the S3 store {host} ({what}); it is tried again")
        }
        Cause::ConnectTimeout => format!("no connection to the S3 store {host} in time; it is tried again"),
        Cause::Timeout => format!("the S3 store {host} did not answer in time; it is tried again"),
        Cause::Broken => format!("the connection to the S3 store {host} broke; it is tried again"),
    })
}
