//! The parts of a server's `CapabilityStatement` that the operator reads.

use std::fmt;
use std::marker::PhantomData;

use serde::de::{SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};

use super::bulk::dialect::version_in;
use super::words;
use crate::api::Version;

/// A parsed `CapabilityStatement`.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Capability {
    pub(super) resource_type: String,
    #[serde(default)]
    software: Software,
    #[serde(default)]
    pub(super) fhir_version: Option<String>,
    #[serde(default)]
    instantiates: Kept<String>,
    #[serde(default)]
    implementation_guide: Kept<String>,
    #[serde(default)]
    rest: Kept<Rest>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Rest {
    operation: Kept<Operation>,
    resource: Kept<RestResource>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct RestResource {
    operation: Kept<Operation>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Operation {
    name: String,
    definition: String,
}

/// The largest number of entries that is kept of one list.
const MOST: usize = 1000;

/// The entries of a list that concern exports. A server may list millions of others, which are dropped.
struct Kept<T>(Vec<T>);

/// Tells which entries of a `CapabilityStatement` concern exports.
trait OfExports {
    fn of_exports(&self) -> bool;
}

impl OfExports for String {
    fn of_exports(&self) -> bool {
        self.contains("bulk")
    }
}

impl OfExports for Operation {
    fn of_exports(&self) -> bool {
        self.name.contains("export") || self.definition.contains("bulk")
    }
}

impl OfExports for RestResource {
    fn of_exports(&self) -> bool {
        !self.operation.0.is_empty()
    }
}

impl OfExports for Rest {
    fn of_exports(&self) -> bool {
        !self.operation.0.is_empty() || !self.resource.0.is_empty()
    }
}

impl<T> Default for Kept<T> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<'de, T: Deserialize<'de> + OfExports> Deserialize<'de> for Kept<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct List<T>(PhantomData<T>);
        impl<'de, T: Deserialize<'de> + OfExports> Visitor<'de> for List<T> {
            type Value = Kept<T>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a list")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut entries: A) -> Result<Kept<T>, A::Error> {
                let mut kept = Vec::new();
                while let Some(entry) = entries.next_element::<T>()? {
                    if kept.len() < MOST && entry.of_exports() {
                        kept.push(entry);
                    }
                }
                Ok(Kept(kept))
            }
        }
        deserializer.deserialize_seq(List(PhantomData))
    }
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Software {
    name: String,
    version: Option<String>,
}

/// What a server says of itself and of its exports.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Offered {
    /// Name and version of the software, cleaned by [`words::clean`].
    pub software: String,
    /// The FHIR version.
    pub fhir_version: Option<String>,
    /// The names of the export operations, each once, in alphabetical order.
    pub exports: Vec<String>,
}

/// Reads what a `CapabilityStatement` offers; `None` if the body is something else.
pub fn offered(body: &[u8]) -> Option<Offered> {
    let read: Capability = serde_json::from_slice(body).ok()?;
    if read.resource_type != "CapabilityStatement" {
        return None;
    }
    let mut exports: Vec<String> = read.exports().map(words::clean).collect();
    exports.sort_unstable();
    exports.dedup();
    let fhir_version = read.fhir_version.as_deref().map(words::clean);
    Some(Offered { software: read.software(), fhir_version, exports })
}

impl Capability {
    /// Name and version of the software, cleaned by [`words::clean`].
    pub(super) fn software(&self) -> String {
        let name = if self.software.name.is_empty() { "the server" } else { self.software.name.as_str() };
        let version = self.software.version.as_deref().map(|v| format!(" {v}")).unwrap_or_default();
        words::clean(&format!("{name}{version}")).chars().take(128).collect()
    }

    /// The version of the Bulk Data specification, if the statement names it.
    pub(super) fn version(&self) -> Option<Version> {
        let mut names: Vec<&str> = self.exports().filter(|name| name.starts_with("export")).collect();
        names.sort_unstable();
        names.dedup();
        let canonicals: Vec<&str> = self
            .operations()
            .map(|o| o.definition.as_str())
            .chain(self.instantiates.0.iter().chain(&self.implementation_guide.0).map(String::as_str))
            .collect();
        version_in(&canonicals, &names)
    }

    fn operations(&self) -> impl Iterator<Item = &Operation> {
        let rests = self.rest.0.iter();
        rests.flat_map(|r| r.operation.0.iter().chain(r.resource.0.iter().flat_map(|r| &r.operation.0)))
    }

    /// The names of the operations that concern exports, without a leading `$`.
    fn exports(&self) -> impl Iterator<Item = &str> {
        let names = self.operations().map(|operation| operation.name.trim_start_matches('$'));
        names.filter(|name| name.contains("export"))
    }

    /// Whether the software is Azure's FHIR service, or the open-source server behind it.
    pub(super) fn is_microsoft(&self) -> bool {
        let name = self.software.name.to_ascii_lowercase();
        name.contains("microsoft") || name.contains("azure")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_millions_of_entries_only_those_of_exports_are_kept() {
        let many = |entry: &str| vec![entry; 100_000].join(",");
        let text = format!(
            r#"{{"resourceType":"CapabilityStatement","instantiates":[{},"http://x/bulkdata/y|2.0.0"],
            "rest":[{},{{"operation":[{}],
            "resource":[{},{{"operation":[{{"name":"$export","definition":"d"}}]}}]}}]}}"#,
            many(r#""""#),
            many("{}"),
            many("{}"),
            many(r#"{"operation":[{}]}"#),
        );
        let read: Capability = serde_json::from_str(&text).unwrap();
        assert_eq!(read.version(), Some(Version::Stu2));
        assert_eq!(offered(text.as_bytes()).unwrap().exports, ["export"]);
        assert_eq!(offered(b"{\"resourceType\":\"Patient\"}"), None);
        let Rest { operation, resource } = &read.rest.0[0];
        assert_eq!(
            (read.instantiates.0.len(), read.rest.0.len(), operation.0.len(), resource.0.len()),
            (1, 1, 0, 1)
        );
    }
}
