//! The model of the storage accounts: containers, blobs and parts of uploads.

use std::collections::BTreeMap;

use bytes::{Bytes, BytesMut};
use fhir_export_operator::core::landing::{Checkpoint, Content, LedgerEntry, Marks};
use fhir_export_operator::core::ledger::{
    Checked, FolderDeletion, FolderPlan, Ledger, StorageFailure, StorageFailureKind, VerifyPlan,
};
use fhir_export_operator::core::manifest::sha256_hex;
use fhir_export_operator::ports::Committed;

/// The parts of an upload that is not committed, by content and offset, each with the checkpoint after it.
type Parts = BTreeMap<(Content, u64), (Bytes, Checkpoint)>;

/// The endpoint of the first account.
pub const ENDPOINT: &str = "https://lake.blob.example";
/// The endpoint of the second account.
pub const SECOND_ENDPOINT: &str = "https://second.blob.example";

/// A committed blob.
#[derive(Clone, Debug)]
pub struct Blob {
    /// The content of the blob.
    pub body: Bytes,
    /// The metadata of the blob, if a landing wrote it.
    pub marks: Option<Marks>,
}

/// A container.
#[derive(Clone, Debug, Default)]
pub struct Container {
    /// The committed blobs, by name.
    pub blobs: BTreeMap<String, Blob>,
    /// The parts of uploads that are not committed, by the name of the blob.
    begun: BTreeMap<String, Parts>,
}

/// The storage accounts.
#[derive(Clone, Debug, Default)]
pub struct Lake {
    /// The containers, by name. Those of the second account have names of their own.
    pub containers: BTreeMap<String, Container>,
}

/// A storage failure of this kind.
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

/// The name under which an account's container is kept among those of all accounts.
pub fn at(endpoint: Option<&str>, container: &str) -> String {
    let elsewhere = endpoint.filter(|endpoint| *endpoint != ENDPOINT);
    elsewhere.map_or_else(|| container.to_owned(), |endpoint| format!("{endpoint}/{container}"))
}

/// The number of lines that are not blank.
pub fn lines(body: &[u8]) -> u64 {
    body.split(|byte| *byte == b'\n').filter(|line| !line.iter().all(u8::is_ascii_whitespace)).count() as u64
}

impl Lake {
    fn of(&mut self, container: &str) -> Result<&mut Container, StorageFailure> {
        self.containers.get_mut(container).ok_or_else(not_found)
    }

    /// Returns a blob.
    pub fn blob(&self, container: &str, name: &str) -> Option<&Blob> {
        self.containers.get(container)?.blobs.get(name)
    }

    /// Writes a blob, replacing an existing one. Creates the container if it does not exist.
    pub fn write(&mut self, container: &str, name: &str, body: Bytes) {
        let container = self.containers.entry(container.to_owned()).or_default();
        container.blobs.insert(name.to_owned(), Blob { body, marks: None });
    }

    /// Stores a small blob unless the same content is there already.
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

    /// Lists a folder.
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
                .begun
                .keys()
                .filter(inside)
                .filter(|name| !container.blobs.contains_key(*name))
                .cloned()
                .collect(),
        })
    }

    /// Creates a container.
    pub fn make(&mut self, container: &str) {
        self.containers.entry(container.to_owned()).or_default();
    }

    /// The farthest checkpoint of a blob's upload, over parts of one content without a gap.
    pub fn furthest(&mut self, container: &str, name: &str) -> Result<Option<Checkpoint>, StorageFailure> {
        let parts = self.of(container)?.begun.get(name);
        let mut best: Option<&Checkpoint> = None;
        let mut row: Option<&Checkpoint> = None;
        for ((content, offset), (_, after)) in parts.into_iter().flatten() {
            let reached = row.filter(|row| row.content() == *content).map_or(0, Checkpoint::bytes);
            if *offset == reached {
                row = Some(after);
                if best.is_none_or(|best| best.bytes() < after.bytes()) {
                    best = row;
                }
            }
        }
        Ok(best.cloned())
    }

    /// Stores a part. It replaces a part of the same content and offset.
    pub fn part(
        &mut self,
        place: (&str, &str),
        body: Bytes,
        after: Checkpoint,
    ) -> Result<(), StorageFailure> {
        let parts = self.of(place.0)?.begun.entry(place.1.to_owned()).or_default();
        let offset = after.bytes() - body.len() as u64;
        parts.insert((after.content(), offset), (body, after));
        Ok(())
    }

    /// Commits a blob from the parts of one content up to an offset and from its last bytes, unless the blob exists.
    pub fn commit(
        &mut self,
        place: (&str, &str),
        (content, upto): (Content, u64),
        last: &[u8],
        marks: &Marks,
    ) -> Result<Committed, StorageFailure> {
        let container = self.of(place.0)?;
        if container.blobs.contains_key(place.1) {
            return Ok(Committed::AlreadyThere);
        }
        let mut body = BytesMut::new();
        while (body.len() as u64) < upto {
            let offset = body.len() as u64;
            let part = container.begun.get(place.1).and_then(|parts| parts.get(&(content, offset)));
            let (part, _) = part.ok_or_else(|| failure(StorageFailureKind::Permanent))?;
            body.extend_from_slice(part);
        }
        body.extend_from_slice(last);
        container.begun.remove(place.1);
        let blob = Blob { body: body.freeze(), marks: Some(marks.clone()) };
        container.blobs.insert(place.1.to_owned(), blob);
        Ok(Committed::Now)
    }

    /// Checks files that a server wrote.
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
        if !plan.is_meant(found.as_deref(), !files.is_empty()) {
            return Ok(FolderDeletion::Changed);
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
