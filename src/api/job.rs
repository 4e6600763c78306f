//! The jobs of a run on its server, as the status of a `FhirExport` records them.

use jiff::Timestamp;
use kube::KubeSchema;
use serde::{Deserialize, Serialize};

use super::Compression;

/// A job on the server.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct Job {
    /// The server's id of the job.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    /// Where the server answers for the job.
    #[serde(rename = "statusURL", default, skip_serializing_if = "Option::is_none")]
    pub status_url: Option<String>,
    /// Written before the kick-off was sent.
    pub intent_time: Timestamp,
    /// When the server accepted the kick-off.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kick_off_time: Option<Timestamp>,
    /// How far it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub progress: Option<Progress>,
    /// Whether the server agreed to tell the job's status apart from that of its answers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub separate_status: Option<bool>,
    /// Where the files of this job go, as it was decided just before the kick-off was sent. Later edits of the
    /// FhirServer change it for later jobs only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub destination: Option<Destination>,
}

/// Where the files of a job go.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct Destination {
    /// The blob container; absent when an Azure server makes one of its own for the job.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub container: Option<String>,
    /// The folder in it that the operator lands the files in; absent when the server writes the files itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub folder: Option<String>,
    /// The blob endpoint of the storage account that the operator lands the files in; absent when the server writes
    /// the files itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub endpoint: Option<String>,
    /// None or Gzip: how the operator stores the files; absent when the server writes the files itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub compression: Option<Compression>,
}

/// How far a job is: what the server says, else what was seen in the container; then what has landed there.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct Progress {
    /// For people, such as `61 files`, `40%` or `12 of 200 files`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub summary: Option<String>,
    /// Per cent, as the server says it, or of the files that have landed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub percent: Option<i32>,
    /// Files seen so far.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub files: Option<i64>,
    /// Bytes seen so far.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bytes: Option<i64>,
}

/// An earlier attempt.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct PreviousJob {
    /// The server's id of the job.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    /// Where its files lie.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub folder: Option<String>,
    /// When it started.
    pub start_time: Timestamp,
    /// When it ended.
    pub end_time: Timestamp,
    /// Why it ended.
    pub reason: String,
}

/// A job that may still run, unseen.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct UnsettledJob {
    /// Where the server answers for the job, if that is known.
    #[serde(rename = "statusURL", default, skip_serializing_if = "Option::is_none")]
    pub status_url: Option<String>,
    /// When its kick-off was sent.
    pub intent_time: Timestamp,
    /// Why its end is not known.
    pub reason: String,
}
