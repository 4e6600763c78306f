//! Reads the storage account directly.

use azure_fhir::Storage;
use azure_storage_blob::BlobContainerClient;

use crate::Result;

/// A container of the storage account.
pub struct Lake(BlobContainerClient);

impl Lake {
    /// Creates a container.
    pub async fn make(storage: &Storage, container: &str) -> Result<Self> {
        let container = blobs::open(&storage.endpoint, &storage.account, &storage.key, container)?;
        blobs::create(&container).await?;
        Ok(Self(container))
    }

    /// The lines of all data files in a folder. Subfolders are left out: they hold deleted resources and errors.
    pub async fn landed(&self, folder: &str) -> Result<Vec<String>> {
        let mut lines = Vec::new();
        for (name, body) in blobs::folder(&self.0, folder).await? {
            if !name.contains('/') && name.ends_with(".ndjson") {
                let text = str::from_utf8(&body).map_err(|error| lake(format!("{name}: {error}")))?;
                lines.extend(text.lines().filter(|line| !line.is_empty()).map(str::to_owned));
            }
        }
        Ok(lines)
    }

    /// The files of a schedule's run. Empty if the run has no folder.
    pub async fn run(&self, folder: Option<&str>) -> Result<replay::Run> {
        let Some(folder) = folder else { return Ok(replay::Run::default()) };
        let files = blobs::folder(&self.0, folder).await?;
        replay::Run::of(&files).map_err(|error| lake(format!("{folder}: {error}")))
    }
}

fn lake(text: String) -> crate::Error {
    blobs::Error::Refused(text).into()
}
