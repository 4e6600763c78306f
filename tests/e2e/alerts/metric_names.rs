//! The names of the metrics follow the conventions of Prometheus.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::sync::Arc;

use fhir_export_operator::metrics::Metrics;
use serde_json::json;
use stage::Tool;

/// An exposition in the older text format, which promtool reads: counters have their suffix in the comments, too.
fn text_format(exposition: &str) -> String {
    let of_counter = |line: &str| line.strip_prefix("# TYPE ")?.strip_suffix(" counter").map(str::to_owned);
    let counters: BTreeSet<String> = exposition.lines().filter_map(of_counter).collect();
    let mut text = String::new();
    for line in exposition.lines().filter(|line| *line != "# EOF") {
        let comment = ["# HELP ", "# TYPE "].iter().find(|comment| line.starts_with(**comment));
        match comment.and_then(|comment| {
            line[comment.len()..].split_once(' ').map(|(name, told)| (comment, name, told))
        }) {
            Some((comment, name, told)) if counters.contains(name) => {
                writeln!(text, "{comment}{name}_total {told}")
            }
            _ => writeln!(text, "{line}"),
        }
        .unwrap();
    }
    text
}

async fn check_metrics(text: &str) -> stage::Output {
    let program = stage::promtool().await.unwrap();
    let tool = Tool::new(program.program("PROMTOOL").unwrap(), ["check", "metrics"]).unwrap();
    tool.stdin(text).unwrap().run().await.unwrap()
}

/// All metrics, also those of a server and a schedule.
pub fn everything() -> Arc<Metrics> {
    let metrics = Metrics::new();
    let condition = |type_: &str| {
        json!({"type": type_, "status": "True", "reason": "X", "message": "",
            "lastTransitionTime": "2026-01-01T00:00:00Z"})
    };
    let nightly = json!({"metadata": {"name": "nightly", "namespace": "ns"},
        "spec": {"schedule": "30 1 * * *", "template": {"spec": {"serverRef": {"name": "clinic"},
            "request": {"level": "System"}}}},
        "status": {"lastSuccessfulTime": "2026-01-01T00:00:00Z",
            "conditions": [condition("Ready"), condition("LastRunSucceeded")]}});
    metrics.tell_schedules(&[Arc::new(serde_json::from_value(nightly).unwrap())]);
    let conditions = ["Ready", "Authenticated", "StorageAccessible", "Stalled"].map(condition);
    let clinic = json!({"metadata": {"name": "clinic", "namespace": "ns"},
        "spec": {"url": "https://clinic.example", "dialect": "BulkData", "auth": {"type": "None"}},
        "status": {"conditions": conditions}});
    metrics.count_servers(&[Arc::new(serde_json::from_value(clinic).unwrap())], |_| false);
    metrics
}

#[tokio::test]
async fn promtool_takes_the_names() {
    let text = text_format(&everything().text());
    assert!(text.lines().filter(|line| line.starts_with("# TYPE ")).count() > 40, "{text}");
    let output = check_metrics(&text).await;
    assert!(output.succeeded(), "{}{}", output.stdout, output.stderr);
    let bad = text.replace("_duration_seconds", "_duration_ms");
    assert!(!check_metrics(&bad).await.succeeded());
}

/// What the linter does not know: no word of a name follows itself, also as a plural, and what a histogram observes is
/// a time in seconds.
#[test]
fn no_name_stutters_and_histograms_have_units() {
    let text = everything().text();
    for name in text.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split(' ').next()) {
        let words: Vec<&str> = name.split('_').map(|word| word.trim_end_matches('s')).collect();
        assert!(words.windows(2).all(|pair| pair[0] != pair[1]), "{name}");
        let ours = name.starts_with("fhir_export_");
        assert!(ours || name.starts_with("process_"), "{name}");
    }
    for name in text.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.strip_suffix(" histogram")) {
        assert!(name.ends_with("_duration_seconds") || name.ends_with("_wait_seconds"), "{name}");
    }
}
