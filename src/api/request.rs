//! What to export: the part of a run that never changes.

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::KeyRef;

/// The three levels of `$export`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub enum Level {
    /// Everything on the server.
    System,
    /// All patients, and what belongs to them.
    Patient,
    /// The patients of one Group, and what belongs to them.
    Group,
}

impl Level {
    /// As it is written in manifests.
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
    /// It refuses the export.
    Strict,
    /// It ignores them.
    Lenient,
}

/// How output files are organised (Bulk Data v4).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum OrganizeOutputBy {
    /// One patient after the other.
    Patient,
    /// One group after the other.
    Group,
}

/// What to export.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("self.level != 'Group' || has(self.groupID)").message("groupID is required when level is Group").field_path(".groupID").reason(Reason::FieldValueRequired),
    validation = Rule::new("self.level == 'Group' || !has(self.groupID)").message("groupID is allowed only when level is Group").field_path(".groupID").reason(Reason::FieldValueForbidden),
    validation = Rule::new("!has(self.typeFilters) || size(self.typeFilters) == 0 || (has(self.types) && size(self.types) > 0)").message("types is required when typeFilters are given: name each type that a filter is for").field_path(".types").reason(Reason::FieldValueRequired),
    validation = Rule::new("!has(self.azure) || !has(self.azure.anonymization) || has(self.container)").message("container is required for an anonymized export").field_path(".container").reason(Reason::FieldValueRequired)
)]
pub struct ExportRequest {
    /// System, Patient or Group. Patient and Group exports may hold a resource more than once, and a
    /// Group export does not hold the Group itself.
    pub level: Level,
    /// The id of the Group; only with level Group.
    #[serde(rename = "groupID", default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 64))]
    #[x_kube(validation = Rule::new("self.matches('^[A-Za-z0-9.-]{1,64}$') && self != '.' && self != '..'").message("use a FHIR id: 1 to 64 letters, digits, hyphens and dots, but not . or ..").reason(Reason::FieldValueInvalid))]
    pub group_id: Option<String>,
    /// Resource types to export, such as Patient. Default: all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 160), inner(length(min = 1, max = 64)))]
    #[x_kube(validation = Rule::new("self.all(t, t.matches('^[A-Z][A-Za-z]{1,63}$'))").message("use names of FHIR resource types, such as Patient or Observation").reason(Reason::FieldValueInvalid))]
    pub types: Option<Vec<String>>,
    /// FHIR searches that narrow a type, such as `Observation?category=laboratory`; needs `types`.
    /// Several filters of one type are united.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 64), inner(length(min = 1, max = 1024)))]
    #[x_kube(validation = Rule::new("self.all(f, f.matches('^[A-Z][A-Za-z]{1,63}[?].+$'))").message("use FHIR searches that begin with a type, such as Observation?category=laboratory").reason(Reason::FieldValueInvalid))]
    pub type_filters: Option<Vec<String>>,
    /// Only resources changed at or after this instant. With level Patient or Group a server may
    /// leave out new resources of patients that did not change: prefer level System with `types`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 40))]
    #[x_kube(validation = Rule::new("self.matches('^[0-9]{4}-(0[1-9]|1[0-2])-(0[1-9]|[12][0-9]|3[01])T([01][0-9]|2[0-3]):[0-5][0-9]:([0-5][0-9]|60)([.][0-9]{1,9})?(Z|[+-](0[0-9]|1[0-4]):[0-5][0-9])$')").message("use an instant with a time zone, such as 2026-01-01T00:00:00Z").reason(Reason::FieldValueInvalid))]
    pub since: Option<String>,
    /// Only resources changed before this instant (`_until`, on Azure `_till`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 40))]
    #[x_kube(validation = Rule::new("self.matches('^[0-9]{4}-(0[1-9]|1[0-2])-(0[1-9]|[12][0-9]|3[01])T([01][0-9]|2[0-3]):[0-5][0-9]:([0-5][0-9]|60)([.][0-9]{1,9})?(Z|[+-](0[0-9]|1[0-4]):[0-5][0-9])$')").message("use an instant with a time zone, such as 2026-01-01T00:00:00Z").reason(Reason::FieldValueInvalid))]
    pub until: Option<String>,
    /// The blob container for the files; the run gets a folder of its own in it. Default: the
    /// server's `defaultContainer`, else a new container.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 63))]
    #[x_kube(validation = Rule::new("self.matches('^[a-z0-9](-?[a-z0-9])*$') && size(self) >= 3").message("use 3 to 63 lower-case letters, digits and single hyphens (Azure container name)").reason(Reason::FieldValueInvalid))]
    pub container: Option<String>,
    /// The format to ask for: application/fhir+ndjson, application/ndjson or ndjson. The files are
    /// NDJSON in any case. Default: not sent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 64))]
    #[x_kube(validation = Rule::new("self in ['application/fhir+ndjson', 'application/ndjson', 'ndjson']").message("use application/fhir+ndjson, application/ndjson or ndjson").reason(Reason::FieldValueInvalid))]
    pub output_format: Option<String>,
    /// Strict (default) or Lenient: whether the server may ignore parameters that it does not know.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub handling: Option<Handling>,
    /// More to export. Azure: `_history` and `_deleted`, level System only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(
        length(max = 16),
        inner(length(min = 1, max = 64), regex(pattern = r"^[A-Za-z_][A-Za-z0-9_-]*$"))
    )]
    pub include_associated_data: Option<Vec<String>>,
    /// What only Azure's FHIR service understands.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub azure: Option<AzureRequest>,
    /// What only FHIR Bulk Data servers understand.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bulk_data: Option<BulkDataRequest>,
    /// Further parameters, sent as they are. A parameter that has a field of its own is refused here.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 16))]
    #[x_kube(validation = Rule::new("self.all(p, !(p.name.lowerAscii() in ['_outputformat', '_since', '_until', '_till', '_type', '_typefilter', '_container', '_maxcount', '_isparallel', '_elements', 'patient', 'includeassociateddata', 'organizeoutputby', 'allowpartialmanifests', '_anonymizationconfig', '_anonymizationconfigetag', '_anonymizationconfigcollectionreference']))").message("this parameter has a field of its own in spec.request: use that").reason(Reason::FieldValueForbidden))]
    pub parameters: Option<Vec<Parameter>>,
}

