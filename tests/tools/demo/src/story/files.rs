//! What lies in the container in the end.

use std::collections::BTreeSet;

use super::{CONTAINER, Story};
use crate::lake::Blob;
use crate::tell::thousands;
use crate::{Error, Result};

impl Story<'_> {
    /// Lists and reads the files of the finished export, and compares them with all that was said of them.
    pub async fn files(&mut self) -> Result<()> {
        let tell = self.tell;
        tell.chapter("The files, listed and read from Azurite itself")?;
        let Some((status, job)) = &self.finished else {
            return Err(Error::NotSo("an export is finished".into()));
        };
        let output = status.output.clone().unwrap_or_default();
        let folder = output.folder.clone().unwrap_or_default();
        let storage = &self.storage;
        let container = ::blobs::open(&storage.endpoint, &storage.account, &storage.key, CONTAINER)?;
        let names = ::blobs::names(&container, &format!("{}/", folder.trim_end_matches('/'))).await?;
        let mut blobs = Vec::new();
        for name in names.iter().filter(|name| name.ends_with(".ndjson")) {
            let body = ::blobs::read(&container, name).await?;
            blobs.push(Blob::count(name.rsplit('/').next().unwrap_or(name), &body)?);
        }
        tell.say(format!("  container {CONTAINER}, folder {folder}\n"))?;
        let row = |name: &str, types: &str, lines: &str, bytes: &str| {
            tell.say(format!("  {name:<46} {types:<26} {lines:>6} {bytes:>10}"))
        };
        row("FILE", "RESOURCES OF TYPE", "LINES", "BYTES")?;
        for blob in &blobs {
            let types: Vec<&str> = blob.types.keys().map(String::as_str).collect();
            row(&blob.name, &types.join(", "), &thousands(blob.lines), &thousands(blob.bytes))?;
        }
        let lines: usize = blobs.iter().map(|blob| blob.lines).sum();
        let bytes: usize = blobs.iter().map(|blob| blob.bytes).sum();
        let types: BTreeSet<&String> = blobs.iter().flat_map(|blob| blob.types.keys()).collect();
        let together = format!("{} files", blobs.len());
        row(&together, &format!("{} types", types.len()), &thousands(lines), &thousands(bytes))?;
        tell.say("")?;
        let written: BTreeSet<&str> = job.files.iter().map(|file| file.blob.as_str()).collect();
        let found: BTreeSet<&str> =
            names.iter().map(String::as_str).filter(|name| name.ends_with(".ndjson")).collect();
        tell.fact(
            written == found,
            format!("these are the {} files that the server's job wrote", found.len()),
        )?;
        let said =
            |number: Option<i64>, counted: usize| number.is_some_and(|n| usize::try_from(n) == Ok(counted));
        tell.fact(
            said(output.files, blobs.len()) && said(output.resources, lines) && said(output.bytes, bytes),
            format!(
                "status.output says the same: {} files, {} resources, {} bytes",
                blobs.len(),
                thousands(lines),
                thousands(bytes)
            ),
        )?;
        let stored = output.manifest.map(|manifest| manifest.path).unwrap_or_default();
        tell.fact(
            names.contains(&stored),
            format!(
                "the server's manifest lies beside them: {}",
                stored.rsplit('/').next().unwrap_or_default()
            ),
        )
    }
}
