//! Which replica works, as the rest of the program sees it.

use std::thread;
use std::time::Duration;

use kube::Config;
use tokio::sync::{oneshot, watch};
use tracing::{info, warn};

use super::campaign::Campaign;
pub use super::campaign::LeaseLock;
use super::lease::KubeLease;
use crate::ports::Clock;
use crate::ports::SystemClock;
use crate::ports::Tenure;

/// What giving the Lease back may take: whoever waits for it gets it some seconds later anyhow.
const RETURNED_WITHIN: Duration = Duration::from_secs(3);

/// Where the Lease is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
}

/// Whether this replica works.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Standing {
    /// It has not seen the Lease yet; what hinders it, if anything does.
    Unknown(Option<String>),
    /// Another one works.
    Waiting,
    /// This one works.
    Leads,
}

/// One replica's part in the election.
pub struct Leadership {
    standing: watch::Receiver<Standing>,
    /// Absent where nobody else works.
    elected: Option<Elected>,
}

struct Elected {
    leave: oneshot::Sender<()>,
    /// Closed when there is nothing to give back any more.
    left: oneshot::Receiver<()>,
}

/// What an election needs.
#[derive(Clone, Debug)]
pub struct Election {
    /// How the API server is reached.
    pub settings: Config,
    /// Where the Lease is.
    pub place: Place,
    /// What is told how long this process may act.
    pub tenure: Tenure,
}

impl Leadership {
    /// Of a replica that is alone.
    pub fn alone() -> Self {
        Self { standing: watch::channel(Standing::Leads).1, elected: None }
    }

    /// Of one that takes part in an election from now on. From the moment that it leads it must go on to the end of its
    /// tenure or be released: dropping it changes nothing.
    ///
    /// The election has a thread of its own: whoever takes over begins with everything at once, and must not lose the Lease
    /// over that.
    pub fn seek(election: Election) -> std::io::Result<Self> {
        let me = identity();
        info!(lease = %election.place, %me, "standing for election");
        let Election { settings, place, tenure } = election;
        let (leadership, campaign) = Self::stand(&me, tenure, KubeLease::new(settings, place), SystemClock);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        thread::Builder::new().name("election".into()).spawn(move || runtime.block_on(campaign))?;
        Ok(leadership)
    }

    /// Likewise; what is answered beside it is its part in the election, to be run by the caller. No other process, and no
    /// earlier one, may ever be called `me`.
    pub fn stand<L: LeaseLock, C: Clock>(
        me: &str,
        tenure: Tenure,
        lock: L,
        clock: C,
    ) -> (Self, impl Future<Output = ()> + use<L, C>) {
        let (tell, standing) = watch::channel(Standing::Unknown(None));
        let (leave, leaving) = oneshot::channel();
        let (leaves, left) = oneshot::channel();
        let campaign = Campaign::new(me, tenure, lock, clock, tell);
        let part = async move {
            campaign.run(leaving).await;
            drop(leaves);
        };
        (Self { standing, elected: Some(Elected { leave, left }) }, part)
    }

    /// Completes when the standing is not as it was when this was called last; with none if the election has ended by
    /// itself.
    pub async fn changed(&mut self) -> Option<Standing> {
        self.standing.changed().await.ok()?;
        Some(self.standing())
    }

    /// As it is now.
    pub fn standing(&self) -> Standing {
        self.standing.borrow().clone()
    }

    /// Gives the Lease back, so that another replica takes it at once. This process must have ceased to act.
    pub async fn release(self, clock: &impl Clock) {
        let Some(Elected { leave, left }) = self.elected else { return };
        // Where it has ended there is nothing to give back.
        let _ = leave.send(());
        tokio::select! {
            biased;
            _ = left => {}
            () = clock.sleep(RETURNED_WITHIN) => {
                warn!("the Lease could not be given back: another replica takes it when it has run out");
            }
        }
    }
}

/// No process is called so again: in a pod its name is the host's.
fn identity() -> String {
    let host = std::env::var("HOSTNAME").unwrap_or_else(|_| super::NAME.into());
    format!("{host}_{:016x}", rand::random::<u64>())
}

impl std::fmt::Display for Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", self.namespace, self.name)
    }
}
