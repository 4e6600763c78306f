//! Which folders `spec.retention` deletes: those of chains older than the newest ones that it keeps, if the
//! ledger names them. A folder about which there is any doubt stays, and the schedule says so.

mod deletion;
mod doubt;
mod ledger;
mod proof;

use crate::api::ConditionType;
use crate::core::condition;

use super::turn::Turn;

pub(super) use deletion::{Due, answered, due};
pub(super) use ledger::{from_children, lost, taken_in};

/// Removes the ledger if the spec has no `retention` (any more). From then on nothing records what happens to
/// the folders, so none of them may be deleted later.
pub(super) fn forget_unless_asked(turn: &mut Turn<'_>) {
    if turn.spec().retention.is_none() {
        turn.status.retention = None;
        condition::remove(&mut turn.status.conditions, ConditionType::OldFilesDeleted);
    }
}
