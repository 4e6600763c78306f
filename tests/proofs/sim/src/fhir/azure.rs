//! How Azure's servers answer (docs/azure-behaviour.md).

use fhir_export_operator::core::wire::Answer;
use serde_json::{Value, json};

use super::{Fhir, Job, JobState, SENTINEL, answer, outcome, unknown};
use crate::plan::{Cancels, Ending, Flaw, ServerPlan};
use crate::time::SECOND;

/// How long older builds report a cancelled job as running.
const STOPPING: i64 = 30 * SECOND;

pub(super) fn status(job: &Job, now: i64) -> Answer {
    match (job.state, &job.ending) {
        (JobState::Gone, _) | (_, Ending::Forgotten) if job.ends <= now || job.state == JobState::Gone => {
            unknown()
        }
        (JobState::Cancelled(at), _) if now < at + STOPPING => answer(202),
        (JobState::Cancelled(_), _) => manifest(job, &json!([])),
        _ if job.works(now) => answer(202),
        (_, Ending::Fails(code, words)) => failed(*code, words),
        _ => manifest(job, &listed(job)),
    }
}

fn failed(code: u16, words: &str) -> Answer {
    let text = format!("export operation failed for reason: {words} Patient/{SENTINEL}-1");
    outcome(code, "processing", &text)
}

fn listed(job: &Job) -> Value {
    let container = job.place().0;
    let entry = |(index, file): (usize, &crate::plan::FilePlan)| {
        let count = file.lines + u64::from(file.flaw == Flaw::Miscounted);
        json!({"type": file.type_, "url": Fhir::blob_url(&container, &job.blob(index)), "count": count})
    };
    job.files().iter().enumerate().map(entry).collect()
}

fn manifest(job: &Job, output: &Value) -> Answer {
    let body = json!({"transactionTime": job.stamp.to_string(), "request": job.request, "requiresAccessToken": false,
        "output": output, "error": [], "issues": []});
    let content_type = Some("application/json".to_owned());
    Answer { body: body.to_string().into(), content_type, ..answer(200) }
}

pub(super) fn delete(job: &mut Job, plan: &ServerPlan, now: i64) -> Answer {
    if job.state == JobState::Gone {
        return unknown();
    }
    let finished = !job.works(now);
    match plan.cancels {
        Cancels::Empties500 if finished => outcome(500, "exception", "An unhandled exception occurred."),
        Cancels::Empties409 if finished => {
            outcome(409, "conflict", "Bulk update operation has already completed")
        }
        Cancels::Empties500 | Cancels::Empties409 => {
            job.state = JobState::Cancelled(now);
            job.agreed = true;
            answer(202)
        }
        Cancels::Slowly => {
            job.agreed = true;
            answer(202)
        }
        Cancels::Never => answer(503),
        Cancels::Forgets | Cancels::Keeps => {
            job.state = JobState::Gone;
            job.agreed = true;
            answer(202)
        }
    }
}
