//! Waits for leadership.

use super::operate::ended_unexpectedly;
use super::wake::Woken;
use crate::cli::Stop;
use crate::cluster::lead::{Leadership, Standing};

/// Waits until this replica leads. Calls `report` with each standing. Wakes are discarded until then, because
/// the leader acts on them; so once this replica leads it must reconcile every object.
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
                standing = now.ok_or_else(|| ended_unexpectedly("the election"))?;
            }
            () = woken.ignore() => standing = leadership.standing(),
        }
    }
}
