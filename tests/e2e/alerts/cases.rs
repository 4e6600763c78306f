//! Made-up series for each alert, with one point per minute. At one time the alert must not fire; at a later time it
//! must fire, and no other alert may.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use serde_json::json;

use super::rules::{names, promtool, rendered, rules};

struct Case {
    alert: &'static str,
    series: &'static [(&'static str, &'static str)],
    rests: &'static str,
    fires: &'static str,
    labels: &'static str,
}

const fn case(
    alert: &'static str,
    series: &'static [(&'static str, &'static str)],
    rests: &'static str,
    fires: &'static str,
    labels: &'static str,
) -> Case {
    Case { alert, series, rests, fires, labels }
}

const CASES: &[Case] = &[
    // Of two replicas, the leading one stops leading and no other takes over.
    case(
        "FhirExportOperatorNotLeading",
        &[("fhir_export_leader{pod=\"a\"}", "1x30 0x60"), ("fhir_export_leader{pod=\"b\"}", "0x90")],
        "30m",
        "36m",
        "",
    ),
    // One replica hands over to the other; then both lead.
    case(
        "FhirExportTwoOperators",
        &[
            ("fhir_export_leader{namespace=\"a\",pod=\"a\"}", "1x30 0x10 1x60"),
            ("fhir_export_leader{namespace=\"a\",pod=\"b\"}", "0x30 1x80"),
            ("fhir_export_leader{namespace=\"b\",pod=\"c\"}", "1x110"),
        ],
        "40m",
        "45m",
        "namespace=\"a\"",
    ),
    case("FhirExportWatchBroken", &[("fhir_export_watches_broken", "0x30 2x60")], "40m", "43m", ""),
    // Two replicas see the same objects.
    case(
        "FhirExportObjectUnreadable",
        &[
            ("fhir_export_unreadable_objects{kind=\"FhirExport\",pod=\"a\"}", "0x30 2x60"),
            ("fhir_export_unreadable_objects{kind=\"FhirExport\",pod=\"b\"}", "0x30 2x60"),
            ("fhir_export_unreadable_objects{kind=\"FhirServer\",pod=\"a\"}", "0x90"),
        ],
        "40m",
        "43m",
        "kind=\"FhirExport\"",
    ),
    // Scrapes stop.
    case("FhirExportOperatorNotLeading", &[("fhir_export_leader", "1x30 _x60")], "38m", "41m", ""),
    case(
        "FhirExportOperatorPanics",
        &[("fhir_export_reconciles_total{kind=\"FhirServer\",outcome=\"panicked\"}", "0x30 1x60")],
        "30m",
        "32m",
        "kind=\"FhirServer\"",
    ),
    case(
        "FhirExportOperatorPanics",
        &[("fhir_export_task_panics_total{task=\"landing\"}", "0x30 1x60")],
        "30m",
        "32m",
        "task=\"landing\"",
    ),
    // One failure per minute; conflicts are not failures.
    case(
        "FhirExportReconcilesFail",
        &[
            ("fhir_export_reconciles_total{kind=\"FhirExport\",outcome=\"failed\"}", "0x30 1+1x60"),
            ("fhir_export_reconciles_total{kind=\"FhirServer\",outcome=\"conflict\"}", "0+9x90"),
        ],
        "40m",
        "50m",
        "kind=\"FhirExport\"",
    ),
    case(
        "FhirExportStuck",
        &[
            ("fhir_export_runs_idle_seconds{state=\"Cancelling\"}", "0+60x60"),
            ("fhir_export_runs_idle_seconds{state=\"Running\"}", "0+6000x60"),
        ],
        "20m",
        "22m",
        "state=\"Cancelling\"",
    ),
    // Bytes come until the end of the first hour.
    case(
        "FhirExportLandingStuck",
        &[
            ("fhir_export_runs{state=\"Landing\"}", "2x200"),
            ("fhir_export_landed_bytes_total", "0+1000x60 60000x200"),
        ],
        "100m",
        "110m",
        "",
    ),
    case(
        "FhirExportQueuedLong",
        &[("fhir_export_runs_idle_seconds{state=\"Queued\"}", "0+60x600")],
        "360m",
        "372m",
        "",
    ),
    case("FhirExportNearDeadline", &[("fhir_export_runs_near_deadline", "0x30 1x60")], "30m", "37m", ""),
    // An export that is not allowed waits for its owner: nobody has to be woken for it.
    case(
        "FhirExportBlocked",
        &[
            ("fhir_export_runs_blocked{reason=\"ConnectionFailed\"}", "0x30 3x60"),
            ("fhir_export_runs_blocked{reason=\"NotAllowed\"}", "5x90"),
        ],
        "59m",
        "62m",
        "reason=\"ConnectionFailed\"",
    ),
    case(
        "FhirExportKickOffUncertain",
        &[
            ("fhir_export_kick_offs_uncertain_total", "0x30 1x90"),
            ("fhir_export_unsettled_jobs", "0x30 1x90"),
            ("fhir_export_runs{state=\"Uncertain\"}", "0x120"),
        ],
        "35m",
        "45m",
        "",
    ),
    case(
        "FhirExportCancelUnconfirmed",
        &[("fhir_export_cancels_unconfirmed_total", "0x30 1x60")],
        "30m",
        "32m",
        "",
    ),
    case(
        "FhirExportFailed",
        &[
            ("fhir_export_runs_finished_total{outcome=\"failed\",reason=\"JobDied\"}", "0x30 2x60"),
            ("fhir_export_runs_finished_total{outcome=\"failed\",reason=\"Cancelled\"}", "0+1x90"),
            ("fhir_export_runs_finished_total{outcome=\"complete\",reason=\"Exported\"}", "0+1x90"),
        ],
        "30m",
        "32m",
        "reason=\"JobDied\"",
    ),
    // The run is also counted as failed, but only this alert may fire.
    case(
        "FhirExportVerificationFailed",
        &[
            ("fhir_export_verifications_total{result=\"failed\"}", "0x30 1x60"),
            ("fhir_export_verifications_total{result=\"unknown\"}", "0+1x90"),
            (
                "fhir_export_runs_finished_total{outcome=\"failed\",reason=\"VerificationFailed\"}",
                "0x30 1x60",
            ),
        ],
        "30m",
        "32m",
        "",
    ),
    case(
        "FhirExportScheduleFailing",
        &[
            ("fhir_export_schedule_last_status{namespace=\"a\",schedule=\"nightly\"}", "1x30 0x60"),
            ("fhir_export_schedule_last_status{namespace=\"a\",schedule=\"weekly\"}", "1x90"),
        ],
        "39m",
        "43m",
        "namespace=\"a\", schedule=\"nightly\"",
    ),
    case(
        "FhirExportScheduleNotReady",
        &[
            ("fhir_export_schedule_ready{namespace=\"a\",schedule=\"nightly\"}", "1x30 0x60"),
            ("fhir_export_schedule_ready{namespace=\"a\",schedule=\"weekly\"}", "1x90"),
        ],
        "44m",
        "47m",
        "namespace=\"a\", schedule=\"nightly\"",
    ),
    case(
        "FhirServerNotReady",
        &[
            (
                "fhir_export_server_condition{namespace=\"a\",server=\"clinic\",condition=\"Ready\"}",
                "1x30 0x60",
            ),
            ("fhir_export_server_condition{namespace=\"b\",server=\"clinic\",condition=\"Ready\"}", "1x90"),
            // Nobody knows: the series is gone.
            (
                "fhir_export_server_condition{namespace=\"c\",server=\"clinic\",condition=\"Ready\"}",
                "1x30 _x60",
            ),
        ],
        "44m",
        "47m",
        "namespace=\"a\", server=\"clinic\"",
    ),
    case(
        "FhirServerTokenRefused",
        &[
            (
                "fhir_export_server_condition{namespace=\"a\",server=\"clinic\",condition=\"Authenticated\"}",
                "1x30 0x60",
            ),
            (
                "fhir_export_server_condition{namespace=\"b\",server=\"clinic\",condition=\"Authenticated\"}",
                "1x90",
            ),
            // Nobody knows: the series is gone.
            (
                "fhir_export_server_condition{namespace=\"c\",server=\"clinic\",condition=\"Authenticated\"}",
                "1x30 _x60",
            ),
        ],
        "44m",
        "47m",
        "namespace=\"a\", server=\"clinic\"",
    ),
    case(
        "FhirServerStorageRefused",
        &[
            (
                "fhir_export_server_condition{namespace=\"a\",server=\"clinic\",condition=\"StorageAccessible\"}",
                "1x30 0x60",
            ),
            (
                "fhir_export_server_condition{namespace=\"b\",server=\"clinic\",condition=\"StorageAccessible\"}",
                "1x90",
            ),
            // Nobody knows: the series is gone.
            (
                "fhir_export_server_condition{namespace=\"c\",server=\"clinic\",condition=\"StorageAccessible\"}",
                "1x30 _x60",
            ),
        ],
        "44m",
        "47m",
        "namespace=\"a\", server=\"clinic\"",
    ),
    // Throttling that ends for a minute starts the alert's time again.
    case(
        "FhirServerThrottled",
        &[
            ("fhir_export_server_throttled{namespace=\"a\",server=\"clinic\"}", "1x50 0x1 1x90"),
            ("fhir_export_server_throttled{namespace=\"b\",server=\"clinic\"}", "0x200"),
        ],
        "110m",
        "114m",
        "namespace=\"a\", server=\"clinic\"",
    ),
];

