//! The manifests in `examples/gitops`: health checks for Argo CD and Flux, run on objects in every phase, and manifests
//! that the kinds of this operator, and those of other projects, permit.
#![allow(missing_docs, clippy::unwrap_used, clippy::indexing_slicing, clippy::panic)]

mod foreign;
mod health;
mod manifests;
mod secrets;

use std::path::{Path, PathBuf};

use serde_json::Value;

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/gitops")
}

fn read(path: &str) -> String {
    let path = folder().join(path);
    std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

/// The objects in a file of the folder.
fn objects(path: &str) -> Vec<Value> {
    serde_saphyr::from_multiple(&read(path)).unwrap_or_else(|e| panic!("{path}: {e}"))
}

/// Every YAML file of the folder, by its path in it.
fn files() -> Vec<String> {
    fn within(folder: &Path, prefix: &str, found: &mut Vec<String>) {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            let name = format!("{prefix}{}", path.file_name().unwrap().to_str().unwrap());
            if path.is_dir() {
                within(&path, &format!("{name}/"), found);
            } else if path.extension().is_some_and(|end| end == "yaml") {
                found.push(name);
            }
        }
    }
    let mut found = Vec::new();
    within(&folder(), "", &mut found);
    found.sort();
    found
}
