//! The election of the replica that works, as the rest of the program sees it.

use std::thread;
use std::time::Duration;

use kube::Config;
use tokio::sync::{oneshot, watch};
use tracing::{info, warn};

use super::campaign::Campaign;
use super::lease::KubeLease;
pub use super::lease_lock::{LeaseKey, LeaseLock, Standing};
use crate::ports::{Clock, SystemClock, Tenure};

/// The time limit for giving the Lease back. If that fails, another replica takes the Lease some seconds later.
const RETURNED_WITHIN: Duration = Duration::from_secs(3);

/// This replica's part in the election.
pub struct Leadership {
    standing: watch::Receiver<Standing>,
    /// Absent if this replica is the only one.
    elected: Option<Elected>,
}

struct Elected {
    leave: oneshot::Sender<()>,
    /// Closed when the Lease is given back, or was not held.
    left: oneshot::Receiver<()>,
}

/// What an election needs.
#[derive(Clone, Debug)]
pub struct Election {
    /// The settings of the client for the API server.
    pub settings: Config,
    /// The Lease that decides it.
    pub lease: LeaseKey,
    /// The tenure that the election extends.
    pub tenure: Tenure,
}

impl Leadership {
    /// The leadership of a replica that is alone: it leads from the start.
    pub fn alone() -> Self {
        Self { standing: watch::channel(Standing::Leads).1, elected: None }
    }

    /// Takes part in an election from now on. A replica that leads keeps the Lease until its tenure ends or until it is
    /// [released](Self::release): dropping this value changes nothing.
    ///
    /// The election runs on a thread of its own, so that the work of a replica that has just taken over cannot delay
    /// the renewal of the Lease.
    pub fn seek(election: Election) -> std::io::Result<Self> {
        let me = identity();
        info!(lease = %election.lease, %me, "standing for election");
        let Election { settings, lease, tenure } = election;
        let (leadership, campaign) = Self::stand(&me, tenure, KubeLease::new(settings, lease), SystemClock);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        thread::Builder::new().name("election".into()).spawn(move || runtime.block_on(campaign))?;
        Ok(leadership)
    }

    /// Takes part in an election that the caller runs by polling the returned future. No other process, and
    /// no earlier one, may ever have the identity `me`.
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

    /// Waits until the standing changes, and returns it. `None` if the election has ended by itself.
    pub async fn changed(&mut self) -> Option<Standing> {
        self.standing.changed().await.ok()?;
        Some(self.standing())
    }

    /// The current standing.
    pub fn standing(&self) -> Standing {
        self.standing.borrow().clone()
    }

    /// Gives the Lease back, so that another replica can take it at once. This process must have stopped acting.
    pub async fn release(self, clock: &impl Clock) {
        let Some(Elected { leave, left }) = self.elected else { return };
        // An election that has ended has nothing to give back.
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

/// An identity that no other process ever has: the host's name, which in a pod is the pod's, and a random number.
fn identity() -> String {
    let host = std::env::var("HOSTNAME").unwrap_or_else(|_| super::NAME.into());
    format!("{host}_{:016x}", rand::random::<u64>())
}
