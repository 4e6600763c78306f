//! Checks files that a server wrote: whether they exist, and how many lines they hold.

use std::collections::HashSet;
use std::sync::Arc;

use futures::{StreamExt, TryStreamExt, stream};

use super::BlobStorage;
use super::download::{Download, Progress};
use super::listing;
use crate::api::FhirServer;
use crate::core::ledger::{Checked, StorageFailure, VerifyPlan};
use crate::core::lines::LineCounter;
use crate::storage::check::{chosen, looked_at, sizes};

/// How many files are read at once.
const PARALLEL: usize = 4;

impl BlobStorage {
    /// See [`ObjectStore::verify`](crate::ports::ObjectStore::verify).
    pub(super) async fn check(
        &self,
        server: &Arc<FhirServer>,
        plan: &VerifyPlan,
        read: &(dyn Fn(u64) + Send + Sync),
    ) -> Result<Vec<Checked>, StorageFailure> {
        let sizes = self.sizes(server, plan).await?;
        let mut checked: Vec<Checked> = sizes.iter().map(|size| looked_at(*size)).collect();
        let mut files_read = checked.iter().filter(|file| file.lines.is_some()).count() as u64;
        let chosen = chosen(plan, &sizes);
        let counts = chosen.into_iter().map(|(index, blob, size)| async move {
            let counted = self.count_lines(server, &plan.container, &blob, size).await?;
            Ok::<_, StorageFailure>((index, counted))
        });
        let mut counts = stream::iter(counts).buffer_unordered(PARALLEL);
        while let Some((index, counted)) = counts.try_next().await? {
            if let Some(file) = checked.get_mut(index) {
                *file = counted;
            }
            files_read += 1;
            read(files_read);
        }
        Ok(checked)
    }

    /// The size of each file of the plan; `None` for a file that does not exist.
    async fn sizes(
        &self,
        server: &Arc<FhirServer>,
        plan: &VerifyPlan,
    ) -> Result<Vec<Option<u64>>, StorageFailure> {
        let wanted: HashSet<&str> = plan.files.iter().map(|file| file.blob.as_str()).collect();
        let wanted = &wanted;
        let found = self
            .with_account(server, |account| async move {
                let mut found = Vec::new();
                listing::blobs(&account, &plan.container, &plan.prefix, self.page, |name, size| {
                    if wanted.contains(name.as_str()) {
                        found.push((name, size));
                    }
                })
                .await?;
                Ok(found)
            })
            .await?;
        Ok(sizes(plan, found))
    }

    async fn count_lines(
        &self,
        server: &Arc<FhirServer>,
        container: &str,
        blob: &str,
        size: u64,
    ) -> Result<Checked, StorageFailure> {
        let state = tokio::sync::Mutex::new((Download::new(container, blob, size), LineCounter::default()));
        loop {
            let progress = self
                .with_account(server, |account| {
                    let state = &state;
                    async move {
                        let (download, counter) = &mut *state.lock().await;
                        download.read_on(&account, &mut |piece| counter.feed(piece)).await
                    }
                })
                .await?;
            match progress {
                Progress::Broken => {}
                Progress::Whole => {
                    let (_, counter) = state.into_inner();
                    return Ok(Checked { bytes: Some(size), lines: Some(counter.finish()) });
                }
                Progress::Gone => return Ok(Checked { bytes: None, lines: None }),
                Progress::Archived => return Ok(Checked { bytes: Some(size), lines: None }),
            }
        }
    }
}
