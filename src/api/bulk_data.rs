//! How FHIR Bulk Data servers deviate from each other.

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

macro_rules! choice {
    ($(#[$m:meta])* $name:ident { $($(#[$v:meta])* $variant:ident),+ $(,)? }) => {
        $(#[$m])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
        pub enum $name { $($(#[$v])* $variant),+ }
    };
}

choice!(
    /// Known servers.
    Preset {
        /// Found out from the CapabilityStatement.
        Auto,
        /// HAPI FHIR.
        #[serde(rename = "HAPI")]
        Hapi,
        /// Epic.
        Epic,
        /// Oracle Health (Cerner).
        OracleHealth,
    }
);
choice!(
    /// How the kick-off is sent.
    KickOffMethod {
        /// Found out.
        Auto,
        /// Parameters in the query.
        Get,
        /// Parameters in the body.
        Post,
    }
);
choice!(
    /// How several values of one parameter are sent.
    ListStyle {
        /// Found out.
        Auto,
        /// One parameter, values separated by commas.
        Comma,
        /// The parameter once for each value.
        Repeat,
    }
);
choice!(
    /// Versions of the FHIR Bulk Data specification.
    Version {
        /// Found out.
        Auto,
        /// STU 1.
        #[serde(rename = "STU1")]
        Stu1,
        /// STU 2.
        #[serde(rename = "STU2")]
        Stu2,
        /// STU 3.
        #[serde(rename = "STU3")]
        Stu3,
        /// STU 4.
        #[serde(rename = "STU4")]
        Stu4,
    }
);
choice!(
    /// How a comma inside a type filter is escaped.
    TypeFilterEscape {
        /// Found out.
        Auto,
        /// By a backslash.
        Backslash,
        /// By percent-encoding it twice.
        Percent,
    }
);
choice!(
    /// Found out, yes or no.
    YesNo {
        /// Found out.
        Auto,
        /// Yes.
        Yes,
        /// No.
        No,
    }
);
choice!(
    /// What happens to a job on the server after its files have landed.
    FinishedJobs {
        /// As the preset says.
        Auto,
        /// The server is told to forget it.
        Delete,
        /// It stays.
        Keep,
    }
);

/// How a Bulk Data server deviates. Each member: Auto (default) or a value that is set by hand.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct BulkDataDialect {
    /// Auto, HAPI, Epic or OracleHealth: what is known of a server's ways. Auto goes by the name of its software.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub preset: Option<Preset>,
    /// Auto, Get or Post: whether parameters go in the query or in the body. Auto is Post for STU4 and for lists of
    /// patients, else Get.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kick_off_method: Option<KickOffMethod>,
    /// Auto, Comma or Repeat: how several values of one parameter are sent. Auto is Repeat for STU3 and STU4, but Comma
    /// for HAPI and OracleHealth; else Comma. Wrong, it can lose types in silence.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub list_style: Option<ListStyle>,
    /// Auto, or STU1 to STU4: the version of the specification. Auto is what the server's metadata say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<Version>,
    /// Auto, Backslash or Percent: how a comma inside a type filter is escaped where filters are joined by commas. Auto
    /// is Backslash for Epic, else Percent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub type_filter_escape: Option<TypeFilterEscape>,
    /// Auto, Yes or No: whether the server knows `since`. Auto is No for Epic, else Yes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub supports_since: Option<YesNo>,
    /// Auto, Yes or No: whether the server takes lists of patients (`patient`), so that schedules can export those that joined
    /// a group in full. Auto is Yes for servers whose metadata name STU2 or later, but No for HAPI, Epic and OracleHealth.
    /// With kickOffMethod Get it is No.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub supports_patient: Option<YesNo>,
    /// Auto, Delete or Keep: whether the server is told to forget a job that has ended. Auto is Keep for HAPI, Delete for
    /// Epic, else Delete after success.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub finished_jobs: Option<FinishedJobs>,
}
