//! What the folder of one run says.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::Read;
use std::path::Path;

use flate2::read::MultiGzDecoder;
use serde_json::Value;
use sha2::{Digest, Sha256};

use crate::Error;

/// The name of the manifest in a run's folder.
const MANIFEST: &str = "manifest.json";

/// With this extension, Azure's service marks a resource that was deleted.
const DELETED: &str = "http://azurehealthcareapis.com/data-extensions/deleted-state";

/// What a run brought.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Run {
    /// The resources, in the order of the files.
    pub output: Vec<Value>,
    /// What was deleted on the server: types and ids, such as `Patient/1`.
    pub deleted: Vec<String>,
    /// The manifest's `transactionTime`, where a manifest lies in the folder.
    pub transaction_time: Option<String>,
}

impl Run {
    /// Reads the files of a folder, by their names in it. Where a manifest lies, all files that it names must be there
    /// and as it says.
    pub fn of(files: &BTreeMap<String, Vec<u8>>) -> Result<Self, Error> {
        let mut run = Self::default();
        if let Some(manifest) = files.get(MANIFEST) {
            let manifest: Value = json(MANIFEST, manifest)?;
            run.transaction_time = manifest.get("transactionTime").and_then(Value::as_str).map(str::to_owned);
            check(&manifest, files)?;
        }
        for (name, bytes) in files {
            let (below, file) = name.split_once('/').unwrap_or(("", name));
            if !file.contains(".ndjson") {
                continue;
            }
            let text = unpacked(name, bytes)?;
            match below {
                "" => run.resources(name, &text)?,
                "deleted" => run.deletions(name, &text)?,
                _ => {}
            }
        }
        Ok(run)
    }

    fn resources(&mut self, name: &str, text: &[u8]) -> Result<(), Error> {
        for line in lines(text) {
            let resource: Value = json(name, line)?;
            let id = identity(&resource).ok_or_else(|| Error::Line(name.into()))?;
            if resource.get("resourceType").and_then(Value::as_str) == Some("OperationOutcome") {
                continue;
            }
            if marked_deleted(&resource) {
                self.deleted.push(id);
            } else {
                self.output.push(resource);
            }
        }
        Ok(())
    }

    /// Transaction Bundles, each entry of which is a DELETE of a type and an id.
    fn deletions(&mut self, name: &str, text: &[u8]) -> Result<(), Error> {
        for line in lines(text) {
            let bundle: Value = json(name, line)?;
            let entries = bundle.get("entry").and_then(Value::as_array);
            for entry in entries.ok_or_else(|| Error::Line(name.into()))? {
                let said = |what: &str| entry.pointer(what).and_then(Value::as_str);
                match (said("/request/method"), said("/request/url")) {
                    (Some("DELETE"), Some(url)) => self.deleted.push(url.to_owned()),
                    _ => return Err(Error::Line(name.into())),
                }
            }
        }
        Ok(())
    }
}

/// Type and id of a resource, such as `Patient/1`.
pub(crate) fn identity(resource: &Value) -> Option<String> {
    let said = |what: &str| resource.get(what).and_then(Value::as_str);
    match (said("resourceType"), said("id")) {
        (Some(kind), Some(id)) => Some(format!("{kind}/{id}")),
        // An outcome among the resources has no id.
        (Some("OperationOutcome"), None) => Some("OperationOutcome/".into()),
        _ => None,
    }
}

fn marked_deleted(resource: &Value) -> bool {
    let extensions = resource.pointer("/meta/extension").and_then(Value::as_array);
    extensions.into_iter().flatten().any(|e| e.get("url").and_then(Value::as_str) == Some(DELETED))
}

/// Every file that the manifest names lies there, with its checksum where it has one.
fn check(manifest: &Value, files: &BTreeMap<String, Vec<u8>>) -> Result<(), Error> {
    let lists = ["output", "deleted", "error"].into_iter().filter_map(|list| manifest.get(list)?.as_array());
    for entry in lists.flatten() {
        let url = entry.get("url").and_then(Value::as_str).unwrap_or_default();
        // The end of the URL is the file's name in the folder.
        let found = files.iter().find(|(name, _)| url.ends_with(&format!("/{name}")));
        let (name, bytes) = found.ok_or_else(|| Error::File(url.into()))?;
        let Some(sum) = entry.get("sha256").and_then(Value::as_str) else { continue };
        if sha256(&unpacked(name, bytes)?) != sum {
            return Err(Error::File(name.clone()));
        }
    }
    Ok(())
}

fn sha256(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().fold(String::new(), |mut hex, byte| {
        // Writing to a String cannot fail.
        let _ = write!(hex, "{byte:02x}");
        hex
    })
}

