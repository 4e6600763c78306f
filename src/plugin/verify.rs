//! `verify`: reads the files of an export again, and compares them with its manifest.

use std::io::IsTerminal as _;

use clap::Args;
use futures::stream::{self, StreamExt as _};
use indicatif::{DecimalBytes, ProgressBar, ProgressStyle};

use super::connection::Connected;
use super::describe::export;
use super::exit::Exit;
use super::files::{Files, Reading, Sink, StoreArgs, Unlisted};
use crate::core::export::counted;
use crate::core::landing::Tally;
use crate::core::stored_manifest::{StoredFile, differences};
use crate::show::{Line, Page};
use crate::stop::Stop;

/// The flags of `verify`.
#[derive(Debug, Args)]
pub struct VerifyArgs {
    /// Name of the export
    #[arg(value_name = "NAME")]
    name: String,
    #[command(flatten)]
    store: StoreArgs,
    /// How many files are read at once
    #[arg(long, value_name = "FILES", default_value_t = 4, value_parser = clap::value_parser!(u8).range(1..=64))]
    parallel: u8,
}

/// What a check of files found.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Findings {
    /// The number of files.
    files: u64,
    /// How many of them are as the manifest says.
    good: u64,
    /// How many of the good files have no checksum in the manifest, so that only their lines were compared.
    unsigned: u64,
    /// The resources and bytes of the good files.
    resources: u64,
    bytes: u64,
    /// What is not as the manifest says: a clause for each file.
    wrong: Vec<String>,
}

impl Findings {
    /// Takes in what was read of a file.
    pub fn add(&mut self, file: &StoredFile, reading: &Reading) {
        self.files += 1;
        let read = match reading {
            Reading::Whole(read) => read,
            Reading::Missing => return self.wrong.push(format!("{} is missing", file.path)),
            Reading::Damaged(why) => return self.wrong.push(format!("{}: {why}", file.path)),
        };
        let differences = differences(file, read);
        if differences.is_empty() {
            self.good += 1;
            self.resources += read.lines;
            self.bytes += read.bytes;
            self.unsigned += u64::from(file.sha256.is_none());
        } else {
            self.wrong.push(format!("{}: {}", file.path, differences.join(", ")));
        }
    }

    /// Whether every file is as the manifest says.
    pub fn in_order(&self) -> bool {
        self.wrong.is_empty()
    }

    /// The findings in lines. `place` is where the files are.
    pub fn page(&self, place: &str) -> Page {
        let mut wrong = self.wrong.clone();
        wrong.sort();
        let mut page: Page = wrong.iter().map(|what| Line::of(&format!("wrong: {what}"))).collect();
        let good = counted(self.good, "file");
        if self.in_order() {
            let (resources, bytes) = (counted(self.resources, "line"), DecimalBytes(self.bytes));
            page.push(&Line::of(&format!("{good} in {place} as the manifest says: {resources}, {bytes}.")));
        } else {
            let number = counted(self.wrong.len() as u64, "file");
            let verb = if self.wrong.len() == 1 { "is" } else { "are" };
            page.push(&Line::of(&format!(
                "{number} of {} in {place} {verb} not as the manifest says: do not use the data, and export again.",
                self.files
            )));
        }
        if self.unsigned > 0 {
            let number = counted(self.unsigned, "file");
            let told = format!("The manifest has no checksums for {number}: only the lines were counted.");
            page.push(&Line::of(&told));
        }
        page
    }
}

/// Reads all files of an export, and prints how they differ from the manifest.
pub async fn verify(cluster: &Connected, args: &VerifyArgs) -> Result<Exit, Stop> {
    let export = export(cluster, &args.name).await?;
    let store = Files::of(cluster, &export, &args.store).await?;
    let listed = match store.manifest().await {
        Ok(listed) => listed,
        Err(Unlisted::NotAsStored(sentence)) => {
            Page::from(Line::of(&format!("wrong: {sentence}"))).print()?;
            return Ok(Exit::Unsuccessful);
        }
        Err(Unlisted::Unreadable(sentence)) => return Err(Stop::because(sentence)),
    };
    let bar = progress(&listed.files);
    let reads = stream::iter(&listed.files).map(|file| {
        let (store, bar) = (&store, &bar);
        async move {
            let reading = store.read(file, &mut Counted { bar, taken: 0 }).await;
            (file, reading)
        }
    });
    let mut reads = reads.buffer_unordered(usize::from(args.parallel));
    let mut findings = Findings::default();
    while let Some((file, reading)) = reads.next().await {
        findings.add(file, &reading?);
    }
    bar.finish_and_clear();
    findings.page(&store.shown()).print()?;
    Ok(if findings.in_order() { Exit::Done } else { Exit::Unsuccessful })
}

