//! `DELETE` of a status URL, by the age of the service's build.

use jiff::Timestamp;

use crate::fault::Step;
use crate::job::State;
use crate::outcome::{Answer, Reply};
use crate::routes::Caller;
use crate::script::CancelProfile;
use crate::token::Role;
use crate::world::World;

/// Answers a cancel. Files are never deleted.
pub(crate) async fn answer(world: &World, caller: &Caller, id: &str) -> Answer {
    if caller.role != Role::Exporter {
        return Reply::forbidden().into();
    }
    let fault = {
        let mut jobs = world.jobs();
        let Some(job) = jobs.get_mut(id) else { return Reply::job_not_found(id).into() };
        job.view.cancel_requests += 1;
        Step::take(&mut job.script.cancel_faults)
    };
    if let Some(fault) = fault
        && let Some(answer) = world.strike(&fault, &caller.path_and_query()).await
    {
        return answer;
    }
    let mut jobs = world.jobs();
    let Some(job) = jobs.get_mut(id) else { return Reply::job_not_found(id).into() };
    job.advance();
    if job.view.state == State::Gone {
        return Reply::job_not_found(id).into();
    }
    let finished = matches!(job.view.state, State::Completed | State::Failed(_) | State::CancelledEmpty);
    let next = match (job.script.cancel, finished) {
        (CancelProfile::Slow { polls }, false) => State::Stopping { polls },
        (CancelProfile::Build2026, _) | (CancelProfile::Slow { .. }, true) => State::Gone,
        (_, false) => State::Stopping { polls: 1 },
        (CancelProfile::Build2022, true) => return Reply::empty(409).into(),
        (CancelProfile::Build2025, true) => {
            return Reply::outcome(409, "conflict", "Bulk update operation has already completed").into();
        }
        (CancelProfile::Buggy, true) => {
            return Reply::outcome(500, "exception", "There was an error processing your request.").into();
        }
    };
    // A second DELETE while the job stops does not make it run longer.
    if !matches!(job.view.state, State::Stopping { .. }) {
        job.view.state = next;
    }
    job.view.cancelled_at.get_or_insert_with(Timestamp::now);
    Reply::empty(202).into()
}
