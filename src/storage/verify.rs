//! Checking files that a server wrote: are they there, and how many lines do they hold.

use std::collections::HashMap;
use std::sync::Arc;

use futures::{StreamExt, TryStreamExt, stream};

use super::BlobStorage;
use super::download::{Download, Progress};
use super::listing;
use crate::api::FhirServer;
use crate::core::ledger::{Checked, StorageFailure, VerifyPlan};
use crate::core::lines::LineCounter;

/// Files read at once.
const PARALLEL: usize = 4;

impl BlobStorage {
    /// See [`Container::verify`](crate::ports::Container::verify).
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

    /// The size of each file of the plan that is there.
    async fn sizes(
        &self,
        server: &Arc<FhirServer>,
        plan: &VerifyPlan,
    ) -> Result<Vec<Option<u64>>, StorageFailure> {
        let found = self
            .with_account(server, |account| async move {
                let mut found: HashMap<&str, Option<u64>> =
                    plan.files.iter().map(|file| (file.blob.as_str(), None)).collect();
                listing::blobs(&account, &plan.container, &plan.prefix, self.page, |name, size| {
                    if let Some(known) = found.get_mut(name.as_str()) {
                        *known = Some(size);
                    }
                })
                .await?;
                Ok(found)
            })
            .await?;
        Ok(plan.files.iter().map(|file| found.get(file.blob.as_str()).copied().flatten()).collect())
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

/// What the list alone says of a file.
fn looked_at(size: Option<u64>) -> Checked {
    Checked { bytes: size, lines: size.filter(|size| *size == 0) }
}

/// The files to read: in the plan's order, each that still fits.
fn chosen(plan: &VerifyPlan, sizes: &[Option<u64>]) -> Vec<(usize, String, u64)> {
    let mut left = plan.max_bytes;
    let mut chosen = Vec::new();
    for (index, (file, size)) in plan.files.iter().zip(sizes).enumerate() {
        let Some(size) = size.filter(|size| *size > 0) else { continue };
        if let Some(rest) = left.checked_sub(size) {
            left = rest;
            chosen.push((index, file.blob.clone(), size));
        }
    }
    chosen
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::ledger::Expected;

    #[test]
    fn files_are_chosen_whole_and_in_order() {
        let chosen = |max_bytes, sizes: &[Option<u64>]| -> Vec<usize> {
            let files = sizes.iter().map(|_| Expected { blob: "f".into(), count: None }).collect();
            let plan = VerifyPlan { container: "lake".into(), prefix: String::new(), files, max_bytes };
            super::chosen(&plan, sizes).into_iter().map(|(index, ..)| index).collect()
        };
        let sizes = [Some(5), None, Some(0), Some(7), Some(3), Some(2)];
        assert_eq!(chosen(u64::MAX, &sizes), [0, 3, 4, 5]);
        assert_eq!(chosen(10, &sizes), [0, 4, 5]);
        assert_eq!(chosen(4, &sizes), [4]);
        assert_eq!(chosen(1, &sizes), [0; 0]);
        assert_eq!(chosen(0, &sizes), [0; 0]);
    }
}
