//! Secrets and ConfigMaps: from the manifests and from a directory. They stay in memory and are read anew by each call
//! of the command, so that the state file holds none.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value, json};

use super::refusal::Refusal;
use crate::api::CREDENTIAL_LABEL;
use crate::offline::Fault;

type Name = (String, String);

/// Secrets and ConfigMaps by namespace and name.
#[derive(Default)]
pub struct Secrets {
    secrets: BTreeMap<Name, Value>,
    config_maps: BTreeMap<Name, Value>,
    directory: Option<PathBuf>,
}

impl Secrets {
    /// Also serves the Secrets in `directory`: each subdirectory is a Secret, in every namespace, and each file in it a
    /// key.
    pub fn read_also(&mut self, directory: PathBuf) {
        self.directory = Some(directory);
    }

    /// Adds a Secret from a manifest. Its `stringData` wins over its `data`.
    pub fn add_secret(&mut self, namespace: &str, name: &str, mut secret: Value) -> Result<(), Fault> {
        let fault = |field: String, message: &str| Fault::new(&field, message);
        let mut data = Map::new();
        for (key, value) in secret.get("data").and_then(Value::as_object).into_iter().flatten() {
            let decoded = value.as_str().is_some_and(|text| STANDARD.decode(text.trim()).is_ok());
            if !decoded {
                return Err(fault(format!("data.{key}"), "it is not base64; use stringData for plain text"));
            }
            data.insert(key.clone(), value.clone());
        }
        for (key, value) in secret.get("stringData").and_then(Value::as_object).into_iter().flatten() {
            let Some(text) = value.as_str() else {
                return Err(fault(format!("stringData.{key}"), "it is not text; put it in quotes"));
            };
            data.insert(key.clone(), json!(STANDARD.encode(text)));
        }
        if let Some(members) = secret.as_object_mut() {
            members.remove("stringData");
            members.insert("data".into(), Value::Object(data));
        }
        self.secrets.insert((namespace.to_owned(), name.to_owned()), secret);
        Ok(())
    }

    /// Adds a ConfigMap from a manifest.
    pub fn add_config_map(&mut self, namespace: &str, name: &str, config_map: Value) {
        self.config_maps.insert((namespace.to_owned(), name.to_owned()), config_map);
    }

    /// A Secret as the API returns it. One in a manifest wins over one in the directory.
    pub fn secret(&self, namespace: &str, name: &str) -> Result<Value, Refusal> {
        if let Some(secret) = self.secrets.get(&(namespace.to_owned(), name.to_owned())) {
            return Ok(secret.clone());
        }
        let not_found = || Refusal::NotFound(format!("Secret {namespace}/{name}"));
        let directory = self.directory.as_ref().ok_or_else(not_found)?;
        // The name comes from a manifest and must not lead out of the directory.
        if name.is_empty() || name.starts_with('.') || name.contains(['/', '\\']) {
            return Err(not_found());
        }
        match data(&directory.join(name)) {
            Ok(data) => Ok(json!({ "apiVersion": "v1", "kind": "Secret", "data": data, "metadata": {
                "name": name, "namespace": namespace, "labels": { CREDENTIAL_LABEL: "true" } } })),
            Err(e) if e.kind() == io::ErrorKind::NotFound => Err(not_found()),
            Err(e) => Err(Refusal::BadRequest(format!("Secret {name} of --secret-dir cannot be read: {e}"))),
        }
    }

    /// A ConfigMap as the API returns it.
    pub fn config_map(&self, namespace: &str, name: &str) -> Result<Value, Refusal> {
        let found = self.config_maps.get(&(namespace.to_owned(), name.to_owned()));
        found.cloned().ok_or_else(|| Refusal::NotFound(format!("ConfigMap {namespace}/{name}")))
    }
}

/// The keys of a Secret: the files of a directory. Hidden ones are how a mounted Secret is updated, and no keys.
fn data(directory: &Path) -> io::Result<Map<String, Value>> {
    let mut data = Map::new();
    for entry in std::fs::read_dir(directory)? {
        let entry = entry?;
        let Ok(key) = entry.file_name().into_string() else { continue };
        if !key.starts_with('.') && entry.path().is_file() {
            data.insert(key, json!(STANDARD.encode(std::fs::read(entry.path())?)));
        }
    }
    Ok(data)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn value<'s>(secret: &'s Value, key: &str) -> &'s str {
        secret.pointer(&format!("/data/{key}")).unwrap().as_str().unwrap()
    }

    #[test]
    fn plain_text_becomes_data_and_wins() {
        let mut secrets = Secrets::default();
        let secret = json!({ "data": { "a": "b25l", "b": "b25l" }, "stringData": { "b": "two" } });
        secrets.add_secret("ns", "one", secret).unwrap();
        let read = secrets.secret("ns", "one").unwrap();
        assert_eq!((value(&read, "a"), value(&read, "b")), ("b25l", "dHdv"));
        assert_eq!(read.get("stringData"), None);
        assert!(matches!(secrets.secret("other", "one"), Err(Refusal::NotFound(_))));
        let fault = secrets.add_secret("ns", "bad", json!({ "data": { "key": "s3cr3t!" } })).unwrap_err();
        assert_eq!(fault.field, "data.key");
        assert!(!fault.message.contains("s3cr3t"), "{fault:?}");
    }

    #[test]
    fn a_directory_holds_secrets_and_no_name_leads_out_of_it() {
        let folder = tempfile::tempdir().unwrap();
        let directory = folder.path().join("secrets");
        std::fs::create_dir_all(directory.join("clinic")).unwrap();
        std::fs::write(directory.join("clinic/token"), "t0ken").unwrap();
        std::fs::write(directory.join("clinic/.hidden"), "no").unwrap();
        std::fs::create_dir(folder.path().join("elsewhere")).unwrap();
        let mut secrets = Secrets::default();
        secrets.read_also(directory);
        let read = secrets.secret("any", "clinic").unwrap();
        assert_eq!(value(&read, "token"), "dDBrZW4=");
        assert_eq!(read.pointer("/data").unwrap().as_object().unwrap().len(), 1);
        assert_eq!(read.pointer("/metadata/labels/fhirexport.dev~1credential").unwrap(), "true");
        for name in ["../elsewhere", "..", "", "none", "clinic/token"] {
            assert!(matches!(secrets.secret("any", name), Err(Refusal::NotFound(_))), "{name}");
        }
    }
}
