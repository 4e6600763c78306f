//! What to export: the part of a FhirExport that never changes.

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::KeyRef;

/// The levels of `$export`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub enum Level {
    /// Every resource on the server.
    System,
    /// All patients, with the resources in their compartments.
    Patient,
    /// The patients of one Group, with the resources in their compartments.
    Group,
}

impl Level {
    /// The level as written in a manifest.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::System => "System",
            Self::Patient => "Patient",
            Self::Group => "Group",
        }
    }
}

/// How the server treats parameters that it does not know.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Handling {
    /// The server rejects the export.
    Strict,
    /// The server ignores the parameters.
    Lenient,
}

/// How the server groups resources into output files (Bulk Data v3).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum OrganizeOutputBy {
    /// The resources of one patient are next to each other.
    Patient,
    /// The resources of the members of one Group are next to each other.
    Group,
}

/// What to export.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("self.level != 'Group' || has(self.groupID)")
        .message("groupID is required when level is Group")
        .field_path(".groupID")
        .reason(Reason::FieldValueRequired),
    validation = Rule::new("self.level == 'Group' || !has(self.groupID)")
        .message("groupID is allowed only when level is Group")
        .field_path(".groupID")
        .reason(Reason::FieldValueForbidden),
    validation = Rule::new("!has(self.typeFilters) || size(self.typeFilters) == 0 || (has(self.types) && \
        size(self.types) > 0)")
        .message("types is required when typeFilters are given: name each type that a filter is for")
        .field_path(".types")
        .reason(Reason::FieldValueRequired),
    validation = Rule::new("!has(self.azure) || !has(self.azure.anonymization) || has(self.container)")
        .message("container is required for an anonymized export")
        .field_path(".container")
        .reason(Reason::FieldValueRequired)
)]
pub struct ExportRequest {
    /// System (every resource), Patient (all patients, with the resources in their compartments) or Group
    /// (the same for the members of one Group). Exports of level Patient and Group may hold a resource more
    /// than once, and an export of level Group does not hold the Group itself.
    pub level: Level,
    /// The id of the Group. Required with level Group, forbidden otherwise.
    #[serde(rename = "groupID", default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 64))]
    #[x_kube(
        validation = Rule::new("self.matches('^[A-Za-z0-9.-]{1,64}$') && self != '.' && self != '..'")
            .message("use a FHIR id: 1 to 64 letters, digits, hyphens and dots, but not . or ..")
            .reason(Reason::FieldValueInvalid)
    )]
    pub group_id: Option<String>,
    /// Resource types to export, such as Patient. Default: all types.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 160), inner(length(min = 1, max = 64)))]
    #[x_kube(
        validation = Rule::new("self.all(t, t.matches('^[A-Z][A-Za-z]{1,63}$'))")
            .message("use names of FHIR resource types, such as Patient or Observation")
            .reason(Reason::FieldValueInvalid)
    )]
    pub types: Option<Vec<String>>,
    /// FHIR searches that narrow what is exported of a type, such as `Observation?category=laboratory`. Needs
    /// `types`. If several filters name the same type, a resource is exported if it matches any of them.
    /// Default: no filter.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 64), inner(length(min = 1, max = 1024)))]
    #[x_kube(
        validation = Rule::new("self.all(f, f.matches('^[A-Z][A-Za-z]{1,63}[?].+$'))")
            .message("use FHIR searches that begin with a type, such as Observation?category=laboratory")
            .reason(Reason::FieldValueInvalid)
    )]
    pub type_filters: Option<Vec<String>>,
    /// Export only resources that changed at or after this instant, such as 2026-01-01T00:00:00Z. With level
    /// Patient or Group, a server may leave out new resources of patients that did not themselves change;
    /// prefer level System with `types`. Default: all resources.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 40))]
    #[x_kube(
        validation = Rule::new("self.matches('^[0-9]{4}-(0[1-9]|1[0-2])-(0[1-9]|[12][0-9]|3[01])\
            T([01][0-9]|2[0-3]):[0-5][0-9]:([0-5][0-9]|60)([.][0-9]{1,9})?\
            (Z|[+-](0[0-9]|1[0-4]):[0-5][0-9])$')")
            .message("use an instant with a time zone, such as 2026-01-01T00:00:00Z")
            .reason(Reason::FieldValueInvalid)
    )]
    pub since: Option<String>,
    /// Export only resources that changed before this instant (`_until`, on Azure `_till`). Default: no
    /// limit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 40))]
    #[x_kube(
        validation = Rule::new("self.matches('^[0-9]{4}-(0[1-9]|1[0-2])-(0[1-9]|[12][0-9]|3[01])\
            T([01][0-9]|2[0-3]):[0-5][0-9]:([0-5][0-9]|60)([.][0-9]{1,9})?\
            (Z|[+-](0[0-9]|1[0-4]):[0-5][0-9])$')")
            .message("use an instant with a time zone, such as 2026-01-01T00:00:00Z")
            .reason(Reason::FieldValueInvalid)
    )]
    pub until: Option<String>,
    /// The container for the files: of the server's storage account, a directory of its volume, or a bucket of its S3
    /// store (a prefix, if the server names the bucket). Each export writes to its own folder in it. Default: the
    /// server's `defaultContainer`, else a new container for this export.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 63))]
    #[x_kube(
        validation = Rule::new("self.matches('^[a-z0-9](-?[a-z0-9])*$') && size(self) >= 3")
            .message("use 3 to 63 lower-case letters, digits and single hyphens")
            .reason(Reason::FieldValueInvalid)
    )]
    pub container: Option<String>,
    /// The format to request: application/fhir+ndjson, application/ndjson or ndjson. The files are NDJSON in
    /// any case; set it only if the server requires the parameter. Default: the parameter is not sent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 64))]
    #[x_kube(
        validation = Rule::new("self in ['application/fhir+ndjson', 'application/ndjson', 'ndjson']")
            .message("use application/fhir+ndjson, application/ndjson or ndjson")
            .reason(Reason::FieldValueInvalid)
    )]
    pub output_format: Option<String>,
    /// Whether the server must reject parameters that it does not know: Strict (default), or Lenient, which lets it
    /// ignore them. With Lenient an export may hold more or other data than requested.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub handling: Option<Handling>,
    /// Additional data to export (`includeAssociatedData`). Azure knows `_history` and `_deleted`, with level
    /// System only and not together with `typeFilters`; other servers document their own values. Default:
    /// none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(
        length(max = 16),
        inner(length(min = 1, max = 64), regex(pattern = r"^[A-Za-z_][A-Za-z0-9_-]*$"))
    )]
    pub include_associated_data: Option<Vec<String>>,
    /// Settings that only Azure's FHIR service understands; only with dialect Azure. Default: none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub azure: Option<AzureRequest>,
    /// Settings that only FHIR Bulk Data servers understand; only with dialect BulkData. Default: none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bulk_data: Option<BulkDataRequest>,
    /// Further parameters of the kick-off, sent as they are. Use them for parameters of your server that have no
    /// field of their own in `request`; those that have one are rejected here. Default: none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 16))]
    #[x_kube(
        validation = Rule::new("self.all(p, !(p.name.lowerAscii() in ['_outputformat', '_since', '_until', \
            '_till', '_type', '_typefilter', '_container', '_maxcount', '_isparallel', '_elements', \
            'patient', 'includeassociateddata', 'organizeoutputby', 'allowpartialmanifests', \
            '_anonymizationconfig', '_anonymizationconfigetag', '_anonymizationconfigcollectionreference']))")
            .message("this parameter has a field of its own in spec.request: use that")
            .reason(Reason::FieldValueForbidden)
    )]
    pub parameters: Option<Vec<Parameter>>,
}

