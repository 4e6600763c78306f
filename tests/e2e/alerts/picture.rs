//! A picture of the dashboard, drawn from the answers to its queries.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use serde_json::{Value, json};

use super::dashboard::{all_panels, filled};
use super::live::STRETCH;
use super::recording::Recording;
use super::rules::promtool;

/// Pixels for each column and each row of the dashboard's grid.
const CELL: (f64, f64) = (50.0, 26.0);
const COLOURS: [&str; 6] = ["#1d6fa5", "#e07b39", "#3a8f5b", "#a23b72", "#7a6ff0", "#8c8c8c"];

/// The value of a series at minutes of the recording.
type Points = Vec<(f64, f64)>;
/// The labels of a series.
type Labels = BTreeMap<String, String>;

/// The answer of promtool to a query, by time: `{a="b"} 1E+00, {a="c"} 2E+00`, or `nil`.
fn answers(said: &str) -> Vec<(f64, Vec<(Labels, f64)>)> {
    let mut all = Vec::new();
    let mut minute = None;
    for line in said.lines().map(str::trim) {
        if let Some(at) = line.split_once("\", time: ").map(|(_, at)| at.trim_end_matches(',')) {
            minute = Some(minutes(at));
        } else if let Some(got) = line.strip_prefix("got: ") {
            let at = minute.take().unwrap();
            let samples = got.split(", {").filter(|sample| *sample != "nil").map(|sample| {
                let (labels, value) = sample.trim_start_matches('{').rsplit_once("} ").unwrap();
                let pairs =
                    labels.split("\", ").filter_map(|pair| pair.trim_end_matches('"').split_once("=\""));
                (pairs.map(|(l, v)| (l.trim().to_owned(), v.to_owned())).collect(), value.parse().unwrap())
            });
            all.push((at, samples.collect()));
        }
    }
    all
}

/// A duration as Prometheus writes it, such as `1h30m`.
fn minutes(text: &str) -> f64 {
    let mut total = 0.0;
    let mut rest = text;
    while let Some(end) = rest.find(|c: char| c.is_ascii_alphabetic()) {
        let unit = rest[end..].find(|c: char| c.is_ascii_digit()).map_or(rest.len(), |more| end + more);
        let number: f64 = rest[..end].parse().unwrap();
        total += number
            * match &rest[end..unit] {
                "d" => 1440.0,
                "h" => 60.0,
                "m" => 1.0,
                "s" => 1.0 / 60.0,
                _ => 0.0,
            };
        rest = &rest[unit..];
    }
    total
}

/// The series of a panel, by their legend.
async fn series(panel: &Value, recording: &Recording) -> BTreeMap<String, Points> {
    let end = recording.intervals(STRETCH);
    let step = (end / 40).max(1);
    let mut all: BTreeMap<String, Points> = BTreeMap::new();
    for target in panel["targets"].as_array().unwrap() {
        let query = filled(target);
        // No time has this answer, so promtool tells the right one of each.
        let wrong = json!([{"labels": "{not=\"there\"}", "value": 1}]);
        let checks: Vec<Value> = (0..=end)
            .step_by(usize::try_from(step).unwrap())
            .chain([end])
            .map(|at| json!({"expr": query, "eval_time": format!("{at}m"), "exp_samples": wrong}))
            .collect();
        let tests = format!(
            "evaluation_interval: 1m\ntests:\n  - interval: 1m\n    promql_expr_test: {}\n    input_series:\n{}",
            json!(checks),
            recording.input_series(STRETCH)
        );
        let output =
            promtool(&json!({"spec": {"groups": []}}), &tests, ["test", "rules", "tests.yaml"]).await;
        for (at, samples) in answers(&format!("{}\n{}", output.stdout, output.stderr)) {
            for (labels, value) in samples.into_iter().filter(|(_, value): &(_, f64)| value.is_finite()) {
                let mut legend = target["legendFormat"].as_str().unwrap().to_owned();
                for (label, value) in &labels {
                    legend = legend.replace(&format!("{{{{{label}}}}}"), value);
                }
                // A label that only Prometheus adds.
                let legend = legend.replace(['{', '}'], "");
                all.entry(legend).or_default().push((at, value));
            }
        }
    }
    all
}

