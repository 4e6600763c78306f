//! The chart's alerts: promtool accepts them, they use only metrics that `/metrics` exposes, and each has a section
//! in the runbooks. Each fires when it should and only then: on made-up series, on the metrics of a live operator, and
//! on recordings made while parts were being killed.

mod cases;
mod dashboard;
mod live;
mod metric_names;
mod picture;
mod recorded;
mod recording;
mod rules;

use serde_json::{Value, json};

use rules::{file, names, promtool, rendered, rules, selectors, template};

fn on() -> Value {
    json!({"enabled": true, "runbookURL": "https://wiki.example.org/runbooks.md"})
}

#[tokio::test]
async fn promtool_takes_the_rules() {
    let object = rendered(on()).await;
    assert_eq!(object["kind"], "PrometheusRule");
    let said = promtool(&object, "", ["check", "rules", "rules.yaml"]).await.ok().unwrap();
    assert!(said.contains(&format!("{} rules found", rules(&object).len())), "{said}");
}

#[tokio::test]
async fn each_alert_has_what_a_woken_person_needs() {
    let object = rendered(on()).await;
    let rules = rules(&object);
    let runbooks = std::fs::read_to_string(file("docs/runbooks.md")).unwrap();
    for rule in &rules {
        let name = rule["alert"].as_str().unwrap();
        let severity = rule["labels"]["severity"].as_str().unwrap();
        assert!(["critical", "warning"].contains(&severity), "{name}");
        for annotation in ["summary", "description"] {
            let text = rule["annotations"][annotation].as_str().unwrap();
            assert!(text.len() > 12 && text.ends_with('.'), "{name}: {text}");
        }
        let anchor = name.to_lowercase();
        assert_eq!(
            rule["annotations"]["runbook_url"],
            format!("https://wiki.example.org/runbooks.md#{anchor}")
        );
        let paragraph = runbooks.split_once(&format!("\n## {name}\n")).map(|(_, after)| after);
        let paragraph = paragraph.unwrap_or_else(|| panic!("{name} is not in docs/runbooks.md"));
        let paragraph = paragraph.split("\n## ").next().unwrap();
        assert!(
            paragraph.trim_start().to_lowercase().starts_with(&format!("*{severity}.*")),
            "{name}: {paragraph}"
        );
        assert!(paragraph.contains("\nkubectl "), "{name} has no command");
    }
    let told = runbooks.lines().filter_map(|l| l.strip_prefix("## ")).map(str::to_owned).collect();
    assert_eq!(names(&rules), told);
}

#[tokio::test]
async fn alerts_use_only_what_is_exposed() {
    let text = metric_names::everything().text();
    let series: Vec<&str> = text.lines().filter(|l| !l.starts_with('#')).collect();
    let exposes = |name: &str, wanted: &[(&String, &String)]| {
        series.iter().any(|line| {
            let rest = line.strip_prefix(name).filter(|rest| rest.starts_with([' ', '{']));
            rest.is_some_and(|rest| {
                wanted.iter().all(|(label, value)| rest.contains(&format!("{label}=\"{value}\"")))
            })
        })
    };
    let rules = rules(&rendered(on()).await);
    let mut looked = 0;
    for rule in &rules {
        let expression = rule["expr"].as_str().unwrap();
        for (name, labels) in selectors(expression) {
            assert!(exposes(&name, &[]), "{expression}: there is no {name}");
            for (label, values) in &labels {
                for value in values {
                    let others =
                        labels.iter().filter(|(l, v)| *l != label && v.len() == 1).map(|(l, v)| (l, &v[0]));
                    let wanted: Vec<_> = others.chain([(label, value)]).collect();
                    assert!(exposes(&name, &wanted), "{expression}: {name} never has {label}=\"{value}\"");
                    looked += 1;
                }
            }
        }
    }
    assert!(looked > 30, "{looked}");
    assert!(!exposes("fhir_export_no_such_series", &[]));
}

#[tokio::test]
async fn the_chart_brings_alerts_where_they_are_wanted() {
    let none = template(json!({})).await;
    assert!(!none.succeeded() || none.stdout.trim().is_empty(), "off by default: {}", none.stdout);
    let settings = json!({"enabled": true, "labels": {"release": "prometheus"}, "alertLabels": {"team": "data"},
        "disabled": ["FhirServerThrottled"]});
    let object = rendered(settings).await;
    assert_eq!(object["metadata"]["labels"]["release"], "prometheus");
    let some = rules(&object);
    assert!(
        some.iter().all(|rule| rule["labels"]["team"] == "data" && rule["labels"]["severity"].is_string())
    );
    let mut all = names(&rules(&rendered(on()).await));
    assert!(all.remove("FhirServerThrottled"));
    assert_eq!(names(&some), all);
    for (settings, named) in [
        (json!({"enabled": true, "disabled": ["NoSuchAlert"]}), "NoSuchAlert"),
        (json!({"enabled": true, "alertLabels": {"severity": "none"}}), "severity"),
        (json!({"enabled": "yes"}), "enabled"),
    ] {
        let refused = template(settings).await.ok().unwrap_err().to_string();
        assert!(refused.contains(named), "{refused}");
    }
}
