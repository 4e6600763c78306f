//! The Grafana dashboard of the chart: it uses only series that are documented, and each of its queries has an answer
//! in the metrics of a live operator.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use bulk_fhir::{Options, Script};
use fhir_export_operator::api::{FhirExportSchedule, RUN_NOW_ANNOTATION};
use kube::api::PostParams;
use serde_json::{Value, json};
use stage::free_port;

use super::live::{STRETCH, Scraper};
use super::metric_names::everything;
use super::picture::draw;
use super::recording::Recording;
use super::rules::{file, promtool, template_of};
use crate::place::Place;

fn dashboard() -> Value {
    let text = std::fs::read_to_string(file("charts/fhir-export-operator/files/dashboard.json")).unwrap();
    serde_json::from_str(&text).unwrap()
}

/// All panels, also those that only head a row.
pub fn all_panels() -> Vec<Value> {
    dashboard()["panels"].as_array().unwrap().clone()
}

/// The panels with queries.
fn panels() -> Vec<Value> {
    all_panels().into_iter().filter(|panel| panel["type"] != "row").collect()
}

/// The query of a target, with the times that Grafana would fill in.
pub fn filled(target: &Value) -> String {
    let query = target["expr"].as_str().unwrap();
    // The clock of promtool starts at 0, which is 1970.
    let now = "(time() + scalar(max(process_start_time_seconds)))";
    query.replace("$__rate_interval", "10m").replace("$__range", "2h").replace("time()", now)
}

/// The queries of a panel.
fn queries(panel: &Value) -> Vec<String> {
    panel["targets"].as_array().unwrap().iter().map(filled).collect()
}

/// The names of series in a query.
fn series(query: &str) -> BTreeSet<String> {
    let words = query.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
    let ours = words.filter(|word| word.starts_with("fhir_export_") || word.starts_with("process_"));
    ours.map(str::to_owned).collect()
}

fn used() -> BTreeSet<String> {
    panels().iter().flat_map(queries).flat_map(|query| series(&query)).collect()
}

#[tokio::test]
async fn the_chart_brings_the_dashboard_where_it_is_wanted() {
    let none = template_of("templates/dashboard.yaml", json!({})).await;
    assert!(!none.succeeded() || none.stdout.trim().is_empty(), "off by default: {}", none.stdout);
    let values = json!({"dashboard": {"enabled": true, "namespace": "grafana",
        "annotations": {"grafana_folder": "Platform"}}});
    let rendered = template_of("templates/dashboard.yaml", values).await.ok().unwrap();
    let object: Value = serde_saphyr::from_str(&rendered).unwrap();
    assert_eq!((&object["kind"], &object["metadata"]["namespace"]), (&json!("ConfigMap"), &json!("grafana")));
    assert_eq!(object["metadata"]["labels"]["grafana_dashboard"], "1");
    assert_eq!(object["metadata"]["annotations"]["grafana_folder"], "Platform");
    let data = object["data"].as_object().unwrap();
    assert_eq!(data.len(), 1);
    let (name, text) = data.iter().next().unwrap();
    assert_eq!(Path::new(name).extension(), Some(OsStr::new("json")), "{name}");
    assert_eq!(serde_json::from_str::<Value>(text.as_str().unwrap()).unwrap(), dashboard());
}

#[test]
fn each_panel_says_what_it_shows_and_has_a_place_of_its_own() {
    let dashboard = dashboard();
    let mut ids = BTreeSet::new();
    let mut taken = BTreeSet::new();
    for panel in dashboard["panels"].as_array().unwrap() {
        let title = panel["title"].as_str().unwrap();
        assert!(ids.insert(panel["id"].as_u64().unwrap()), "{title}");
        let at = |name: &str| panel["gridPos"][name].as_u64().unwrap();
        assert!(at("x") + at("w") <= 24, "{title}");
        for x in at("x")..at("x") + at("w") {
            for y in at("y")..at("y") + at("h") {
                assert!(taken.insert((x, y)), "{title} lies over another panel");
            }
        }
        if panel["type"] != "row" {
            assert!(panel["description"].as_str().is_some_and(|text| text.ends_with('.')), "{title}");
            assert!(panel["fieldConfig"]["defaults"]["unit"].is_string(), "{title}");
            assert!(!queries(panel).is_empty(), "{title}");
        }
        for target in panel["targets"].as_array().into_iter().flatten() {
            assert_eq!(target["datasource"]["uid"], "${datasource}", "{title}");
        }
    }
}

