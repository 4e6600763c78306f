//! Tests that each figure can be other than zero: records without findings are changed in one point at a time.
#![allow(clippy::unwrap_used, clippy::indexing_slicing)] // a test fails by panicking

use serde_json::{Value, json};

use super::{Findings, audit, fates};
use crate::record::{Act, Blob, End, Export, File, Job, Must, Records, Store, Told};

fn condition(type_: &str, reason: &str) -> Value {
    json!({ "type": type_, "status": "True", "reason": reason, "message": "",
        "lastTransitionTime": "2026-01-01T00:00:00Z" })
}

fn file(name: &str, sha256: &str) -> File {
    File { name: name.into(), sha256: sha256.into() }
}

fn blob(name: &str, sha256: &str) -> Blob {
    Blob { store: Store::Account, container: "lake".into(), name: name.into(), sha256: sha256.into() }
}

fn told(reason: &str, note: &str) -> Told {
    Told { reason: reason.into(), note: note.into() }
}

fn job(id: &str, export: u32, end: End) -> Job {
    Job {
        id: id.into(),
        export: Some(export),
        made: i64::from(export),
        end,
        cancel_requests: 0,
        cancelled: false,
        container: None,
        files: Vec::new(),
    }
}

/// Records without findings: a complete export whose files the operator landed, and one whose server wrote them.
fn well() -> Records {
    let export = |number: u32, lands: bool, folder: &str| Export {
        number,
        name: format!("chaos/e{number}"),
        lands,
        must: Must::Complete,
        deadline: false,
        act: Act::Wait,
        spoiled: false,
        uid: Some(format!("uid0000{number}-rest")),
        there: true,
        deleting: false,
        status: serde_json::from_value(json!({
            "conditions": [condition("Complete", "Exported"), condition("Verified", "CountsMatch")],
            "completionTime": "2026-01-01T00:00:00Z",
            "job": { "id": format!("j{number}"), "statusURL": format!("http://x/j{number}"),
                "intentTime": "2026-01-01T00:00:00Z" },
            "output": { "container": "lake", "folder": folder, "files": 2,
                "manifest": { "path": "manifest.json", "sha256": "m" } },
        }))
        .unwrap(),
        changed_after_end: false,
        told: Vec::new(),
    };
    let landed = Job {
        files: vec![file("Patient-1.ndjson", "a"), file("error/OperationOutcome-1.ndjson", "b")],
        ..job("j1", 1, End::Completed)
    };
    let written = Job {
        container: Some("lake".into()),
        files: vec![file("time-j2/Patient-1.ndjson", "c"), file("time-j2/Claim-1.ndjson", "d")],
        ..job("j2", 2, End::Completed)
    };
    Records {
        exports: vec![export(1, true, "time-uid00001"), export(2, false, "time-j2")],
        jobs: vec![landed, written],
        blobs: vec![
            blob("time-uid00001/Patient-1.ndjson", "a"),
            blob("time-uid00001/error/OperationOutcome-1.ndjson", "b"),
            blob("time-uid00001/manifest.json", "m"),
            blob("time-j2/Patient-1.ndjson", "c"),
            blob("time-j2/Claim-1.ndjson", "d"),
            blob("time-j2/manifest.json", "m"),
        ],
        ..Records::default()
    }
}

/// Changes the first export into one whose job runs, or may run.
fn running(records: &mut Records) -> &mut Export {
    records.jobs[0].end = End::Running;
    records.jobs[0].files.clear();
    records.blobs.retain(|blob| !blob.name.starts_with("time-uid"));
    let export = &mut records.exports[0];
    export.status.conditions.clear();
    export.status.completion_time = None;
    export
}

/// Changes the first export into one that was deleted by `act`.
fn gone(records: &mut Records, act: Act) -> &mut Export {
    let export = running(records);
    (export.act, export.there) = (act, false);
    export
}

fn failed(export: &mut Export, reason: &str) {
    export.status = serde_json::from_value(json!({
        "conditions": [condition("Failed", reason)],
        "completionTime": "2026-01-01T00:00:00Z",
        "job": { "id": "j1", "statusURL": "http://x/j1", "intentTime": "2026-01-01T00:00:00Z" },
    }))
    .unwrap();
}

/// The number of findings of each kind after a change, in the order of the table.
fn found(change: impl FnOnce(&mut Records)) -> [usize; 8] {
    let mut records = well();
    change(&mut records);
    audit(&records).kinds().map(|(_, found)| found.len())
}

#[test]
fn where_all_is_well_nothing_is_found() {
    assert_eq!(audit(&well()), Findings::default());
    assert!(audit(&well()).none());
    assert_eq!(fates(&well()).into_iter().collect::<Vec<_>>(), [("Complete: Exported".to_owned(), 2)]);
}

#[test]
fn an_export_that_does_not_end_is_a_lost_job() {
    let not_ended = |records: &mut Records| {
        running(records);
        records.jobs[0].end = End::Failed;
    };
    assert_eq!(found(not_ended), [1, 0, 0, 0, 0, 0, 0, 0]);
}