/// The test file for promtool of a case.
fn tests(case: &Case) -> String {
    let mut series = vec![];
    if !case.series.iter().any(|(name, _)| name.starts_with("fhir_export_leader")) {
        series.push(json!({"series": "fhir_export_leader", "values": "1x700"}));
    }
    series.extend(case.series.iter().map(|(series, values)| json!({"series": series, "values": values})));
    let firing = "sum by (alertname, kind, task, state, reason, namespace, schedule, server) (ALERTS{alertstate=\"firing\"})";
    let comma = if case.labels.is_empty() { "" } else { ", " };
    let fired = format!("{{alertname=\"{}\"{comma}{}}}", case.alert, case.labels);
    json!({"rule_files": ["rules.yaml"], "evaluation_interval": "1m", "tests": [{
        "name": case.alert, "interval": "1m", "input_series": series,
        "promql_expr_test": [
            {"expr": firing, "eval_time": case.rests, "exp_samples": []},
            {"expr": firing, "eval_time": case.fires, "exp_samples": [{"labels": fired, "value": 1}]},
        ],
    }]})
    .to_string()
}

#[tokio::test]
async fn what_is_made_up_fires_and_rests_as_it_should() {
    let object = rendered(super::on()).await;
    let mut wrong = String::new();
    for case in CASES {
        let output = promtool(&object, &tests(case), ["test", "rules", "tests.yaml"]).await;
        if !output.succeeded() {
            writeln!(wrong, "{}: {}{}", case.alert, output.stdout, output.stderr).unwrap();
        }
    }
    assert!(wrong.is_empty(), "{wrong}");
    let tried: BTreeSet<String> = CASES.iter().map(|case| case.alert.to_owned()).collect();
    assert_eq!(tried, names(&rules(&object)));
}

