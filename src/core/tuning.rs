//! The operator's settings that decisions depend on.

use std::time::Duration;

/// The operator's time limits, intervals and delays. Every duration is positive.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tuning {
    /// The shortest wait before a poll, whatever a server or a `FhirServer` says.
    pub poll_floor: Duration,
    /// The longest wait between polls or tries, whatever a `FhirServer` says.
    pub poll_ceiling: Duration,
    /// How long a cancel is tried before the operator gives up.
    pub cancel_grace: Duration,
    /// How many times a cancel is tried within that time.
    pub cancel_tries: i32,
    /// How long to wait before searching for a job whose kick-off got no answer, so that the server has begun
    /// to write; the search is given up after the same time again.
    pub orphan_wait: Duration,
    /// The delay after the first failed attempt; it doubles with each further one.
    pub retry_base: Duration,
    /// The longest delay after a failed attempt.
    pub retry_max: Duration,
    /// How soon to look again for an object that is missing in the cluster.
    pub missing_retry: Duration,
    /// The deadline of exports if neither they nor their server name one.
    pub default_deadline: Duration,
    /// How often to look at the container for the progress of an export.
    pub progress_interval: Duration,
}

impl Default for Tuning {
    fn default() -> Self {
        Self {
            poll_floor: Duration::from_secs(1),
            poll_ceiling: Duration::from_secs(7200),
            cancel_grace: Duration::from_secs(300),
            cancel_tries: 10,
            orphan_wait: Duration::from_secs(120),
            retry_base: Duration::from_secs(30),
            retry_max: Duration::from_secs(600),
            missing_retry: Duration::from_secs(5),
            default_deadline: Duration::from_secs(7 * 24 * 3600),
            progress_interval: Duration::from_secs(300),
        }
    }
}
