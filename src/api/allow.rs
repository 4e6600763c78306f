//! Restrictions on the exports that a FhirServer accepts.

use kube::KubeSchema;
use serde::{Deserialize, Serialize};

use super::Level;

/// Restrictions on the exports that a server accepts. A field that is absent restricts nothing, except where
/// its description says otherwise.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct Allow {
    /// Levels that may be exported. Default: all three.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 3))]
    pub levels: Option<Vec<Level>>,
    /// Ids of the Groups that may be exported; `*` matches any characters. Setting this field also forbids
    /// the levels System and Patient. Default: any Group.
    #[serde(rename = "groupIDs", default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 256), inner(length(min = 1, max = 64)))]
    pub group_ids: Option<Vec<String>>,
    /// Resource types that may be exported. When this is set, an export must list its `types`, since an
    /// export without `types` covers all of them. Default: any type.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 160), inner(length(min = 1, max = 64)))]
    pub types: Option<Vec<String>>,
    /// Containers that exports may write to; `*` matches any characters. When this is set, an export must
    /// name its `container`. Default: any container.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 256), inner(length(min = 1, max = 63)))]
    pub containers: Option<Vec<String>>,
    /// Names that exports may use in `parameters`. As soon as `allow` is set, any name that is not listed
    /// here is forbidden. Default: no name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 64), inner(length(min = 1, max = 64)))]
    pub parameters: Option<Vec<String>>,
    /// Values that exports may use in `includeAssociatedData`. As soon as `allow` is set, any value that is
    /// not listed here is forbidden. Default: no value.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 16), inner(length(min = 1, max = 64)))]
    pub associated_data: Option<Vec<String>>,
    /// Search parameters that identify people, such as `identifier` or `birthdate`, and that exports may
    /// nevertheless use in `typeFilters`. As soon as `allow` is set, identifying parameters that are not
    /// listed here are forbidden; other search parameters are always allowed. Default: no parameter.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 64), inner(length(min = 1, max = 64)))]
    pub search_parameters: Option<Vec<String>>,
    /// Whether exports must be de-identified, and with which configurations. Default: they need not be.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub anonymization: Option<AllowedAnonymization>,
}

/// Whether exports must be de-identified, and with which configurations.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
pub struct AllowedAnonymization {
    /// Whether every export must be de-identified. Default: false.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub required: Option<bool>,
    /// The anonymization configurations that exports may use. Default: any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 32))]
    pub configs: Option<Vec<AllowedConfig>>,
}

/// An anonymization configuration that exports may use.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
pub struct AllowedConfig {
    /// Path of the configuration file in the container `anonymization`, as exports name it in
    /// `azure.anonymization.config`.
    #[schemars(length(min = 1, max = 512))]
    pub config: String,
    /// The ETag that an export must give together with the path. Default: any ETag, or none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 128))]
    pub etag: Option<String>,
}
