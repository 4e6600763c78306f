//! The loop that takes part in an election, as [`core::lease`](crate::core::lease) decides.

use tokio::sync::{oneshot, watch};
use tracing::{debug, info, warn};

use super::lease_lock::{LeaseLock, Standing};
use crate::core::lease::{CampaignEnd, Contender, LeaseAnswer, LeaseRequest, LeaseStep, Windows};
use crate::ports::{Clock, Tenure};

/// One replica's part in an election.
pub(super) struct Campaign<L, C> {
    contender: Contender,
    tenure: Tenure,
    lock: L,
    clock: C,
    standing: watch::Sender<Standing>,
    trouble: Option<String>,
}

impl<L: LeaseLock, C: Clock> Campaign<L, C> {
    /// Prepares a replica that has not asked for the Lease yet.
    pub(super) fn new(
        me: &str,
        tenure: Tenure,
        lock: L,
        clock: C,
        standing: watch::Sender<Standing>,
    ) -> Self {
        let contender = Contender::new(me, Windows::default());
        Self { contender, tenure, lock, clock, standing, trouble: None }
    }

    /// Takes part in the election until `leaving` asks to give the Lease back and this is done.
    pub(super) async fn run(mut self, mut leaving: oneshot::Receiver<()>) {
        let (mut heard, mut leaves) = (false, false);
        loop {
            match self.contender.decide(self.tenure.now(), self.clock.now()) {
                LeaseStep::Wait(until) => {
                    let wait = until.saturating_sub(self.tenure.now());
                    tokio::select! {
                        biased;
                        told = &mut leaving, if !heard => {
                            heard = true;
                            // The sender may also be dropped without a message, because the process is ending.
                            if told.is_ok() {
                                leaves = true;
                                self.tenure.resign();
                                self.contender.leave();
                            }
                        }
                        () = self.clock.sleep(wait) => {}
                    }
                }
                LeaseStep::End(ending) => self.end(&ending),
                LeaseStep::Left => return,
                LeaseStep::Ask(request) => {
                    let began = self.tenure.now();
                    let answer = self.carry_out(&request).await;
                    let ended = self.tenure.now();
                    debug!(?request, ?answer, took = ?ended.saturating_sub(began), "asked about the Lease");
                    self.contender.learn(&request, answer, began, ended);
                    if !leaves {
                        self.tell();
                    }
                }
            }
        }
    }

    /// Publishes the standing, and extends the tenure of a replica that leads.
    fn tell(&self) {
        let was = self.standing.borrow().clone();
        let new = match (self.contender.until(), self.contender.other()) {
            (Some(until), _) => {
                self.tenure.extend(until);
                Standing::Leads
            }
            (None, Some(_)) => Standing::Waiting,
            (None, None) if matches!(was, Standing::Unknown(_)) => Standing::Unknown(self.trouble.clone()),
            (None, None) => was.clone(),
        };
        if new == was {
            return;
        }
        let lease = self.lock.name();
        match new {
            Standing::Leads => info!(%lease, "this replica leads"),
            Standing::Waiting => {
                info!(%lease, holder = self.contender.other(), "another replica leads: standing by");
            }
            Standing::Unknown(_) => {}
        }
        self.standing.send_replace(new);
    }

    fn end(&self, ending: &CampaignEnd) -> ! {
        match ending {
            CampaignEnd::Lapsed => self.tenure.lapsed(),
            CampaignEnd::Taken(holder) => self.tenure.end(&format!(
                "The operator ends since its Lease {} was taken from it and names {holder}; it must be started again.",
                self.lock.name()
            )),
        }
    }

    async fn carry_out(&mut self, request: &LeaseRequest) -> LeaseAnswer {
        match self.lock.ask(request).await {
            Ok(answer) => {
                self.recovered();
                answer
            }
            Err(trouble) => {
                self.hindered(trouble);
                LeaseAnswer::Failed
            }
        }
    }

    fn hindered(&mut self, trouble: String) {
        self.tenure.hindered(&trouble);
        if self.trouble.is_none() {
            warn!("{trouble}");
        }
        self.trouble = Some(trouble);
    }

    fn recovered(&mut self) {
        if self.trouble.take().is_some() {
            self.tenure.hindered("");
            info!(lease = %self.lock.name(), "the Lease can be reached again");
        }
    }
}
