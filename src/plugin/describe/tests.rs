use serde_json::{Value, json};

use super::*;

/// An escape sequence that clears a terminal, as two control characters may begin it.
const ESCAPE: &str = "\u{1b}[2J\u{9b}2J";
const NOW: &str = "2026-11-23T03:00:00Z";

fn export(status: &Value) -> FhirExport {
    serde_json::from_value(json!({
        "apiVersion": "fhirexport.dev/v1alpha1", "kind": "FhirExport",
        "metadata": { "name": "cohort-42", "namespace": "research", "creationTimestamp": "2026-11-23T01:58:29Z" },
        "spec": { "serverRef": { "name": "clinic" }, "request": { "level": "Group", "groupID": "42",
            "types": ["Patient", "Condition", "Observation"], "since": "2026-01-01T00:00:00Z" } },
        "status": status }))
    .unwrap()
}

fn condition(type_: &str, status: &str, reason: &str, message: &str) -> Value {
    json!({ "type": type_, "status": status, "reason": reason, "message": message,
        "lastTransitionTime": "2026-01-01T00:00:00Z" })
}

fn story(status: &Value) -> String {
    page(&export(status), &Ok(Vec::new()), NOW.parse().unwrap(), Paint::Plain).as_str().to_owned()
}

/// `value` with an escape sequence in each text that a server can choose; words of this operator stay.
fn planted(value: Value) -> Value {
    match value {
        Value::String(text) if text.starts_with("x-") => json!(format!("{ESCAPE}{text}")),
        Value::Array(items) => items.into_iter().map(planted).collect(),
        Value::Object(members) => members.into_iter().map(|(name, value)| (name, planted(value))).collect(),
        other => other,
    }
}

#[test]
fn no_field_that_a_server_controls_brings_an_escape_sequence() {
    let status = |state: &str, conditions: Value| {
        planted(json!({
            "state": state, "startTime": "2026-11-23T01:58:30Z", "server": { "uid": "1", "url": "x-url" },
            "job": { "id": "x-job", "intentTime": "2026-11-23T01:58:30Z", "kickOffTime": "2026-11-23T01:58:31Z",
                "destination": { "endpoint": "x-endpoint" }, "progress": { "summary": "x-progress" } },
            "output": { "container": "x-container", "folder": "x-folder", "files": 1, "resources": 1, "bytes": 1,
                "manifest": { "path": "x-path", "sha256": "x-sum" },
                "types": [{ "type": "x-type", "files": 1, "resources": 1 }] },
            "conditions": conditions }))
    };
    let failed = json!([condition("Failed", "True", "x-reason", "x-message")]);
    let unverified = json!([condition("Verified", "False", "x-reason", "x-message")]);
    let held = json!([condition("ServerReachable", "False", "x-reason", "x-message")]);
    let event = Told {
        time: None,
        type_: format!("{ESCAPE}x-kind"),
        reason: format!("{ESCAPE}x-why"),
        note: format!("{ESCAPE}x-note"),
        count: 1,
    };
    let mut all = String::new();
    for (state, conditions) in [("Failed", failed), ("Complete", unverified), ("Running", held)] {
        for events in [Ok(vec![event.clone()]), Err(format!("{ESCAPE}x-refusal"))] {
            let mut status = status(state, conditions.clone());
            if state == "Running" {
                // Progress is told until there is output.
                status.as_object_mut().unwrap().remove("output");
            }
            let export = export(&status);
            let told = page(&export, &events, NOW.parse().unwrap(), Paint::Plain).as_str().to_owned();
            assert!(!told.contains(|c: char| c.is_control() && c != '\n'), "{told:?}");
            all.push_str(&told);
        }
    }
    let shown = [
        "url",
        "job",
        "progress",
        "container",
        "folder",
        "type",
        "reason",
        "message",
        "kind",
        "why",
        "note",
        "refusal",
    ];
    for field in shown {
        assert!(all.contains(&format!("x-{field}")), "{field} is shown nowhere: {all}");
    }
}

