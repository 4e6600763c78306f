//! Until this replica leads.

use crate::cluster::lead::{Leadership, Standing};
use crate::controller::wake::Woken;
use crate::stop::Stop;

/// Waits until this replica leads; `told` hears of each standing. Until then all that changes is known, and looked at by
/// the one that does: who leads now must look at everything.
pub async fn stand_by(
    leadership: &mut Leadership,
    woken: &mut Woken,
    told: impl Fn(&Standing),
) -> Result<(), Stop> {
    let mut standing = leadership.standing();
    loop {
        told(&standing);
        if standing == Standing::Leads {
            return Ok(());
        }
        tokio::select! {
            biased;
            now = leadership.changed() => {
                standing = now.ok_or_else(|| Stop::ended_by_itself("the election"))?;
            }
            () = woken.ignore() => standing = leadership.standing(),
        }
    }
}