#[tokio::test]
async fn an_alert_that_does_not_fire_is_found() {
    let object = rendered(super::on()).await;
    let quiet =
        case("FhirExportNearDeadline", &[("fhir_export_runs_near_deadline", "0x60")], "10m", "37m", "");
    assert!(!promtool(&object, &tests(&quiet), ["test", "rules", "tests.yaml"]).await.succeeded());
}

/// The description of an alert, as the person on call receives it, has values in place of the template's variables.
#[tokio::test]
async fn descriptions_are_filled_in() {
    let object = rendered(super::on()).await;
    let rule = rules(&object).into_iter().find(|rule| rule["alert"] == "FhirExportStuck").unwrap();
    let told = "An export has been New for 1h 0m 0s, a state that lasts moments.";
    let tests = json!({"rule_files": ["rules.yaml"], "tests": [{
        "interval": "1m",
        "input_series": [{"series": "fhir_export_runs_idle_seconds{state=\"New\"}", "values": "3600x30"}],
        "alert_rule_test": [{"alertname": "FhirExportStuck", "eval_time": "10m", "exp_alerts": [{
            "exp_labels": {"severity": "critical", "state": "New"},
            "exp_annotations": {"summary": rule["annotations"]["summary"], "description": told,
                "runbook_url": rule["annotations"]["runbook_url"]},
        }]}],
    }]});
    promtool(&object, &tests.to_string(), ["test", "rules", "tests.yaml"]).await.ok().unwrap();
}