/// The sentences behind a label.
fn part(story: &str, label: &str) -> String {
    let line = story.lines().find(|line| line.starts_with(label));
    line.map(|line| line.get(LABELS + 1..).unwrap_or_default().to_owned()).unwrap_or_default()
}

#[test]
fn a_complete_export_is_told_whole() {
    let status = json!({
        "state": "Complete", "attempts": 2, "startTime": "2026-11-23T01:58:30Z",
        "completionTime": "2026-11-23T02:41:30Z", "server": { "uid": "1", "url": "https://clinic.example.org" },
        "job": { "id": "48151623", "intentTime": "2026-11-23T01:58:30Z", "kickOffTime": "2026-11-23T01:58:31Z",
            "destination": { "endpoint": "https://lake.example.org/" } },
        "output": { "container": "research-lake", "folder": "f-48151623", "files": 212, "resources": 1_048_576,
            "bytes": 2_147_000_000_i64, "errorFiles": 1, "errorIssues": 5,
            "manifest": { "path": "f-48151623/manifest.json", "sha256": "ab" },
            "checks": { "files": "Passed", "counts": "Passed", "checksums": "Unknown", "requestedTypes": "Passed" },
            "types": [{ "type": "Patient", "files": 1, "resources": 4920 },
                { "type": "Observation", "files": 158, "resources": 801_334 }] },
        "conditions": [condition("Verified", "True", "CountsMatch", "all 212 files are in the container"),
            condition("Complete", "True", "CompletedWithErrors", "the server reports 5 issues")] });
    let events = vec![Told {
        time: Some("2026-11-23T02:41:30Z".parse().unwrap()),
        type_: "Normal".into(),
        reason: "Complete".into(),
        note: "1,048,576 resources".into(),
        count: 1,
    }];
    let told = page(&export(&status), &Ok(events), NOW.parse().unwrap(), Paint::Plain);
    assert_eq!(
        told.as_str(),
        "Export      research/cohort-42\n\
         State       Complete\n\
         What        The data of the patients of Group 42 on the server clinic (https://clinic.example.org), only \
         Patient, Condition and Observation, changed since 2026-01-01T00:00:00Z.\n\
         When        Created at 2026-11-23T01:58:29Z (61m ago). The server accepted it at 2026-11-23T01:58:31Z (61m \
         ago) as job 48151623. This is attempt 2 of at most 3. It ended at 2026-11-23T02:41:30Z (18m ago), after 43 \
         minutes.\n\
         Where       212 files with 1,048,576 resources (2.15 GB) in https://lake.example.org/research-lake/f-48151623. \
         They hold 801,334 Observation and 4,920 Patient. The server also wrote 1 error file with 5 issues.\n\
         Verified    All 212 files are in the container. Passed: files, counts and requested types. Not checked, or \
         only in part: checksums.\n\
         Why         CompletedWithErrors: the server reports 5 issues.\n\
         To do       Read the error files. Fetch the files into a directory DIR with kubectl fhirexport download \
         cohort-42 DIR -n research; check them again at any time with kubectl fhirexport verify cohort-42 -n research.\n\
         \n\
         Events\n  18m     Normal   Complete             1,048,576 resources\n"
    );
}

