//! What a server may be used for.

use kube::KubeSchema;
use serde::{Deserialize, Serialize};

use super::Level;

/// What a server may be used for: a member that is present restricts.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct Allow {
    /// Levels that may be exported.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 3))]
    pub levels: Option<Vec<Level>>,
    /// Groups that may be exported; `*` stands for any characters. Denies levels System and Patient.
    #[serde(rename = "groupIDs", default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 256), inner(length(min = 1, max = 64)))]
    pub group_ids: Option<Vec<String>>,
    /// Resource types that may be exported. A run must then name its `types`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 160), inner(length(min = 1, max = 64)))]
    pub types: Option<Vec<String>>,
    /// Containers that may be written to; `*` stands for any characters. A run must then name its `container`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 256), inner(length(min = 1, max = 63)))]
    pub containers: Option<Vec<String>>,
    /// Names that may be used in `parameters`. Once `allow` is present, none but these.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 64), inner(length(min = 1, max = 64)))]
    pub parameters: Option<Vec<String>>,
    /// Values that may be used in `includeAssociatedData`. Once `allow` is present, none but these.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 16), inner(length(min = 1, max = 64)))]
    pub associated_data: Option<Vec<String>>,
    /// Search parameters that may be used in `typeFilters` although they identify people, such as
    /// `identifier`. Once `allow` is present, none of those but these.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 64), inner(length(min = 1, max = 64)))]
    pub search_parameters: Option<Vec<String>>,
    /// Whether and how exports must be de-identified.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub anonymization: Option<AllowedAnonymization>,
}

/// Whether and how exports must be de-identified.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
pub struct AllowedAnonymization {
    /// Every export must be de-identified.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub required: Option<bool>,
    /// The configurations that may be used. Default: any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 32))]
    pub configs: Option<Vec<AllowedConfig>>,
}

/// A configuration that may be used.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
pub struct AllowedConfig {
    /// Its path.
    #[schemars(length(min = 1, max = 512))]
    pub config: String,
    /// The ETag that a run must give with it. Default: any or none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 128))]
    pub etag: Option<String>,
}
