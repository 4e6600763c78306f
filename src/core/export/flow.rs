//! What a phase answers when it is asked what comes next.

use jiff::Timestamp;

use super::phase::Phase;
use crate::core::effect::Effect;

/// What comes next in a run.
pub(super) enum Flow {
    /// The run is in this phase and does this.
    Do(Phase, Next),
    /// The run has entered this phase, which decides next.
    Became(Phase),
}

/// What a run does next.
pub(super) enum Next {
    /// Perform an effect.
    Perform(Box<Effect>),
    /// Wait until this time, or until something changes.
    WaitUntil(Timestamp),
    /// Do nothing until something changes.
    Rest,
}

impl Next {
    /// Perform an effect.
    pub(super) fn perform(effect: Effect) -> Self {
        Self::Perform(Box::new(effect))
    }

    /// Waits until the earliest of these times.
    pub(super) fn wait_until(moments: &[Option<Timestamp>]) -> Self {
        moments.iter().flatten().min().map_or(Self::Rest, |moment| Self::WaitUntil(*moment))
    }
}