#[test]
fn every_series_of_the_dashboard_is_documented_and_exposed() {
    let page = std::fs::read_to_string(file("docs/metrics.md")).unwrap();
    let text = everything().text();
    let used = used();
    assert!(used.len() > 25, "{used:?}");
    for name in used {
        let exposed = text
            .lines()
            .any(|line| line.strip_prefix(&name).is_some_and(|rest| rest.starts_with([' ', '{'])));
        assert!(exposed, "{name}");
        let documented = name.trim_end_matches("_bucket");
        assert!(page.contains(&format!("| `{documented}` |")), "{name}");
    }
}

/// Whether the last scrape has a series that begins so, with another value than 0.
fn has(scraper: &Scraper, begin: &str) -> bool {
    let last = scraper.text.rsplit("# at ").next().unwrap_or_default();
    last.lines().any(|line| line.starts_with(begin) && !line.ends_with(" 0"))
}

/// Runs what the dashboard is there to show: exports that land, fail and wait, and a schedule.
async fn recorded() -> String {
    let mut place = Place::start("dashboard", Options::default(), json!({})).await;
    let mut scraper = Scraper::start(&mut place.site).await;
    let unreachable =
        json!({"url": format!("http://127.0.0.1:{}/fhir", free_port().unwrap()), "dialect": "BulkData"});
    place.site.apply_server_named("elsewhere", place.site.server_spec(unreachable).await).await;
    let schedule = json!({"metadata": {"name": "yearly", "annotations": {RUN_NOW_ANNOTATION: "one"}},
        "spec": {"schedule": "0 3 1 1 *", "template": {"spec": {"serverRef": {"name": "clinic"},
            "request": {"level": "System", "container": place.container()}}}}});
    let schedule: FhirExportSchedule = serde_json::from_value(schedule).unwrap();
    place.site.api().create(&PostParams::default(), &schedule).await.unwrap();
    scraper.until(2.0, async || true).await;
    scraper.until_scraped(|scraper| has(scraper, "fhir_export_schedule_last_status{")).await;

    place.fhir.script(Script::fails(422, "processing", "The disk is full."));
    place.export("fails", json!({}), json!({"backoffLimit": 0})).await;
    place.export("waits", json!({}), json!({"serverRef": {"name": "elsewhere"}})).await;
    scraper.until_scraped(|scraper| has(scraper, "fhir_export_runs_finished_total{outcome=\"failed\"")).await;
    scraper.until_scraped(|scraper| has(scraper, "fhir_export_runs_blocked{")).await;
    place.landed("lands", json!({})).await;
    scraper.until_scraped(|scraper| has(scraper, "fhir_export_landed_bytes_total")).await;
    scraper.until(10.0, async || true).await;
    std::mem::take(&mut scraper.text)
}

#[tokio::test]
async fn every_query_of_the_dashboard_has_an_answer() {
    let recording = Recording::read(&recorded().await, &used());
    let end = recording.intervals(STRETCH);
    let mut wrong = String::new();
    for panel in panels() {
        for query in queries(&panel) {
            // Comparisons leave out what is not a number, and promtool knows how many answers there are, not which.
            let check = json!({"expr": format!("count(({query}) >= -Inf) >= bool 1"), "eval_time": format!("{end}m"),
                "exp_samples": [{"labels": "{}", "value": 1}]});
            let tests = format!(
                "evaluation_interval: 1m\ntests:\n  - interval: 1m\n    promql_expr_test: [{check}]\n    \
                 input_series:\n{}",
                recording.input_series(STRETCH)
            );
            let nothing = json!({"spec": {"groups": []}});
            let output = promtool(&nothing, &tests, ["test", "rules", "tests.yaml"]).await;
            if !output.succeeded() {
                writeln!(wrong, "{}: {query}\n{}{}", panel["title"], output.stdout, output.stderr).unwrap();
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong}");
    // `make dashboard-picture` sets it.
    if let Some(path) = std::env::var_os("FHIR_EXPORT_PICTURE") {
        std::fs::write(path, draw(&recording).await).unwrap();
    }
}
