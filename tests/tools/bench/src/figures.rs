//! Figures, each with the bar that it is held against, as a table and as JSON.

use std::collections::BTreeMap;
use std::fmt::{self, Write as _};
use std::path::Path;
use std::process::Command;

use serde_json::{Value, json};

use crate::{Error, Result};

/// What a figure should be.
#[derive(Clone, Copy, Debug)]
pub enum Bar {
    /// This or more.
    AtLeast(f64),
    /// This or less.
    AtMost(f64),
    /// Nothing is asked of the figure.
    None,
}

impl fmt::Display for Bar {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::AtLeast(least) => write!(to, "≥ {least}"),
            Self::AtMost(most) => write!(to, "≤ {most}"),
            Self::None => Ok(()),
        }
    }
}

/// One figure.
#[derive(Clone, Debug)]
pub struct Figure {
    name: String,
    value: f64,
    unit: &'static str,
    bar: Bar,
}

impl Figure {
    /// A figure with its bar.
    pub fn new(name: impl Into<String>, value: f64, unit: &'static str, bar: Bar) -> Self {
        Self { name: name.into(), value, unit, bar }
    }

    fn verdict(&self) -> &'static str {
        let met = match self.bar {
            Bar::AtLeast(least) => self.value >= least,
            Bar::AtMost(most) => self.value <= most,
            Bar::None => return "",
        };
        if met { "met" } else { "MISSED" }
    }
}

/// The middle one of some values; of an even number, the upper one of both in the middle.
pub fn median(values: impl IntoIterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.into_iter().collect();
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}

/// What was measured, on which machine, of which commit.
pub struct Results {
    commit: String,
    machine: String,
    figures: Vec<Figure>,
}

impl Results {
    /// Results of this machine and of the commit of the work tree.
    pub fn of(figures: Vec<Figure>) -> Self {
        let cores = std::thread::available_parallelism().map_or(0, usize::from);
        let about = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
        let model = about.lines().find_map(|line| line.strip_prefix("model name")?.split(": ").nth(1));
        let machine = format!("{cores} cores, {}", model.unwrap_or("unknown"));
        let said = Command::new("git").args(["describe", "--always", "--dirty", "--exclude=*"]).output();
        let commit = said.ok().map(|said| String::from_utf8_lossy(&said.stdout).trim().to_owned());
        Self {
            commit: commit.filter(|said| !said.is_empty()).unwrap_or("unknown".to_owned()),
            machine,
            figures,
        }
    }

    /// Writes the results to a file.
    pub fn write(&self, to: &Path) -> Result<()> {
        let figures: Vec<Value> = self
            .figures
            .iter()
            .map(|figure| {
                json!({"name": figure.name, "value": figure.value, "unit": figure.unit,
                    "bar": figure.bar.to_string(), "verdict": figure.verdict()})
            })
            .collect();
        let all = json!({"commit": self.commit, "machine": self.machine, "figures": figures});
        Ok(std::fs::write(to, format!("{all:#}\n"))?)
    }

    /// The results as a table, beside those of an older file if there is one.
    pub fn table(&self, older: Option<&Path>) -> Result<String> {
        let older = older.map(Older::read).transpose()?;
        let mut table = format!("commit {}, {}\n\n", self.commit, self.machine);
        let (more, line) = match &older {
            Some(older) => (format!(" {} | Change |", older.commit), "---|---|"),
            None => (String::new(), ""),
        };
        let _ = writeln!(table, "| Figure | Value | Bar | Verdict |{more}\n|---|---|---|---|{line}");
        for figure in &self.figures {
            let (Figure { name, value, unit, bar }, verdict) = (figure, figure.verdict());
            let _ = write!(table, "| {name} | {} {unit} | {bar} | {verdict} |", shown(*value));
            if let Some(older) = &older {
                table += &older.values.get(name).map_or(" | |".to_owned(), |old| {
                    format!(" {} | {:+.0} % |", shown(*old), (value / old - 1.0) * 100.0)
                });
            }
            table += "\n";
        }
        Ok(table)
    }
}

/// Three digits are enough for people.
fn shown(value: f64) -> String {
    match value {
        value if value.abs() >= 100.0 => format!("{value:.0}"),
        value if value.abs() >= 10.0 => format!("{value:.1}"),
        value => format!("{value:.2}"),
    }
}

/// Results that were written before.
struct Older {
    commit: String,
    values: BTreeMap<String, f64>,
}

impl Older {
    fn read(from: &Path) -> Result<Self> {
        let text = std::fs::read_to_string(from)
            .map_err(|error| Error::Other(format!("{}: {error}", from.display())))?;
        let all: Value = serde_json::from_str(&text)?;
        let figures = all.get("figures").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
        let values = figures.iter().filter_map(|figure| {
            Some((figure.get("name")?.as_str()?.to_owned(), figure.get("value")?.as_f64()?))
        });
        let commit = all.get("commit").and_then(Value::as_str).unwrap_or("older").to_owned();
        Ok(Self { commit, values: values.collect() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_figure_has_a_verdict_and_is_compared_with_the_older_one() {
        let folder = stage::Folder::new("figures").unwrap();
        let file = folder.path().join("older.json");
        Results::of(vec![Figure::new("large: speed", 400.0, "MB/s", Bar::None)]).write(&file).unwrap();
        let results = Results::of(vec![
            Figure::new("large: speed", 500.0, "MB/s", Bar::AtLeast(450.0)),
            Figure::new("large: CPU", 1.5, "s/GB", Bar::AtMost(1.4)),
        ]);
        let table = results.table(Some(&file)).unwrap();
        assert!(table.contains("| large: speed | 500 MB/s | ≥ 450 | met | 400 | +25 % |\n"), "{table}");
        assert!(table.contains("| large: CPU | 1.50 s/GB | ≤ 1.4 | MISSED | | |\n"), "{table}");
        assert!(!results.table(None).unwrap().contains("Change"));
    }

    #[test]
    fn the_median_is_in_the_middle() {
        assert_eq!(median([3.0, 1.0, 2.0]).to_bits(), 2.0_f64.to_bits());
        assert!(median([]).is_nan());
    }
}
