//! Ends the pods of runs that have ended or are gone.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use kube::ResourceExt;
use tracing::warn;

use super::live::Live;
use crate::core::export::is_terminal;
use crate::ports::{ObjectStore, Stores, Wire};

/// How often the Jobs are compared with the runs.
const INTERVAL: Duration = Duration::from_mins(1);

/// How soon it looks again while pods are ending.
const ENDING: Duration = Duration::from_secs(5);

/// Ends the pods of runs that have ended or are gone, from time to time, because an operator that was killed may have
/// left some. Never returns.
pub async fn sweep<W: Wire + 'static, C: ObjectStore + 'static>(live: &Arc<Live<W, C>>) {
    let Some(pods) = &live.pods else { return std::future::pending().await };
    loop {
        let mut next = INTERVAL;
        match pods.runs().await {
            Ok(runs) => {
                // The stores are read after the list: a run that is new since then has no pods in it.
                let exports = live.stores.exports().into_iter();
                let going = exports.filter(|export| !export.status.as_ref().is_some_and(is_terminal));
                let going: HashSet<String> = going.filter_map(|export| export.uid()).collect();
                for uid in runs.iter().filter(|uid| !going.contains(*uid)) {
                    match pods.end(uid).await {
                        Ok(true) => {}
                        Ok(false) => next = ENDING,
                        Err(error) => warn!("the pods of a run that has ended cannot be ended yet: {error}"),
                    }
                }
            }
            Err(error) => warn!("the Jobs of landings cannot be listed: {error}"),
        }
        tokio::time::sleep(next).await;
    }
}
