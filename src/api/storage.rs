//! Where the NDJSON lies.

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Entra, KeyRef};

/// The kinds of storage.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum StorageType {
    /// Azure Blob Storage.
    AzureBlob,
}

/// Compression at rest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Compression {
    /// Files as they are.
    None,
    /// Files end in `.ndjson.gz`.
    Gzip,
}

/// The storage account that exports of this server land in.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("(self.type == 'AzureBlob') == has(self.azureBlob)").message("azureBlob is required when type is AzureBlob").field_path(".azureBlob").reason(Reason::FieldValueInvalid))]
pub struct Storage {
    /// AzureBlob.
    #[serde(rename = "type")]
    pub type_: StorageType,
    /// An Azure storage account.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub azure_blob: Option<AzureBlob>,
    /// None (default) or Gzip: at rest, only for files that the operator lands.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub compression: Option<Compression>,
    /// How many bytes of one export the operator may read back to count the lines of files that the
    /// server wrote. Default: 1073741824 (1 GiB). 0: only look whether the files are there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0))]
    pub verify_max_bytes: Option<i64>,
    /// Also write the SMART bulk data `log.ndjson` beside the files. Default: false, since loaders
    /// of `*.ndjson` would read it as data.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub export_log: Option<bool>,
}

/// An Azure storage account.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct AzureBlob {
    /// The blob endpoint, such as `https://clinicexports.blob.core.windows.net`. For Azure's FHIR
    /// service: the account that is configured there under Export.
    #[schemars(length(min = 1, max = 512), regex(pattern = r"^https?://[^\s/?#@]+(/[^\s?#]*)?$"))]
    pub endpoint: String,
    /// How the operator proves who it is to the storage account.
    pub auth: AzureBlobAuth,
}

/// The ways to authenticate to a storage account.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum BlobAuthType {
    /// The Entra identity of the server's `auth`.
    SameAsServer,
    /// An Entra identity of its own.
    Entra,
    /// A shared access signature.
    #[serde(rename = "SASToken")]
    SasToken,
    /// The account key; the operator makes short-lived signatures of it.
    AccountKey,
}

/// How to authenticate to a storage account: `type`, and the member of that name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("(self.type == 'Entra') == has(self.entra)").message("entra is required when type is Entra, and forbidden otherwise").field_path(".entra").reason(Reason::FieldValueInvalid),
    validation = Rule::new("(self.type in ['SASToken', 'AccountKey']) == has(self.secretRef)").message("secretRef is required when type is SASToken or AccountKey, and forbidden otherwise").field_path(".secretRef").reason(Reason::FieldValueInvalid)
)]
pub struct AzureBlobAuth {
    /// SameAsServer, Entra, SASToken or AccountKey.
    #[serde(rename = "type")]
    pub type_: BlobAuthType,
    /// An Entra identity of its own for the storage account.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub entra: Option<Entra>,
    /// The SAS token (with or without a leading `?`), or the account key (base64).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret_ref: Option<KeyRef>,
}
