//! The storage account: containers, blobs, blocks.

use std::collections::BTreeMap;

use bytes::{Bytes, BytesMut};
use fhir_export_operator::core::landing::{BlockId, LedgerEntry, Marks};
use fhir_export_operator::core::ledger::{
    Checked, FolderDeletion, FolderPlan, Ledger, StorageFailure, StorageFailureKind, VerifyPlan,
};
use fhir_export_operator::core::manifest::sha256_hex;

/// Where the account is.
pub const ENDPOINT: &str = "https://lake.blob.example";

/// A blob.
#[derive(Clone, Debug)]
pub struct Blob {
    /// What it holds.
    pub body: Bytes,
    /// Its metadata, if a landing wrote it.
    pub marks: Option<Marks>,
}

/// A container.
#[derive(Clone, Debug, Default)]
pub struct Container {
    /// What was committed, by name.
    pub blobs: BTreeMap<String, Blob>,
    /// What was laid down and not committed, by name.
    staged: BTreeMap<String, Vec<(BlockId, Bytes)>>,
}

/// The account.
#[derive(Clone, Debug, Default)]
pub struct Lake {
    /// By name.
    pub containers: BTreeMap<String, Container>,
}

/// A failure of this kind.
pub fn failure(kind: StorageFailureKind) -> StorageFailure {
    let message = match kind {
        StorageFailureKind::Transient { .. } => "the storage account does not answer; check its firewall",
        StorageFailureKind::Denied => "the storage account refuses the identity; give it the role",
        StorageFailureKind::NotFound => "the container is not there; create it",
        _ => "the storage account does not do that; read its words",
    };
    StorageFailure { kind, message: message.to_owned() }
}

fn not_found() -> StorageFailure {
    failure(StorageFailureKind::NotFound)
}

/// Lines that hold something.
pub fn lines(body: &[u8]) -> u64 {
    body.split(|byte| *byte == b'\n').filter(|line| !line.iter().all(u8::is_ascii_whitespace)).count() as u64
}

impl Lake {
    fn of(&mut self, container: &str) -> Result<&mut Container, StorageFailure> {
        self.containers.get_mut(container).ok_or_else(not_found)
    }

    /// A blob.
    pub fn blob(&self, container: &str, name: &str) -> Option<&Blob> {
        self.containers.get(container)?.blobs.get(name)
    }

    /// Writes a blob, whatever lies there; the container is made if need be.
    pub fn write(&mut self, container: &str, name: &str, body: Bytes) {
        let container = self.containers.entry(container.to_owned()).or_default();
        container.blobs.insert(name.to_owned(), Blob { body, marks: None });
    }

    /// Stores a small blob, unless the same lies there.
    pub fn store(&mut self, container: &str, name: &str, body: &[u8]) -> Result<String, StorageFailure> {
        let sum = sha256_hex(body);
        let container = self.of(container)?;
        match container.blobs.get(name) {
            Some(lying) if lying.body == body => Ok(sum),
            _ => {
                let body = Bytes::copy_from_slice(body);
                container.blobs.insert(name.to_owned(), Blob { body, marks: None });
                Ok(sum)
            }
        }
    }

    /// Reads a blob.
    pub fn read(
        &mut self,
        container: &str,
        name: &str,
        max: usize,
    ) -> Result<Option<Vec<u8>>, StorageFailure> {
        let Some(blob) = self.of(container)?.blobs.get(name) else { return Ok(None) };
        if blob.body.len() > max {
            return Err(failure(StorageFailureKind::Permanent));
        }
        Ok(Some(blob.body.to_vec()))
    }

    /// What lies in a folder.
    pub fn ledger(&mut self, container: &str, folder: &str) -> Result<Ledger, StorageFailure> {
        let container = self.of(container)?;
        let below = format!("{folder}/");
        let inside = |name: &&String| name.starts_with(&below);
        let landed = container.blobs.iter().filter(|(name, _)| inside(name));
        Ok(Ledger {
            landed: landed
                .map(|(name, blob)| LedgerEntry { blob: name.clone(), marks: blob.marks.clone() })
                .collect(),
            begun: container
                .staged
                .keys()
                .filter(inside)
                .filter(|name| !container.blobs.contains_key(*name))
                .cloned()
                .collect(),
        })
    }

