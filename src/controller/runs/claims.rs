//! Which run each job of a server belongs to.

use std::collections::HashMap;
use std::sync::Mutex;

use super::super::lock::locked;

/// The number of most recent claims that are kept even if their runs are gone.
const MAX_CLAIMS: u64 = 10_000;

/// The jobs that runs of this process have claimed.
#[derive(Default)]
pub(in crate::controller) struct JobClaims(Mutex<Inner>);

#[derive(Default)]
struct Inner {
    /// The uid of the run that a job belongs to and the number of that claim, by server URL and job id.
    of: HashMap<(String, String), (String, u64)>,
    /// The number of claims made so far.
    made: u64,
}

impl JobClaims {
    /// Claims a job for a run. Returns false if another run has claimed it.
    pub(in crate::controller) fn claim(&self, server_url: &str, job_id: &str, uid: &str) -> bool {
        let mut inner = locked(&self.0);
        let key = (server_url.to_owned(), job_id.to_owned());
        let next = inner.made + 1;
        let (owner, nth) = inner.of.entry(key).or_insert_with(|| (uid.to_owned(), next));
        let (ours, new) = (owner == uid, *nth == next);
        if new {
            inner.made = next;
        }
        ours
    }

    /// Drops the claims of runs that no longer exist, except for the most recent ones: the job of a deleted
    /// run is still in the container, and no other run may claim it.
    pub(super) fn retain(&self, alive: impl Fn(&str) -> bool) {
        let mut inner = locked(&self.0);
        let oldest = inner.made.saturating_sub(MAX_CLAIMS);
        inner.of.retain(|_, (owner, nth)| *nth > oldest || alive(owner));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_job_of_a_run_that_is_gone_is_nobody_s() {
        let claims = JobClaims::default();
        assert!(claims.claim("https://x", "1", "one") && claims.claim("https://x", "1", "one"));
        claims.retain(|_| false);
        assert!(!claims.claim("https://x", "1", "two"));
        for job in 0..MAX_CLAIMS {
            assert!(claims.claim("https://y", &job.to_string(), "three"));
        }
        claims.retain(|uid| uid == "three");
        assert!(claims.claim("https://x", "1", "two"), "the oldest is forgotten in the end");
    }
}
