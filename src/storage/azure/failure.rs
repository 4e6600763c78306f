//! Explains failures of a storage account, each in one sentence that says what to do.

use azure_core::error::ErrorKind;
use azure_core::http::StatusCode;
use jiff::Timestamp;

use super::account::{Access, Account};
use super::patience::{is_passing, retry_after};
use super::signature::Right;
use crate::core::ledger::{StorageFailure, StorageFailureKind};
use crate::credentials::CredentialProblem;
use crate::credentials::cause::{Cause, chain};
use crate::storage::key;

/// What was attempted when an error occurred.
struct Attempt<'a> {
    account: &'a Account,
    container: Option<&'a str>,
    right: Right,
    now: Timestamp,
}

/// Rejects a key that could mean another place than it says.
pub(super) fn check_key(key: &str) -> Result<(), StorageFailure> {
    let plain = key::components(key).map(|_| ());
    plain.ok_or_else(|| {
        StorageFailure::permanent(format!("{key:?} cannot be the name of a blob of a run; it is refused"))
    })
}

/// The failure for a credential that cannot be used.
pub(super) fn of_credential(problem: &CredentialProblem) -> StorageFailure {
    let kind = if problem.passing {
        StorageFailureKind::Transient { retry_after: None }
    } else {
        StorageFailureKind::Missing
    };
    StorageFailure { kind, message: problem.message.clone() }
}

impl Account {
    /// Explains an error to people.
    pub(super) fn failure(
        &self,
        error: &azure_core::Error,
        container: Option<&str>,
        right: Right,
    ) -> StorageFailure {
        explain(error, &Attempt { account: self, container, right, now: Timestamp::now() })
    }
}

/// The service's own code for an error, such as `BlobAlreadyExists`.
pub(super) fn code(error: &azure_core::Error) -> Option<&str> {
    match error.kind() {
        // A text that is longer, or has other characters, is not an error code.
        ErrorKind::HttpResponse { error_code: Some(code), .. } => {
            Some(code.as_str()).filter(|c| c.len() <= 64 && c.bytes().all(|b| b.is_ascii_alphanumeric()))
        }
        _ => None,
    }
}

/// Whether the service says that there is no such blob.
pub(super) fn is_not_there(error: &azure_core::Error) -> bool {
    code(error) == Some("BlobNotFound")
}

/// Classifies an error of the client and explains it to people. Only the error code of the service is
/// repeated, since bodies and URLs may hold names and signatures.
fn explain(error: &azure_core::Error, attempt: &Attempt<'_>) -> StorageFailure {
    let problem = chain(error).into_iter().find_map(|cause| cause.downcast_ref::<CredentialProblem>());
    if let Some(problem) = problem {
        return of_credential(problem);
    }
    let account = attempt.account.name();
    match error.kind() {
        ErrorKind::HttpResponse { status, raw_response, .. } => {
            let after = raw_response.as_ref().and_then(|response| retry_after(response.headers()));
            answered(*status, code(error), after, attempt)
        }
        ErrorKind::Credential => {
            StorageFailure::transient(format!("there is no token for the storage account {account} yet"))
        }
        ErrorKind::Connection | ErrorKind::Io => {
            StorageFailure::transient(format!("{}; it is tried again", unanswered(error, account)))
        }
        ErrorKind::DataConversion => StorageFailure::transient(format!(
            "the endpoint of the storage account {account} does not answer as blob storage does: check the endpoint"
        )),
        ErrorKind::Other => StorageFailure::permanent(format!(
            "the request to the storage account {account} could not be made"
        )),
    }
}