/// One parameter of the kick-off.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
pub struct Parameter {
    /// Name of the parameter, as the server spells it.
    #[schemars(length(min = 1, max = 64), regex(pattern = r"^[A-Za-z_][A-Za-z0-9_.-]*$"))]
    pub name: String,
    /// Value of the parameter, not percent-encoded: the operator encodes it.
    #[schemars(length(max = 1024))]
    pub value: String,
}

/// Settings that only Azure's FHIR service understands.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct AzureRequest {
    /// How many resources the service reads with one database query (`_maxCount`), 1 to 10000. Lower it when
    /// an export fails with OutOfMemory. Default: not sent, so the service decides.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 10000))]
    pub max_count: Option<i32>,
    /// Whether Azure splits the export into jobs that run in parallel (`_isParallel`); only level System
    /// honours it. Set it to false if the parallel work overloads the service. Default: not sent, so the
    /// service decides; Azure Health Data Services works in parallel.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parallel: Option<bool>,
    /// De-identifies the data during the export. Default: the data are exported unchanged.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub anonymization: Option<Anonymization>,
}

/// Settings of a de-identified export, which needs `container`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("!(has(self.etag) && has(self.collectionReference))")
        .message("collectionReference and etag exclude each other")
        .field_path(".collectionReference")
        .reason(Reason::FieldValueForbidden)
)]
pub struct Anonymization {
    /// Path of the configuration file in the container named `anonymization` of the export storage account,
    /// or in the collection.
    #[schemars(length(min = 1, max = 512))]
    #[x_kube(
        validation = Rule::new("!self.contains('..')")
            .message("a path without ..")
            .reason(Reason::FieldValueInvalid)
    )]
    pub config: String,
    /// The ETag that the configuration file must have, so that nobody can change it unnoticed. Default: any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 128))]
    pub etag: Option<String>,
    /// An OCI image reference of a collection of configurations to take `config` from. Excludes `etag`.
    /// Default: the storage account.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 512))]
    pub collection_reference: Option<String>,
}

