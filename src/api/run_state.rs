//! `status.state` of a `FhirExport`: one word that tells people what a run is doing.

use serde::{Deserialize, Serialize};

/// The word in `status.state` of a FhirExport. The word is for people; programs use the conditions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum RunState {
    /// The kick-off cannot be sent yet; the conditions say why.
    Waiting,
    /// The server already runs as many exports as its limits admit.
    Queued,
    /// `spec.suspend` of the export or of its server holds the run.
    Suspended,
    /// The operator sends the kick-off.
    Starting,
    /// Nobody knows whether the server started a job.
    Uncertain,
    /// The server works on the job.
    Running,
    /// The operator downloads the server's files into the container.
    Landing,
    /// The operator checks the files that the server wrote.
    Verifying,
    /// The server was asked to cancel the job.
    Cancelling,
    /// The data is complete.
    Complete,
    /// The run ended without success.
    Failed,
    /// The run was cancelled on request.
    Cancelled,
    /// A word that this version of the operator does not know. The operator reads it but never writes it.
    #[serde(other)]
    Unknown,
}

impl RunState {
    /// Every word that the operator writes, in the order in which a run may show them.
    pub const ALL: [Self; 12] = [
        Self::Waiting,
        Self::Queued,
        Self::Suspended,
        Self::Starting,
        Self::Uncertain,
        Self::Running,
        Self::Landing,
        Self::Verifying,
        Self::Cancelling,
        Self::Complete,
        Self::Failed,
        Self::Cancelled,
    ];

    /// The word, as it is stored.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Waiting => "Waiting",
            Self::Queued => "Queued",
            Self::Suspended => "Suspended",
            Self::Starting => "Starting",
            Self::Uncertain => "Uncertain",
            Self::Running => "Running",
            Self::Landing => "Landing",
            Self::Verifying => "Verifying",
            Self::Cancelling => "Cancelling",
            Self::Complete => "Complete",
            Self::Failed => "Failed",
            Self::Cancelled => "Cancelled",
            Self::Unknown => "Unknown",
        }
    }

    /// Whether a run that shows this word has ended.
    pub const fn is_end(self) -> bool {
        match self {
            Self::Complete | Self::Failed | Self::Cancelled => true,
            Self::Waiting
            | Self::Queued
            | Self::Suspended
            | Self::Starting
            | Self::Uncertain
            | Self::Running
            | Self::Landing
            | Self::Verifying
            | Self::Cancelling
            | Self::Unknown => false,
        }
    }
}

impl std::fmt::Display for RunState {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::api::FhirExportStatus;

    #[test]
    fn words_are_stored_as_they_are_shown_and_unknown_ones_are_read() {
        for state in RunState::ALL {
            let status: FhirExportStatus = serde_json::from_value(json!({"state": state.as_str()})).unwrap();
            assert_eq!((status.state, status.state_word()), (Some(state), Some(state.as_str())));
            assert_eq!(serde_json::to_value(&status).unwrap(), json!({"state": state.to_string()}));
        }
        let later: FhirExportStatus = serde_json::from_value(json!({"state": "Dreaming"})).unwrap();
        assert_eq!(later.state, Some(RunState::Unknown));
    }
}
