//! `GET` of a status URL.

use std::time::Duration;

use crate::failure::Failure;
use crate::fault::Step;
use crate::job::{Job, State};
use crate::manifest;
use crate::outcome::{Answer, Reply};
use crate::routes::Caller;
use crate::script::Life;
use crate::token::Role;
use crate::world::World;

/// The longest that a poll waits for the files of a job whose polls are over.
const WAIT: Duration = Duration::from_secs(30);

/// Answers a poll.
pub(crate) async fn answer(world: &World, caller: &Caller, id: &str) -> Answer {
    if caller.role != Role::Exporter {
        return Reply::forbidden().into();
    }
    let (fault, wait) = {
        let mut jobs = world.jobs();
        let Some(job) = jobs.get_mut(id) else { return Reply::job_not_found(id).into() };
        let fault = Step::take(&mut job.script.status_faults);
        // A poll that never reached the job does not bring it nearer to its end.
        if fault.is_none() {
            job.view.polls += 1;
        }
        let last = matches!(job.script.life, Life::Polls(_)) && job.lived() && !job.cancelled();
        (fault, last.then(|| job.written.subscribe()))
    };
    if let Some(fault) = fault
        && let Some(answer) = world.strike(&fault, &caller.path_and_query()).await
    {
        return answer;
    }
    // Polls are counted so that tests know how many there are; the files must not add to them.
    if let Some(mut written) = wait {
        let _ = tokio::time::timeout(WAIT, written.wait_for(|done| *done)).await;
    }
    let mut jobs = world.jobs();
    let Some(job) = jobs.get_mut(id) else { return Reply::job_not_found(id).into() };
    job.advance();
    job.stop_further();
    match &job.view.state {
        State::Running | State::Stopping { .. } => running(job).into(),
        State::Completed => manifest::reply(job, world.endpoint()).into(),
        State::Failed(failure) => failed(failure).into(),
        State::CancelledEmpty => manifest::empty(job).into(),
        State::Gone => Reply::job_not_found(id).into(),
    }
}

fn failed(failure: &Failure) -> Reply {
    let text = format!("export operation failed for reason: {}", failure.reason());
    Reply::outcome(failure.status(), "processing", &text)
}

/// 202 without a body; Azure sends no headers either.
fn running(job: &Job) -> Reply {
    let reply = Reply::empty(202);
    let Some(progress) = &job.script.progress else { return reply };
    progress.headers(job.view.polls).iter().fold(reply, |reply, (name, value)| reply.header(name, value))
}
