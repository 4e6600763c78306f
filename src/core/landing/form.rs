//! The form of a file that is read: whether the end of its body was marked, whether its last line is
//! closed, and whether its first line is of the type that the manifest names. All this is checked without
//! relying on what the server claims.

use serde::Deserialize;

/// The longest first line, in bytes, that is parsed. The type of a longer one is not known.
const MAX_FIRST_LINE: usize = 256 << 10;
const BYTE_ORDER_MARK: &[u8] = b"\xEF\xBB\xBF";

/// What the form of a landed file shows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum FileForm {
    /// The server marked the end of the body, the last line is closed, and the first line is of the right type.
    Framed,
    /// The body ended with the connection, or was a range of a file of unknown length, so more may belong to
    /// the file. Files that landed before the operator recorded the form are read as this, too.
    #[default]
    Unframed,
    /// The last line is not closed by `}`.
    Cut,
    /// The first line is a resource of another type than the manifest names.
    OtherType,
}

impl FileForm {
    /// The word that stores keep with an object.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Framed => "framed",
            Self::Unframed => "unframed",
            Self::Cut => "cut",
            Self::OtherType => "othertype",
        }
    }

    /// Parses the word that [`as_str`](Self::as_str) returned. An absent or unknown word means an unframed file.
    pub fn from_word(word: Option<&str>) -> Self {
        [Self::Framed, Self::Cut, Self::OtherType]
            .into_iter()
            .find(|form| Some(form.as_str()) == word)
            .unwrap_or_default()
    }

    /// Whether the form shows that the file is wrong. An unframed file is not known to be wrong.
    pub fn is_wrong(self) -> bool {
        match self {
            Self::Framed | Self::Unframed => false,
            Self::Cut | Self::OtherType => true,
        }
    }
}

/// Reads the form of a file from pieces of any size.
#[derive(Clone, Debug, Default)]
pub struct FormReader {
    first: FirstLine,
    /// The last byte that is not blank.
    last: Option<u8>,
}

#[derive(Clone, Debug, Default)]
enum FirstLine {
    /// The bytes of the line so far, and the type that it must have.
    Open { so_far: Vec<u8>, type_: String },
    /// The line is of another type than it must be.
    Wrong,
    /// The line is right, or its type is not known.
    #[default]
    Settled,
}

impl FormReader {
    /// Creates a reader for a file whose first line must be a resource of `type_`, if that is known.
    pub fn new(type_: Option<&str>) -> Self {
        let first = type_.map_or(FirstLine::Settled, |type_| FirstLine::Open {
            so_far: Vec::new(),
            type_: type_.to_owned(),
        });
        Self { first, last: None }
    }

    /// Reads the next piece.
    pub fn feed(&mut self, piece: &[u8]) {
        self.feed_again(piece);
        let FirstLine::Open { so_far, .. } = &mut self.first else { return };
        let mut rest = piece;
        if so_far.is_empty() {
            // Blank lines before the first one do not count.
            rest = rest.trim_ascii_start();
        }
        let end = memchr::memchr(b'\n', rest);
        let line = rest.get(..end.unwrap_or(rest.len())).unwrap_or_default();
        let room = MAX_FIRST_LINE.saturating_sub(so_far.len());
        so_far.extend_from_slice(line.get(..room.min(line.len())).unwrap_or_default());
        if so_far.len() >= MAX_FIRST_LINE {
            self.first = FirstLine::Settled;
        } else if end.is_some() {
            self.settle();
        }
    }

    /// Takes bytes from the end of the stored part, which were read again: they only tell the last byte so far.
    pub fn feed_again(&mut self, piece: &[u8]) {
        self.last = piece.iter().rev().find(|byte| !byte.is_ascii_whitespace()).copied().or(self.last);
    }

    /// Whether the first line is known to be of another type than it must be.
    pub fn is_of_another_type(&self) -> bool {
        matches!(self.first, FirstLine::Wrong)
    }

    /// The form, once the file has ended. `framed` is whether the end of the body was marked.
    pub fn finish(mut self, framed: bool) -> FileForm {
        self.settle();
        if self.is_of_another_type() {
            FileForm::OtherType
        } else if self.last.is_some_and(|last| last != b'}') {
            FileForm::Cut
        } else if framed {
            FileForm::Framed
        } else {
            FileForm::Unframed
        }
    }

    fn settle(&mut self) {
        #[derive(Deserialize)]
        struct Resource {
            #[serde(rename = "resourceType")]
            type_: String,
        }
        if let FirstLine::Open { so_far, type_ } = &self.first {
            let line = so_far.strip_prefix(BYTE_ORDER_MARK).unwrap_or(so_far);
            let found: Option<Resource> = serde_json::from_slice(line).ok();
            // A line that cannot be parsed has no type that could be wrong; the last line is checked anyway.
            let wrong = found.is_some_and(|found| &found.type_ != type_);
            self.first = if wrong { FirstLine::Wrong } else { FirstLine::Settled };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn form(text: &str, type_: Option<&str>, framed: bool) -> FileForm {
        let mut forms: Vec<FileForm> = [1, 3, 7, 4096]
            .into_iter()
            .map(|size| {
                let mut reader = FormReader::new(type_);
                for piece in text.as_bytes().chunks(size) {
                    reader.feed(piece);
                }
                reader.finish(framed)
            })
            .collect();
        forms.dedup();
        assert_eq!(forms.len(), 1, "however it is cut: {text}");
        forms[0]
    }

    #[test]
    fn a_file_is_judged_by_its_first_and_last_line() {
        let patient = r#"{"id":"1","resourceType":"Patient"}"#;
        for (text, wanted) in [
            (String::new(), FileForm::Framed),
            ("\n \r\n".to_owned(), FileForm::Framed),
            (patient.to_owned(), FileForm::Framed),
            (format!("\u{feff}{patient}\r\n{patient}\n\n"), FileForm::Framed),
            (format!("\n\n{patient}\n"), FileForm::Framed),
            (format!("{patient}\n{}", &patient[..20]), FileForm::Cut),
            (patient[..34].to_owned(), FileForm::Cut),
            (format!("{patient}\n\"x\"\n"), FileForm::Cut),
            (r#"{"resourceType":"Observation"}"#.to_owned(), FileForm::OtherType),
            (format!("{{\"resourceType\":\"Observation\"}}\n{patient}\n"), FileForm::OtherType),
            // The resource names no type.
            (r#"{"id":"1"}"#.to_owned(), FileForm::Framed),
        ] {
            assert_eq!(form(&text, Some("Patient"), true), wanted, "{text}");
        }
        assert_eq!(form(patient, Some("Patient"), false), FileForm::Unframed);
        assert_eq!(form(&patient[..9], Some("Patient"), false), FileForm::Cut);
        assert_eq!(form(patient, None, true), FileForm::Framed);
        assert_eq!(form("", None, false), FileForm::Unframed);
    }

    #[test]
    fn a_first_line_that_is_too_long_has_no_known_type() {
        let long = format!(r#"{{"text":"{}","resourceType":"Observation"}}"#, "x".repeat(MAX_FIRST_LINE));
        assert_eq!(form(&long, Some("Patient"), true), FileForm::Framed);
    }

    #[test]
    fn the_word_is_read_back_and_its_absence_proves_nothing() {
        for form in [FileForm::Framed, FileForm::Unframed, FileForm::Cut, FileForm::OtherType] {
            assert_eq!(FileForm::from_word(Some(form.as_str())), form);
        }
        assert_eq!(FileForm::from_word(None), FileForm::Unframed);
        assert_eq!(FileForm::from_word(Some("Framed?")), FileForm::Unframed);
    }
}
