//! `download`: the files of an export into a directory, each compared with the manifest before it gets its name.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Read as _, Seek as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use clap::Args;
use futures::stream::{self, StreamExt as _};
use indicatif::{DecimalBytes, ProgressBar};

use super::connection::Connected;
use super::describe::export;
use super::files::{Files, Listed, Reading, Sink, StoreArgs, Unlisted};
use super::verify::{Counted, progress};
use crate::core::export::counted;
use crate::core::landing::{Sum, Tally};
use crate::core::stored_manifest::{StoredFile, differences};
use crate::stop::Stop;

/// The name of the manifest in the directory. Where it lies, every file lies.
const MANIFEST: &str = "manifest.json";
/// The file that a download holds locked, so that no other one writes to the same directory.
const LOCK: &str = ".fhirexport-download.lock";
/// The suffix of a file that is not whole yet; its name begins with a dot, too.
const PART: &str = "part";
/// How many bytes of a local file are read at once.
const PIECE: usize = 256 << 10;
/// Files and directories of patient data are their owner's alone.
const FILE_MODE: u32 = 0o600;
const DIRECTORY_MODE: u32 = 0o700;

/// The flags of `download`.
#[derive(Debug, Args)]
pub struct DownloadArgs {
    /// Name of the export
    #[arg(value_name = "NAME")]
    name: String,
    /// Directory for the files; created if it does not exist
    #[arg(value_name = "DIR")]
    directory: PathBuf,
    #[command(flatten)]
    store: StoreArgs,
    /// How many files are fetched at once
    #[arg(long, value_name = "FILES", default_value_t = 4, value_parser = clap::value_parser!(u8).range(1..=64))]
    parallel: u8,
}

/// What became of one file.
enum Fetched {
    /// It was fetched.
    Now(u64),
    /// It was there already, as the manifest says.
    There(u64),
}

/// Fetches the files that are not there yet, the manifest last, and returns what to print.
pub async fn download(cluster: &Connected, args: &DownloadArgs) -> Result<String, Stop> {
    let export = export(cluster, &args.name).await?;
    let store = Files::of(cluster, &export, &args.store).await?;
    let Listed { body, files } = store.manifest().await.map_err(Unlisted::into_stop)?;
    let directory = &args.directory;
    make(directory).map_err(|e| failed(directory, &e))?;
    let lock = locked(directory)?;
    check_manifest(directory, &body)?;
    let bar = progress(&files);
    let fetches = stream::iter(&files).map(|file| fetch(&store, file, directory, &bar));
    let mut fetches = fetches.buffer_unordered(usize::from(args.parallel));
    let (mut now, mut there, mut bytes) = (0_u64, 0_u64, 0_u64);
    while let Some(fetched) = fetches.next().await {
        match fetched? {
            Fetched::Now(size) => (now, bytes) = (now + 1, bytes + size),
            Fetched::There(size) => (there, bytes) = (there + 1, bytes + size),
        }
    }
    drop(fetches);
    bar.finish_and_clear();
    keep(directory, MANIFEST, &body).map_err(|e| failed(&directory.join(MANIFEST), &e))?;
    drop(lock);
    let had = if there > 0 { format!(", {there} of them there already") } else { String::new() };
    let (total, bytes, directory) = (counted(now + there, "file"), DecimalBytes(bytes), directory.display());
    Ok(format!("{total} in {directory} as the manifest says: {bytes}{had}.\n"))
}

