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
    /// Servers whose deviations the operator knows.
    Preset {
        /// Detected from the name of the software in the server's CapabilityStatement.
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
    /// The HTTP method of the kick-off.
    KickOffMethod {
        /// POST where the request needs it or the server speaks STU4, else GET.
        Auto,
        /// GET: parameters go into the query.
        Get,
        /// POST: parameters go into a Parameters resource in the body.
        Post,
    }
);
choice!(
    /// How a parameter with several values is sent.
    ListStyle {
        /// Chosen from the preset and the version of the specification.
        Auto,
        /// One parameter whose values are separated by commas.
        Comma,
        /// The parameter is repeated, once for each value.
        Repeat,
    }
);
choice!(
    /// Versions of the FHIR Bulk Data specification.
    Version {
        /// Taken from the server's CapabilityStatement.
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
        /// Chosen from the preset.
        Auto,
        /// A backslash precedes the comma.
        Backslash,
        /// The comma is percent-encoded twice.
        Percent,
    }
);
choice!(
    /// A capability of the server: detected, or set by hand.
    YesNo {
        /// Detected from the preset and the server's CapabilityStatement.
        Auto,
        /// The server has the capability.
        Yes,
        /// The server lacks the capability.
        No,
    }
);
choice!(
    /// What the operator does with a finished job on the server.
    FinishedJobs {
        /// Chosen from the preset.
        Auto,
        /// The operator sends a DELETE, so that the server forgets the job.
        Delete,
        /// The job stays on the server.
        Keep,
    }
);

/// How a server of dialect BulkData deviates from the specification. Auto, the default of each field, lets
/// the operator choose; set a field by hand when it chooses wrongly.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct BulkDataDialect {
    /// A server product whose deviations the operator knows: Auto (default), HAPI, Epic or OracleHealth. Auto
    /// goes by the name of the software in the server's metadata.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub preset: Option<Preset>,
    /// The HTTP method of the kick-off: Auto (default), Get (parameters in the query) or Post (parameters in
    /// the body). Auto is Post for STU4 and for lists of patients, else Get.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kick_off_method: Option<KickOffMethod>,
    /// How a parameter with several values is sent: Auto (default), Comma (one parameter, values separated by
    /// commas) or Repeat (the parameter once for each value). Auto is Comma for HAPI and OracleHealth, Repeat
    /// for other servers of STU3 and STU4, else Comma. With the wrong style a server may export only some of
    /// the types without saying so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub list_style: Option<ListStyle>,
    /// The version of the Bulk Data specification: Auto (default), STU1, STU2, STU3 or STU4. Auto takes the
    /// version that the server's metadata name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<Version>,
    /// How a comma inside a type filter is escaped when several filters are joined by commas: Auto (default),
    /// Backslash or Percent. Auto is Backslash for Epic, else Percent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub type_filter_escape: Option<TypeFilterEscape>,
    /// Whether the server supports `since`: Auto (default), Yes or No. Auto is No for Epic, else Yes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub supports_since: Option<YesNo>,
    /// Whether the server accepts lists of patients (`patient`), which schedules need to export patients that
    /// newly joined a group in full: Auto (default), Yes or No. Auto is Yes for servers whose metadata name
    /// STU2 or later, but No for HAPI, Epic and OracleHealth. It is always No with kickOffMethod Get.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub supports_patient: Option<YesNo>,
    /// Whether the operator tells the server to forget a job that has ended: Auto (default), Delete or Keep.
    /// Auto is Keep for HAPI, Delete for Epic, and for other servers Delete after success and Keep after
    /// failure.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub finished_jobs: Option<FinishedJobs>,
}
