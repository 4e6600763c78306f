//! The alerts on recordings: exactly those that must fire do.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::recording::Recording;
use super::rules::{file, names, promtool, rendered, rules, selectors};

/// The names of the operator's metrics that the rules use.
pub fn used(rules: &[Value]) -> BTreeSet<String> {
    rules.iter().flat_map(|rule| selectors(rule["expr"].as_str().unwrap())).map(|(name, _)| name).collect()
}

/// Asserts that exactly the alerts in `expected` fire at some time of a recording. Each second of the recording counts
/// as `stretch` seconds.
pub async fn assert_fire(what: &str, text: &str, stretch: f64, expected: &BTreeSet<String>) {
    let object = rendered(super::on()).await;
    let rules = rules(&object);
    let known = names(&rules);
    assert!(expected.is_subset(&known), "{what}: {expected:?}");
    let recording = Recording::read(text, &used(&rules));
    let end = recording.intervals(stretch);
    let samples: Vec<Value> = expected
        .iter()
        .map(|alert| json!({"labels": format!("{{alertname=\"{alert}\"}}"), "value": 1}))
        .collect();
    let expr = format!("max by (alertname) (max_over_time(ALERTS{{alertstate=\"firing\"}}[{}m]))", end + 1);
    let check = json!({"expr": expr, "eval_time": format!("{end}m"), "exp_samples": samples});
    let tests = format!(
        "rule_files: [rules.yaml]\nevaluation_interval: 1m\ntests:\n  - interval: 1m\n    \
         promql_expr_test: [{check}]\n    input_series:\n{}",
        recording.input_series(stretch)
    );
    let output = promtool(&object, &tests, ["test", "rules", "tests.yaml"]).await;
    assert!(output.succeeded(), "{what}:\n{}{}", output.stdout, output.stderr);
}

/// Each recording `NAME.txt` has a `NAME.json`: `{"stretch": …, "fire": […]}`.
#[tokio::test]
async fn recordings_fire_what_they_should() {
    let mut seen = 0;
    for entry in std::fs::read_dir(file("tests/e2e/alerts/chaos-series")).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_none_or(|end| end != "txt") {
            continue;
        }
        let what = path.display().to_string();
        let expected =
            std::fs::read_to_string(path.with_extension("json")).unwrap_or_else(|e| panic!("{what}: {e}"));
        let expected: Value = serde_json::from_str(&expected).unwrap();
        let fire = expected["fire"].as_array().unwrap().iter().map(|name| name.as_str().unwrap().to_owned());
        let text = std::fs::read_to_string(&path).unwrap();
        assert_fire(&what, &text, expected["stretch"].as_f64().unwrap(), &fire.collect()).await;
        seen += 1;
    }
    assert!(seen > 0, "there is no recording");
}
