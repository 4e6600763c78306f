//! The operator's own settings that decisions depend on.

use std::time::Duration;

/// How patient the operator is. Every duration is positive.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tuning {
    /// No poll sooner than this, whatever a server or a `FhirServer` says.
    pub poll_floor: Duration,
    /// No wait between polls or tries longer than this, whatever a `FhirServer` says.
    pub poll_ceiling: Duration,
    /// How long a cancel is tried before it is given up.
    pub cancel_grace: Duration,
    /// How many tries a cancel gets within that time.
    pub cancel_tries: i32,
    /// How long to wait before looking for a job whose kick-off's answer was lost, so that the server has
    /// begun to write; and as long again until the search is given up.
    pub orphan_wait: Duration,
    /// The first delay after a failed attempt; it doubles from try to try.
    pub retry_base: Duration,
    /// The longest delay after a failed attempt.
    pub retry_max: Duration,
    /// How soon to look again for something that is missing in the cluster.
    pub missing_retry: Duration,
    /// The deadline of runs that name none, on servers that name none.
    pub default_deadline: Duration,
    /// How often to look at the container for progress.
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
