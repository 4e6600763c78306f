//! Waits for leadership.

use crate::cluster::lead::{Leadership, Standing};
use crate::controller::wake::Woken;
use crate::stop::Stop;

/// Waits until this replica leads. Calls `report` with each standing. Wakes are discarded until then, because
/// the leader acts on them, so this replica must reconcile every object once it leads.
pub async fn stand_by(
    leadership: &mut Leadership,
    woken: &mut Woken,
    report: impl Fn(&Standing),
) -> Result<(), Stop> {
    let mut standing = leadership.standing();
    loop {
        report(&standing);
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
