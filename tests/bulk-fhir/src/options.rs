//! How a server starts.

use std::sync::Arc;
use std::time::Duration;

use azure_fhir::{Patients, TestCa};
use serde::{Deserialize, Serialize};

use crate::access::Access;
use crate::script::Script;
use crate::version::{Software, Version};

/// How a server starts. The default is an open server of version 2 on free ports with the checked-in patients.
#[derive(Debug)]
pub struct Options {
    /// Port for http; 0 is any.
    pub port: u16,
    /// Port for https; 0 is any. There is none without `tls`.
    pub tls_port: u16,
    /// The authority for https.
    pub tls: Option<Arc<TestCa>>,
    /// The version of the guide.
    pub version: Version,
    /// Whose name the server has.
    pub software: Software,
    /// Who may call.
    pub access: Access,
    /// What jobs do for which no other script is queued.
    pub script: Script,
    /// The resources; `None` is [`Patients::checked_in`].
    pub patients: Option<Patients>,
    /// Deviations of the whole server.
    pub quirks: Quirks,
    /// How long every answer takes.
    pub latency: Duration,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            port: 0,
            tls_port: 0,
            tls: None,
            version: Version::default(),
            software: Software::default(),
            access: Access::default(),
            script: Script::default(),
            patients: None,
            quirks: Quirks::default(),
            latency: Duration::ZERO,
        }
    }
}

/// Deviations of a whole server, and rules of its own.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
// Each is a switch of its own.
#[allow(clippy::struct_excessive_bools)]
pub struct Quirks {
    /// HAPI: of a repeated `_type`, only the first value is exported, silently.
    pub comma_only: bool,
    /// Oracle: a repeated `_type` is refused.
    pub repeat_rejected: bool,
    /// HAPI: parameters that it does not know are passed over, silently.
    pub ignores_unknown: bool,
    /// Parameters of the version that this server lacks.
    pub unsupported: Vec<String>,
    /// A kick-off without `Accept` or `Prefer` is taken.
    pub lax_headers: bool,
    /// `Prefer: separate-export-status` is honoured (from version 3 on).
    pub separate_status: SeparateStatus,
    /// Epic: 429 with this `Retry-After`, in seconds, while a job of this client and group runs.
    pub one_job_per_group: Option<u64>,
    /// Requests of one caller.
    pub rate: Option<Rate>,
    /// Searches for the number of resources get 403.
    pub counts_forbidden: bool,
}

/// Whether and how the separate export status is honoured.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum SeparateStatus {
    /// It is not.
    #[default]
    No,
    /// `Preference-Applied` is a list.
    List,
    /// `Preference-Applied` comes twice.
    Repeated,
}

/// A limit of requests of one caller.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Rate {
    /// How many.
    pub requests: usize,
    /// In how many milliseconds.
    pub millis: u64,
}
