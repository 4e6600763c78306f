#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

use std::collections::{BTreeMap, BTreeSet};

use serde_json::json;

use super::*;

fn export(status: &serde_json::Value) -> FhirExport {
    serde_json::from_value(json!({
        "metadata": { "name": "one", "namespace": "ns", "creationTimestamp": "2026-01-01T00:00:00Z" },
        "spec": { "serverRef": { "name": "clinic" }, "request": { "level": "System" } },
        "status": status,
    }))
    .unwrap()
}

fn ended(type_: &str, reason: &str) -> FhirExportStatus {
    let condition = |type_: &str, reason: &str| {
        json!({ "type": type_, "status": "True", "reason": reason, "message": "",
        "lastTransitionTime": "2026-01-01T00:01:00Z" })
    };
    let status = json!({ "startTime": "2026-01-01T00:00:00Z", "completionTime": "2026-01-01T00:01:00Z",
        "conditions": [condition(type_, reason), condition("Verified", "CountsMatch")],
        "output": { "files": 3, "resources": 40, "bytes": 500 } });
    export(&status).status.unwrap()
}

#[test]
fn an_end_is_counted_once_and_by_a_known_reason() {
    let metrics = Metrics::new();
    let open = export(&json!({ "startTime": "2026-01-01T00:00:00Z" }));
    let complete = ended("Complete", "Exported");
    metrics.export_moved(&open, &complete);
    let over = FhirExport { status: Some(complete.clone()), ..open.clone() };
    metrics.export_moved(&over, &complete);
    metrics.export_moved(&open, &ended("Failed", "Patient/1 was not found"));
    metrics.export_moved(&open, &FhirExportStatus::default());
    let text = metrics.text();
    for line in [
        r#"fhir_export_runs_finished_total{outcome="complete",reason="Exported"} 1"#,
        r#"fhir_export_runs_finished_total{outcome="failed",reason="Unknown"} 1"#,
        r#"fhir_export_runs_finished_total{outcome="failed",reason="JobDied"} 0"#,
        r#"fhir_export_run_duration_seconds_sum{outcome="complete"} 60.0"#,
        r#"fhir_export_verifications_total{result="passed"} 2"#,
        "fhir_export_completed_files_total 3",
        "fhir_export_completed_resources_total 40",
        "fhir_export_completed_bytes_total 500",
    ] {
        assert!(text.lines().any(|l| l == line), "{line} is not in\n{text}");
    }
    assert!(!text.contains("Patient/1"));
}