/// Fetches a file, unless it is there as the manifest says.
async fn fetch(
    store: &Files,
    file: &StoredFile,
    directory: &Path,
    bar: &ProgressBar,
) -> Result<Fetched, Stop> {
    let target = directory.join(&file.path);
    match tokio::task::block_in_place(|| summed(&target)) {
        Ok(Some(sum)) if differences(file, &sum).is_empty() => {
            bar.inc(sum.bytes);
            return Ok(Fetched::There(sum.bytes));
        }
        Ok(Some(_)) => {
            return Err(Stop::because(format!(
                "{} is there already and is not the file of this export: move it away, or choose another directory.",
                target.display()
            )));
        }
        Ok(None) => {}
        Err(error) => return Err(failed(&target, &error)),
    }
    let part = part(&target);
    let mut sink =
        Part { file: begun(&target, &part), goes_on: goes_on(file), bar: Counted { bar, taken: 0 } };
    let mut reading = store.read(file, &mut sink).await?;
    let is_good = matches!(&reading, Reading::Whole(sum) if differences(file, sum).is_empty());
    if sink.goes_on && !is_good {
        // What an earlier call had written may be damaged: only a file that was read whole is judged.
        sink.goes_on = false;
        reading = store.read(file, &mut sink).await?;
    }
    let sum = whole(reading, file, &part)?;
    let differences = differences(file, &sum);
    if !differences.is_empty() {
        let what = format!("is not as the manifest says ({})", differences.join(", "));
        return Err(not_as_listed(file, &what, &part));
    }
    sink.file.and_then(|file| file.sync_all()).map_err(|e| failed(&part, &e))?;
    fs::rename(&part, &target).map_err(|e| failed(&target, &e))?;
    Ok(Fetched::Now(sum.bytes))
}

/// Whether the file can be read on after a part of it: it is stored as it is, and the manifest says how it must be.
fn goes_on(file: &StoredFile) -> bool {
    file.sha256.is_some() && file.key.ends_with(&file.path)
}

/// The sums of a file that was read whole.
fn whole(reading: Reading, file: &StoredFile, part: &Path) -> Result<Sum, Stop> {
    match reading {
        Reading::Whole(sum) => Ok(sum),
        Reading::Missing => Err(not_as_listed(file, "is missing in the container", part)),
        Reading::Unreadable(why) => Err(not_as_listed(file, &format!("cannot be read ({why})"), part)),
    }
}

/// The error for a file that cannot be had as the manifest says. What was written of it is removed.
fn not_as_listed(file: &StoredFile, what: &str, part: &Path) -> Stop {
    // If it stays, the next call writes over it.
    let _ = fs::remove_file(part);
    Stop::because(format!("{} {what}: do not use the data, and export again.", file.path))
}

fn failed(path: &Path, error: &io::Error) -> Stop {
    let next = match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
            "make room, and repeat the command: it goes on"
        }
        _ => "correct that, and repeat the command: it goes on",
    };
    Stop::because(format!("{} cannot be written: {error}; {next}.", path.display()))
}

/// A file that is being written. The first failure is kept, and nothing is written after it.
struct Part<'b> {
    file: io::Result<File>,
    /// Whether what is written already counts.
    goes_on: bool,
    bar: Counted<'b>,
}

impl Sink for Part<'_> {
    fn begin(&mut self) -> Tally {
        let goes_on = self.goes_on;
        let stand = |file: &mut File| -> io::Result<Tally> {
            file.rewind()?;
            if goes_on {
                return tally(file);
            }
            file.set_len(0)?;
            Ok(Tally::default())
        };
        let stood = match &mut self.file {
            Ok(file) => tokio::task::block_in_place(|| stand(file)),
            // It is told once the file is read.
            Err(_) => return Tally::default(),
        };
        let tally = stood.unwrap_or_else(|error| {
            self.file = Err(error);
            Tally::default()
        });
        self.bar.stands_at(tally.bytes());
        tally
    }

    fn take(&mut self, piece: &[u8]) {
        self.bar.take(piece);
        if let Ok(file) = &mut self.file
            && let Err(error) = file.write_all(piece)
        {
            self.file = Err(error);
        }
    }
}

/// The path of a file while it is not whole: hidden, beside the whole one.
fn part(target: &Path) -> PathBuf {
    let name = target.file_name().unwrap_or_default().to_string_lossy();
    target.with_file_name(format!(".{name}.{PART}"))
}

