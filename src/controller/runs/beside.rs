//! Tasks that run beside the reconcile: the verification and the landing of an attempt.

use std::sync::{Arc, Mutex};

use super::super::lock::locked;
use super::Runs;
use crate::core::landing::LandState;
use crate::core::ledger::Verification;
use crate::ports::EndTask;

/// A task that runs beside the reconcile.
pub(in crate::controller) struct Beside<T> {
    /// The attempt that the task belongs to.
    pub(in crate::controller) attempt: i32,
    /// The progress or result of the task.
    pub(in crate::controller) state: Arc<Mutex<T>>,
    /// Ends the task at its next await point.
    pub(in crate::controller) end: EndTask,
}

impl<T: Clone> Beside<T> {
    /// Returns the state of the task of `attempt`. Removes a task that has ended, and ends one of another attempt.
    fn look(slot: &mut Option<Self>, attempt: i32, runs: impl Fn(&T) -> bool) -> Option<T> {
        let beside = slot.take()?;
        if beside.attempt != attempt {
            (beside.end)();
            return None;
        }
        let state = locked(&beside.state).clone();
        if runs(&state) {
            *slot = Some(beside);
        }
        Some(state)
    }

    pub(super) fn end(slot: &mut Option<Self>) {
        if let Some(beside) = slot.take() {
            (beside.end)();
        }
    }
}

/// Updates the state of a task.
pub(in crate::controller) fn tell<T>(state: &Mutex<T>, now: T) {
    *locked(state) = now;
}

impl Runs {
    /// The state of the verification of a run's attempt, if there is one.
    pub(in crate::controller) fn look_at_verification(
        &self,
        uid: &str,
        attempt: i32,
    ) -> Option<Verification> {
        let mut inner = locked(&self.inner);
        let slot = &mut inner.runs.get_mut(uid)?.verification;
        Beside::look(slot, attempt, |state| matches!(state, Verification::Running { .. }))
    }

    /// Records a verification that was started, and ends an earlier one.
    pub(in crate::controller) fn verification_started(&self, uid: &str, beside: Beside<Verification>) {
        let mut inner = locked(&self.inner);
        let slot = &mut inner.runs.entry(uid.to_owned()).or_default().verification;
        Beside::end(slot);
        *slot = Some(beside);
    }

    /// The state of the landing of a run's attempt, if there is one.
    pub(in crate::controller) fn look_at_landing(&self, uid: &str, attempt: i32) -> Option<LandState> {
        let mut inner = locked(&self.inner);
        let slot = &mut inner.runs.get_mut(uid)?.landing;
        Beside::look(slot, attempt, |state| matches!(state, LandState::Running(_)))
    }

    /// Records a landing that was started, and ends an earlier one.
    pub(in crate::controller) fn landing_started(&self, uid: &str, beside: Beside<LandState>) {
        let mut inner = locked(&self.inner);
        let slot = &mut inner.runs.entry(uid.to_owned()).or_default().landing;
        Beside::end(slot);
        *slot = Some(beside);
    }

    /// Ends the landing of a run, if there is one.
    pub(in crate::controller) fn stop_landing(&self, uid: &str) {
        if let Some(run) = locked(&self.inner).runs.get_mut(uid) {
            Beside::end(&mut run.landing);
        }
    }
}