/// One parameter of the kick-off.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
pub struct Parameter {
    /// Name, as the server spells it.
    #[schemars(length(min = 1, max = 64), regex(pattern = r"^[A-Za-z_][A-Za-z0-9_.-]*$"))]
    pub name: String,
    /// Value, as it is: the operator does the percent-encoding.
    #[schemars(length(max = 1024))]
    pub value: String,
}

/// What only Azure's FHIR service understands.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct AzureRequest {
    /// Resources per query (`_maxCount`), 1 to 10000. Lower it when an export fails with OutOfMemory.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 10000))]
    pub max_count: Option<i32>,
    /// Whether the server works in parallel (`_isParallel`); level System only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parallel: Option<bool>,
    /// De-identifies the data on the way out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub anonymization: Option<Anonymization>,
}

/// De-identified export; needs `container`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("!(has(self.etag) && has(self.collectionReference))").message("collectionReference and etag exclude each other").field_path(".collectionReference").reason(Reason::FieldValueForbidden))]
pub struct Anonymization {
    /// The configuration file: its path in the container named `anonymization` of the export account.
    #[schemars(length(min = 1, max = 512))]
    #[x_kube(validation = Rule::new("!self.contains('..')").message("a path without ..").reason(Reason::FieldValueInvalid))]
    pub config: String,
    /// The ETag that the configuration file must have.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 128))]
    pub etag: Option<String>,
    /// An OCI image reference of a collection of configurations; excludes `etag`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 512))]
    pub collection_reference: Option<String>,
}

/// What only FHIR Bulk Data servers understand.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("!(has(self.patientsSecretRef) && has(self.patientsBlob))").message("patientsSecretRef and patientsBlob exclude each other").field_path(".patientsBlob").reason(Reason::FieldValueForbidden))]
pub struct BulkDataRequest {
    /// Elements to keep, such as `Patient.id` (`_elements`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(
        length(max = 64),
        inner(length(min = 1, max = 128), regex(pattern = r"^[A-Za-z][A-Za-z0-9.]*$"))
    )]
    pub elements: Option<Vec<String>>,
    /// The patients to export: one reference a line, in a Secret with the credential label.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub patients_secret_ref: Option<KeyRef>,
    /// The patients to export: one reference a line, in a blob of the server's storage account.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub patients_blob: Option<PatientsBlob>,
    /// How to organise the output files.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub organize_output_by: Option<OrganizeOutputBy>,
    /// Whether the server may hand out files before the whole export is done.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub allow_partial_manifests: Option<bool>,
}

/// A list of patients in a blob.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
pub struct PatientsBlob {
    /// Container and path, such as `cohorts/cohort-42.txt`.
    #[schemars(length(min = 3, max = 1024))]
    pub path: String,
    /// The SHA-256 of the blob, in hexadecimal: what was reviewed is what is exported.
    #[schemars(length(min = 64, max = 64), regex(pattern = r"^[0-9a-f]{64}$"))]
    pub sha256: String,
}
