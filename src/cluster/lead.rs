//! Which replica works, as the rest of the program sees it.

use std::thread;
use std::time::Duration;

use kube::Config;
use tokio::sync::{oneshot, watch};
use tracing::{info, warn};

use super::campaign::Campaign;
use crate::controller::tenure::Tenure;

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
        let (tell, standing) = watch::channel(Standing::Unknown(None));
        let (leave, leaving) = oneshot::channel();
        let (leaves, left) = oneshot::channel();
        let me = identity();
        info!(lease = %election.place, %me, "standing for election");
        let campaign = Campaign::new(&me, election, tell);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        thread::Builder::new().name("election".into()).spawn(move || {
            runtime.block_on(campaign.run(leaving));
            drop(leaves);
        })?;
        Ok(Self { standing, elected: Some(Elected { leave, left }) })
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
    pub async fn release(self) {
        let Some(Elected { leave, left }) = self.elected else { return };
        // Where it has ended there is nothing to give back.
        let _ = leave.send(());
        if tokio::time::timeout(RETURNED_WITHIN, left).await.is_err() {
            warn!("the Lease could not be given back: another replica takes it when it has run out");
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
