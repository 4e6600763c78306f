//! A recording of `/metrics`, and its conversion to input for promtool.
//!
//! A recording is plain text: expositions in order of time, each preceded by a line `# at SECONDS`. The seconds count
//! from an arbitrary start. If several processes are recorded, the line is `# at SECONDS NAME`, and the name becomes
//! the label `pod`.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

/// The time between two scrapes of Prometheus, in seconds.
const INTERVAL: u64 = 60;
/// A process is down if this many intervals pass without a scrape. The longer one counts of Prometheus's interval and
/// the recording's.
const GONE_AFTER: f64 = 3.0;

/// The scrapes of one process: the time in seconds, and the value of each series.
type Scrapes = Vec<(f64, BTreeMap<String, String>)>;

/// A recording: the scrapes of each process, by the name of the process.
pub struct Recording(BTreeMap<String, Scrapes>);

impl Recording {
    /// Reads a recording and keeps only the series in `names`.
    pub fn read(text: &str, names: &BTreeSet<String>) -> Self {
        let mut all: BTreeMap<String, Scrapes> = BTreeMap::new();
        let mut pod = String::new();
        for line in text.lines() {
            if let Some(at) = line.strip_prefix("# at ") {
                let (seconds, name) = at.split_once(' ').unwrap_or((at, ""));
                name.trim().clone_into(&mut pod);
                let scrapes = all.entry(pod.clone()).or_default();
                let seconds: f64 = seconds.trim().parse().unwrap_or_else(|e| panic!("{line}: {e}"));
                assert!(scrapes.last().is_none_or(|(last, _)| *last <= seconds), "{line}: time goes back");
                scrapes.push((seconds, BTreeMap::new()));
            } else if !line.starts_with('#') && !line.trim().is_empty() {
                let (series, value) = line.rsplit_once(' ').unwrap_or_else(|| panic!("{line}"));
                let (_, samples) = all.get_mut(&pod).and_then(|s| s.last_mut()).expect("a line `# at` first");
                if names.contains(series.split('{').next().unwrap_or_default()) {
                    samples.insert(labelled(series, &pod), value.to_owned());
                }
            }
        }
        Self(all)
    }

    /// The recording as text, to be checked in: with at most one scrape in `every` seconds, and without series that are
    /// always 0.
    pub fn trimmed(&self, every: f64) -> String {
        let scrapes = self.0.get("").expect("one process");
        let moving = |series: &String| {
            scrapes.iter().any(|(_, samples)| samples.get(series).is_some_and(|v| v != "0"))
        };
        let (mut text, mut last) = (String::new(), f64::NEG_INFINITY);
        for (at, samples) in scrapes {
            if at - last < every {
                continue;
            }
            last = *at;
            writeln!(text, "# at {at}").unwrap();
            for (series, value) in samples.iter().filter(|(series, _)| moving(series)) {
                writeln!(text, "{series} {value}").unwrap();
            }
        }
        text
    }

    /// The number of scrape intervals, rounded up, that the recording covers. Each of its seconds counts as `stretch`
    /// seconds.
    pub fn intervals(&self, stretch: f64) -> u64 {
        let last =
            self.0.values().filter_map(|scrapes| scrapes.last()).map(|(at, _)| *at).fold(0.0, f64::max);
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
        let intervals = (last * stretch / INTERVAL as f64).ceil() as u64;
        intervals
    }

    /// The `input_series` for promtool. Each second of the recording counts as `stretch` seconds.
    pub fn input_series(&self, stretch: f64) -> String {
        let intervals = self.intervals(stretch);
        let mut yaml = String::new();
        for scrapes in self.0.values() {
            let patience = GONE_AFTER * (typical_gap(scrapes) * stretch).max(INTERVAL as f64);
            let names: BTreeSet<&String> = scrapes.iter().flat_map(|(_, samples)| samples.keys()).collect();
            for series in names {
                let values: Vec<Option<&str>> = (0..=intervals)
                    .map(|n| value_at(scrapes, series, (n * INTERVAL) as f64, stretch, patience))
                    .collect();
                writeln!(yaml, "      - series: '{series}'\n        values: '{}'", notation(&values))
                    .unwrap();
            }
        }
        yaml
    }
}

fn labelled(series: &str, pod: &str) -> String {
    match (pod, series.strip_suffix('}')) {
        ("", _) => series.to_owned(),
        (_, Some(open)) => format!("{open},pod=\"{pod}\"}}"),
        (_, None) => format!("{series}{{pod=\"{pod}\"}}"),
    }
}

/// The median time between two scrapes, in seconds.
fn typical_gap(scrapes: &Scrapes) -> f64 {
    let mut gaps: Vec<f64> = scrapes.windows(2).map(|pair| pair[1].0 - pair[0].0).collect();
    gaps.sort_by(f64::total_cmp);
    gaps.get(gaps.len() / 2).copied().unwrap_or(0.0)
}

/// The value that Prometheus would have scraped at `time`: the last one before, unless the process was down.
fn value_at<'a>(
    scrapes: &'a Scrapes,
    series: &str,
    time: f64,
    stretch: f64,
    patience: f64,
) -> Option<&'a str> {
    let (at, samples) = scrapes.iter().rev().find(|(at, _)| at * stretch <= time)?;
    let gone = time - at * stretch > patience;
    samples.get(series).filter(|_| !gone).map(String::as_str)
}

/// The values in promtool's notation: `1+0x4` is five times 1, `_x4` is four missing values.
fn notation(values: &[Option<&str>]) -> String {
    let runs = values.chunk_by(|a, b| a == b).map(|run| match run[0] {
        Some(value) => format!("{value}+0x{}", run.len() - 1),
        None => format!("_x{}", run.len()),
    });
    runs.collect::<Vec<_>>().join(" ")
}

#[test]
fn a_recording_becomes_series() {
    let text = "# at 0\n# HELP a x\na 1\nb{x=\"y\"} 2\nc 9\n# EOF\n# at 30 two\na 5\n# at 60\na 1\nb{x=\"y\"} 3\n\
        # at 120\na 4\n# at 600\na 6\n";
    let names = ["a", "b"].map(str::to_owned).into();
    let recording = Recording::read(text, &names);
    assert_eq!(recording.intervals(1.0), 10);
    let series = recording.input_series(1.0);
    for expected in [
        "- series: 'a'\n        values: '1+0x1 4+0x3 _x4 6+0x0'",
        "- series: 'b{x=\"y\"}'\n        values: '2+0x0 3+0x0 _x9'",
        "- series: 'a{pod=\"two\"}'\n        values: '_x1 5+0x2 _x7'",
    ] {
        assert!(series.contains(expected), "{expected}\nis not in\n{series}");
    }
    assert!(!series.contains("'c'"), "{series}");
    assert_eq!(recording.intervals(10.0), 100);

    let one = Recording::read("# at 0\na 0\nb 0\n# at 1\na 0\nb 1\n# at 2\na 0\nb 2\n", &names);
    assert_eq!(one.trimmed(2.0), "# at 0\nb 0\n# at 2\nb 2\n");
}
