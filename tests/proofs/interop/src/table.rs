//! The table of the results.

use std::ops::Range;

use crate::compare::Comparison;
use crate::exports::Ended;

/// One export and the result of its comparison.
#[derive(Debug, Clone)]
pub struct Row {
    /// The export.
    pub ended: Ended,
    /// The types of the export, for people.
    pub types: String,
    /// The result of the comparison.
    pub found: Comparison,
}

impl Row {
    /// Whether the result is as it must be. An export that must fail must also miss resources.
    pub fn is_good(&self) -> bool {
        let complete = self.ended.export.must_be().0 == "Complete";
        let found = &self.found;
        self.ended.is_as_it_must()
            && found.doubled == 0
            && found.missing.is_empty() == complete
            && self.is_counted()
    }

    /// Whether the status of a complete export states the number of landed resources.
    pub fn is_counted(&self) -> bool {
        let said = self.ended.status.output.as_ref().and_then(|output| output.resources);
        self.ended.end().0 != "Complete"
            || said.is_some_and(|said| usize::try_from(said) == Ok(self.found.landed))
    }

    fn cells(&self) -> [String; 9] {
        let export = &self.ended.export;
        [
            export.server.to_owned(),
            export.level.to_owned(),
            self.types.clone(),
            self.found.on_server.to_string(),
            self.found.landed.to_string(),
            self.found.missing.len().to_string(),
            self.found.doubled.to_string(),
            self.found.repeats.to_string(),
            self.ended.end().1.to_owned(),
        ]
    }
}

const HEADS: [&str; 9] = [
    "SERVER",
    "LEVEL",
    "TYPES",
    "ON SERVER",
    "LANDED",
    "MISSING",
    "DOUBLED BY US",
    "SERVER'S REPEATS",
    "ENDED",
];
/// The columns that hold numbers.
const NUMBERS: Range<usize> = 3..8;

/// The table, with a line for each export.
pub fn table(rows: &[Row]) -> Vec<String> {
    let heads = HEADS.map(str::to_owned).to_vec();
    let cells = rows.iter().map(|row| row.cells().to_vec());
    columns(&std::iter::once(heads).chain(cells).collect::<Vec<_>>(), NUMBERS)
}

/// Lines of cells. Each column is as wide as its widest cell, and the columns in `numbers` are aligned to the right.
pub fn columns(all: &[Vec<String>], numbers: Range<usize>) -> Vec<String> {
    let widths: Vec<usize> = (0..all.first().map_or(0, Vec::len))
        .map(|column| all.iter().filter_map(|cells| cells.get(column)).map(String::len).max().unwrap_or(0))
        .collect();
    all.iter().map(|cells| line(cells, &widths, &numbers)).collect()
}

fn line(cells: &[String], widths: &[usize], numbers: &Range<usize>) -> String {
    let pad = |(column, (cell, width)): (usize, (&String, &usize))| {
        if numbers.contains(&column) { format!("{cell:>width$}") } else { format!("{cell:<width$}") }
    };
    let cells: Vec<String> = cells.iter().zip(widths).enumerate().map(pad).collect();
    format!("  {}", cells.join("  ")).trim_end().to_owned()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)] // a test fails by panicking
mod tests {
    use serde_json::json;

    use super::*;
    use crate::compare::Missing;
    use crate::exports::Export;
    use crate::objects::REPEATING;

    fn row(server: &'static str, condition: &str, found: Comparison) -> Row {
        let reason = if condition == "Failed" { "VerificationFailed" } else { "Exported" };
        let condition = json!({ "type": condition, "status": "True", "reason": reason, "message": "",
            "lastTransitionTime": "2026-01-01T00:00:00Z" });
        let status = json!({ "conditions": [condition], "output": { "resources": 0 } });
        let status = serde_json::from_value(status).unwrap();
        let export = Export { server, level: "System", group: None, types: &[] };
        Row { ended: Ended { export, status }, types: "all 25".to_owned(), found }
    }

    fn missing() -> Comparison {
        let missing = vec![Missing { name: "Patient/1".to_owned(), served: true }];
        Comparison { on_server: 1000, missing, ..Comparison::default() }
    }

    #[test]
    fn nothing_may_be_missing_or_doubled() {
        assert!(row("hapi", "Complete", Comparison::default()).is_good());
        assert!(!row("hapi", "Complete", missing()).is_good());
        assert!(!row("hapi", "Complete", Comparison { doubled: 1, ..Comparison::default() }).is_good());
        assert!(!row("hapi", "Failed", Comparison::default()).is_good());
        // The status states no number of resources.
        assert!(!row("hapi", "Complete", Comparison { landed: 1, ..Comparison::default() }).is_good());
    }

    #[test]
    fn what_must_fail_must_miss_something() {
        assert!(row(REPEATING, "Failed", missing()).is_good());
        assert!(!row(REPEATING, "Failed", Comparison::default()).is_good());
        assert!(!row(REPEATING, "Complete", missing()).is_good());
    }

    #[test]
    fn columns_are_as_wide_as_they_must_be() {
        let rows = [row("hapi", "Complete", Comparison::default()), row(REPEATING, "Failed", missing())];
        let lines = table(&rows);
        let ends: Vec<Option<usize>> = lines.iter().map(|line| line.find("ENDED")).collect();
        assert_eq!(lines.len(), 3);
        let end = ends.first().copied().flatten().unwrap();
        assert!(lines.iter().skip(1).all(|line| line.split_at(end).1.starts_with(['E', 'V'])), "{lines:#?}");
    }
}
