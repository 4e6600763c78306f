//! What a file in the storage account holds, as its own lines say.

use std::collections::BTreeMap;

use crate::{Error, Result};

/// A blob that was read to its end.
#[derive(Debug, Clone)]
pub struct Blob {
    /// Its name without the folder.
    pub name: String,
    /// Its bytes.
    pub bytes: usize,
    /// Its lines.
    pub lines: usize,
    /// Resource types, each with the number of its lines.
    pub types: BTreeMap<String, usize>,
}

impl Blob {
    /// Counts what `body` holds.
    pub fn count(name: &str, body: &[u8]) -> Result<Self> {
        let mut blob = Self { name: name.to_owned(), bytes: body.len(), lines: 0, types: BTreeMap::new() };
        for line in body.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
            let resource: serde_json::Value = serde_json::from_slice(line)
                .map_err(|error| Error::NotSo(format!("each line of {name} is JSON ({error})")))?;
            let kind = resource.get("resourceType").and_then(serde_json::Value::as_str).unwrap_or("?");
            blob.lines += 1;
            *blob.types.entry(kind.to_owned()).or_default() += 1;
        }
        Ok(blob)
    }
}