#[test]
fn a_job_that_its_export_knows_nothing_of_is_lost() {
    let unknown = |records: &mut Records| records.jobs.insert(0, job("other", 1, End::Failed));
    assert_eq!(found(unknown), [1, 0, 0, 0, 0, 0, 0, 0]);
}

#[test]
fn a_job_that_is_said_to_be_lost_and_is_there_is_lost() {
    let denied = |records: &mut Records| {
        running(records);
        records.exports[0].must = Must::Fail;
        failed(&mut records.exports[0], "JobLost");
        records.jobs[0].end = End::Completed;
    };
    assert_eq!(found(denied), [1, 0, 0, 0, 0, 0, 0, 0]);
    let truly = |records: &mut Records| {
        denied(records);
        records.jobs[0].end = End::Gone;
    };
    assert_eq!(found(truly), [0; 8]);
}

#[test]
fn a_job_that_outlives_its_export_untold_is_leaked() {
    for act in [Act::Delete, Act::DeleteNamespace] {
        assert_eq!(found(|records| _ = gone(records, act)), [0, 1, 0, 0, 0, 0, 0, 0]);
        for note in ["the cancel of job j1 was not confirmed", "the cancel of job j7 was not confirmed"] {
            let unconfirmed =
                |records: &mut Records| gone(records, act).told.push(told("CancelUnconfirmed", note));
            let leaked = usize::from(!note.contains("j1"));
            assert_eq!(found(unconfirmed), [0, leaked, 0, 0, 0, 0, 0, 0], "{note}");
        }
    }
    assert_eq!(found(|records| _ = gone(records, Act::Abandon)), [0; 8], "its owner wished that");
}

#[test]
fn a_job_that_runs_beside_its_ended_export_is_leaked_unless_the_status_names_it() {
    let ended = |records: &mut Records| {
        running(records);
        records.exports[0].must = Must::Fail;
        failed(&mut records.exports[0], "StatusRefused");
    };
    assert_eq!(found(ended), [0, 1, 0, 0, 0, 0, 0, 0]);
    let named = |records: &mut Records| {
        ended(records);
        records.exports[0].status.unsettled_jobs = serde_json::from_value(json!([
            { "statusURL": "http://x/j1", "intentTime": "2026-01-01T00:00:00Z", "reason": "" },
        ]))
        .unwrap();
    };
    assert_eq!(found(named), [0; 8]);
}

#[test]
fn a_second_job_beside_a_first_is_doubled_unless_it_was_told() {
    let second = |end: End| {
        move |records: &mut Records| {
            records.jobs.insert(0, Job { made: 0, ..job("first", 1, end) });
        }
    };
    assert_eq!(found(second(End::Running)), [1, 1, 1, 0, 0, 0, 0, 0], "lost and leaked, too");
    assert_eq!(found(second(End::Completed)), [1, 0, 1, 0, 0, 0, 0, 0]);
    let uncertain = |records: &mut Records| {
        second(End::Running)(records);
        records.exports[0].status.unsettled_jobs =
            serde_json::from_value(json!([{ "intentTime": "2026-01-01T00:00:00Z", "reason": "" }])).unwrap();
    };
    assert_eq!(found(uncertain), [0; 8]);
    let retired = |records: &mut Records| {
        second(End::Failed)(records);
        records.exports[0].status.previous_jobs =
            serde_json::from_value(json!([{ "id": "first", "reason": "",
            "startTime": "2026-01-01T00:00:00Z", "endTime": "2026-01-01T00:00:00Z" }]))
            .unwrap();
    };
    assert_eq!(found(retired), [0; 8]);
    let two_and_one_told = |records: &mut Records| {
        uncertain(records);
        records.jobs.insert(1, Job { made: 0, ..job("other", 1, End::Running) });
    };
    assert_eq!(found(two_and_one_told), [1, 1, 1, 0, 0, 0, 0, 0]);
}

#[test]
fn a_file_that_is_absent_or_another_is_missing() {
    for n in [0, 1, 2, 3, 4, 5] {
        assert_eq!(found(|records| drop(records.blobs.remove(n)))[3], 1, "blob {n} is absent");
        let changed = found(|records| records.blobs[n].sha256 = "x".into());
        assert_eq!(changed[3], 1, "blob {n} is another");
    }
}

#[test]
fn a_file_that_is_there_once_more_is_doubled() {
    for folder in ["time-uid00001", "time-j2"] {
        let sha = if folder == "time-j2" { "c" } else { "a" };
        let again =
            |records: &mut Records| records.blobs.push(blob(&format!("{folder}/Patient-2.ndjson"), sha));
        assert_eq!(found(again)[4], 1, "{folder}");
    }
}

#[test]
fn what_is_still_being_deleted_is_told() {
    assert_eq!(found(|records| records.namespaces_left.push("doomed".into()))[5], 1);
    let deleting =
        |records: &mut Records| (records.exports[1].deleting, records.exports[1].act) = (true, Act::Delete);
    assert_eq!(found(deleting), [0, 0, 0, 0, 0, 1, 0, 0]);
}

