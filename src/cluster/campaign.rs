//! The loop around [`core::lease`](crate::core::lease).

use tokio::sync::{oneshot, watch};
use tracing::{debug, info, warn};

use super::lead::{Place, Standing};
use crate::core::lease::{Answer, Ask, Candidate, Ending, Windows};
use crate::ports::Clock;
use crate::ports::Tenure;

/// The Lease at the API server.
pub trait LeaseLock: Send {
    /// Where it is.
    fn place(&self) -> &Place;
    /// Reads or writes it, within [`Windows::request`]; else what hinders it, in a sentence.
    fn ask(&mut self, ask: &Ask) -> impl Future<Output = Result<Answer, String>> + Send;
}

/// One replica's part in an election.
pub(super) struct Campaign<L, C> {
    candidate: Candidate,
    tenure: Tenure,
    lock: L,
    clock: C,
    standing: watch::Sender<Standing>,
    trouble: Option<String>,
}

impl<L: LeaseLock, C: Clock> Campaign<L, C> {
    /// Nothing asked yet.
    pub(super) fn new(
        me: &str,
        tenure: Tenure,
        lock: L,
        clock: C,
        standing: watch::Sender<Standing>,
    ) -> Self {
        let candidate = Candidate::new(me, Windows::default());
        Self { candidate, tenure, lock, clock, standing, trouble: None }
    }

    /// Until the Lease is given back, after `leaving` said so.
    pub(super) async fn run(mut self, mut leaving: oneshot::Receiver<()>) {
        let (mut heard, mut leaves) = (false, false);
        loop {
            match self.candidate.decide(self.tenure.now(), self.clock.now()) {
                Ask::Wait(until) => {
                    let wait = until.saturating_sub(self.tenure.now());
                    tokio::select! {
                        biased;
                        told = &mut leaving, if !heard => {
                            heard = true;
                            // The other end may have gone without a word: the process is ending.
                            if told.is_ok() {
                                leaves = true;
                                self.tenure.resign();
                                self.candidate.leave();
                            }
                        }
                        () = self.clock.sleep(wait) => {}
                    }
                }
                Ask::End(ending) => self.end(&ending),
                Ask::Left => return,
                ask => {
                    let began = self.tenure.now();
                    let answer = self.carry_out(&ask).await;
                    let ended = self.tenure.now();
                    debug!(?ask, ?answer, took = ?ended.saturating_sub(began), "asked about the Lease");
                    self.candidate.learn(&ask, answer, began, ended);
                    if !leaves {
                        self.tell();
                    }
                }
            }
        }
    }

    /// Tells what has been learned.
    fn tell(&self) {
        let was = self.standing.borrow().clone();
        let new = match (self.candidate.until(), self.candidate.other()) {
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
        let lease = self.lock.place();
        match new {
            Standing::Leads => info!(%lease, "this replica leads"),
            Standing::Waiting => {
                info!(%lease, holder = self.candidate.other(), "another replica leads: standing by");
            }
            Standing::Unknown(_) => {}
        }
        self.standing.send_replace(new);
    }

    fn end(&self, ending: &Ending) -> ! {
        match ending {
            Ending::Lapsed => self.tenure.lapsed(),
            Ending::Taken(holder) => self.tenure.end(&format!(
                "The operator ends since its Lease {} was taken from it and names {holder}; it must be started again.",
                self.lock.place()
            )),
        }
    }

    async fn carry_out(&mut self, ask: &Ask) -> Answer {
        match self.lock.ask(ask).await {
            Ok(answer) => {
                self.recovered();
                answer
            }
            Err(trouble) => {
                self.hindered(trouble);
                Answer::Failed
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
            info!(lease = %self.lock.place(), "the Lease can be reached again");
        }
    }
}
