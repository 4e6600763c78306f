//! Reads error files while they are downloaded: counts their issues by severity and keeps the first few texts.

use super::Issues;
use crate::core::outcome::{MAX_BODY as MAX_LINE, OperationOutcome};

/// How many texts are kept.
const MAX_WORDS: usize = 3;

/// Reads an error file in pieces of any size.
#[derive(Clone, Debug, Default)]
pub struct OutcomeReader {
    line: Vec<u8>,
    too_long: bool,
    issues: Issues,
    words: Vec<String>,
}

impl OutcomeReader {
    /// Reads the next piece.
    pub fn feed(&mut self, piece: &[u8]) {
        for part in piece.split_inclusive(|byte| *byte == b'\n') {
            if self.line.len() + part.len() > MAX_LINE {
                self.too_long = true;
                self.line.clear();
            } else if !self.too_long {
                self.line.extend_from_slice(part);
            }
            if part.ends_with(b"\n") {
                self.end_line();
            }
        }
    }

    /// The issues and the texts, once the file has ended.
    pub fn finish(mut self) -> (Issues, Vec<String>) {
        self.end_line();
        (self.issues, self.words)
    }

    fn end_line(&mut self) {
        let line = std::mem::take(&mut self.line);
        let text = line.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(&line).trim_ascii();
        if std::mem::take(&mut self.too_long) {
            self.issues.errors += 1;
            return;
        }
        if text.is_empty() {
            return;
        }
        let Some(outcome) = OperationOutcome::parse(text) else {
            // A line that cannot be read may hold an error, so it counts as one.
            self.issues.errors += 1;
            return;
        };
        for severity in outcome.severities() {
            match severity {
                "information" | "success" => self.issues.information += 1,
                "warning" => self.issues.warnings += 1,
                _ => self.issues.errors += 1,
            }
        }
        let words = outcome.words();
        if !words.is_empty() && self.words.len() < MAX_WORDS && !self.words.contains(&words) {
            self.words.push(words);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str, size: usize) -> (Issues, Vec<String>) {
        let mut reader = OutcomeReader::default();
        for piece in text.as_bytes().chunks(size) {
            reader.feed(piece);
        }
        reader.finish()
    }

    #[test]
    fn severities_are_counted_however_the_file_is_cut() {
        let line = |severity: &str, text: &str| {
            format!(
                r#"{{"resourceType":"OperationOutcome","issue":[{{"severity":"{severity}","diagnostics":"{text}"}}]}}"#
            )
        };
        let file = [
            line("information", "ignored _elements"),
            line("warning", "b"),
            line("error", "c"),
            line("fatal", "d"),
            String::new(),
            "nonsense".to_owned(),
            r#"{"resourceType":"Patient"}"#.to_owned(),
        ]
        .join("\r\n");
        for size in [1, 7, 4096] {
            let (issues, words) = read(&file, size);
            assert_eq!(issues, Issues { errors: 4, warnings: 1, information: 1 });
            assert_eq!(words, ["ignored _elements", "b", "c"]);
        }
        assert_eq!(read("", 1), (Issues::default(), vec![]));
    }

    #[test]
    fn a_line_without_end_is_not_kept() {
        let long = "x".repeat(MAX_LINE + 5);
        assert_eq!(read(&format!("{long}\n{long}"), 1 << 16).0.errors, 2);
    }
}
