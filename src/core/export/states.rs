//! How a run moves from phase to phase.

use super::phase::PhaseName;
#[cfg(test)]
pub(super) type Seen =
    (PhaseName, crate::api::ConditionType, crate::api::ConditionStatus, crate::api::Reason);
