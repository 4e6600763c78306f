//! The marks of a landed file as named texts, for stores that keep them as metadata or in an object of their own.

use crate::core::landing::{FileForm, Issues, Marks, Sum};

const SOURCE: &str = "source";
const SHA256: &str = "sha256";
const LINES: &str = "lines";
const BYTES: &str = "bytes";
const ISSUES: &str = "issues";
const FORM: &str = "form";

/// The marks, each under the name of its field: lower-case letters and digits.
pub(super) fn fields(marks: &Marks) -> [(&'static str, String); 6] {
    let Issues { errors, warnings, information } = marks.issues;
    [
        (SOURCE, marks.source.clone()),
        (SHA256, marks.sum.sha256.clone()),
        (LINES, marks.sum.lines.to_string()),
        (BYTES, marks.sum.bytes.to_string()),
        (ISSUES, format!("{errors},{warnings},{information}")),
        (FORM, marks.form.as_str().to_owned()),
    ]
}

/// Reads the marks from the values of their fields; `None` if one is missing, as in an object that no landing wrote.
pub(super) fn read_marks<'v>(value: impl Fn(&str) -> Option<&'v str>) -> Option<Marks> {
    let mut issues = value(ISSUES)?.split(',').map(str::parse);
    let mut next = || issues.next()?.ok();
    Some(Marks {
        source: value(SOURCE)?.to_owned(),
        sum: Sum {
            sha256: value(SHA256)?.to_owned(),
            lines: value(LINES)?.parse().ok()?,
            bytes: value(BYTES)?.parse().ok()?,
        },
        // Older releases did not record the form.
        form: FileForm::from_word(value(FORM)),
        issues: Issues { errors: next()?, warnings: next()?, information: next()? },
    })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    #[test]
    fn marks_are_read_back() {
        let marks = Marks {
            source: "abc".into(),
            sum: Sum { bytes: 7, lines: 2, sha256: "def".into() },
            form: FileForm::Framed,
            issues: Issues { errors: 1, warnings: 2, information: 3 },
        };
        let mut values: BTreeMap<&str, String> = fields(&marks).into();
        let read = |values: &BTreeMap<&str, String>| read_marks(|name| values.get(name).map(String::as_str));
        assert_eq!(read(&values), Some(marks));
        for name in [SOURCE, SHA256, LINES, BYTES, ISSUES] {
            let taken = values.remove(name).unwrap();
            assert_eq!(read(&values), None, "without {name}");
            values.insert(name, taken);
        }
        values.remove(FORM);
        assert_eq!(read(&values).unwrap().form, FileForm::Unframed, "of an older release");
        values.insert(LINES, "many".to_owned());
        assert_eq!(read(&values), None);
    }
}
