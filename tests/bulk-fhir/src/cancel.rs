//! `DELETE` of a status URL.

use azure_fhir::outcome::Reply;
use jiff::Timestamp;

use crate::job::State;
use crate::script::AfterCancel;
use crate::world::World;

/// Answers a cancel.
pub(crate) fn answer(world: &World, id: &str) -> Reply {
    let mut jobs = world.jobs();
    let Some(job) = jobs.get_mut(id) else {
        return Reply::outcome(404, "not-found", "There is no such job.");
    };
    job.advance();
    job.view.cancel_requests += 1;
    let cancel = job.script.cancel;
    let status = match job.view.state {
        State::Gone => return Reply::outcome(404, "not-found", "The job was deleted."),
        State::Running => cancel.running,
        State::Completed | State::Failed => cancel.finished,
    };
    if status >= 400 {
        return Reply::outcome(
            status,
            if status == 404 { "not-found" } else { "processing" },
            "The job stays.",
        );
    }
    job.view.cancelled_at.get_or_insert_with(Timestamp::now);
    match cancel.after {
        AfterCancel::Gone => job.view.state = State::Gone,
        AfterCancel::Running => job.view.state = State::Running,
        AfterCancel::Readable => {}
    }
    Reply::empty(status)
}