#[test]
fn each_state_says_what_to_do() {
    for (status, wanted) in [
        (json!({ "state": "Running" }), "Follow it with kubectl fhirexport watch cohort-42 -n research."),
        (
            json!({ "state": "Suspended" }),
            "Let it go on with kubectl fhirexport resume cohort-42 -n research.",
        ),
        (json!({ "state": "Cancelled" }), "Nothing. To export the data, create a new export."),
        (
            json!({ "state": "Failed", "conditions": [condition("Failed", "True", "GroupNotFound", "no such Group")] }),
            "Correct groupID in a new FhirExport. Then create a new export: this one does not start again.",
        ),
        (
            json!({ "state": "Failed", "conditions": [condition("Failed", "True", "FromALaterVersion", "why")] }),
            "Create a new export: this one does not start again.",
        ),
        (
            json!({ "state": "Waiting",
                "conditions": [condition("Reconciling", "True", "ServerNotFound", "no FhirServer")] }),
            "Create it, or correct serverRef in a new FhirExport. Follow it with kubectl fhirexport watch cohort-42 -n \
             research.",
        ),
        (
            Value::Null,
            "No operator has looked at it: check that fhir-export-operator runs, and that it watches namespace research.",
        ),
    ] {
        assert_eq!(part(&story(&status), "To do"), wanted, "{status}");
    }
}

#[test]
fn only_files_that_can_be_fetched_are_offered() {
    let complete = |endpoint: &str, manifest: &Value| {
        story(&json!({ "state": "Complete",
            "job": { "intentTime": "2026-11-23T01:58:30Z", "destination": { "endpoint": endpoint } },
            "output": { "container": "lake", "folder": "f", "files": 2, "manifest": manifest } }))
    };
    let manifest = json!({ "path": "f/manifest.json", "sha256": "ab" });
    let s3 = "s3://clinic/a?endpoint=https://s3.example";
    for (endpoint, manifest, offered) in [
        ("https://lake.example.org", &manifest, true),
        ("volume:lake", &manifest, true),
        (s3, &manifest, true),
        ("file:///lake", &manifest, false),
        ("https://lake.example.org", &Value::Null, false),
    ] {
        let told = part(&complete(endpoint, manifest), "To do");
        assert_eq!(told.contains("download cohort-42 DIR -n research"), offered, "{endpoint}: {told}");
        assert!(offered || told == "Fetch the files with the tools of their store.", "{endpoint}: {told}");
    }
    assert_eq!(part(&complete(s3, &manifest), "Where"), "2 files in s3://clinic/a/lake/f.");
}

#[test]
fn texts_of_others_bring_no_escape_sequences() {
    let failed = condition("Failed", "True", "ExportFailed", "the server says \u{1b}[2Jhello");
    let told = story(&json!({ "state": "Failed", "conditions": [failed] }));
    assert_eq!(part(&told, "Why"), "ExportFailed: the server says \u{fffd}[2Jhello.");
}

#[test]
fn a_failure_and_its_leftovers_are_told() {
    let status = json!({ "state": "Failed",
        "conditions": [condition("Failed", "True", "KickOffUncertain", "the answer was lost.")],
        "unsettledJobs": [{ "intentTime": "2026-11-23T01:58:30Z", "reason": "AnswerLost" }] });
    let told = story(&status);
    assert_eq!(part(&told, "Why"), "KickOffUncertain: the answer was lost.");
    assert!(
        part(&told, "Beware").contains("a job whose status URL is unknown (started at 2026-11-23T01:58:30Z")
    );
    assert!(told.ends_with("No events: the API server keeps them for a while only.\n"), "{told}");
}

#[test]
fn work_that_goes_on_says_how_far_it_is() {
    let status = json!({ "state": "Landing", "nextAttemptTime": "2026-11-23T03:05:00Z",
        "job": { "intentTime": "2026-11-23T01:58:30Z", "progress": { "summary": "12 of 200 files" } },
        "output": { "container": "lake", "folder": "f" } });
    let told = story(&status);
    assert_eq!(part(&told, "Where"), "The files go to lake/f. So far: 12 of 200 files.");
    assert!(part(&told, "When").ends_with("The next try is due at 2026-11-23T03:05:00Z."), "{told}");
    let refused = page(&export(&status), &Err("you may not".into()), NOW.parse().unwrap(), Paint::Plain);
    assert!(refused.as_str().ends_with("The events are not shown: you may not.\n"), "{refused:?}");
}
