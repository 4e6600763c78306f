//! `download`: the files of an export into a directory, each compared with the manifest before it gets its name.

mod local;
mod part;

use std::fs;
use std::path::{Path, PathBuf};

use clap::Args;
use futures::stream::{self, StreamExt as _};
use indicatif::{DecimalBytes, ProgressBar};

use super::connection::Connected;
use super::describe::export;
use super::exit::Exit;
use super::files::{Files, Listed, Reading, StoreArgs};
use super::verify::{Counted, progress};
use crate::core::export::counted;
use crate::core::landing::Sum;
use crate::core::stored_manifest::{StoredFile, differences};
use crate::show::{Line, Page};
use crate::stop::Stop;
use local::{MANIFEST, begun, claimed, failed, keep, make_way, part_of};
use part::{Part, summed};

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
    /// The file was fetched. It has this size in bytes.
    Now(u64),
    /// The file was there already, as the manifest says. It has this size in bytes.
    There(u64),
    /// The store does not hold the file as the manifest says. A sentence.
    NotAsListed(String),
}

/// Fetches the files that are not there yet, the manifest last, and prints what there is then.
pub async fn download(cluster: &Connected, args: &DownloadArgs) -> Result<Exit, Stop> {
    let export = export(cluster, &args.name).await?;
    let store = Files::of(cluster, &export, &args.store).await?;
    let Listed { body, files } = match store.manifest().await {
        Ok(listed) => listed,
        Err(unlisted) => return unlisted.into_exit(),
    };
    let directory = &args.directory;
    let lock = claimed(directory, &body, &files)?;
    let bar = progress(&files);
    let fetches = stream::iter(&files).map(|file| fetch(&store, file, directory, &bar));
    let mut fetches = fetches.buffer_unordered(usize::from(args.parallel));
    let (mut now, mut there, mut bytes) = (0_u64, 0_u64, 0_u64);
    while let Some(fetched) = fetches.next().await {
        match fetched? {
            Fetched::Now(size) => (now, bytes) = (now + 1, bytes + size),
            Fetched::There(size) => (there, bytes) = (there + 1, bytes + size),
            Fetched::NotAsListed(sentence) => {
                bar.finish_and_clear();
                return Ok(Exit::not_in_order(&sentence));
            }
        }
    }
    drop(fetches);
    bar.finish_and_clear();
    let manifest = directory.join(MANIFEST);
    keep(&manifest, &body).map_err(|e| failed(&manifest, &e))?;
    drop(lock);
    let had = if there > 0 { format!(", {there} of them there already") } else { String::new() };
    let (total, bytes, directory) = (counted(now + there, "file"), DecimalBytes(bytes), directory.display());
    let done = format!("{total} in {directory} as the manifest says: {bytes}{had}.");
    Page::from(Line::of(&done)).print()?;
    Ok(Exit::Done)
}

/// Fetches a file, unless it is there as the manifest says.
async fn fetch(
    store: &Files,
    file: &StoredFile,
    directory: &Path,
    bar: &ProgressBar,
) -> Result<Fetched, Stop> {
    make_way(directory, &file.path)?;
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
    let part = part_of(&target);
    let mut sink = Part { file: begun(&part), goes_on: goes_on(file), bar: Counted { bar, taken: 0 } };
    let mut reading = store.read(file, &mut sink).await?;
    let is_good = matches!(&reading, Reading::Whole(sum) if differences(file, sum).is_empty());
    if sink.goes_on && !is_good {
        // What an earlier call had written may be damaged: only a file that was read whole is judged.
        sink.goes_on = false;
        reading = store.read(file, &mut sink).await?;
    }
    let sum = match as_listed(reading, file) {
        Ok(sum) => sum,
        Err(sentence) => {
            // If the part stays, the next call writes over it.
            let _ = fs::remove_file(&part);
            return Ok(Fetched::NotAsListed(sentence));
        }
    };
    sink.file.and_then(|file| file.sync_all()).map_err(|e| failed(&part, &e))?;
    fs::rename(&part, &target).map_err(|e| failed(&target, &e))?;
    Ok(Fetched::Now(sum.bytes))
}

/// Whether reading goes on after the bytes that an earlier call has written, instead of at the beginning: the file is
/// stored uncompressed, and the manifest has its checksum.
fn goes_on(file: &StoredFile) -> bool {
    file.sha256.is_some() && file.key.ends_with(&file.path)
}

/// The sums of a file that was read whole and is as the manifest says. The error is a sentence.
fn as_listed(reading: Reading, file: &StoredFile) -> Result<Sum, String> {
    let what = match reading {
        Reading::Whole(sum) => match differences(file, &sum) {
            differences if differences.is_empty() => return Ok(sum),
            differences => format!("is not as the manifest says ({})", differences.join(", ")),
        },
        Reading::Missing => "is missing in the container".to_owned(),
        Reading::Damaged(why) => format!("cannot be read ({why})"),
    };
    Err(format!("{} {what}: do not use the data, and export again.", file.path))
}
