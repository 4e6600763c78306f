//! How FHIR Bulk Data servers answer, by the specification and with known deviations of servers.

use std::time::Duration;

use fhir_export_operator::core::manifest::sha256_hex;
use fhir_export_operator::core::wire::Answer;
use serde_json::{Value, json};

use super::{FILES, Fhir, Job, JobState, SENTINEL, answer, outcome, unknown};
use crate::plan::{Cancels, Ending, Flaw, ServerPlan};
use crate::time::SECOND;

pub(super) fn status(job: &mut Job, plan: &ServerPlan, url: &str, now: i64) -> Answer {
    if job.state == JobState::Gone {
        return unknown();
    }
    if job.works(now) {
        let retry_after = plan.retry_after.and_then(|s| u64::try_from(s).ok()).map(Duration::from_secs);
        let span = (job.ends - job.began).max(1);
        let progress =
            plan.progress.then(|| format!("{}% of Patient/{SENTINEL}-1", (now - job.began) * 100 / span));
        let running = Answer { retry_after, progress, ..answer(202) };
        return if job.separate {
            Answer { status: 200, export_status: Some(202), ..running }
        } else {
            running
        };
    }
    let own = match &job.ending {
        Ending::Fails(code, words) => outcome(*code, "processing", &format!("{words} Patient/{SENTINEL}-1")),
        _ => manifest(job, plan, url, now),
    };
    if job.separate { Answer { export_status: Some(own.status), status: 200, ..own } } else { own }
}

/// Answers with one page of the job's manifest.
fn manifest(job: &mut Job, plan: &ServerPlan, url: &str, now: i64) -> Answer {
    let page: usize = url.rsplit_once("page=").and_then(|(_, page)| page.parse().ok()).unwrap_or(0);
    let all = job.files().len();
    let from = (page * plan.page).min(all);
    let upto = (from + plan.page).min(all);
    let (mut output, mut deleted, mut error) = (Vec::new(), Vec::new(), Vec::new());
    for index in from..upto {
        let entry = entry(job, plan, index, now);
        match job.files().get(index).map(|file| file.type_) {
            Some("deleted") => deleted.push(entry),
            Some("error") => error.push(entry),
            _ => output.push(entry),
        }
    }
    let mut body = json!({"transactionTime": job.stamp.to_string(), "request": job.request,
        "requiresAccessToken": plan.links_last.is_none(), "output": output, "error": error});
    if let Some(members) = body.as_object_mut() {
        if plan.version == 1 {
            // Some of the oldest servers leave this member out.
            members.remove("requiresAccessToken");
        }
        if !deleted.is_empty() {
            members.insert("deleted".into(), deleted.into());
        }
        if upto < all {
            let next = format!("{}/jobs/{}?page={}", Fhir::base(job.server), job.id(), page + 1);
            members.insert("link".into(), json!([{"relation": "next", "url": next}]));
        }
    }
    let content_type = Some("application/json".to_owned());
    Answer { body: body.to_string().into(), content_type, ..answer(200) }
}

fn entry(job: &mut Job, plan: &ServerPlan, index: usize, now: i64) -> Value {
    let Some(file) = job.files().get(index).cloned() else { return Value::Null };
    let (server, id) = (job.server, job.id());
    let fresh = if plan.fresh_paths { format!("{now}/") } else { String::new() };
    let url = match (file.flaw, plan.links_last) {
        (Flaw::Elsewhere, _) => format!("https://elsewhere.example/{server}/{id}/{index}"),
        (_, Some(lasts)) => {
            let until = now / SECOND + lasts;
            format!("{FILES}/{fresh}{server}/{id}/{index}?se={until}&sig={SENTINEL}{until}")
        }
        (_, None) => format!("{}/files/{fresh}{server}/{id}/{index}", Fhir::base(server)),
    };
    let type_ = match file.type_ {
        "deleted" => "Bundle",
        "error" => "OperationOutcome",
        type_ => type_,
    };
    let mut entry = json!({"type": type_, "url": url});
    if let Some(members) = entry.as_object_mut() {
        if plan.counts && type_ != "OperationOutcome" && type_ != "Bundle" {
            members.insert("count".into(), (file.lines + u64::from(file.flaw == Flaw::Miscounted)).into());
        }
        if plan.checksums {
            let sum = sha256_hex(&job.body(index, 0));
            let checksum =
                json!([{"url": "https://x.example/checksum", "valueString": format!("sha256:{sum}")}]);
            members.insert("extension".into(), checksum);
        }
    }
    entry
}

pub(super) fn delete(job: &mut Job, plan: &ServerPlan, now: i64) -> Answer {
    if job.state == JobState::Gone {
        return unknown();
    }
    let finished = !job.works(now);
    match plan.cancels {
        Cancels::Never => answer(405),
        Cancels::Keeps if finished => unknown(),
        Cancels::Slowly if !finished => {
            job.agreed = true;
            answer(202)
        }
        _ => {
            job.state = JobState::Gone;
            job.agreed = true;
            answer(202)
        }
    }
}
