//! Why a job failed. The status URL says it with an HTTP status that also means other things.

use serde::{Deserialize, Serialize};

/// A row of the service's failures; each keeps being answered on the status URL.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", rename_all_fields = "camelCase")]
pub enum Failure {
    /// 403: the service's identity lacks its role on the storage account, or the firewall stands before it.
    StorageAccessDenied,
    /// 403: the service has no managed identity.
    NoManagedIdentity,
    /// 404: the storage account does not exist. Not to be taken for a lost job.
    StorageAccountNotFound,
    /// 400 by the storage: a container name against its rules.
    InvalidContainerName,
    /// 404 by the storage: the container does not exist and the service may not create it.
    ContainerNotFound,
    /// 409 by the storage.
    ContainerBeingDeleted,
    /// 400.
    InvalidStorageUri,
    /// 400.
    InvalidConnectionSettings,
    /// 400.
    StorageAccountChanged,
    /// 400.
    GroupNotFound {
        /// The group's id.
        id: String,
    },
    /// 400.
    AnonymizationConfigNotFound {
        /// The file's name.
        config: String,
    },
    /// 400.
    AnonymizationConfigInvalid,
    /// 400.
    AnonymizationEtagMismatch {
        /// The file's name.
        config: String,
    },
    /// 400.
    AnonymizationFailed,
    /// 429 that is the end of the job: the database was overloaded. No retry headers.
    DatabaseThrottled,
    /// 413.
    OutOfMemory {
        /// The `_maxCount` that was too much.
        max_count: u32,
    },
    /// 413 of Azure API for FHIR.
    RecordTooLarge,
    /// 500.
    TooManyRestarts,
    /// 500.
    NoResults,
    /// 400: a type that does not exist (500 [`Failure::Unknown`] in older builds).
    UnknownType {
        /// The type.
        name: String,
    },
    /// 500.
    Unknown,
    /// Any other status and reason.
    Other {
        /// HTTP status on the status URL.
        status: u16,
        /// What stands after `export operation failed for reason: `.
        reason: String,
    },
}

impl Failure {
    /// The HTTP status on the status URL.
    pub fn status(&self) -> u16 {
        match self {
            Self::StorageAccessDenied | Self::NoManagedIdentity => 403,
            Self::StorageAccountNotFound | Self::ContainerNotFound => 404,
            Self::ContainerBeingDeleted => 409,
            Self::OutOfMemory { .. } | Self::RecordTooLarge => 413,
            Self::DatabaseThrottled => 429,
            Self::TooManyRestarts | Self::NoResults | Self::Unknown => 500,
            Self::Other { status, .. } => *status,
            _ => 400,
        }
    }

    /// The reason in the service's words.
    pub fn reason(&self) -> String {
        match self {
            Self::StorageAccessDenied => storage_text(
                "This request is not authorized to perform this operation using this permission.",
                403,
                "AuthorizationPermissionMismatch",
            ),
            Self::NoManagedIdentity => "Unable to get access token for storage account.".into(),
            Self::StorageAccountNotFound => "The storage account not found.".into(),
            Self::InvalidContainerName => storage_text(
                "The specified resource name contains invalid characters.",
                400,
                "InvalidResourceName",
            ),
            Self::ContainerNotFound => {
                storage_text("The specified container does not exist.", 404, "ContainerNotFound")
            }
            Self::ContainerBeingDeleted => storage_text(
                "The specified container is being deleted. Try operation later.",
                409,
                "ContainerBeingDeleted",
            ),
            Self::InvalidStorageUri => "The given storage uri is invalid".into(),
            Self::InvalidConnectionSettings => {
                "The given connection settings is not in proper format.".into()
            }
            Self::StorageAccountChanged => {
                "Storage account connection string was updated during an export job.".into()
            }
            Self::GroupNotFound { id } => format!("Group {id} was not found."),
            Self::AnonymizationConfigNotFound { config } => {
                format!("Anonymization configuration '{config}' not found.")
            }
            Self::AnonymizationConfigInvalid => {
                "Failed to parse configuration file: unexpected end of content.".into()
            }
            Self::AnonymizationEtagMismatch { config } => {
                format!("The ETag of the anonymization configuration '{config}' does not match.")
            }
            Self::AnonymizationFailed => "Failed to anonymize resource: the rule cannot be applied.".into(),
            Self::DatabaseThrottled => {
                "The request rate has exceeded the maximum that the database allows.".into()
            }
            Self::OutOfMemory { max_count } => format!(
                "An out of memory exception occurred while exporting with a _maxCount of {max_count}. \
                 Reduce the _maxCount parameter and try again."
            ),
            Self::RecordTooLarge => {
                "The job record is too large. Use a smaller time range with _since and _till.".into()
            }
            Self::TooManyRestarts => "Job has been retried too many times.".into(),
            Self::NoResults => "Processing job had no results".into(),
            Self::UnknownType { name } => format!("Resource type '{name}' is not supported."),
            Self::Unknown => "Unknown Error.".into(),
            Self::Other { reason, .. } => reason.clone(),
        }
    }

    /// Whether files could be written before it came to light.
    pub(crate) fn leaves_files(&self) -> bool {
        !matches!(
            self,
            Self::StorageAccessDenied
                | Self::NoManagedIdentity
                | Self::StorageAccountNotFound
                | Self::InvalidContainerName
                | Self::ContainerNotFound
                | Self::ContainerBeingDeleted
                | Self::InvalidStorageUri
                | Self::InvalidConnectionSettings
                | Self::GroupNotFound { .. }
                | Self::AnonymizationConfigNotFound { .. }
                | Self::AnonymizationConfigInvalid
                | Self::AnonymizationEtagMismatch { .. }
                | Self::UnknownType { .. }
        )
    }
}

/// What the storage library says of a refused request; the service passes it on as it is, lines and XML included.
pub(crate) fn storage_text(sentence: &str, status: u16, code: &str) -> String {
    let request = "7f1c0e52-301e-0007-5a3b-2f6b1c000000";
    format!(
        "{sentence}\nRequestId:{request}\nStatus: {status}\nErrorCode: {code}\n\nContent:\n\
         <?xml version=\"1.0\" encoding=\"utf-8\"?><Error><Code>{code}</Code><Message>{sentence}\n\
         RequestId:{request}</Message></Error>\n\nHeaders:\nx-ms-request-id: {request}\nx-ms-error-code: {code}\n"
    )
}
