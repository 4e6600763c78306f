//! When each server was probed, and the probes that run beside the reconciles.

use std::collections::HashMap;
use std::sync::Mutex;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use super::super::lock::locked;
use crate::core::server::Probe;

/// The probes of all servers.
#[derive(Default)]
pub(in crate::controller) struct Probes(Mutex<Inner>);

#[derive(Default)]
struct Inner {
    /// The last probe of each server, by uid: its generation, when it was probed, and when it is due again.
    done: HashMap<String, (i64, Timestamp, Timestamp)>,
    /// Probes that run or whose findings are not written yet, by the uid of the server: its generation, and
    /// the findings.
    running: HashMap<String, (i64, Option<Probe>)>,
}

/// The state of a server's probe.
pub(in crate::controller) enum Probing {
    /// No probe of the server runs.
    None,
    /// A probe runs beside the reconciles.
    Runs,
    /// The probe is done, with these findings.
    Done(Box<Probe>),
}

impl Probes {
    /// How long the last probe of a server remains valid; `None` if a new one is due.
    pub(in crate::controller) fn due_in(
        &self,
        uid: &str,
        generation: i64,
        now: Timestamp,
    ) -> Option<Duration> {
        let inner = locked(&self.0);
        let probe = inner.done.get(uid);
        // If the clock was set back, the probe would otherwise remain valid for that much longer.
        let (.., due) = probe.filter(|(of, at, due)| *of == generation && *at <= now && *due > now)?;
        Duration::try_from(due.duration_since(now)).ok()
    }

    /// Returns the state of the probe of this generation of a server. Findings are returned only once. Those
    /// of another generation are dropped.
    pub(in crate::controller) fn take(&self, uid: &str, generation: i64) -> Probing {
        let mut inner = locked(&self.0);
        match inner.running.remove(uid) {
            Some((of, Some(probe))) if of == generation => Probing::Done(Box::new(probe)),
            Some((_, Some(_))) | None => Probing::None,
            Some(runs) => {
                inner.running.insert(uid.to_owned(), runs);
                Probing::Runs
            }
        }
    }

    /// Records that a probe of a server begins.
    pub(in crate::controller) fn begins(&self, uid: &str, generation: i64) {
        locked(&self.0).running.insert(uid.to_owned(), (generation, None));
    }

    /// Records that the probe of a server has ended, with its findings. `None` means that the probe panicked.
    pub(in crate::controller) fn ended(&self, uid: &str, generation: i64, found: Option<Probe>) {
        let mut inner = locked(&self.0);
        match found {
            Some(probe) => drop(inner.running.insert(uid.to_owned(), (generation, Some(probe)))),
            None => drop(inner.running.remove(uid)),
        }
    }

    /// Records a probe of a server, which is valid for `wait`.
    pub(in crate::controller) fn done(&self, uid: &str, generation: i64, now: Timestamp, wait: Duration) {
        let due = SignedDuration::try_from(wait).ok().and_then(|wait| now.checked_add(wait).ok());
        locked(&self.0).done.insert(uid.to_owned(), (generation, now, due.unwrap_or(now)));
    }

    /// Drops the probes of servers that no longer exist. A probe that runs is dropped when it ends.
    pub(super) fn retain(&self, alive: impl Fn(&str) -> bool) {
        let mut inner = locked(&self.0);
        inner.done.retain(|uid, _| alive(uid));
        inner.running.retain(|uid, (_, found)| found.is_none() || alive(uid));
    }
}
