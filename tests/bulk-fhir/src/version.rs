//! The versions of the guide, and what each of them knows.

use serde::{Deserialize, Serialize};

/// A version of the Bulk Data guide.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Version {
    /// 1.0: `GET` only.
    Stu1,
    /// 2.0: also `POST`.
    #[default]
    Stu2,
    /// 3.0: separate export status, linked manifests.
    Stu3,
    /// 4.0 ballot: `POST` only, no comma lists, `outcome` in place of `error`.
    Stu4,
}

impl Version {
    /// The number in canonicals.
    pub fn number(self) -> &'static str {
        match self {
            Self::Stu1 => "1.0.1",
            Self::Stu2 => "2.0.0",
            Self::Stu3 => "3.0.0",
            Self::Stu4 => "4.0.0-ballot",
        }
    }

    pub(crate) fn has_get(self) -> bool {
        self != Self::Stu4
    }

    pub(crate) fn has_post(self) -> bool {
        self != Self::Stu1
    }

    pub(crate) fn has_lists(self) -> bool {
        self != Self::Stu4
    }

    /// The parameters of a kick-off.
    pub(crate) fn knows(self, parameter: &str) -> bool {
        match parameter {
            "_outputFormat" | "_since" | "_type" | "_typeFilter" => true,
            "_elements" | "patient" | "includeAssociatedData" => self >= Self::Stu2,
            "_until" | "organizeOutputBy" | "allowPartialManifests" => self >= Self::Stu3,
            _ => false,
        }
    }

    /// The `value[x]`s of a parameter in the body of a `POST`.
    pub(crate) fn value_names(self, parameter: &str) -> &'static [&'static str] {
        match parameter {
            "_since" | "_until" => &["valueInstant"],
            "patient" => &["valueReference"],
            "allowPartialManifests" => &["valueBoolean"],
            "includeAssociatedData" if self == Self::Stu4 => &["valueCoding"],
            "includeAssociatedData" => &["valueCode", "valueString"],
            _ => &["valueString"],
        }
    }
}

/// Whose name the CapabilityStatement has.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Software {
    /// HAPI FHIR.
    Hapi,
    /// Epic.
    Epic,
    /// Oracle Health, formerly Cerner.
    Cerner,
    /// Nobody's.
    #[default]
    Generic,
    /// Any name and version.
    Named(String, String),
}

impl Software {
    pub(crate) fn name_and_version(&self) -> (&str, &str) {
        match self {
            Self::Hapi => ("HAPI FHIR Server", "8.8.0"),
            Self::Epic => ("Epic", "August 2026"),
            Self::Cerner => ("Oracle Health Millennium Platform", "2026.06"),
            Self::Generic => ("bulk-fhir", "1.0.0"),
            Self::Named(name, version) => (name, version),
        }
    }
}
