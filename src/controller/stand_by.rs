//! Until this replica leads.

use super::live::Live;
use super::operate::ended_by_itself;
use super::wake::Woken;
use crate::cli::Stop;
use crate::cluster::lead::{Leadership, Standing};
use crate::serve::Health;

/// Waits until this replica leads. Until then it is ready if it could lead, and all that changes is known but looked
/// at by the one that does.
pub(super) async fn stand_by<W, C>(
    live: &Live<W, C>,
    health: &Health,
    leadership: &mut Leadership,
    woken: &mut Woken,
) -> Result<(), Stop> {
    let mut standing = leadership.standing();
    let waits = standing != Standing::Leads;
    loop {
        match standing {
            Standing::Unknown(hindrance) => {
                health.not_ready(hindrance.as_deref().unwrap_or("Waiting for the first look at the Lease."));
            }
            Standing::Waiting => health.ready(),
            Standing::Leads => break,
        }
        tokio::select! {
            now = leadership.changed() => {
                standing = now.ok_or_else(|| ended_by_itself("the election"))?;
            }
            () = woken.ignore() => standing = leadership.standing(),
        }
    }
    if waits {
        live.wakes.all(&live.stores);
    }
    live.metrics.leads(true);
    health.ready();
    Ok(())
}