fn answered(
    status: StatusCode,
    code: Option<&str>,
    after: Option<std::time::Duration>,
    attempt: &Attempt<'_>,
) -> StorageFailure {
    let account = attempt.account.name();
    let number = u16::from(status);
    let said = code.map_or_else(|| number.to_string(), |code| format!("{number} {code}"));
    if is_passing(status) || code == Some("ContainerBeingDeleted") {
        return StorageFailure {
            kind: StorageFailureKind::Transient { retry_after: after },
            message: format!(
                "the storage account {account} is busy or out of order ({said}); it is tried again"
            ),
        };
    }
    if attempt.right == Right::Delete
        && let Some(held) = code.and_then(holds)
    {
        return StorageFailure::permanent(format!(
            "{held} keeps a file in the storage account {account} from being deleted ({said}): end it, or wait for \
             its end"
        ));
    }
    if let Some(wrong) = code.and_then(misplaced) {
        return StorageFailure::permanent(format!(
            "the storage account {account} refuses the encryption scope ({said}): {wrong}"
        ));
    }
    match (number, attempt.container) {
        (401 | 403, _) => {
            StorageFailure { kind: StorageFailureKind::Denied, message: denied(&said, attempt) }
        }
        (404, Some(container)) if code != Some("BlobNotFound") => StorageFailure {
            kind: StorageFailureKind::NotFound,
            message: format!(
                "the storage account {account} has no container {container} ({said}): create it"
            ),
        },
        (412, _) => StorageFailure::transient(format!(
            "a file in the storage account {account} changed while it was used ({said})"
        )),
        (300..=399, _) => StorageFailure::permanent(format!(
            "the endpoint of the storage account {account} answers with a redirect ({said}): use the account's own \
             blob endpoint"
        )),
        _ => StorageFailure::permanent(format!("the storage account {account} refuses the request ({said})")),
    }
}

/// Says by the error code what to do about an encryption scope.
fn misplaced(code: &str) -> Option<&'static str> {
    match code {
        "RequestForbiddenByContainerEncryptionPolicy" => Some(
            "the container or the SAS token requires another one; leave out storage.azureBlob.encryptionScope, or name \
             that one",
        ),
        "EncryptionScopeNotFound" => {
            Some("create it in the account, or correct storage.azureBlob.encryptionScope")
        }
        _ => None,
    }
}

/// Explains by the error code what prevents a blob from being deleted.
fn holds(code: &str) -> Option<&'static str> {
    match code {
        "BlobImmutableDueToPolicy" | "BlobImmutableDueToLegalHold" => {
            Some("an immutability policy or a legal hold")
        }
        "LeaseIdMissing" | "LeaseIdMismatchWithBlobOperation" => Some("a lease"),
        _ => None,
    }
}

fn denied(said: &str, attempt: &Attempt<'_>) -> String {
    let account = attempt.account.name();
    match attempt.account.access() {
        Access::Identity(_) => {
            let role = match attempt.right {
                Right::Read => "Storage Blob Data Reader",
                Right::Create | Right::CreateContainer | Right::Delete => "Storage Blob Data Contributor",
            };
            format!(
                "the storage account refuses the identity ({said}): give the identity the role {role} on the account \
                 {account}, or open its firewall"
            )
        }
        Access::Sas(token) => match token.expiry {
            Some(expiry) if expiry <= attempt.now => format!(
                "the SAS token for the storage account {account} ended at {expiry} ({said}): put a new one into its \
                 Secret"
            ),
            _ if token.is_partial && attempt.container.is_none() => format!(
                "the SAS token for the storage account {account} cannot list its containers ({said}): name a container \
                 in defaultContainer, or use a SAS token for the account"
            ),
            _ => {
                let rights = match attempt.right {
                    Right::Read => "Read and List",
                    Right::Create => "Read, Create and Write",
                    Right::Delete => "Read, List and Delete",
                    Right::CreateContainer => "Create for containers, or make the container yourself,",
                };
                format!(
                    "the storage account {account} refuses the SAS token ({said}): use a current one that permits \
                     {rights} for blobs, or open the account's firewall"
                )
            }
        },
        Access::Key(_) => format!(
            "the storage account {account} refuses the account key ({said}): put the current key into its Secret, \
             allow access by key, or open the account's firewall"
        ),
    }
}

fn unanswered(error: &azure_core::Error, account: &str) -> String {
    match Cause::of(error) {
        Cause::Name(host) => {
            format!(
                "the storage account {account} has no address (the name {host} does not resolve): check the endpoint"
            )
        }
        Cause::Address(refused) => {
            format!("no connection to the storage account {account} ({refused}): check the endpoint")
        }
        Cause::Connect(what) | Cause::Tls(what) => {
            format!("no connection to the storage account {account} ({what})")
        }
        Cause::ConnectTimeout => format!("no connection to the storage account {account} in time"),
        Cause::Timeout => format!("the storage account {account} did not answer in time"),
        Cause::Broken => format!("the connection to the storage account {account} broke"),
    }
}