#[test]
fn servers_are_counted_by_what_they_say() {
    let server = |conditions: serde_json::Value| -> Arc<FhirServer> {
        let object = json!({ "metadata": { "name": "clinic", "namespace": "ns" },
            "spec": { "url": "https://x.example.org", "dialect": "Azure", "auth": { "type": "None" } },
            "status": { "conditions": conditions } });
        Arc::new(serde_json::from_value(object).unwrap())
    };
    let says = |type_: &str, status: &str| {
        json!({ "type": type_, "status": status, "reason": "X", "message": "",
        "lastTransitionTime": "2026-01-01T00:00:00Z" })
    };
    let metrics = Metrics::new();
    metrics.count_servers(
        &[
            server(json!([says("Ready", "True"), says("Authenticated", "True")])),
            server(json!([says("Ready", "False"), says("Authenticated", "False")])),
            server(json!([])),
        ],
        |_| false,
    );
    let text = metrics.text();
    for (condition, status, count) in [
        ("Ready", "True", 1),
        ("Ready", "False", 1),
        ("Ready", "Unknown", 1),
        ("Authenticated", "False", 1),
        ("StorageAccessible", "Unknown", 3),
        ("StorageAccessible", "False", 0),
    ] {
        let line = format!(r#"fhir_export_servers{{condition="{condition}",status="{status}"}} {count}"#);
        assert!(text.lines().any(|l| l == line), "{line} is not in\n{text}");
    }
}

fn named_server(name: &str, conditions: &serde_json::Value) -> Arc<FhirServer> {
    let object = json!({ "metadata": { "name": name, "namespace": "ns" },
        "spec": { "url": "https://x.example.org", "dialect": "Azure", "auth": { "type": "None" } },
        "status": { "conditions": conditions } });
    Arc::new(serde_json::from_value(object).unwrap())
}

#[test]
fn a_server_is_told_of_by_name_as_long_as_it_is_there() {
    let metrics = Metrics::new();
    let conditions = json!([
        condition("Ready", "False"),
        condition("Authenticated", "True"),
        condition("Stalled", "Unknown")
    ]);
    let servers = [named_server("clinic", &conditions), named_server("hospital", &json!([]))];
    metrics.count_servers(&servers, |server| server.metadata.name.as_deref() == Some("hospital"));
    let text = metrics.text();
    for line in [
        r#"fhir_export_server_condition{namespace="ns",server="clinic",condition="Ready"} 0"#,
        r#"fhir_export_server_condition{namespace="ns",server="clinic",condition="Authenticated"} 1"#,
        r#"fhir_export_server_throttled{namespace="ns",server="clinic"} 0"#,
        r#"fhir_export_server_throttled{namespace="ns",server="hospital"} 1"#,
    ] {
        assert!(text.lines().any(|l| l == line), "{line} is not in\n{text}");
    }
    assert_eq!(text.matches("fhir_export_server_condition{").count(), 2, "{text}");
    metrics.count_servers(&[], |_| true);
    assert!(!metrics.text().contains("clinic"));
}

fn condition(type_: &str, status: &str) -> serde_json::Value {
    json!({ "type": type_, "status": status, "reason": "X", "message": "",
        "lastTransitionTime": "2026-01-01T00:00:00Z" })
}

fn schedule(status: &serde_json::Value) -> Arc<FhirExportSchedule> {
    let object = json!({
        "metadata": { "name": "nightly", "namespace": "ns", "creationTimestamp": "2026-01-01T00:00:00Z" },
        "spec": { "schedule": "30 1 * * *", "template": { "spec": {
            "serverRef": { "name": "clinic" }, "request": { "level": "System" } } } },
        "status": status,
    });
    Arc::new(serde_json::from_value(object).unwrap())
}

#[test]
fn a_schedule_is_told_of_as_long_as_it_is_there() {
    let metrics = Metrics::new();
    let names = r#"{namespace="ns",schedule="nightly"}"#;
    let line = |series: &str, value: i64| format!("fhir_export_{series}{names} {value}");
    let (success, status) = ("schedule_last_success_timestamp_seconds", "schedule_last_status");
    let has = |line: &str| metrics.text().lines().any(|l| l == line);
    metrics.tell_schedules(&[schedule(&json!({}))]);
    assert!(has(&line(success, 1_767_225_600)), "{}", metrics.text());
    assert!(!metrics.text().contains("schedule_last_status{"));
    metrics.tell_schedules(&[schedule(&json!({ "lastSuccessfulTime": "2026-01-02T00:00:00Z",
        "conditions": [condition("LastRunSucceeded", "False")] }))]);
    assert!(has(&line(success, 1_767_312_000)) && has(&line(status, 0)), "{}", metrics.text());
    assert!(!metrics.text().contains("schedule_ready{"), "nobody has looked at it yet");
    for (ready, value) in [("True", 1), ("False", 0)] {
        metrics.tell_schedules(&[schedule(&json!({ "conditions": [condition("Ready", ready)] }))]);
        assert!(has(&line("schedule_ready", value)), "{}", metrics.text());
    }
    metrics.tell_schedules(&[]);
    assert!(!metrics.text().contains("nightly"));
}

/// The labels of a series, each with its values.
type Series = BTreeMap<String, BTreeSet<String>>;

/// All exposed series, by name without the suffixes of histograms.
fn exposed(text: &str) -> BTreeMap<String, Series> {
    let histograms: BTreeSet<&str> =
        text.lines().filter_map(|l| l.strip_prefix("# TYPE ")?.strip_suffix(" histogram")).collect();
    let mut all: BTreeMap<String, Series> = BTreeMap::new();
    for line in text.lines().filter(|l| !l.starts_with('#')) {
        let (series, _) = line.rsplit_once(' ').unwrap();
        let (name, labels) = series.split_once('{').unwrap_or((series, "}"));
        let of = ["_bucket", "_sum", "_count"].iter().find_map(|end| name.strip_suffix(end));
        let name = of.filter(|name| histograms.contains(name)).unwrap_or(name);
        let series = all.entry(name.into()).or_default();
        for label in
            labels.trim_end_matches('}').split(',').filter(|l| !l.is_empty() && !l.starts_with("le="))
        {
            let (label, value) = label.split_once('=').unwrap();
            series.entry(label.into()).or_default().insert(value.trim_matches('"').into());
        }
    }
    all
}

/// The series in the tables of the document: a name, and labels, which may be followed by their values in brackets.
fn documented(text: &str) -> BTreeMap<String, Series> {
    let quoted = |text: &str| text.split('`').skip(1).step_by(2).map(str::to_owned).collect::<Vec<_>>();
    let rows = text.lines().filter(|l| l.starts_with("| `fhir_export_") || l.starts_with("| `process_"));
    rows.map(|row| {
        let cells: Vec<_> = row.trim_matches('|').split('|').collect();
        assert!(cells.len() == 3 && !cells[2].trim().is_empty(), "{row}");
        let labels = cells[1].split(',').map(|label| label.split_once('(').unwrap_or((label, "")));
        let labels = labels.filter(|(name, _)| !name.trim().is_empty());
        let labels =
            labels.map(|(name, values)| (quoted(name)[0].clone(), quoted(values).into_iter().collect()));
        (quoted(cells[0])[0].clone(), labels.collect())
    })
    .collect()
}

#[test]
fn the_document_tells_of_each_series_and_of_no_other() {
    let told = documented(include_str!("../../docs/metrics.md"));
    let metrics = Metrics::new();
    let conditions = [condition("LastRunSucceeded", "True"), condition("Ready", "True")];
    metrics.tell_schedules(&[schedule(&json!({ "conditions": conditions }))]);
    let conditions =
        ["Ready", "Authenticated", "StorageAccessible", "Stalled"].map(|type_| condition(type_, "True"));
    metrics.count_servers(&[named_server("clinic", &json!(conditions))], |_| false);
    let mut served = exposed(&metrics.text());
    assert!(served.len() > 25, "{served:?}");
    for (name, labels) in &mut served {
        for (label, values) in labels.iter_mut() {
            // Values that the document does not list with a label are listed elsewhere in it.
            if told.get(name).and_then(|t| t.get(label)).is_some_and(BTreeSet::is_empty) {
                values.clear();
            }
        }
    }
    assert_eq!(told, served);
}

#[test]
fn every_series_is_there_before_anything_happened() {
    let metrics = Metrics::new();
    let before = exposed(&metrics.text());
    metrics.reconciled(Kind::FhirExport, ReconcileOutcome::Done, Duration::from_secs(1));
    metrics.requested(Operation::Poll, Some(200), Duration::from_secs(1));
    metrics.held_back(Operation::Poll);
    metrics.poll_in(Duration::from_secs(1));
    metrics.status_written(Kind::FhirServer);
    metrics.cancel_unconfirmed();
    metrics.landed(1, 1);
    metrics.leads(true);
    metrics.export_moved(&export(&json!({})), &ended("Failed", "JobDied"));
    assert_eq!(exposed(&metrics.text()), before);
}