/// A value in its unit, for people.
fn shown(value: f64, unit: &str) -> String {
    let scaled = |steps: &[(f64, &str)]| {
        let (size, name) = steps.iter().rev().find(|(size, _)| value.abs() >= *size).unwrap_or(&steps[0]);
        format!("{} {name}", rounded(value / size))
    };
    match unit {
        "s" => scaled(&[(0.001, "ms"), (1.0, "s"), (60.0, "min"), (3600.0, "h"), (86400.0, "d")]),
        "bytes" => scaled(&[(1.0, "B"), (1024.0, "KiB"), (1_048_576.0, "MiB"), (1_073_741_824.0, "GiB")]),
        "Bps" => scaled(&[(1.0, "B/s"), (1024.0, "KiB/s"), (1_048_576.0, "MiB/s")]),
        "percentunit" => format!("{} %", rounded(value * 100.0)),
        "reqps" | "ops" => format!("{} / s", rounded(value)),
        _ => rounded(value),
    }
}

fn rounded(value: f64) -> String {
    let digits = match value.abs() {
        size if size >= 100.0 => 0,
        size if (f64::EPSILON..0.1).contains(&size) => 4,
        _ => 2,
    };
    let text = format!("{value:.digits$}");
    if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.').to_owned() } else { text }
}

/// A rectangle in which something is drawn.
#[derive(Clone, Copy)]
struct Frame {
    x: f64,
    y: f64,
    w: f64,
    h: f64,
}

fn text(svg: &mut String, x: f64, y: f64, size: u32, colour: &str, told: &str) {
    let told = told.replace('&', "&amp;").replace('<', "&lt;");
    writeln!(svg, "<text x=\"{x:.0}\" y=\"{y:.0}\" font-size=\"{size}\" fill=\"{colour}\">{told}</text>")
        .unwrap();
}

fn lines(svg: &mut String, frame: Frame, unit: &str, end: f64, series: &BTreeMap<String, Points>) {
    let plot = Frame { x: frame.x + 10.0, y: frame.y + 28.0, w: frame.w - 20.0, h: frame.h - 62.0 };
    let most = series.values().flatten().map(|(_, value)| *value).fold(0.0, f64::max);
    let top = if most > 0.0 { most } else { 1.0 };
    text(svg, plot.x, plot.y + 4.0, 10, "#888", &shown(top, unit));
    let (base, right) = (plot.y + plot.h, plot.x + plot.w);
    writeln!(svg, "<path d=\"M{:.0} {base:.0}H{right:.0}\" stroke=\"#ddd\"/>", plot.x).unwrap();
    for (n, (legend, points)) in series.iter().enumerate() {
        let colour = COLOURS[n % COLOURS.len()];
        let at = |(minute, value): &(f64, f64)| {
            format!("{:.0},{:.0}", plot.x + minute / end * plot.w, base - value / top * (plot.h - 8.0))
        };
        let path: Vec<String> = points.iter().map(at).collect();
        let path = path.join(" ");
        writeln!(svg, "<polyline points=\"{path}\" fill=\"none\" stroke=\"{colour}\" stroke-width=\"1.5\"/>")
            .unwrap();
        if n < 12 {
            let (column, row) = ((n % 4) as f64, (n / 4) as f64);
            text(svg, plot.x + column * plot.w / 4.0, base + 12.0 + row * 10.0, 9, colour, legend);
        }
    }
}

fn bars(svg: &mut String, frame: Frame, unit: &str, end: f64, series: &BTreeMap<String, Points>) {
    let last = series.iter().filter_map(|(legend, points)| {
        points.last().filter(|(minute, _)| *minute >= end).map(|(_, value)| (legend, *value))
    });
    let last: Vec<_> = last.collect();
    let most = last.iter().map(|(_, value)| *value).fold(0.0, f64::max);
    for (n, (legend, value)) in last.iter().take(8).enumerate() {
        let y = frame.y + 32.0 + n as f64 * 20.0;
        let w = (frame.w - 260.0) * value / if most > 0.0 { most } else { 1.0 };
        text(svg, frame.x + 10.0, y + 11.0, 11, "#333", legend);
        let x = frame.x + 180.0;
        writeln!(
            svg,
            "<rect x=\"{x:.0}\" y=\"{y:.0}\" width=\"{w:.0}\" height=\"14\" fill=\"{}\"/>",
            COLOURS[0]
        )
        .unwrap();
        text(svg, x + w + 6.0, y + 11.0, 11, "#333", &shown(*value, unit));
    }
}

/// The colour that the thresholds of a panel give a value.
fn threshold(panel: &Value, value: f64) -> &'static str {
    let steps = panel["fieldConfig"]["defaults"]["thresholds"]["steps"].as_array();
    let met =
        steps.into_iter().flatten().rfind(|step| step["value"].as_f64().is_none_or(|from| value >= from));
    match met.and_then(|step| step["color"].as_str()) {
        Some("red") => "#c0392b",
        Some("orange") => "#e07b39",
        Some(_) => "#3a8f5b",
        None => "#333",
    }
}