#[test]
fn what_was_seen_and_what_panicked_is_passed_on() {
    assert_eq!(found(|records| records.seen.push("a key in a log".into())), [0, 0, 0, 0, 0, 0, 1, 0]);
    assert_eq!(found(|records| records.trouble.push("a panic".into())), [0, 0, 0, 0, 0, 0, 0, 1]);
}

#[test]
fn an_end_that_must_not_be_breaks_an_invariant() {
    assert_eq!(found(|records| records.exports[0].must = Must::Fail)[7], 1, "wrong data passed");
    assert_eq!(found(|records| records.exports[0].must = Must::BeStopped)[7], 1);
    let unchecked = |records: &mut Records| drop(records.exports[1].status.conditions.pop());
    assert_eq!(found(unchecked)[7], 1, "complete and not verified");
    for (reason, wished, broken) in [
        ("ExportFailed", Act::Wait, 1),
        ("Cancelled", Act::Wait, 1),
        ("Cancelled", Act::Cancel, 0),
        ("DeadlineExceeded", Act::Cancel, 1),
        ("JobNotOurs", Act::Wait, 1),
    ] {
        let ended = |records: &mut Records| {
            running(records).act = wished;
            failed(&mut records.exports[0], reason);
            records.jobs[0].end = End::Gone;
        };
        assert_eq!(found(ended)[7], broken, "{reason}");
    }
    assert_eq!(found(|records| records.exports[0].changed_after_end = true)[7], 1);
    assert_eq!(found(|records| records.exports[1].act = Act::Delete)[7], 1, "it was not deleted");
    assert_eq!(found(|records| records.exports[1].there = false)[7], 1, "nobody deleted it");
    assert_eq!(found(|records| records.exports[1].uid = None)[7], 1, "it was never made");
    let large = |records: &mut Records| records.exports[1].status.transaction_time = Some("x".repeat(20_000));
    assert_eq!(found(large)[7], 1);
}

#[test]
fn a_cancel_that_nobody_wished_or_that_was_not_counted_breaks_an_invariant() {
    assert_eq!(found(|records| records.jobs[1].cancel_requests = 1)[7], 1);
    assert_eq!(found(|records| records.jobs[0].cancel_requests = 1), [0; 8], "that one is told to forget");
    let cancellation = |tries: i32| {
        move |records: &mut Records| {
            records.exports[1].act = Act::Cancel;
            records.jobs[1].cancel_requests = 2;
            records.exports[1].status.cancellation = serde_json::from_value(json!({
                "requestTime": "2026-01-01T00:00:00Z", "reason": "Requested", "tries": tries,
                "outcome": "Confirmed" }))
            .unwrap();
        }
    };
    assert_eq!(found(cancellation(2)), [0; 8]);
    assert_eq!(found(cancellation(1))[7], 1);
    let gone = |records: &mut Records| {
        cancellation(1)(records);
        (records.exports[1].there, records.exports[1].act) = (false, Act::Delete);
    };
    assert_eq!(found(gone)[7], 0, "its last write may not have been seen");
    let runs_on = |records: &mut Records| {
        cancellation(2)(records);
        records.jobs[1].end = End::Running;
    };
    assert_eq!(found(runs_on)[7], 1);
}

#[test]
fn what_belongs_to_nobody_breaks_an_invariant() {
    for name in ["stray.ndjson", "other-folder/Patient-1.ndjson", "time-uid00001/Claim-9.ndjson"] {
        let stray = found(|records| records.blobs.push(blob(name, "z")));
        assert!(stray[7] > 0, "{name}");
    }
    assert!(found(|records| records.jobs[0].export = None)[7] > 0);
    let borrowed = |records: &mut Records| {
        records.jobs[1].export = Some(1);
        records.jobs[1].id = "j9".into();
    };
    assert!(found(borrowed)[7] > 0, "a complete export without a job");
    let swapped = |records: &mut Records| records.jobs[1].export = Some(1);
    assert!(found(swapped)[7] > 0, "complete with another's job");
    let miscounted = |records: &mut Records| {
        records.exports[0].status.output.as_mut().unwrap().files = Some(7);
    };
    assert_eq!(found(miscounted), [0, 0, 0, 0, 0, 0, 0, 1]);
}

#[test]
fn a_landed_file_of_a_failed_run_is_what_was_served_too() {
    let partly = |sha: &'static str| {
        move |records: &mut Records| {
            running(records).must = Must::Fail;
            records.jobs[0].files = vec![file("Patient-1.ndjson", "a")];
            records.jobs[0].end = End::Completed;
            failed(&mut records.exports[0], "LinkExpired");
            records.blobs.push(blob("time-uid00001/Patient-1.ndjson", sha));
        }
    };
    assert_eq!(found(partly("a")), [0; 8]);
    assert_eq!(found(partly("half")), [0, 0, 0, 0, 0, 0, 0, 1]);
}
