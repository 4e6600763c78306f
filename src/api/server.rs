//! `FhirServer`: the connection, and what it may be used for.

use std::collections::BTreeMap;

use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{
    Allow, BulkDataDialect, Condition, KeyRef, KickOffMethod, ListStyle, NameRef, ServerAuth, Storage,
    Version,
};

/// The two kinds of server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Dialect {
    /// Azure's FHIR service: it writes the files itself.
    Azure,
    /// Any FHIR Bulk Data server: the operator lands the files.
    BulkData,
}

/// A connection to a FHIR server: where it is, who asks, where the files go, what it may be used for.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, CustomResource, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[kube(
    group = "fhirexport.dev",
    version = "v1alpha1",
    kind = "FhirServer",
    namespaced,
    status = "FhirServerStatus",
    shortname = "fserver",
    category = "fhir",
    derive = "PartialEq",
    cel,
    doc = "A FHIR server to export from: its address, the identity to use, the storage account that the files land in, and what exports may ask of it.",
    printcolumn(name = "URL", type_ = "string", json_path = ".spec.url"),
    printcolumn(name = "Dialect", type_ = "string", json_path = ".spec.dialect"),
    printcolumn(
        name = "Ready",
        type_ = "string",
        json_path = ".status.conditions[?(@.type=='Ready')].status"
    ),
    printcolumn(
        name = "Reason",
        type_ = "string",
        json_path = ".status.conditions[?(@.type=='Ready')].reason"
    ),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp"),
    printcolumn(name = "Software", type_ = "string", json_path = ".status.software", priority = "1"),
    printcolumn(name = "FHIR", type_ = "string", json_path = ".status.fhirVersion", priority = "1")
)]
#[x_kube(
    validation = Rule::new("self.url.startsWith('https://') || (has(self.allowInsecureHTTP) && self.allowInsecureHTTP)").message("use https (allowInsecureHTTP: true permits http, for tests only)").field_path(".url").reason(Reason::FieldValueInvalid),
    validation = Rule::new("!has(self.storage) || !has(self.storage.azureBlob) || self.storage.azureBlob.endpoint.startsWith('https://') || (has(self.allowInsecureHTTP) && self.allowInsecureHTTP)").message("use https (allowInsecureHTTP: true permits http, for the storage emulator only)").field_path(".storage.azureBlob.endpoint").reason(Reason::FieldValueInvalid),
    validation = Rule::new("self.dialect != 'BulkData' || has(self.storage)").message("storage is required when dialect is BulkData: the operator lands the files there").field_path(".storage").reason(Reason::FieldValueRequired),
    validation = Rule::new("self.dialect == 'BulkData' || !has(self.bulkData)").message("bulkData is allowed only when dialect is BulkData").field_path(".bulkData").reason(Reason::FieldValueForbidden),
    validation = Rule::new("!has(self.storage) || !has(self.storage.azureBlob) || self.storage.azureBlob.auth.type != 'SameAsServer' || self.auth.type == 'Entra'").message("auth type SameAsServer needs auth type Entra at the server").field_path(".storage.azureBlob.auth").reason(Reason::FieldValueInvalid)
)]
pub struct FhirServerSpec {
    /// The base URL, such as `https://clinic.fhir.azurehealthcareapis.com`. Cannot be changed.
    #[schemars(length(min = 1, max = 1024))]
    #[x_kube(
        validation = Rule::new("self.matches('^https?://[^/?#@ ]+(/[^?# ]*)?$')").message("use a URL of scheme, host and path only").reason(Reason::FieldValueInvalid),
        validation = Rule::new("self == oldSelf").message("url cannot be changed: create a new FhirServer instead").reason(Reason::FieldValueForbidden)
    )]
    pub url: String,
    /// Permits http for `url` and the blob endpoint: for test servers and the storage emulator only.
    #[serde(rename = "allowInsecureHTTP", default, skip_serializing_if = "Option::is_none")]
    pub allow_insecure_http: Option<bool>,
    /// Azure or BulkData. Cannot be changed.
    #[x_kube(validation = Rule::new("self == oldSelf").message("dialect cannot be changed: create a new FhirServer instead").reason(Reason::FieldValueForbidden))]
    pub dialect: Dialect,
    /// How the operator proves who it is. An open server says `type: None`.
    pub auth: ServerAuth,
    /// The storage account that the files land in. Optional for Azure: without it the operator cannot
    /// check the files, and `Verified` is Unknown.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub storage: Option<Storage>,
    /// The container for exports that name none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 63))]
    #[x_kube(validation = Rule::new("self.matches('^[a-z0-9](-?[a-z0-9])*$') && size(self) >= 3").message("use 3 to 63 lower-case letters, digits and single hyphens (Azure container name)").reason(Reason::FieldValueInvalid))]
    pub default_container: Option<String>,
    /// Further headers for requests to this server, with their values from Secrets.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 16))]
    #[x_kube(validation = Rule::new("self.all(h, !(h.name.lowerAscii() in ['authorization', 'accept', 'prefer', 'host', 'content-length', 'transfer-encoding', 'connection', 'cookie']))").message("this header is the operator's own; credentials belong in auth").reason(Reason::FieldValueForbidden))]
    pub headers: Option<Vec<Header>>,
    /// Certificates.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tls: Option<Tls>,
    /// Further origins that may get this server's token, such as `https://files.example.org`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(
        length(max = 16),
        inner(length(min = 1, max = 253), regex(pattern = r"^https?://[^/?#@\s]+$"))
    )]
    pub trusted_origins: Option<Vec<String>>,
    /// Further origins that files may be fetched from, without a token.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(
        length(max = 16),
        inner(length(min = 1, max = 253), regex(pattern = r"^https?://[^/?#@\s]+$"))
    )]
    pub file_origins: Option<Vec<String>>,
    /// Who may name this server in `serverRef`. Default: exports of the same namespace.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub consumers: Option<Consumers>,
    /// What this server may be used for. A member that is present restricts; default: anything.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub allow: Option<Allow>,
    /// How a Bulk Data server deviates; only with dialect BulkData.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bulk_data: Option<BulkDataDialect>,
    /// How hard the operator may work this server.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limits: Option<Limits>,
    /// For exports that do not say otherwise.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub defaults: Option<ServerDefaults>,
    /// Holds all exports of this server, as their own `suspend` would.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub suspend: Option<bool>,
}