fn stat(svg: &mut String, frame: Frame, panel: &Value, unit: &str, series: &BTreeMap<String, Points>) {
    if let Some((_, value)) = series.values().flatten().last() {
        let size = if frame.h > 150.0 { 26 } else { 30 };
        text(
            svg,
            frame.x + 14.0,
            frame.y + frame.h / 2.0 + 18.0,
            size,
            threshold(panel, *value),
            &shown(*value, unit),
        );
    }
}

fn strips(svg: &mut String, frame: Frame, panel: &Value, end: f64, series: &BTreeMap<String, Points>) {
    for (n, (legend, points)) in series.iter().take(6).enumerate() {
        let y = frame.y + 36.0 + n as f64 * 26.0;
        text(svg, frame.x + 10.0, y - 1.0, 9, "#333", legend);
        let x = |minute: f64| frame.x + 10.0 + minute / end * (frame.w - 20.0);
        for (from, to) in points.iter().zip(points.iter().skip(1)) {
            let (start, w) = (x(from.0), x(to.0) - x(from.0) + 0.5);
            let colour = threshold(panel, from.1);
            writeln!(
                svg,
                "<rect x=\"{start:.1}\" y=\"{:.0}\" width=\"{w:.1}\" height=\"10\" fill=\"{colour}\"/>",
                y + 2.0
            )
            .unwrap();
        }
    }
}

/// The dashboard as it shows a recording.
pub async fn draw(recording: &Recording) -> String {
    let end = recording.intervals(STRETCH) as f64;
    let mut svg = String::new();
    let mut bottom: f64 = 0.0;
    for panel in all_panels() {
        let at = |name: &str| panel["gridPos"][name].as_f64().unwrap();
        let frame =
            Frame { x: at("x") * CELL.0, y: at("y") * CELL.1, w: at("w") * CELL.0, h: at("h") * CELL.1 };
        bottom = bottom.max(frame.y + frame.h);
        let title = panel["title"].as_str().unwrap();
        if panel["type"] == "row" {
            text(&mut svg, frame.x + 4.0, frame.y + 19.0, 15, "#111", title);
            continue;
        }
        let (x, y, w, h) = (frame.x + 2.0, frame.y + 2.0, frame.w - 4.0, frame.h - 4.0);
        writeln!(
            svg,
            "<rect x=\"{x}\" y=\"{y}\" width=\"{w}\" height=\"{h}\" rx=\"4\" fill=\"#fff\" stroke=\"#ccc\"/>"
        )
        .unwrap();
        text(&mut svg, frame.x + 10.0, frame.y + 18.0, 12, "#333", title);
        let unit = panel["fieldConfig"]["defaults"]["unit"].as_str().unwrap();
        let series = series(&panel, recording).await;
        match panel["type"].as_str().unwrap() {
            "stat" => stat(&mut svg, frame, &panel, unit, &series),
            "bargauge" => bars(&mut svg, frame, unit, end, &series),
            "state-timeline" => strips(&mut svg, frame, &panel, end, &series),
            _ => lines(&mut svg, frame, unit, end, &series),
        }
    }
    let (width, height) = (24.0 * CELL.0, bottom + 4.0);
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width:.0} {height:.0}\" font-family=\"sans-serif\">\n\
         <rect width=\"{width:.0}\" height=\"{height:.0}\" fill=\"#f4f5f7\"/>\n{svg}</svg>\n"
    )
}

#[test]
fn what_promtool_says_is_read() {
    let said = "  FAILED:\n    expr: \"a\", time: 1h2m,\n        exp: {not=\"there\"} 1E+00\n        got: \
        {a=\"b\", c=\"d\"} 1E+00, {a=\"e\", c=\"f\"} 2.5E+01\n    expr: \"a\", time: 30s,\n        exp: {x=\"\"} 1E+00\n        \
        got: nil\n    expr: \"a\", time: 0s,\n        exp: nil\n        got: {} 3E+00\n";
    let labels =
        |pairs: &[(&str, &str)]| pairs.iter().map(|(l, v)| ((*l).to_owned(), (*v).to_owned())).collect();
    let first = vec![(labels(&[("a", "b"), ("c", "d")]), 1.0), (labels(&[("a", "e"), ("c", "f")]), 25.0)];
    assert_eq!(answers(said), [(62.0, first), (0.5, vec![]), (0.0, vec![(BTreeMap::new(), 3.0)])]);
    for (value, unit, told) in [
        (0.25, "s", "250 ms"),
        (5400.0, "s", "1.5 h"),
        (2048.0, "bytes", "2 KiB"),
        (3.0, "none", "3"),
        (0.0042, "none", "0.0042"),
    ] {
        assert_eq!(shown(value, unit), told);
    }
}
