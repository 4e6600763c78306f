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
    /// The status URL of the job, which the server sent in its answer to the kick-off.
    #[serde(rename = "statusURL", default, skip_serializing_if = "Option::is_none")]
    pub status_url: Option<String>,
    /// When the operator decided to send the kick-off. Written before the kick-off is sent, so that a restart
    /// cannot lose track of a job.
    pub intent_time: Timestamp,
    /// When the server accepted the kick-off.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kick_off_time: Option<Timestamp>,
    /// The progress of the job. Absent until there is some.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub progress: Option<Progress>,
    /// True if the server agreed to report the job's status separately from the HTTP status of its answers
    /// (`separate-export-status`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub separate_status: Option<bool>,
    /// Where the files of this job go. Fixed before the kick-off is sent: later changes of the FhirServer apply
    /// to later jobs only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub destination: Option<Destination>,
}

/// Where the files of a job go.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct Destination {
    /// The container: of the storage account, a directory of the volume, or the bucket or prefix of an S3 store. Absent
    /// when Azure's FHIR service creates one for the job.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub container: Option<String>,
    /// The folder in the container that the operator writes the files to. Absent when the server writes them
    /// itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub folder: Option<String>,
    /// The storage that the operator writes the files to: the blob endpoint of the storage account,
    /// `volume:CLAIM/PATH` or `s3://BUCKET/PREFIX?endpoint=ENDPOINT`. Absent when the server writes them itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub endpoint: Option<String>,
    /// How the operator compresses the files: None or Gzip. Absent when the server writes them itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub compression: Option<Compression>,
}

/// The progress of a job: first of the export on the server, then, with dialect BulkData, of the download.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct Progress {
    /// The progress in a few words for people, such as `61 files`, `40%` or `12 of 200 files`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub summary: Option<String>,
    /// Per cent of the work that is done: as the server reports it or, during the download, of the files.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub percent: Option<i32>,
    /// Number of files in the container so far.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub files: Option<i64>,
    /// Bytes in the container so far.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bytes: Option<i64>,
}

/// The job of an earlier attempt.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct PreviousJob {
    /// The server's id of the job.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    /// The folder of the job's files. Absent if there are none, or if they belong to another export.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub folder: Option<String>,
    /// When the server accepted the kick-off; if that is unknown, when the operator sent it.
    pub start_time: Timestamp,
    /// When the attempt ended.
    pub end_time: Timestamp,
    /// Why the attempt ended, as one of the documented reasons.
    pub reason: String,
}

/// A job that may still run on the server although the operator does not follow it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct UnsettledJob {
    /// The status URL of the job. Absent if it is unknown, since the answer to the kick-off was lost.
    #[serde(rename = "statusURL", default, skip_serializing_if = "Option::is_none")]
    pub status_url: Option<String>,
    /// When the operator decided to send the job's kick-off.
    pub intent_time: Timestamp,
    /// Why the operator does not know how the job ended, in a few words.
    pub reason: String,
}