/// A header for each request to the server.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct Header {
    /// Name, such as `Ocp-Apim-Subscription-Key`.
    #[schemars(length(min = 1, max = 128), regex(pattern = r"^[A-Za-z0-9-]+$"))]
    pub name: String,
    /// Where its value is.
    pub secret_ref: KeyRef,
}

/// The kinds of object that can hold a CA bundle.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum CaBundleKind {
    /// A ConfigMap.
    ConfigMap,
    /// A Secret, with the credential label.
    Secret,
}

/// Where a CA bundle is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
pub struct CaBundleRef {
    /// ConfigMap or Secret.
    pub kind: CaBundleKind,
    /// Name of the object, in the namespace of this FhirServer.
    #[schemars(length(min = 1, max = 253))]
    pub name: String,
    /// Key inside it: PEM.
    #[schemars(length(min = 1, max = 253))]
    pub key: String,
}

/// Certificates.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct Tls {
    /// Further certificate authorities to trust for this server.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ca_bundle_ref: Option<CaBundleRef>,
    /// A Secret of type `kubernetes.io/tls`: the certificate that the operator shows to this server.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client_certificate_secret_ref: Option<NameRef>,
}

/// Who may name a server.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
pub struct Consumers {
    /// The namespaces whose exports may use it.
    pub namespaces: NamespaceSelection,
}

/// How namespaces are chosen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum NamespacesFrom {
    /// The server's own namespace.
    Same,
    /// Its own namespace, and those that carry the labels of `selector`.
    Selector,
}

/// Which namespaces.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[x_kube(validation = Rule::new("(self.from == 'Selector') == has(self.selector)").message("selector is required when from is Selector, and forbidden otherwise").field_path(".selector").reason(Reason::FieldValueInvalid))]
pub struct NamespaceSelection {
    /// Same (default) or Selector.
    pub from: NamespacesFrom,
    /// The labels that a namespace must carry.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub selector: Option<LabelSelector>,
}

/// Labels that must all be there.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct LabelSelector {
    /// Labels and their values; all must match. A namespace is named by its label `kubernetes.io/metadata.name`.
    #[schemars(extend("maxProperties" = 16, "minProperties" = 1, "additionalProperties" = serde_json::json!({ "type": "string", "maxLength": 63 })))]
    pub match_labels: BTreeMap<String, String>,
}

/// How hard the operator may work a server.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct Limits {
    /// Exports that run at once; more wait in a queue, first come first served. Namespaces take turns. Default: 4.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 1000))]
    pub max_concurrent_exports: Option<i32>,
    /// Exports of one group that run at once. Default: 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 1000))]
    pub max_concurrent_per_group: Option<i32>,
    /// Files that the operator downloads at once. Default: 8.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 64))]
    pub max_parallel_downloads: Option<i32>,
    /// The shortest time between two polls of a job. Default: 10.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 3600))]
    pub min_poll_seconds: Option<i32>,
    /// The longest time between two polls or tries that the operator chooses itself. Default: 300.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 86400))]
    pub max_poll_seconds: Option<i32>,
    /// The longest wait that the server may ask for. Default: 7200.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 86400))]
    pub max_retry_after_seconds: Option<i32>,
    /// How long one request may take. Default: 60. The operator may be set to allow less.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 3600))]
    pub request_timeout_seconds: Option<i32>,
}

/// For exports that do not say otherwise.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct ServerDefaults {
    /// How long an export may take. Default: 604800 (7 days).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 31_536_000))]
    pub active_deadline_seconds: Option<i64>,
}

/// What the operator found out about a server.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct FhirServerStatus {
    /// The generation of the object that this status is about; -1 before the operator saw it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// Ready, Authenticated, StorageAccessible, Stalled.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["type".into()]))]
    pub conditions: Vec<Condition>,
    /// The software that the server says it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub software: Option<String>,
    /// The FHIR version that it speaks.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fhir_version: Option<String>,
    /// What was found out where the spec says Auto.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resolved: Option<Resolved>,
}

/// What was found out where the spec says Auto.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct Resolved {
    /// How kick-offs are sent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kick_off_method: Option<KickOffMethod>,
    /// How lists are sent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub list_style: Option<ListStyle>,
    /// The version of the specification.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<Version>,
}