    /// Makes a container.
    pub fn make(&mut self, container: &str) {
        self.containers.entry(container.to_owned()).or_default();
    }

    /// The blocks of a blob that are not committed.
    pub fn staged(&mut self, container: &str, name: &str) -> Result<Vec<BlockId>, StorageFailure> {
        let blocks = self.of(container)?.staged.get(name);
        Ok(blocks.into_iter().flatten().map(|(id, _)| id.clone()).collect())
    }

    /// Lays down a block; one of the same id is replaced.
    pub fn stage(&mut self, place: (&str, &str), id: &BlockId, body: Bytes) -> Result<(), StorageFailure> {
        let blocks = self.of(place.0)?.staged.entry(place.1.to_owned()).or_default();
        blocks.retain(|(other, _)| other != id);
        blocks.push((id.clone(), body));
        Ok(())
    }

    /// Makes a blob of blocks, unless one is there.
    pub fn commit(
        &mut self,
        place: (&str, &str),
        ids: &[BlockId],
        marks: &Marks,
    ) -> Result<bool, StorageFailure> {
        let container = self.of(place.0)?;
        if container.blobs.contains_key(place.1) {
            return Ok(false);
        }
        let staged = container.staged.get(place.1).map(Vec::as_slice).unwrap_or_default();
        let mut body = BytesMut::new();
        for id in ids {
            let block = staged.iter().find(|(other, _)| other == id);
            let (_, block) = block.ok_or_else(|| failure(StorageFailureKind::Permanent))?;
            body.extend_from_slice(block);
        }
        container.staged.remove(place.1);
        let blob = Blob { body: body.freeze(), marks: Some(marks.clone()) };
        container.blobs.insert(place.1.to_owned(), blob);
        Ok(true)
    }

    /// Looks at files that a server wrote.
    pub fn verify(&mut self, plan: &VerifyPlan) -> Result<Vec<Checked>, StorageFailure> {
        let container = self.of(&plan.container)?;
        let mut left = plan.max_bytes;
        let look = plan.files.iter().map(|file| match container.blobs.get(&file.blob) {
            None => Checked { bytes: None, lines: None },
            Some(blob) => {
                let size = blob.body.len() as u64;
                let read = left.checked_sub(size);
                left = read.unwrap_or(left);
                Checked { bytes: Some(size), lines: read.map(|_| lines(&blob.body)) }
            }
        });
        Ok(look.collect())
    }

    /// Deletes files of a folder, the manifest last.
    pub fn delete_folder(&mut self, plan: &FolderPlan) -> Result<FolderDeletion, StorageFailure> {
        let container = self.of(&plan.container)?;
        let below = format!("{}/", plan.folder);
        let manifest = format!("{below}manifest.json");
        let found = container.blobs.get(&manifest).map(|blob| sha256_hex(&blob.body));
        let files: Vec<String> =
            container.blobs.keys().filter(|n| n.starts_with(&below) && **n != manifest).cloned().collect();
        match (&plan.manifest, &found) {
            (Some(meant), Some(found)) if found.starts_with(meant) => {}
            (None, None) => {}
            (Some(_), None) if files.is_empty() => return Ok(FolderDeletion::Done { files: 0, others: 0 }),
            _ => return Ok(FolderDeletion::Changed),
        }
        for name in files.iter().take(plan.at_most) {
            container.blobs.remove(name);
        }
        if files.len() > plan.at_most {
            return Ok(FolderDeletion::Going { files: plan.at_most as u64 });
        }
        let last = container.blobs.remove(&manifest).map_or(0, |_| 1);
        Ok(FolderDeletion::Done { files: files.len() as u64 + last, others: 0 })
    }
}