/// Moves a bar by what is read of one file.
pub struct Counted<'b> {
    /// The bar.
    pub bar: &'b ProgressBar,
    /// How many bytes of the file moved it.
    pub taken: u64,
}

impl Counted<'_> {
    /// Moves the bar to where it is when this many bytes of the file are read.
    pub fn stands_at(&mut self, bytes: u64) {
        let others = self.bar.position().saturating_sub(self.taken);
        self.bar.set_position(others + bytes);
        self.taken = bytes;
    }
}

impl Sink for Counted<'_> {
    fn begin(&mut self) -> Tally {
        self.stands_at(0);
        Tally::default()
    }

    fn take(&mut self, piece: &[u8]) {
        self.bar.inc(piece.len() as u64);
        self.taken += piece.len() as u64;
    }
}

/// A bar for the bytes of these files on a terminal; elsewhere it is hidden.
pub fn progress(files: &[StoredFile]) -> ProgressBar {
    if !std::io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let total: Option<u64> = files.iter().map(|file| file.bytes).sum();
    let (bar, template) = match total {
        Some(total) => {
            (ProgressBar::new(total), "{bar:40} {decimal_bytes} of {decimal_total_bytes}, {eta} left")
        }
        None => (ProgressBar::new_spinner(), "{spinner} {decimal_bytes}"),
    };
    // The template is a constant that is known to be valid.
    if let Ok(style) = ProgressStyle::with_template(template) {
        bar.set_style(style);
    }
    bar
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::core::landing::{FileKind, Sum};

    fn file(path: &str, sha256: Option<&str>) -> StoredFile {
        StoredFile {
            kind: FileKind::Output,
            type_: None,
            url: path.to_owned(),
            key: path.to_owned(),
            path: path.to_owned(),
            count: Some(2),
            bytes: None,
            sha256: sha256.map(str::to_owned),
        }
    }

    fn whole(lines: u64, sha256: &str) -> Reading {
        Reading::Whole(Sum { bytes: 1000, lines, sha256: sha256.to_owned() })
    }

    #[test]
    fn what_is_in_order_is_counted() {
        let mut findings = Findings::default();
        findings.add(&file("a", Some("ab")), &whole(2, "ab"));
        findings.add(&file("b", None), &whole(2, "cd"));
        assert!(findings.in_order());
        assert_eq!(
            findings.page("lake/f").as_str(),
            "2 files in lake/f as the manifest says: 4 lines, 2.00 kB.\n\
             The manifest has no checksums for 1 file: only the lines were counted.\n"
        );
    }

    #[test]
    fn no_finding_brings_an_escape_sequence() {
        let mut findings = Findings::default();
        findings.add(&file("\u{1b}[2J a", Some("ab")), &Reading::Missing);
        findings.add(&file("b", Some("ab")), &Reading::Damaged("\u{9b}2J\n wrong: c".to_owned()));
        let page = findings.page("lake/\u{1b}[2J");
        assert_eq!(
            page.as_str(),
            "wrong: \u{fffd}[2J a is missing\n\
             wrong: b: \u{fffd}2J\u{fffd} wrong: c\n\
             2 files of 2 in lake/\u{fffd}[2J are not as the manifest says: do not use the data, and export again.\n"
        );
    }

    #[test]
    fn each_file_that_is_not_is_named() {
        let mut findings = Findings::default();
        findings.add(&file("c", Some("ab")), &whole(2, "cd"));
        findings.add(&file("b", Some("ab")), &Reading::Missing);
        findings.add(&file("a", Some("ab")), &Reading::Damaged("it cannot be decompressed".to_owned()));
        findings.add(&file("d", Some("ab")), &whole(2, "ab"));
        assert!(!findings.in_order());
        assert_eq!(
            findings.page("lake/f").as_str(),
            "wrong: a: it cannot be decompressed\n\
             wrong: b is missing\n\
             wrong: c: its SHA-256 is another one\n\
             3 files of 4 in lake/f are not as the manifest says: do not use the data, and export again.\n"
        );
    }
}
