//! `FhirServer`: a connection to a FHIR server, and what it may be used for.

use std::collections::BTreeMap;

use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{
    Allow, BulkDataDialect, Condition, KeyRef, KickOffMethod, ListStyle, NameRef, ServerAuth, Storage,
    Transfer, Version,
};

/// The kinds of FHIR server, distinguished by who writes the files.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Dialect {
    /// Azure's FHIR service, which writes the files to its storage account itself.
    Azure,
    /// A FHIR Bulk Data server, whose files the operator downloads and writes to storage.
    BulkData,
}

/// A connection to a FHIR server: its address, the identity to use, the storage for the files, and what exports
/// may ask of it.
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
    doc = "A FHIR server to export from: its address, the identity to use, the storage that the files land \
        in, and what exports may ask of it.",
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
    printcolumn(name = "FHIR", type_ = "string", json_path = ".status.fhirVersion", priority = "1"),
    printcolumn(
        name = "Message",
        type_ = "string",
        json_path = ".status.conditions[?(@.type=='Ready')].message",
        priority = "1"
    )
)]
#[x_kube(
    validation = Rule::new("self.url.startsWith('https://') || (has(self.allowInsecureHTTP) && \
        self.allowInsecureHTTP)")
        .message("use https (allowInsecureHTTP: true permits http, for tests only)")
        .field_path(".url")
        .reason(Reason::FieldValueInvalid),
    validation = Rule::new("!has(self.storage) || !has(self.storage.azureBlob) || \
        self.storage.azureBlob.endpoint.startsWith('https://') || (has(self.allowInsecureHTTP) && \
        self.allowInsecureHTTP)")
        .message("use https (allowInsecureHTTP: true permits http, for the storage emulator only)")
        .field_path(".storage.azureBlob.endpoint")
        .reason(Reason::FieldValueInvalid),
    validation = Rule::new("self.dialect != 'BulkData' || has(self.storage)")
        .message("storage is required when dialect is BulkData: the operator lands the files there")
        .field_path(".storage")
        .reason(Reason::FieldValueRequired),
    validation = Rule::new("self.dialect == 'BulkData' || !has(self.bulkData)")
        .message("bulkData is allowed only when dialect is BulkData")
        .field_path(".bulkData")
        .reason(Reason::FieldValueForbidden),
    validation = Rule::new("!has(self.storage) || !has(self.storage.azureBlob) || \
        self.storage.azureBlob.auth.type != 'SameAsServer' || self.auth.type == 'Entra'")
        .message("auth type SameAsServer needs auth type Entra at the server")
        .field_path(".storage.azureBlob.auth")
        .reason(Reason::FieldValueInvalid),
    validation = Rule::new("!has(self.storage) || self.storage.type != 'Volume' || self.dialect == 'BulkData'")
        .message("type Volume needs dialect BulkData: Azure's FHIR service writes only to its storage account")
        .field_path(".storage.type")
        .reason(Reason::FieldValueInvalid),
    validation = Rule::new("!has(self.storage) || self.storage.type != 'S3' || self.dialect == 'BulkData'")
        .message("type S3 needs dialect BulkData: Azure's FHIR service writes only to its storage account")
        .field_path(".storage.type")
        .reason(Reason::FieldValueInvalid),
    validation = Rule::new("!has(self.storage) || !has(self.storage.s3) || !has(self.storage.s3.endpoint) || \
        self.storage.s3.endpoint.startsWith('https://') || (has(self.allowInsecureHTTP) && self.allowInsecureHTTP)")
        .message("use https (allowInsecureHTTP: true permits http, for test stores only)")
        .field_path(".storage.s3.endpoint")
        .reason(Reason::FieldValueInvalid),
    validation = Rule::new("!has(self.storage) || !has(self.storage.s3) || \
        self.storage.s3.auth.type != 'Anonymous' || (has(self.allowInsecureHTTP) && self.allowInsecureHTTP)")
        .message("auth type Anonymous is for tests only: it needs allowInsecureHTTP: true")
        .field_path(".storage.s3.auth.type")
        .reason(Reason::FieldValueInvalid),
    validation = Rule::new("self.dialect == 'BulkData' || !has(self.transfer)")
        .message("transfer is allowed only when dialect is BulkData: Azure's FHIR service writes the files itself")
        .field_path(".transfer")
        .reason(Reason::FieldValueForbidden)
)]
pub struct FhirServerSpec {
    /// The base URL, such as `https://clinic.fhir.azurehealthcareapis.com`. Cannot be changed.
    #[schemars(length(min = 1, max = 1024))]
    #[x_kube(
        validation = Rule::new("self.matches('^https?://[^/?#@ ]+(/[^?# ]*)?$')")
            .message("use a URL of scheme, host and path only")
            .reason(Reason::FieldValueInvalid),
        validation = Rule::new("self == oldSelf")
            .message("url cannot be changed: create a new FhirServer instead")
            .reason(Reason::FieldValueForbidden)
    )]
    pub url: String,
    /// Permits http for `url` and the endpoint of the storage. Only for test servers and storage emulators:
    /// tokens and patient data then travel unencrypted. Default: false.
    #[serde(rename = "allowInsecureHTTP", default, skip_serializing_if = "Option::is_none")]
    pub allow_insecure_http: Option<bool>,
    /// Azure (Azure's FHIR service, which writes the files itself) or BulkData (any other Bulk Data server,
    /// whose files the operator downloads and stores). Cannot be changed.
    #[x_kube(
        validation = Rule::new("self == oldSelf")
            .message("dialect cannot be changed: create a new FhirServer instead")
            .reason(Reason::FieldValueForbidden)
    )]
    pub dialect: Dialect,
    /// How the operator authenticates to the server. For an open server use `type: None`.
    pub auth: ServerAuth,
    /// The storage for the files. Required with dialect BulkData, where the operator writes the files. Optional
    /// with dialect Azure, where it names the storage account that the service exports to: without it the
    /// operator cannot check the files, and `Verified` is Unknown.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub storage: Option<Storage>,
    /// The container for exports that name none: of the storage account, a directory of the volume, or a bucket (or
    /// a prefix in the one that `storage.s3.bucket` names). Default: a new container for each export.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 63))]
    #[x_kube(
        validation = Rule::new("self.matches('^[a-z0-9](-?[a-z0-9])*$') && size(self) >= 3")
            .message("use 3 to 63 lower-case letters, digits and single hyphens")
            .reason(Reason::FieldValueInvalid)
    )]
    pub default_container: Option<String>,
    /// Additional headers for each request to this server, such as an API key, with their values from
    /// Secrets. Default: none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 16))]
    #[x_kube(
        validation = Rule::new("self.all(h, !(h.name.lowerAscii() in ['authorization', 'accept', 'prefer', \
            'host', 'content-length', 'transfer-encoding', 'connection', 'cookie']))")
            .message("this header is the operator's own; credentials belong in auth")
            .reason(Reason::FieldValueForbidden)
    )]
    pub headers: Option<Vec<Header>>,
    /// TLS settings for connections to this server. Default: the system's certificate authorities, and no
    /// client certificate.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tls: Option<Tls>,
    /// Additional origins that may receive this server's token, such as `https://files.example.org`. List an
    /// origin here if the server sends status or file URLs there and they need the token. Default: only the
    /// origin of `url`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(
        length(max = 16),
        inner(length(min = 1, max = 253), regex(pattern = r"^https?://[^/?#@\s]+$"))
    )]
    pub trusted_origins: Option<Vec<String>>,
    /// Additional origins that files may be downloaded from, without a token. List an origin here if the
    /// server hands out pre-signed links to it. Default: none besides `url` and `trustedOrigins`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(
        length(max = 16),
        inner(length(min = 1, max = 253), regex(pattern = r"^https?://[^/?#@\s]+$"))
    )]
    pub file_origins: Option<Vec<String>>,
    /// Which namespaces may use this server in `serverRef`. Default: only the server's own namespace.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub consumers: Option<Consumers>,
    /// Restrictions on the exports that this server accepts. Default: none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub allow: Option<Allow>,
    /// Where the server deviates from the Bulk Data specification; only with dialect BulkData. Leave it out
    /// unless the detection is wrong: the operator reads the server's CapabilityStatement. Default: Auto for each
    /// field.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bulk_data: Option<BulkDataDialect>,
    /// Caps on the load that the operator puts on this server: exports and downloads at once, how often it
    /// polls, and how long it waits. Lower them if the server is throttling or slow; raise them if exports queue
    /// although the server is idle. Default: that of each field.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limits: Option<Limits>,
    /// Where the files are downloaded and stored: in the operator's own pod, or in pods of a Job. Only with dialect
    /// BulkData. Default: in the operator's pod.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub transfer: Option<Transfer>,
    /// Values for exports that do not set these fields themselves. Default: that of each field.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub defaults: Option<ServerDefaults>,
    /// Pauses all exports of this server, as their own `suspend` would. Default: false.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub suspend: Option<bool>,
}

