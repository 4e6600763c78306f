//! Keeps a status small, whatever a server says: what can be read elsewhere is left out first,
//! then texts are shortened.

use super::deciding::report;
use crate::api::FhirExportStatus;
use crate::core::words;

/// Earlier attempts that the status keeps.
pub(super) const MAX_PREVIOUS: usize = 5;
/// Unsettled jobs that the status keeps.
pub(super) const MAX_UNSETTLED: usize = 8;
/// Largest status, in bytes of JSON.
const MAX_STATUS: usize = 16_000;
/// No text of at most this many bytes is shortened to make room.
const SHORT: usize = 128;

/// Removes what can be read elsewhere until the status is small enough: the manifest lists all types, and
/// the server and the container know earlier jobs. If that is not enough, cuts the longest messages and
/// names that the server chose. `reason` and `message` follow the conditions.
pub(super) fn fit(status: &mut FhirExportStatus) {
    let surplus = status.previous_jobs.len().saturating_sub(MAX_PREVIOUS);
    status.previous_jobs.drain(..surplus);
    let surplus = status.unsettled_jobs.len().saturating_sub(MAX_UNSETTLED);
    status.unsettled_jobs.drain(..surplus);
    report(status);
    while serde_json::to_vec(status).map_or(0, |json| json.len()) > MAX_STATUS {
        let types = status.output.as_mut().map(|output| &mut output.types);
        if let Some(types) = types.filter(|types| !types.is_empty()) {
            types.truncate(types.len() * 3 / 4);
        } else if !status.previous_jobs.is_empty() {
            status.previous_jobs.remove(0);
        } else if status.unsettled_jobs.len() > 1 {
            status.unsettled_jobs.remove(0);
        } else if !shorten(status) {
            return;
        }
    }
}

/// Shortens the longest of the texts that only people read. Returns false if none is longer than [`SHORT`].
fn shorten(status: &mut FhirExportStatus) -> bool {
    let messages = status.conditions.iter_mut().map(|condition| &mut condition.message);
    let output = status.output.as_mut();
    let names = output.map(|o| [o.folder.as_mut(), o.manifest.as_mut().map(|m| &mut m.path)]);
    let longest = messages.chain(names.into_iter().flatten().flatten()).max_by_key(|text| text.len());
    let Some(text) = longest.filter(|text| text.len() > SHORT) else { return false };
    *text = words::cut(text, (text.len() / 2).max(SHORT));
    report(status);
    true
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_status_that_is_full_of_the_server_s_words_still_fits() {
        let condition = |n: usize| {
            let type_ = if n == 0 { "Failed".to_owned() } else { format!("T{n}") };
            json!({"type": type_, "status": "True", "reason": "R", "message": "\"".repeat(1024),
                "lastTransitionTime": "2026-01-01T00:00:00Z"})
        };
        let job = json!({"statusURL": format!("https://x/{}", "j".repeat(2000)), "intentTime": "2026-01-01T00:00:00Z",
            "reason": "r"});
        let previous =
            json!({"startTime": "2026-01-01T00:00:00Z", "endTime": "2026-01-01T00:00:00Z", "reason": "r"});
        let long = "\u{1}".repeat(1024);
        let mut status: FhirExportStatus = serde_json::from_value(json!({
            "state": "Failed", "conditions": (0..12).map(condition).collect::<Vec<_>>(),
            "job": job, "unsettledJobs": vec![job.clone(); 5000], "previousJobs": vec![previous; 5000],
            "server": {"uid": "u", "url": "u".repeat(1024)},
            "output": {"folder": long, "manifest": {"path": long, "sha256": "s"},
                "types": vec![json!({"type": "T".repeat(64), "files": 1}); 5000]},
        }))
        .unwrap();
        fit(&mut status);
        assert!(serde_json::to_vec(&status).unwrap().len() <= MAX_STATUS);
        // What the run needs in order to continue is kept.
        assert_eq!(status.job.as_ref().unwrap().status_url.as_deref(), job["statusURL"].as_str());
        assert_eq!((status.conditions.len(), status.unsettled_jobs.len()), (12, 1));
        assert!(status.conditions.iter().all(|c| !c.message.is_empty()));
        assert_eq!(status.message.as_ref(), Some(&status.conditions[0].message));
        let once = status.clone();
        fit(&mut status);
        assert_eq!(status, once);
    }
}
