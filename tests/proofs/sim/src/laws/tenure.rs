//! The laws of which process may act.

use jiff::Timestamp;

use super::Acting;
use crate::election::identity;
use crate::laws::Law;
use crate::state::State;
use crate::time::SECOND;

/// Undisturbed, some replica leads within this time of the last write of the Lease, in microseconds. It is
/// the sum of a request that hangs (3 s / 0.9) and the pause after it, a Lease that expires by the slowest
/// clock (15 s / 0.9), a look (1 s / 0.9), and two requests, each of which takes up to 0.8 s each way.
const VACANT: i64 = 26 * SECOND;
/// The same bound without a holder whose Lease must expire.
const HANDED_OVER: i64 = 9 * SECOND;

impl State {
    /// Checks that a process that has just checked its tenure, and goes on to change something, holds the Lease.
    pub fn check_tenure(&mut self, process: usize) {
        if self.plan.replicas < 2 {
            return;
        }
        let holder = self.election.holder().map(str::to_owned);
        if holder.as_deref() != Some(identity(process).as_str()) {
            self.broken(
                Law::LeaseBeforeAct,
                "who does not hold the Lease does nothing",
                format!("process {process}, {holder:?}"),
            );
        }
        let reigns = &mut self.election.reigns;
        if reigns.last() == Some(&process) {
            return;
        }
        let before = reigns.contains(&process);
        self.tally.takeovers += u64::from(!reigns.is_empty());
        reigns.push(process);
        if before {
            self.broken(
                Law::LeaseBeforeAct,
                "two never act at once",
                format!("process {process} acts after its successor"),
            );
        }
    }

    /// Checks that the election was not without a leader for too long, although a replica could have led.
    pub fn check_vacancy(&mut self, now: i64) {
        let vacant = now - self.election.vacant;
        let most = if self.election.holder().is_none() { HANDED_OVER } else { VACANT };
        if vacant > most {
            self.broken(Law::Liveness, "somebody leads", format!("nobody for {} s", vacant / SECOND));
        }
    }

    /// Whether another process may act by now, after this one sent its request.
    pub(super) fn is_late(&self, process: usize) -> bool {
        let holds = || self.election.holder() == Some(identity(process).as_str());
        !self.alive.contains(&process) || self.plan.replicas > 1 && !holds()
    }

    /// `one-job`: checks, before a kick-off is sent, that the outcome of one by another process is known or
    /// was reported.
    pub(super) fn check_other_kick_off(&mut self, acting: &Acting) {
        let Some(record) = self.laws.records.get(&acting.uid) else { return };
        let open = record.intents.iter().filter(|intent| {
            intent.by.process != acting.process && intent.left.is_some() && !intent.heard && !intent.sent
        });
        let open: Vec<(Timestamp, i64)> =
            open.map(|intent| (intent.time, intent.left.unwrap_or_default())).collect();
        for (time, left) in open {
            if !self.is_told(&acting.uid, time, left) {
                self.broken(
                    Law::OneJob,
                    "two operators never both kick off one run",
                    format!("the intent of {time}"),
                );
            }
        }
    }

    /// `one-job`: checks that a kick-off that arrives when another process may act is still awaited, or was reported.
    pub(super) fn check_late_kick_off(&mut self, acting: &Acting, time: Timestamp, left: i64) {
        self.tally.late += 1;
        let waits = self
            .stored(&acting.uid)
            .and_then(|export| export.status.as_ref()?.job.as_ref())
            .is_some_and(|job| job.intent_time == time);
        if !waits && !self.is_told(&acting.uid, time, left) {
            self.broken(Law::OneJob, "a kick-off that comes late was told", format!("the intent of {time}"));
        }
    }

    /// Whether the status or an event reported that a kick-off may have begun a job.
    fn is_told(&self, uid: &str, time: Timestamp, left: i64) -> bool {
        let Some(record) = self.laws.records.get(uid) else { return false };
        record.lists_intent(time) || record.told_since(left)
    }
}