/// A header that goes with each request to the server.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct Header {
    /// Name of the header, such as `Ocp-Apim-Subscription-Key`.
    #[schemars(length(min = 1, max = 128), regex(pattern = r"^[A-Za-z0-9-]+$"))]
    pub name: String,
    /// The Secret key that holds the value of the header.
    pub secret_ref: KeyRef,
}

/// The kinds of object that can hold a CA bundle.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum CaBundleKind {
    /// A ConfigMap.
    ConfigMap,
    /// A Secret with the credential label.
    Secret,
}

/// The object and key that hold a CA bundle.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
pub struct CaBundleRef {
    /// ConfigMap, or Secret, which must carry the credential label.
    pub kind: CaBundleKind,
    /// Name of the object, in the namespace of this FhirServer.
    #[schemars(length(min = 1, max = 253))]
    pub name: String,
    /// Key in the object whose value is the bundle, as PEM.
    #[schemars(length(min = 1, max = 253))]
    pub key: String,
}

/// TLS settings for connections to a server.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct Tls {
    /// Additional certificate authorities to trust for this server. Set it if the server's certificate comes
    /// from a private authority. Default: only the system's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ca_bundle_ref: Option<CaBundleRef>,
    /// A Secret of type `kubernetes.io/tls`: the client certificate that the operator presents to this server
    /// (mutual TLS). Default: none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client_certificate_secret_ref: Option<NameRef>,
}

