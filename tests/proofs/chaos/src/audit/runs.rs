//! The audit of runs: each ended as it must, and did not change afterwards.

use super::Findings;
use crate::record::{Act, Export, Must, Records};

/// The largest allowed size of a status, in bytes.
const MOST_STATUS: usize = 16 << 10;

pub(super) fn look(records: &Records, findings: &mut Findings) {
    for export in &records.exports {
        let name = &export.name;
        if export.uid.is_none() {
            findings.broken.push(format!("{name} was never made"));
            continue;
        }
        if export.there && export.deleting {
            findings.undeleted.push(format!("{name} is still being deleted"));
        } else if export.there && export.act.deletes() {
            findings.broken.push(format!("{name} is there, though it was to be deleted"));
        }
        if !export.there && !export.act.deletes() {
            findings.broken.push(format!("{name} is gone, and nobody deleted it"));
        }
        if export.changed_after_end {
            findings.broken.push(format!("the status of {name} changed after its end"));
        }
        let bytes = serde_json::to_vec(&export.status).map_or(0, |json| json.len());
        if bytes > MOST_STATUS {
            findings.broken.push(format!("the status of {name} has {bytes} bytes"));
        }
        if export.there
            && let Some((end, reason)) = export.end()
            && !may_end(export, end, reason)
        {
            findings.broken.push(format!("{name} ended as {end}, reason {reason}, which it must not"));
        }
    }
}

fn may_end(export: &Export, end: &str, reason: &str) -> bool {
    let uncertain = export.told.iter().any(|told| told.reason == "KickOffUncertain");
    match (end, reason) {
        ("Failed", "Cancelled" | "CancelUnconfirmed") => export.act == Act::Cancel,
        ("Failed", "DeadlineExceeded") => export.deadline,
        // A job that the operator adopted turned out to belong to another export, which it reported. This is correct.
        ("Failed", "JobNotOurs") => uncertain,
        ("Failed", _) => matches!(export.must, Must::Fail | Must::Either),
        ("Complete", _) => {
            let (checked, why) = export.condition("Verified").unwrap_or((false, "Absent"));
            matches!(export.must, Must::Complete | Must::Either) && (checked || why == "PartlyChecked")
        }
        _ => false,
    }
}
