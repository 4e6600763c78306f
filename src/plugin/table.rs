//! Tables as kubectl prints them: upper-case headings, columns three spaces apart, no lines.

use super::paint::{Paint, Tone};
use crate::show::{Line, Page};

/// The gap between columns, in spaces.
const GAP: usize = 3;

/// One entry of a table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cell {
    text: String,
    tone: Tone,
}

impl Cell {
    /// An entry whose colour follows from `tone`.
    pub fn toned(text: impl Into<String>, tone: Tone) -> Self {
        Self { text: text.into(), tone }
    }
}

impl<T: Into<String>> From<T> for Cell {
    fn from(text: T) -> Self {
        Self::toned(text, Tone::Neutral)
    }
}

/// A table with headings.
#[derive(Clone, Debug)]
pub struct Table {
    headings: Vec<&'static str>,
    rows: Vec<Vec<Cell>>,
}

impl Table {
    /// A table without rows.
    pub fn new(headings: Vec<&'static str>) -> Self {
        Self { headings, rows: Vec::new() }
    }

    /// Adds a row: one entry for each heading.
    pub fn row(&mut self, row: Vec<Cell>) {
        self.rows.push(row);
    }

    /// The table, one line for each row.
    pub fn page(&self, paint: Paint) -> Page {
        let headings: Vec<Cell> = self.headings.iter().map(|heading| Cell::from(*heading)).collect();
        let all: Vec<&Vec<Cell>> = std::iter::once(&headings).chain(&self.rows).collect();
        let width = |column: usize| {
            all.iter()
                .filter_map(|row| row.get(column))
                .map(|cell| cell.text.chars().count())
                .max()
                .unwrap_or(0)
        };
        let widths: Vec<usize> = (0..self.headings.len()).map(width).collect();
        all.iter().map(|row| line(row, &widths, paint)).collect()
    }
}

fn line(row: &[Cell], widths: &[usize], paint: Paint) -> Line {
    let mut line = Line::default();
    // The spaces before the next entry.
    let mut gap = 0;
    for (cell, width) in row.iter().zip(widths) {
        line.push(&Line::of(&" ".repeat(gap)));
        line.push(&paint.tint(cell.tone, &cell.text));
        gap = GAP + width.saturating_sub(cell.text.chars().count());
    }
    line.trimmed()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_line_up_with_and_without_colours() {
        let mut table = Table::new(vec!["NAME", "STATE", "AGE"]);
        table.row(vec!["a".into(), Cell::toned("Failed", Tone::Bad), "3d".into()]);
        table.row(vec!["längster".into(), Cell::toned("Running", Tone::Busy), "5m".into()]);
        let plain = table.page(Paint::Plain);
        assert_eq!(
            plain.as_str(),
            "NAME       STATE     AGE\n\
             a          Failed    3d\n\
             längster   Running   5m\n"
        );
        let coloured = table.page(Paint::Colours);
        assert!(coloured.as_str().contains("\u{1b}[31mFailed\u{1b}[0m    3d"), "{coloured:?}");
    }

    #[test]
    fn a_text_brings_no_escape_sequence() {
        let mut table = Table::new(vec!["NAME", "AGE"]);
        table.row(vec!["\u{1b}[2J".into(), "3d".into()]);
        assert_eq!(table.page(Paint::Plain).as_str(), "NAME   AGE\n\u{fffd}[2J   3d\n");
    }
}