fn begun(target: &Path, part: &Path) -> io::Result<File> {
    if let Some(above) = target.parent() {
        make(above)?;
    }
    OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(FILE_MODE).open(part)
}

fn make(directory: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(DIRECTORY_MODE).create(directory)
}

/// Writes a small file whole.
fn keep(directory: &Path, name: &str, body: &[u8]) -> io::Result<()> {
    let target = directory.join(name);
    let part = part(&target);
    let mut file = begun(&target, &part)?;
    file.set_len(0)?;
    file.write_all(body)?;
    file.sync_all()?;
    fs::rename(&part, &target)
}

/// Locks a directory against another download, until the file is dropped.
fn locked(directory: &Path) -> Result<File, Stop> {
    let path = directory.join(LOCK);
    let opened = OpenOptions::new().write(true).create(true).truncate(false).mode(FILE_MODE).open(&path);
    let file = opened.map_err(|e| failed(&path, &e))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(fs::TryLockError::WouldBlock) => Err(Stop::because(format!(
            "Another download writes to {}: wait for its end, or choose another directory.",
            directory.display()
        ))),
        Err(fs::TryLockError::Error(error)) => Err(failed(&path, &error)),
    }
}

/// Refuses a directory that holds the files of another export.
fn check_manifest(directory: &Path, body: &[u8]) -> Result<(), Stop> {
    let path = directory.join(MANIFEST);
    match fs::read(&path) {
        Ok(there) if there == body => Ok(()),
        Ok(_) => Err(Stop::because(format!(
            "{} holds the files of another export: choose another directory.",
            directory.display()
        ))),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(failed(&path, &error)),
    }
}

/// The sums of a local file; `None` if it does not exist.
fn summed(path: &Path) -> io::Result<Option<Sum>> {
    let mut file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    tally(&mut file).map(|tally| Some(tally.finish()))
}

/// The running sums of a local file, from where it stands to its end.
fn tally(file: &mut File) -> io::Result<Tally> {
    let (mut tally, mut piece) = (Tally::default(), vec![0; PIECE]);
    loop {
        match file.read(&mut piece)? {
            0 => return Ok(tally),
            read => tally.feed(piece.get(..read).unwrap_or_default()),
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn a_directory_is_locked_and_of_one_export() {
        let folder = tempfile::tempdir().unwrap();
        let lock = locked(folder.path()).unwrap();
        let other = locked(folder.path()).unwrap_err().to_string();
        assert!(other.starts_with("Another download writes to "), "{other}");
        drop(lock);
        locked(folder.path()).unwrap();
        check_manifest(folder.path(), b"{}").unwrap();
        keep(folder.path(), MANIFEST, b"{}").unwrap();
        check_manifest(folder.path(), b"{}").unwrap();
        let other = check_manifest(folder.path(), b"{ }").unwrap_err().to_string();
        assert!(other.contains("holds the files of another export"), "{other}");
    }

    #[test]
    fn what_is_written_is_its_owner_s_alone_and_begins_anew() {
        let folder = tempfile::tempdir().unwrap();
        let target = folder.path().join("deleted/Bundle-1.ndjson");
        let part = part(&target);
        let bar = ProgressBar::hidden();
        let written = |goes_on: bool| {
            let mut sink =
                Part { file: begun(&target, &part), goes_on, bar: Counted { bar: &bar, taken: 0 } };
            let there = sink.begin().bytes();
            sink.take(b"whole");
            sink.file.unwrap().sync_all().unwrap();
            (there, fs::read(&part).unwrap())
        };
        assert_eq!(written(true), (0, b"whole".to_vec()));
        assert_eq!(written(true), (5, b"wholewhole".to_vec()), "it goes on");
        assert_eq!(written(false), (0, b"whole".to_vec()), "it begins anew");
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!((mode(&part), mode(target.parent().unwrap())), (FILE_MODE, DIRECTORY_MODE));
        assert_eq!(summed(&part).unwrap().unwrap().bytes, 5);
        assert_eq!(summed(&target).unwrap(), None);
    }
}