/// Settings that only FHIR Bulk Data servers understand.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("!(has(self.patientsSecretRef) && has(self.patientsBlob))")
        .message("patientsSecretRef and patientsBlob exclude each other")
        .field_path(".patientsBlob")
        .reason(Reason::FieldValueForbidden)
)]
pub struct BulkDataRequest {
    /// Elements to keep in each resource, such as `Patient.id` (`_elements`). The server may leave out all
    /// others. Default: whole resources.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(
        length(max = 64),
        inner(length(min = 1, max = 128), regex(pattern = r"^[A-Za-z][A-Za-z0-9.]*$"))
    )]
    pub elements: Option<Vec<String>>,
    /// The patients to export, as a list in a Secret with the credential label: one reference per line, such
    /// as `Patient/42` or `42`. Excludes `patientsBlob`. Default: all patients of the level.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub patients_secret_ref: Option<KeyRef>,
    /// The patients to export, as a list in a blob or file of the server's storage: one reference per line, such
    /// as `Patient/42` or `42`. Excludes `patientsSecretRef`. Default: all patients of the level.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub patients_blob: Option<PatientsBlob>,
    /// Patient or Group: asks the server to write all resources of a patient or Group next to each other,
    /// instead of one set of files per resource type (`organizeOutputBy`, Bulk Data v3). Set it when the
    /// consumer of the files needs a patient's resources together. Such files hold many types and are named
    /// `Mixed-<n>.ndjson`; many servers ignore the parameter. Default: not sent, so files are organized by
    /// type.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub organize_output_by: Option<OrganizeOutputBy>,
    /// Whether the server may split the manifest into linked pages, and return manifests before the export is
    /// complete (`allowPartialManifests`, Bulk Data v3). The operator follows all pages, and starts to
    /// download once the export is complete. Set it to true for exports with more files than the server can
    /// list in one manifest. Default: not sent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub allow_partial_manifests: Option<bool>,
}

/// A list of patients in the server's storage.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
pub struct PatientsBlob {
    /// Container and path of the blob or file, such as `cohorts/cohort-42.txt`.
    #[schemars(length(min = 3, max = 1024))]
    pub path: String,
    /// The SHA-256 of the list, in hexadecimal. If the list does not match, the operator exports nothing, so
    /// that the list that is exported is the one that was reviewed.
    #[schemars(length(min = 64, max = 64), regex(pattern = r"^[0-9a-f]{64}$"))]
    pub sha256: String,
}
