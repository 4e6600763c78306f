//! A server's `CapabilityStatement`, as far as the operator reads it.

use serde::Deserialize;

use super::bulk::dialect::version_in;
use super::words;
use crate::api::Version;

/// What a server says of itself.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Capability {
    pub(super) resource_type: String,
    #[serde(default)]
    software: Software,
    #[serde(default)]
    pub(super) fhir_version: Option<String>,
    #[serde(default)]
    instantiates: Vec<String>,
    #[serde(default)]
    implementation_guide: Vec<String>,
    #[serde(default)]
    rest: Vec<Rest>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Rest {
    operation: Vec<Operation>,
    resource: Vec<RestResource>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct RestResource {
    operation: Vec<Operation>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Operation {
    name: String,
    definition: String,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Software {
    name: String,
    version: Option<String>,
}

impl Capability {
    /// Name and version of the software, cleaned.
    pub(super) fn software(&self) -> String {
        let name = if self.software.name.is_empty() { "the server" } else { self.software.name.as_str() };
        let version = self.software.version.as_deref().map(|v| format!(" {v}")).unwrap_or_default();
        words::clean(&format!("{name}{version}")).chars().take(128).collect()
    }

    /// The version of the Bulk Data specification, if it says so.
    pub(super) fn version(&self) -> Option<Version> {
        let operations = || {
            self.rest
                .iter()
                .flat_map(|r| r.operation.iter().chain(r.resource.iter().flat_map(|r| &r.operation)))
        };
        let mut names: Vec<&str> = operations()
            .map(|o| o.name.trim_start_matches('$'))
            .filter(|n| n.starts_with("export"))
            .collect();
        names.sort_unstable();
        names.dedup();
        let canonicals: Vec<&str> = operations()
            .map(|o| o.definition.as_str())
            .chain(self.instantiates.iter().chain(&self.implementation_guide).map(String::as_str))
            .collect();
        version_in(&canonicals, &names)
    }

    /// Whether it is Azure's, or the open-source server behind it.
    pub(super) fn is_microsoft(&self) -> bool {
        let name = self.software.name.to_ascii_lowercase();
        name.contains("microsoft") || name.contains("azure")
    }
}
