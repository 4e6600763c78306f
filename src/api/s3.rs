//! Settings of S3, and of stores that speak its API.

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::NameRef;

/// A store that speaks the S3 API: AWS, or one at an endpoint of its own.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("!has(self.prefix) || has(self.bucket)")
        .message("prefix needs bucket: without bucket, each container is a bucket")
        .field_path(".prefix")
        .reason(Reason::FieldValueForbidden),
    validation = Rule::new("has(self.bucket) || has(self.expectedBucketOwner) || has(self.endpoint)")
        .message("set expectedBucketOwner or bucket: without both, exports may name the bucket of any AWS account")
        .field_path(".expectedBucketOwner")
        .reason(Reason::FieldValueRequired)
)]
pub struct S3 {
    /// The bucket that all exports of this FhirServer land in. The container of an export (`request.container`,
    /// `defaultContainer`) is then a prefix in it. Default: each container is a bucket.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 3, max = 63))]
    #[x_kube(
        validation = Rule::new("self.matches('^[a-z0-9]([-.]?[a-z0-9])*$')")
            .message("use a bucket name of lower-case letters, digits, and single hyphens and dots between them")
            .reason(Reason::FieldValueInvalid)
    )]
    pub bucket: Option<String>,
    /// The folder in `bucket` that holds the containers, such as `research/exports`. Default: the root of the
    /// bucket.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 200))]
    #[x_kube(
        validation = Rule::new("self.matches('^[A-Za-z0-9_][A-Za-z0-9._-]*(/[A-Za-z0-9_][A-Za-z0-9._-]*)*$')")
            .message("use a relative path of letters, digits, dots, hyphens and underscores, in which no name \
                begins with a dot or hyphen")
            .reason(Reason::FieldValueInvalid)
    )]
    pub prefix: Option<String>,
    /// The region of the buckets, such as `eu-central-1`. Stores other than AWS often take `us-east-1`.
    #[schemars(length(min = 1, max = 32), regex(pattern = r"^[a-z0-9]+(-[a-z0-9]+)*$"))]
    pub region: String,
    /// The endpoint of a store other than AWS, or of a private link, such as `https://minio.example.org:9000`:
    /// scheme, host and port only. Default: that of AWS in `region`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 512), regex(pattern = r"^https?://[^\s/?#@]+$"))]
    pub endpoint: Option<String>,
    /// Whether the bucket is part of the path (`https://host/bucket/key`) instead of the host
    /// (`https://bucket.host/key`). Default: true if `endpoint` is set or the name of the bucket has a dot, else
    /// false.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path_style: Option<bool>,
    /// The AWS account that must own the buckets. Names of buckets are the same for everybody: with this field, AWS
    /// refuses each request for a bucket that belongs to somebody else. Required on AWS without `bucket`. Default: not
    /// checked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 12, max = 12), regex(pattern = r"^[0-9]{12}$"))]
    pub expected_bucket_owner: Option<String>,
    /// How the store encrypts what the operator writes. Default: as the bucket is configured.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub server_side_encryption: Option<S3Encryption>,
    /// How the operator authenticates to the store.
    pub auth: S3Auth,
}

/// The kinds of encryption at rest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum S3EncryptionType {
    /// With keys that S3 manages.
    #[serde(rename = "AES256")]
    Aes256,
    /// With a key of AWS KMS.
    #[serde(rename = "KMS")]
    Kms,
}

/// How the store encrypts what the operator writes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("self.type == 'KMS' || !has(self.keyID)")
        .message("keyID is allowed only when type is KMS")
        .field_path(".keyID")
        .reason(Reason::FieldValueForbidden)
)]
pub struct S3Encryption {
    /// AES256 (keys that S3 manages) or KMS (a key of AWS KMS).
    #[serde(rename = "type")]
    pub type_: S3EncryptionType,
    /// The id, ARN or alias of the KMS key. Default: the key `aws/s3` of the account.
    #[serde(rename = "keyID", default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 2048), regex(pattern = r"^[A-Za-z0-9:/_.-]+$"))]
    pub key_id: Option<String>,
}

/// How the operator authenticates to an S3 store.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum S3AuthType {
    /// An IAM role, assumed with the token of a ServiceAccount.
    WebIdentity,
    /// An access key in a Secret.
    AccessKey,
    /// No signature.
    Anonymous,
}

/// How to authenticate to an S3 store: `type` selects the method, and the other fields configure it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("(self.type == 'WebIdentity') == has(self.webIdentity)")
        .message("webIdentity is required when type is WebIdentity, and forbidden otherwise")
        .field_path(".webIdentity")
        .reason(Reason::FieldValueInvalid),
    validation = Rule::new("(self.type == 'AccessKey') == has(self.secretRef)")
        .message("secretRef is required when type is AccessKey, and forbidden otherwise")
        .field_path(".secretRef")
        .reason(Reason::FieldValueInvalid)
)]
pub struct S3Auth {
    /// WebIdentity (an IAM role, assumed with the token of a ServiceAccount), AccessKey (the key in `secretRef`) or
    /// Anonymous (requests without a signature; for tests only).
    #[serde(rename = "type")]
    pub type_: S3AuthType,
    /// Settings for type WebIdentity: the role, and the ServiceAccount whose token assumes it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub web_identity: Option<WebIdentity>,
    /// The Secret with the access key, under the keys `AWS_ACCESS_KEY_ID` and `AWS_SECRET_ACCESS_KEY`, and
    /// `AWS_SESSION_TOKEN` if it is a temporary one; only with type AccessKey. It must carry the label
    /// `fhirexport.dev/credential: "true"`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret_ref: Option<NameRef>,
}

/// An IAM role, and the ServiceAccount whose token assumes it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct WebIdentity {
    /// The ARN of the role, such as `arn:aws:iam::123456789012:role/exports`. Its trust policy must admit the
    /// ServiceAccount, with the audience `sts.amazonaws.com`.
    #[serde(rename = "roleARN")]
    #[schemars(
        length(min = 1, max = 2048),
        regex(pattern = r"^arn:[a-z-]+:iam::[0-9]*:role/[A-Za-z0-9+=,.@_/-]+$")
    )]
    pub role_arn: String,
    /// A ServiceAccount in the namespace of this FhirServer. It must carry the label
    /// `fhirexport.dev/credential: "true"`, and its annotation `eks.amazonaws.com/role-arn` must equal `roleARN`.
    pub service_account_ref: NameRef,
    /// The https endpoint of another security token service. The operator's owner must list its host (flag
    /// `--storage-hosts`), since it receives the token of the ServiceAccount. Default: that of AWS in `region`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 512), regex(pattern = r"^https://[^\s/?#@]+$"))]
    pub sts_endpoint: Option<String>,
}
