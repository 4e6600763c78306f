//! Decides when the election may stand still, and checks that some replica leads.

use super::{Running, Simulation, Stage};
use crate::election::identity;
use crate::faults::Outage;
use crate::laws::Law;
use crate::plan::Trouble;
use crate::state::locked;

impl Simulation {
    /// Lets the election stand still if nothing stirs in it. Otherwise checks that some replica leads before long.
    pub(super) fn rest(&mut self) {
        let (now, out) = {
            let state = locked(&self.state);
            if state.plan.replicas < 2 || state.election.is_still() {
                return;
            }
            (state.time.now, state.out(Outage::Api))
        };
        let may_act = |running: &Running| !running.process.tenure().left().is_zero();
        // A process that finishes what it began still leads.
        let leads = |running: &Running| {
            matches!(running.stage, Stage::Works | Stage::Drains)
                && may_act(running)
                && running.stopped_until <= now
        };
        let leaders = self.processes.values().filter(|running| leads(running)).count();
        let quiet = self.processes.values().all(|running| leads(running) || !may_act(running));
        let acting: Vec<usize> =
            self.processes.values().filter(|running| may_act(running)).map(|running| running.slot).collect();
        let leaving = self.processes.values().any(|r| matches!(r.stage, Stage::Drains | Stage::Leaves));
        let mut state = locked(&self.state);
        if acting.len() > 1 {
            state.broken(Law::LeaseBeforeAct, "two never may act at once", format!("replicas {acting:?}"));
        }
        let troubled = |slot: usize| state.election.trouble(slot, now).is_some();
        let well = self.processes.values().any(|running| {
            running.stage == Stage::StandsBy && running.stopped_until <= now && !troubled(running.slot)
        });
        let hindered = acting.into_iter().any(troubled);
        // A process whose writes succeed but whose answers are lost holds the Lease, and must not act.
        let deaf = self.processes.iter().any(|(number, running)| {
            let trouble = state.election.trouble(running.slot, now);
            let deaf =
                matches!(trouble, Some(Trouble::AnswersLate | Trouble::AnswersLost | Trouble::Falters));
            deaf && state.election.holder() == Some(identity(*number).as_str())
        });
        let time = state.election.now(now);
        if leaders > 0 || out || deaf || !well {
            state.election.vacant = time;
        } else {
            state.check_vacancy(time);
        }
        let settled = leaders == 1 && !out && !hindered || leaders == 0 && (out || !well);
        if settled && quiet && !leaving && !state.election.is_restless(now) && !state.post.about_lease() {
            state.tell(88, || "the election stands still".to_owned());
            state.election.rest(now);
        }
    }
}
