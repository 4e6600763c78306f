//! What lies in the storage account, as the account itself tells.

use azure_fhir::Storage;
use azure_storage_blob::BlobContainerClient;

use crate::Result;

/// A container.
pub struct Lake(BlobContainerClient);

impl Lake {
    /// Creates a container.
    pub async fn make(storage: &Storage, container: &str) -> Result<Self> {
        let container = blobs::open(&storage.endpoint, &storage.account, &storage.key, container)?;
        blobs::create(&container).await?;
        Ok(Self(container))
    }

    /// The lines of all resources in a folder, without those of its subfolders, which are about deleted resources and
    /// errors.
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

    /// What a run of a schedule brought: nothing without a folder.
    pub async fn run(&self, folder: Option<&str>) -> Result<replay::Run> {
        let Some(folder) = folder else { return Ok(replay::Run::default()) };
        let files = blobs::folder(&self.0, folder).await?;
        replay::Run::of(&files).map_err(|error| lake(format!("{folder}: {error}")))
    }
}

fn lake(text: String) -> crate::Error {
    blobs::Error::Refused(text).into()
}
