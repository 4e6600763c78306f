//! The members of a group, and those who joined it: sets of patient ids. They are stored in blobs, and held
//! in memory only while they are compared.

use std::borrow::Cow;
use std::collections::HashSet;

use serde::Deserialize;

use crate::core::ledger::Ledger;

/// The largest list, in bytes; a kick-off reads no more of a list.
pub const MAX_LIST: usize = 16 << 20;
/// The most newcomers that one kick-off names. With more, its body would exceed the megabyte that many
/// servers and proxies accept.
pub const MAX_NEWCOMERS: usize = 10_000;
/// The longest line of NDJSON, in bytes.
const MAX_LINE: usize = 16 << 20;
/// Why the members could not be read from files. The messages repeat nothing from the files.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unusable {
    /// The list would be larger than [`MAX_LIST`].
    #[error("the group has more members than a list can name")]
    TooMany,
    /// A line is not JSON, or is longer than 16 MiB.
    #[error("a file of the group's members holds a line that is no resource")]
    NoResource,
    /// A patient has no id, or an id that FHIR does not admit.
    #[error("a patient of the group has no usable id")]
    NoId,
}

/// The data files in the folder of an export, as its ledger names them, without error files and
/// files that the operator wrote.
pub fn files(ledger: &Ledger, folder: &str) -> Vec<String> {
    let output = |name: &str| {
        let inside = name.strip_prefix(folder).and_then(|rest| rest.strip_prefix('/'));
        inside.is_some_and(|inside| !inside.contains('/'))
    };
    let landed = ledger.landed.iter().filter(|entry| entry.marks.is_some() && output(&entry.blob));
    landed.map(|entry| entry.blob.clone()).collect()
}

/// Reads the ids of patients from NDJSON in pieces of any size.
#[derive(Debug, Default)]
pub struct Reader {
    line: Vec<u8>,
    ids: Vec<Box<str>>,
    bytes: usize,
    unusable: Option<Unusable>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Line<'a> {
    #[serde(borrow)]
    resource_type: Cow<'a, str>,
    #[serde(borrow)]
    id: Option<Cow<'a, str>>,
}

impl Reader {
    /// Reads the next piece of a file.
    pub fn feed(&mut self, piece: &[u8]) {
        for part in piece.split_inclusive(|byte| *byte == b'\n') {
            if self.unusable.is_some() {
                return;
            }
            if self.line.len().saturating_add(part.len()) > MAX_LINE {
                self.unusable = Some(Unusable::NoResource);
            }
            self.line.extend_from_slice(part);
            if part.ends_with(b"\n") {
                self.end_line();
            }
        }
    }

    /// Ends a file. Its last line need not end with a line feed.
    pub fn end_file(&mut self) {
        self.end_line();
    }

    fn end_line(&mut self) {
        let line = std::mem::take(&mut self.line);
        let text = line.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(&line).trim_ascii();
        if self.unusable.is_none() && !text.is_empty() {
            self.unusable = self.take(text).err();
        }
        // The buffer is reused for the next line.
        self.line = line;
        self.line.clear();
    }

    fn take(&mut self, text: &[u8]) -> Result<(), Unusable> {
        let line: Line<'_> = serde_json::from_slice(text).map_err(|_| Unusable::NoResource)?;
        // Servers that ignore `_type` send more than was requested.
        if line.resource_type != "Patient" {
            return Ok(());
        }
        let id = line.id.filter(|id| is_id(id)).ok_or(Unusable::NoId)?;
        self.bytes += id.len() + 1;
        self.ids.push(id.into());
        if self.bytes > MAX_LIST {
            // The export of a group may hold a patient more than once.
            self.sort();
            if self.bytes > MAX_LIST {
                return Err(Unusable::TooMany);
            }
        }
        Ok(())
    }

    fn sort(&mut self) {
        // Servers list in long sorted runs, which a stable sort merges.
        self.ids.sort();
        self.ids.dedup();
        self.bytes = self.ids.iter().map(|id| id.len() + 1).sum();
    }

    /// The members named by all files together.
    pub fn finish(mut self) -> Result<Members, Unusable> {
        self.end_file();
        self.sort();
        self.unusable.map_or(Ok(Members(self.ids)), Err)
    }
}

/// Whether a text is an `id` as FHIR defines it.
fn is_id(id: &str) -> bool {
    (1..=64).contains(&id.len()) && id.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.'))
}

/// The ids of a group's members, sorted and without repetition.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Members(Vec<Box<str>>);

impl Members {
    /// The number of members.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether the group has no members.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The list as it is stored: one id a line. Equal members give equal text.
    pub fn text(&self) -> String {
        self.0.iter().flat_map(|id| [id.as_ref(), "\n"]).collect()
    }

