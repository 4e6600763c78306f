//! Names of objects: kind, namespace and name.

use std::fmt;

use serde_json::Value;

/// The kinds that the operator works on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ObjectKind {
    /// `FhirServer`.
    Server,
    /// `FhirExport`.
    Export,
    /// `FhirExportSchedule`.
    Schedule,
}

impl ObjectKind {
    /// Every kind.
    pub const ALL: [Self; 3] = [Self::Server, Self::Export, Self::Schedule];

    /// The name of the kind, as in `kind` of a manifest.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Server => "FhirServer",
            Self::Export => "FhirExport",
            Self::Schedule => "FhirExportSchedule",
        }
    }

    /// The plural, as in paths of the API.
    pub const fn plural(self) -> &'static str {
        match self {
            Self::Server => "fhirservers",
            Self::Export => "fhirexports",
            Self::Schedule => "fhirexportschedules",
        }
    }

    /// The kind of this name.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == name)
    }

    /// The kind with this plural.
    pub fn of_plural(plural: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.plural() == plural)
    }
}

impl fmt::Display for ObjectKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The name of an object among all objects.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key {
    /// The kind.
    pub kind: ObjectKind,
    /// The namespace.
    pub namespace: String,
    /// The name.
    pub name: String,
}

impl Key {
    /// The key of an object that names its kind, its namespace and itself; otherwise `None`.
    pub fn of(object: &Value) -> Option<Self> {
        let text = |pointer| object.pointer(pointer).and_then(Value::as_str).map(str::to_owned);
        Some(Self {
            kind: ObjectKind::named(&text("/kind")?)?,
            namespace: text("/metadata/namespace")?,
            name: text("/metadata/name")?,
        })
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}/{}", self.kind, self.namespace, self.name)
    }
}
