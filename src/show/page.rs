//! What is printed. Lines and pages hold no control characters but line ends and the colours that this program chose,
//! whoever wrote the words.

use std::fmt::{Display, Write as _};
use std::io::{self, Write as _};

use anstyle::Style;
use serde::Serialize;

use crate::stop::Stop;

/// Replaces each control character by U+FFFD. Otherwise whoever wrote the text could move the cursor, or overwrite what
/// a terminal shows.
fn visible(text: &str) -> String {
    text.replace(char::is_control, "\u{fffd}")
}

/// One line for a terminal, without its end. Its words may be those of a server: control characters in them are
/// replaced.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Line(String);

impl Line {
    /// A line with this text.
    pub fn of(text: &str) -> Self {
        Self(visible(text))
    }

    /// A line with this text in this style.
    pub fn styled(text: &str, style: Style) -> Self {
        Self(format!("{style}{}{style:#}", visible(text)))
    }

    /// The line that tells why a command failed. Line ends in `sentence` become spaces: libraries put them into their
    /// errors.
    pub fn error(sentence: &str) -> Self {
        Self::of(&format!("error: {}", sentence.lines().collect::<Vec<_>>().join(" ")))
    }

    /// Continues the line with another one.
    pub fn push(&mut self, next: &Self) {
        self.0.push_str(&next.0);
    }

    /// The line without the spaces at its end.
    #[must_use]
    pub fn trimmed(mut self) -> Self {
        self.0.truncate(self.0.trim_end().len());
        self
    }

    /// The text of the line.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Prints the line to standard error. Nothing is told if that is closed.
    pub fn tell(&self) {
        let _ = writeln!(io::stderr(), "{}", self.0);
    }
}

/// Text of many lines for standard output.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Page(String);

impl Page {
    /// A text whose line ends and tabs are this program's own, such as a script or a YAML document. Other control
    /// characters are replaced.
    pub fn of(text: &str) -> Self {
        Self(text.replace(|c: char| c.is_control() && !matches!(c, '\n' | '\t'), "\u{fffd}"))
    }

    /// A value as one JSON document. Control characters are escaped, so the document means the same. The error is a
    /// sentence.
    pub fn json(value: &impl Serialize) -> Result<Self, Stop> {
        let text = serde_json::to_string_pretty(value).map_err(|e| not_printed(&e))?;
        let mut page = String::with_capacity(text.len() + 1);
        for c in text.chars() {
            // JSON lets DEL and the controls from U+0080 to U+009F stand in strings as they are. Of the others, only
            // the line ends between the members are left.
            if c.is_control() && c != '\n' {
                // Writing to a String cannot fail.
                let _ = write!(page, "\\u{:04x}", u32::from(c));
            } else {
                page.push(c);
            }
        }
        Ok(Self(page + "\n"))
    }

    /// A value as one YAML document. The error is a sentence.
    pub fn yaml(value: &impl Serialize) -> Result<Self, Stop> {
        let text = serde_saphyr::to_string(value).map_err(|e| not_printed(&e))?;
        Ok(Self::of(&format!("{}\n", text.trim_end())))
    }

    /// Adds a line.
    pub fn push(&mut self, line: &Line) {
        self.0.push_str(&line.0);
        self.0.push('\n');
    }

    /// Adds the lines of another page.
    pub fn append(&mut self, next: &Self) {
        self.0.push_str(&next.0);
    }

    /// The text of the page.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Prints the page to standard output. The error is a sentence.
    pub fn print(&self) -> Result<(), Stop> {
        match io::stdout().write_all(self.0.as_bytes()) {
            // The reader has closed the pipe, as `head` does.
            Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
                Err(Stop::because(format!("Standard output cannot be written: {error}.")))
            }
            _ => Ok(()),
        }
    }
}

impl From<Line> for Page {
    fn from(line: Line) -> Self {
        Self::from_iter([line])
    }
}

impl FromIterator<Line> for Page {
    fn from_iter<I: IntoIterator<Item = Line>>(lines: I) -> Self {
        let mut page = Self::default();
        page.extend(lines);
        page
    }
}

impl Extend<Line> for Page {
    fn extend<I: IntoIterator<Item = Line>>(&mut self, lines: I) {
        lines.into_iter().for_each(|line| self.push(&line));
    }
}

fn not_printed(error: &dyn Display) -> Stop {
    Stop::because(format!("What was read cannot be printed: {error}."))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use anstyle::AnsiColor;
    use serde_json::{Value, json};

    use super::*;

    #[test]
    fn no_escape_sequence_stays() {
        for (given, wanted) in [
            ("\u{1b}[2Jgone", "\u{fffd}[2Jgone"),
            ("a\r\nb\u{9b}31m\u{7f}", "a\u{fffd}\u{fffd}b\u{fffd}31m\u{fffd}"),
            ("längster Name…", "längster Name…"),
        ] {
            assert_eq!(Line::of(given).as_str(), wanted, "{given:?}");
        }
        let red = Line::styled("\u{1b}[2J", AnsiColor::Red.on_default());
        assert_eq!(red.as_str(), "\u{1b}[31m\u{fffd}[2J\u{1b}[0m", "the colour is this program's");
        assert_eq!(Page::of("a\tb\nc\r\u{1b}[2J\n").as_str(), "a\tb\nc\u{fffd}\u{fffd}[2J\n");
        assert_eq!(Line::error("a:\n  b\u{1b}[2J").as_str(), "error: a:   b\u{fffd}[2J");
    }

    #[test]
    fn a_document_for_programs_brings_no_escape_sequence_either() {
        let value = json!({ "a\u{9b}2J": ["\u{1b}[2J\n\t", "\u{7f}\u{85}"] });
        let json = Page::json(&value).unwrap();
        assert_eq!(serde_json::from_str::<Value>(json.as_str()).unwrap(), value, "nothing is lost");
        let yaml = Page::yaml(&value).unwrap();
        assert_eq!(serde_saphyr::from_str::<Value>(yaml.as_str()).unwrap(), value, "nothing is lost");
        for text in [json.as_str(), yaml.as_str()] {
            assert!(!text.contains(|c: char| c.is_control() && !matches!(c, '\n' | '\t')), "{text:?}");
        }
    }
}