/// The text of a file, which may be compressed.
fn unpacked(name: &str, bytes: &[u8]) -> Result<Vec<u8>, Error> {
    if Path::new(name).extension().is_none_or(|extension| extension != "gz") {
        return Ok(bytes.to_vec());
    }
    let mut text = Vec::new();
    // A member for each block of the landing.
    let read = MultiGzDecoder::new(bytes).read_to_end(&mut text);
    read.map_err(|error| Error::Compressed { name: name.into(), error })?;
    Ok(text)
}

fn lines(text: &[u8]) -> impl Iterator<Item = &[u8]> {
    text.split(|byte| *byte == b'\n').map(<[u8]>::trim_ascii).filter(|line| !line.is_empty())
}

fn json(name: &str, bytes: &[u8]) -> Result<Value, Error> {
    serde_json::from_slice(bytes).map_err(|error| Error::Json { name: name.into(), error })
}

#[cfg(test)]
#[allow(clippy::unwrap_used)] // a test fails by panicking
mod tests {
    use std::io::Write;

    use flate2::Compression;
    use flate2::write::GzEncoder;
    use serde_json::json;

    use super::*;

    fn files(files: &[(&str, &str)]) -> BTreeMap<String, Vec<u8>> {
        files.iter().map(|(name, text)| ((*name).to_owned(), text.as_bytes().to_vec())).collect()
    }

    const ANN: &str = r#"{"resourceType":"Patient","id":"ann"}"#;
    const BOB_DELETED: &str = r#"{"resourceType":"Bundle","type":"transaction","entry":[
        {"request":{"method":"DELETE","url":"Patient/bob"}}]}"#;

    #[test]
    fn files_of_a_folder_are_told_apart() {
        let run = Run::of(&files(&[
            ("Patient-1.ndjson", &format!("{ANN}\r\n\n")),
            ("deleted/Bundle-1.ndjson", &BOB_DELETED.replace('\n', "")),
            ("error/OperationOutcome-1.ndjson", r#"{"resourceType":"OperationOutcome"}"#),
            ("log.txt", "no JSON"),
        ]))
        .unwrap();
        assert_eq!(run.output, [serde_json::from_str::<Value>(ANN).unwrap()]);
        assert_eq!(run.deleted, ["Patient/bob"]);
        let azure = json!({"resourceType": "Patient", "id": "bob",
            "meta": {"extension": [{"url": DELETED, "valueString": "soft-deleted"}]}});
        let run = Run::of(&files(&[("Patient-7-1.ndjson", &azure.to_string())])).unwrap();
        assert_eq!((run.output, run.deleted), (vec![], vec!["Patient/bob".to_owned()]));
    }

    #[test]
    fn compressed_files_are_read_member_by_member() {
        let member = |text: &str| {
            let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
            encoder.write_all(text.as_bytes()).unwrap();
            encoder.finish().unwrap()
        };
        let second = ANN.replace("ann", "bob");
        let bytes = [member(&format!("{ANN}\n")), member(&second)].concat();
        let run = Run::of(&BTreeMap::from([("Patient-1.ndjson.gz".to_owned(), bytes)])).unwrap();
        assert_eq!(run.output.len(), 2);
    }

    #[test]
    fn what_the_manifest_names_must_lie_there() {
        let sum = sha256(ANN.as_bytes());
        let manifest = |sum: &str| {
            json!({"transactionTime": "2026-01-01T00:00:00.000Z", "output": [
                {"type": "Patient", "url": "https://lake.example/c/run/Patient-1.ndjson", "sha256": sum}]})
            .to_string()
        };
        let good = files(&[("Patient-1.ndjson", ANN), (MANIFEST, &manifest(&sum))]);
        assert_eq!(Run::of(&good).unwrap().transaction_time.as_deref(), Some("2026-01-01T00:00:00.000Z"));
        let changed = files(&[("Patient-1.ndjson", ANN), (MANIFEST, &manifest("0"))]);
        assert!(matches!(Run::of(&changed), Err(Error::File(name)) if name == "Patient-1.ndjson"));
        let missing = files(&[(MANIFEST, &manifest(&sum))]);
        assert!(matches!(Run::of(&missing), Err(Error::File(_))));
    }

    #[test]
    fn lines_that_are_no_resources_are_refused() {
        for (name, text) in [
            ("Patient-1.ndjson", "{"),
            ("Patient-1.ndjson", r#"{"resourceType":"Patient"}"#),
            ("deleted/Bundle-1.ndjson", r#"{"resourceType":"Bundle"}"#),
            ("deleted/Bundle-1.ndjson", r#"{"entry":[{"request":{"method":"PUT","url":"Patient/1"}}]}"#),
        ] {
            assert!(Run::of(&files(&[(name, text)])).is_err(), "{text}");
        }
        assert!(Run::of(&BTreeMap::from([("Patient-1.ndjson.gz".to_owned(), vec![1, 2, 3])])).is_err());
    }
}
