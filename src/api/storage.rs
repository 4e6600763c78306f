//! The storage that the files of exports land in.

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Entra, KeyRef, S3};

/// The kinds of storage.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum StorageType {
    /// Azure Blob Storage.
    AzureBlob,
    /// A volume that is mounted into the operator.
    Volume,
    /// S3, of AWS or another store that speaks its API.
    S3,
}

/// Compression of stored files.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Compression {
    /// Files are stored uncompressed.
    None,
    /// Files are stored as gzip, with names that end in `.ndjson.gz`.
    Gzip,
}

/// The storage that exports of this server land in: a storage account, a volume or an S3 store.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("(self.type == 'AzureBlob') == has(self.azureBlob)")
        .message("azureBlob is required when type is AzureBlob, and forbidden otherwise")
        .field_path(".azureBlob")
        .reason(Reason::FieldValueInvalid),
    validation = Rule::new("(self.type == 'Volume') == has(self.volume)")
        .message("volume is required when type is Volume, and forbidden otherwise")
        .field_path(".volume")
        .reason(Reason::FieldValueInvalid),
    validation = Rule::new("(self.type == 'S3') == has(self.s3)")
        .message("s3 is required when type is S3, and forbidden otherwise")
        .field_path(".s3")
        .reason(Reason::FieldValueInvalid)
)]
pub struct Storage {
    /// The kind of storage: AzureBlob (an Azure storage account), Volume (a volume that is mounted into the
    /// operator) or S3 (AWS or another store that speaks its API). Volume and S3 need dialect BulkData.
    #[serde(rename = "type")]
    pub type_: StorageType,
    /// Settings for type AzureBlob: an Azure storage account.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub azure_blob: Option<AzureBlob>,
    /// Settings for type Volume: a folder of a volume that is mounted into the operator.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub volume: Option<Volume>,
    /// Settings for type S3: AWS or another store that speaks its API.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub s3: Option<S3>,
    /// Compression of stored files: None (default), or Gzip for files named `.ndjson.gz`. Applies only to
    /// files that the operator writes, that is, with dialect BulkData.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub compression: Option<Compression>,
    /// How many bytes of one export the operator may read back to count the resources in files that the
    /// server wrote (dialect Azure). Raise it to have larger exports counted completely, lower it to save
    /// traffic; 0 checks only that the files exist. Default: 1073741824 (1 GiB).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0))]
    pub verify_max_bytes: Option<i64>,
    /// Whether to also write the SMART bulk data `log.ndjson` beside the files. Default: false, because
    /// loaders of `*.ndjson` would read it as data.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub export_log: Option<bool>,
}

/// A folder of a volume that is mounted into the operator. The operator's owner mounts the volume and decides
/// which namespaces may use which folders of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct Volume {
    /// Name of the PersistentVolumeClaim in the namespace of the operator, not in that of this FhirServer. The
    /// operator's owner must have granted it to this namespace (`volumes` in the chart).
    #[schemars(
        length(min = 1, max = 253),
        regex(pattern = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$")
    )]
    pub claim_name: String,
    /// The folder in the volume that holds the containers, such as `research/exports`. It must be the granted
    /// folder or lie in it. The operator creates it. Default: the root of the volume.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 200))]
    #[x_kube(
        validation = Rule::new("self.matches('^[A-Za-z0-9_][A-Za-z0-9._-]*(/[A-Za-z0-9_][A-Za-z0-9._-]*)*$')")
            .message("use a relative path of letters, digits, dots, hyphens and underscores, in which no name \
                begins with a dot or hyphen")
            .reason(Reason::FieldValueInvalid)
    )]
    pub path: Option<String>,
}

/// An Azure storage account.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct AzureBlob {
    /// The blob endpoint, such as `https://clinicexports.blob.core.windows.net`. With dialect Azure: that of
    /// the storage account in the FHIR service's Export settings.
    #[schemars(length(min = 1, max = 512), regex(pattern = r"^https?://[^\s/?#@]+(/[^\s?#]*)?$"))]
    pub endpoint: String,
    /// The encryption scope of what the operator writes, such as `research-key`. It must exist in the account, and the
    /// container must not require another one. Default: the default scope of the container.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 3, max = 63), regex(pattern = r"^[A-Za-z0-9]+(-[A-Za-z0-9]+)*$"))]
    pub encryption_scope: Option<String>,
    /// The access tier of the files that the operator lands: Hot, Cool or Cold. The manifest and the log stay in the
    /// default tier. Choose a cooler tier for files that are read rarely: reading them costs more, and so does deleting
    /// them early. Default: that of the account.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub access_tier: Option<AccessTier>,
    /// How the operator authenticates to the storage account.
    pub auth: AzureBlobAuth,
}

/// The access tiers of blobs that can be read at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum AccessTier {
    /// For files that are read often.
    Hot,
    /// For files that are kept for at least 30 days and read rarely.
    Cool,
    /// For files that are kept for at least 90 days and read very rarely.
    Cold,
}

/// How the operator authenticates to a storage account.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum BlobAuthType {
    /// The Entra identity in the server's `auth`.
    SameAsServer,
    /// A separate Entra identity.
    Entra,
    /// A shared access signature.
    #[serde(rename = "SASToken")]
    SasToken,
    /// The account key, from which the operator derives short-lived signatures.
    AccountKey,
}

/// How to authenticate to a storage account: `type` selects the method, and the other fields configure it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("(self.type == 'Entra') == has(self.entra)")
        .message("entra is required when type is Entra, and forbidden otherwise")
        .field_path(".entra")
        .reason(Reason::FieldValueInvalid),
    validation = Rule::new("(self.type in ['SASToken', 'AccountKey']) == has(self.secretRef)")
        .message("secretRef is required when type is SASToken or AccountKey, and forbidden otherwise")
        .field_path(".secretRef")
        .reason(Reason::FieldValueInvalid)
)]
pub struct AzureBlobAuth {
    /// SameAsServer (the Entra identity in the server's `auth`), Entra (the one in `entra`), SASToken or
    /// AccountKey (the one in `secretRef`).
    #[serde(rename = "type")]
    pub type_: BlobAuthType,
    /// Settings for type Entra: the Entra identity to use for the storage account.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub entra: Option<Entra>,
    /// The Secret key that holds the SAS token (with or without a leading `?`) or the account key (base64);
    /// only with type SASToken or AccountKey.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret_ref: Option<KeyRef>,
}