    /// The members that an earlier list does not name. `None` if there are more than [`MAX_NEWCOMERS`].
    pub fn since(&self, before: &str) -> Option<Self> {
        let before: HashSet<&str> = before.lines().collect();
        let mut new = self.0.iter().filter(|id| !before.contains(id.as_ref())).cloned();
        let named: Vec<Box<str>> = new.by_ref().take(MAX_NEWCOMERS).collect();
        new.next().is_none().then_some(Self(named))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;
    use serde_json::json;

    use super::*;
    use crate::core::landing::{FileForm, Issues, LedgerEntry, Marks, Sum};

    fn read(text: &str, piece: usize) -> Result<Members, Unusable> {
        let mut reader = Reader::default();
        text.as_bytes().chunks(piece.max(1)).for_each(|piece| reader.feed(piece));
        reader.finish()
    }

    #[test]
    fn ids_are_read_as_servers_write_them() {
        let text = "\u{feff}{\"resourceType\":\"Patient\",\"id\":\"b\"}\r\n\n  \
            \n{\"id\":\"\\u0061\",\"meta\":{\"id\":\"no\"},\
            \"resourceType\":\"Patient\",\"contained\":[{\"id\":\"no\"}]}\n{\"resourceType\":\"Group\",\"id\":\"no\"}\n\
            {\"resourceType\":\"Patient\",\"id\":\"b\"}";
        for piece in [1, 2, 7, 1000] {
            assert_eq!(read(text, piece).unwrap().text(), "a\nb\n", "{piece}");
        }
        assert!(read("", 1).unwrap().is_empty());
        // The last line of a file does not continue in the next file.
        let mut reader = Reader::default();
        for id in ["x", "y"] {
            reader.feed(json!({"resourceType": "Patient", "id": id}).to_string().as_bytes());
            reader.end_file();
        }
        assert_eq!(reader.finish().unwrap().text(), "x\ny\n");
    }

    #[test]
    fn what_cannot_be_used_is_told() {
        for (line, why) in [
            ("{\"resourceType\":\"Patient\"}", Unusable::NoId),
            ("{\"resourceType\":\"Patient\",\"id\":\"a/b\"}", Unusable::NoId),
            ("{\"resourceType\":\"Patient\",\"id\":\"\"}", Unusable::NoId),
            ("{\"resourceType\":\"Patient\",\"id\":\"a\"", Unusable::NoResource),
            ("nonsense", Unusable::NoResource),
        ] {
            let good = "{\"resourceType\":\"Patient\",\"id\":\"good\"}\n";
            assert_eq!(read(&format!("{good}{line}\n{good}"), 5), Err(why), "{line}");
        }
    }

    #[test]
    fn a_list_has_a_largest_size_and_repetition_does_not_count() {
        let line = |number: usize| format!("{{\"resourceType\":\"Patient\",\"id\":\"{number:064}\"}}\n");
        let most = MAX_LIST / 65;
        // The state after this many lines, without having to feed all of them.
        let read_so_far = most - 100;
        let ids = (0..read_so_far).map(|number| format!("{number:064}").into()).collect();
        let mut reader = Reader { ids, bytes: read_so_far * 65, ..Reader::default() };
        for number in (read_so_far..most).chain(0..10) {
            reader.feed(line(number).as_bytes());
        }
        let members = reader.finish().unwrap();
        assert_eq!((members.len(), members.text().len()), (most, most * 65));
        let mut reader = Reader { bytes: members.text().len(), ids: members.0, ..Reader::default() };
        reader.feed(line(most).as_bytes());
        assert_eq!(reader.finish(), Err(Unusable::TooMany));
    }

    #[test]
    fn so_many_newcomers_can_be_named_and_no_more() {
        let members = |count: usize| Members((0..count).map(|n| format!("{n}").into()).collect());
        assert_eq!(members(MAX_NEWCOMERS).since("").map(|new| new.len()), Some(MAX_NEWCOMERS));
        assert_eq!(members(MAX_NEWCOMERS + 1).since(""), None);
        assert_eq!(members(MAX_NEWCOMERS + 1).since("0\n").map(|new| new.len()), Some(MAX_NEWCOMERS));
    }

    #[test]
    fn only_what_landed_as_output_is_read() {
        let marks = Marks {
            source: "s".into(),
            sum: Sum { bytes: 1, lines: 1, sha256: "0".into() },
            form: FileForm::Framed,
            issues: Issues::default(),
        };
        let entry = |blob: &str, marks| LedgerEntry { blob: blob.into(), marks };
        let landed = vec![
            entry("f/Patient-1.ndjson", Some(marks.clone())),
            entry("f/Patient-2.ndjson.gz", Some(marks.clone())),
            entry("f/error/OperationOutcome-1.ndjson", Some(marks.clone())),
            entry("f/deleted/Bundle-1.ndjson", Some(marks.clone())),
            entry("f2/Patient-1.ndjson", Some(marks)),
            entry("f/manifest.json", None),
            entry("f/members.txt", None),
        ];
        let files = files(&Ledger { landed, begun: vec!["f/Patient-3.ndjson".into()] }, "f");
        assert_eq!(files, ["f/Patient-1.ndjson", "f/Patient-2.ndjson.gz"]);
    }

    proptest! {
        /// The result equals that of comparing sets, in any order and with any repetition.
        #[test]
        fn newcomers_are_who_was_not_there(
            before in proptest::collection::vec("[a-c.A-]{1,3}", 0..20),
            now in proptest::collection::vec("[a-c.A-]{1,3}", 0..20),
            piece in 1_usize..50,
        ) {
            let line = |id: &String| json!({"resourceType": "Patient", "id": id}).to_string() + "\n";
            let text = |ids: &[String]| ids.iter().map(line).collect::<String>();
            let (known, members) = (read(&text(&before), piece).unwrap(), read(&text(&now), piece).unwrap());
            let (before, now): (BTreeSet<_>, BTreeSet<_>) = (before.into_iter().collect(), now.into_iter().collect());
            let joined: String = now.difference(&before).map(|id| id.clone() + "\n").collect();
            prop_assert_eq!(members.since(&known.text()).unwrap().text(), joined);
            prop_assert_eq!(members.len(), now.len());
        }
    }
}
