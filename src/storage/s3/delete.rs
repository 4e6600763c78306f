//! Deletes the folder of a run: only files that a run writes, only if it is the folder that the plan means, and the
//! manifest last.

use futures::{StreamExt, stream};

use super::bucket::Bucket;
use super::object::is_plain;
use super::side::Beside;
use crate::core::folder;
use crate::core::ledger::{FolderDeletion, FolderPlan, StorageFailure};

/// How many files are deleted at the same time.
const PARALLEL: usize = 8;

/// What lies in a folder, by key.
#[derive(Default)]
struct Content {
    /// Files of a run except its manifest, no more than the plan allows.
    files: Vec<String>,
    /// Whether there are more files than the plan allows.
    more: bool,
    /// What uploads left beside files.
    beside: Vec<String>,
    /// Empty objects that stand for folders.
    markers: Vec<String>,
    /// Files that no run writes.
    others: u64,
}

impl Bucket {
    /// See [`ObjectStore::delete_folder`](crate::ports::ObjectStore::delete_folder).
    pub(super) async fn delete_folder(&self, plan: &FolderPlan) -> Result<FolderDeletion, StorageFailure> {
        // Whatever a status may say, only the folder of a run is deleted.
        if folder::parse(&plan.folder).is_none() {
            return Err(StorageFailure::permanent(format!("{} is not the folder of a run", plan.folder)));
        }
        let path = format!("{}/{}", plan.folder, folder::MANIFEST);
        let manifest = self.sha256(&path).await?;
        let content = self.content(plan).await?;
        if !plan.is_meant(manifest.as_deref(), !content.files.is_empty()) {
            return Ok(FolderDeletion::Changed);
        }
        let (mut files, failed) = self.delete_all(&content.files).await;
        match failed {
            // The deleted files count; the next try will meet the failure again.
            Some(_) if files > 0 => return Ok(FolderDeletion::Going { files }),
            Some(failure) => return Err(failure),
            None if content.more => return Ok(FolderDeletion::Going { files }),
            None => {}
        }
        let prefix = format!("{}/", plan.folder);
        for (key, upload) in self.uploads(&prefix).await? {
            if is_plain(&key) && key.strip_prefix(&prefix).is_some_and(folder::is_of_a_run) {
                self.abort(&key, &upload).await?;
            }
        }
        let mut left = content.beside;
        left.extend(content.markers.into_iter().filter(|_| content.others == 0));
        if let (_, Some(failure)) = self.delete_all(&left).await {
            return Err(failure);
        }
        if manifest.is_some() {
            self.delete(&path).await?;
            files += 1;
        }
        Ok(FolderDeletion::Done { files, others: content.others })
    }

    /// Deletes objects. Returns how many are gone, and the failure for another one.
    async fn delete_all(&self, keys: &[String]) -> (u64, Option<StorageFailure>) {
        let deletions = keys.iter().map(|key| self.delete(key)).collect::<Vec<_>>();
        let mut going = stream::iter(deletions).buffer_unordered(PARALLEL);
        let (mut gone, mut failed) = (0, None);
        while let Some(deleted) = going.next().await {
            match deleted {
                Ok(()) => gone += 1,
                Err(failure) => failed = Some(failure),
            }
        }
        (gone, failed)
    }

    /// Lists the content of a folder. The prefix ends with a slash, so that it matches no other folder.
    async fn content(&self, plan: &FolderPlan) -> Result<Content, StorageFailure> {
        let prefix = format!("{}/", plan.folder);
        let mut content = Content::default();
        for (key, size) in self.list(&prefix).await? {
            let Some(below) = key.strip_prefix(&prefix) else { continue };
            let beside = Beside::parse(below).map(|beside| beside.object());
            if !is_plain(&key) {
                // Deleting the object of such a key would delete another one.
                content.others += 1;
            } else if beside.is_some_and(|object| folder::is_of_a_run(&object)) {
                content.beside.push(key);
            } else if size == 0 && (below.is_empty() || below.ends_with('/')) {
                content.markers.push(key);
            } else if below == folder::MANIFEST {
                // The manifest goes last, by itself.
            } else if !folder::is_of_a_run(below) {
                content.others += 1;
            } else if content.files.len() < plan.at_most {
                content.files.push(key);
            } else {
                content.more = true;
            }
        }
        Ok(content)
    }
}