/// Who may use a server.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
pub struct Consumers {
    /// The namespaces whose exports may use the server.
    pub namespaces: NamespaceSelection,
}

/// How namespaces are selected.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum NamespacesFrom {
    /// The server's own namespace.
    Same,
    /// The server's own namespace, and those that carry the labels in `selector`.
    Selector,
}

/// A selection of namespaces.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[x_kube(
    validation = Rule::new("(self.from == 'Selector') == has(self.selector)")
        .message("selector is required when from is Selector, and forbidden otherwise")
        .field_path(".selector")
        .reason(Reason::FieldValueInvalid)
)]
pub struct NamespaceSelection {
    /// Same (only the server's own namespace) or Selector (additionally those that carry the labels in
    /// `selector`).
    pub from: NamespacesFrom,
    /// The labels that a namespace must carry; required with Selector, forbidden otherwise.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub selector: Option<LabelSelector>,
}

/// Labels that must all match.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct LabelSelector {
    /// Labels and their values, all of which a namespace must carry. To select a namespace by name, use the
    /// label `kubernetes.io/metadata.name`.
    #[schemars(extend(
        "maxProperties" = 16,
        "minProperties" = 1,
        "additionalProperties" = serde_json::json!({ "type": "string", "maxLength": 63 })
    ))]
    pub match_labels: BTreeMap<String, String>,
}

/// Caps on the load that the operator puts on a FHIR server.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("!has(self.minPollSeconds) || !has(self.maxPollSeconds) || \
        self.minPollSeconds <= self.maxPollSeconds")
        .message("minPollSeconds must not be above maxPollSeconds")
        .field_path(".minPollSeconds")
        .reason(Reason::FieldValueInvalid)
)]
pub struct Limits {
    /// How many exports run on this server at once; further ones queue. Namespaces take turns, and within a
    /// namespace exports start in the order of their creation. Default: 4.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 1000))]
    pub max_concurrent_exports: Option<i32>,
    /// How many exports of the same Group run at once. Raise it only if the server can export one Group
    /// several times at once. Default: 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 1000))]
    pub max_concurrent_per_group: Option<i32>,
    /// How many files the operator downloads from this server at once, over all its exports. Lower it if
    /// downloads slow the server down. Default: 8.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 64))]
    pub max_parallel_downloads: Option<i32>,
    /// The shortest time, in seconds, between two polls of a job. Raise it if the polls burden the server. Default: 10,
    /// or maxPollSeconds if that is less; the first polls then come after 1, 2, 4 and 8 seconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 3600))]
    pub min_poll_seconds: Option<i32>,
    /// The longest time, in seconds, between two polls of a job or two tries of a request when the server
    /// does not name a delay. Lower it to learn sooner that a job is done. Default: 300, or minPollSeconds if that is
    /// more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 86400))]
    pub max_poll_seconds: Option<i32>,
    /// The longest wait that the server may request with `Retry-After`, in seconds; longer ones are cut to
    /// this. Raise it if the server insists on longer pauses. Default: 7200 (2 hours).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 86400))]
    pub max_retry_after_seconds: Option<i32>,
    /// How long one request may take, in seconds. For a file it covers the time until the download begins.
    /// Raise it if exports report TimedOut and the server is only slow. Default: 60. The operator may be set to allow
    /// less.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 3600))]
    pub request_timeout_seconds: Option<i32>,
}

/// Defaults for exports that do not set these fields themselves.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct ServerDefaults {
    /// How long an export may take, in seconds from its first start, over all attempts. Default: 604800 (7
    /// days).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 31_536_000))]
    pub active_deadline_seconds: Option<i64>,
}

/// What the operator found out about a server.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct FhirServerStatus {
    /// The `metadata.generation` that this status describes; -1 before the operator saw the object.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// Conditions of the types Ready, Authenticated, StorageAccessible and Stalled.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["type".into()]))]
    pub conditions: Vec<Condition>,
    /// Name and version of the server's software, from its CapabilityStatement.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub software: Option<String>,
    /// The FHIR version of the server, from its CapabilityStatement.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fhir_version: Option<String>,
    /// The values that the operator detected for fields of `spec.bulkData` that are Auto.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resolved: Option<Resolved>,
}

/// The values that the operator detected for fields of `spec.bulkData` that are Auto.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct Resolved {
    /// The HTTP method of the kick-off.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kick_off_method: Option<KickOffMethod>,
    /// How a parameter with several values is sent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub list_style: Option<ListStyle>,
    /// The version of the Bulk Data specification.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<Version>,
}
