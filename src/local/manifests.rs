//! Reads manifests: YAML or JSON, many documents a file. Nothing of them is stored unless all of them are good.

use std::collections::BTreeSet;
use std::path::PathBuf;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use serde_json::{Value, json};

use super::api::NAMESPACE;
use super::objects::meta;
use super::secrets::Secrets;
use crate::api::{GROUP, VERSION};
use crate::offline::{Document, Fault, Problem, documents, is_name};
use crate::show::{Key, ObjectKind};
use crate::stop::Stop;

/// Kinds that a set of manifests for a cluster may hold and that mean nothing here.
const ONLY_IN_A_CLUSTER: [&str; 6] =
    ["ClusterRole", "ClusterRoleBinding", "Namespace", "Role", "RoleBinding", "ServiceAccount"];

/// An object of a manifest.
#[derive(Clone, Debug)]
pub struct Manifest {
    /// Kind, namespace and name.
    pub key: Key,
    /// The object, with its namespace and without a status.
    pub object: Value,
    /// The document as it is written.
    pub document: Document,
}

/// What a set of files holds.
#[derive(Default)]
pub struct Manifests {
    /// The objects that the operator works on, in the order of the files.
    pub objects: Vec<Manifest>,
    /// The credentials.
    pub secrets: Secrets,
    /// The objects that mean nothing without a cluster, as kind and name.
    pub ignored: Vec<String>,
}

impl Manifests {
    /// Reads all files. `-` is standard input, and a directory stands for the YAML and JSON files in it. The error
    /// names file, line and field of everything that cannot be read.
    pub fn read(files: &[PathBuf]) -> Result<Self, Stop> {
        let mut manifests = Self::default();
        let (documents, mut problems) = documents(files)?;
        problems
            .extend(documents.into_iter().filter_map(|one| manifests.add(one).err().map(|problem| *problem)));
        let mut keys = BTreeSet::new();
        for Manifest { key, document, .. } in &manifests.objects {
            if !keys.insert(key) {
                problems.push(document.problem("metadata.name", "another document has the same name"));
            }
        }
        if problems.is_empty() { Ok(manifests) } else { Err(refused(&problems)) }
    }

    fn add(&mut self, document: Document) -> Result<(), Box<Problem>> {
        let mut object = document.object();
        let kind = document.kind().to_owned();
        let (ours, wanted) = match ObjectKind::named(&kind) {
            Some(kind) => (Some(kind), format!("{GROUP}/{VERSION}")),
            None if matches!(kind.as_str(), "Secret" | "ConfigMap") => (None, "v1".to_owned()),
            None if ONLY_IN_A_CLUSTER.contains(&kind.as_str()) => {
                self.ignored.push(format!("{kind} {}", document.name()));
                return Ok(());
            }
            None => {
                let known = "use FhirServer, FhirExport, FhirExportSchedule, Secret or ConfigMap";
                return Err(Box::new(document.problem("kind", known)));
            }
        };
        if object.get("apiVersion").and_then(Value::as_str) != Some(&wanted) {
            return Err(Box::new(document.problem("apiVersion", format!("use {wanted}"))));
        }
        check_metadata(&object).map_err(|fault| Box::new(document.problem(&fault.field, fault.message)))?;
        let name = document.name().to_owned();
        let namespace = meta(&object, "namespace").unwrap_or(NAMESPACE).to_owned();
        match ours {
            Some(kind) => {
                if let Some(members) = object.as_object_mut() {
                    members.remove("status");
                    if let Some(metadata) = members.get_mut("metadata").and_then(Value::as_object_mut) {
                        metadata.insert("namespace".into(), json!(namespace));
                    }
                }
                self.objects.push(Manifest { key: Key { kind, namespace, name }, object, document });
            }
            None if kind == "Secret" => {
                let added = self.secrets.add_secret(&namespace, &name, object);
                added.map_err(|fault| Box::new(document.problem(&fault.field, fault.message)))?;
            }
            None => self.secrets.add_config_map(&namespace, &name, object),
        }
        Ok(())
    }
}

/// The error for manifests with problems: one line each.
pub fn refused(problems: &[Problem]) -> Stop {
    Stop::because(problems.iter().map(Problem::to_string).collect::<Vec<_>>().join("\n"))
}

fn check_metadata(object: &Value) -> Result<(), Fault> {
    let fault = |field: &str, message: String| Fault::new(field, message);
    let metadata = object.get("metadata").cloned().unwrap_or_default();
    serde_path_to_error::deserialize::<_, ObjectMeta>(&metadata)
        .map_err(|e| fault(&format!("metadata.{}", e.path()), e.inner().to_string()))?;
    for (member, longest, dots) in [("name", 253, true), ("namespace", 63, false)] {
        let Some(word) = meta(object, member) else { continue };
        if word.len() > longest || !is_name(word) || word.contains('.') && !dots {
            let message = format!("{word:?} is not a name of lower-case letters, digits and hyphens");
            return Err(fault(&format!("metadata.{member}"), message));
        }
    }
    if meta(object, "name").is_none() {
        return Err(fault("metadata.name", "it is required".into()));
    }
    Ok(())
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::indexing_slicing)]
mod tests {
    use super::*;

    const SERVER: &str =
        "apiVersion: fhirexport.dev/v1alpha1\nkind: FhirServer\nmetadata: { name: clinic }\n";

    fn read(text: &str) -> Result<Manifests, String> {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("all.yaml");
        std::fs::write(&file, text).unwrap();
        let said = |stop: Stop| stop.to_string().replace(&format!("{}/", folder.path().display()), "");
        Manifests::read(&[file]).map_err(said)
    }

    #[test]
    fn documents_become_objects_and_credentials() {
        let account = "apiVersion: v1\nkind: ServiceAccount\nmetadata: { name: exporter }\n";
        let secret =
            "apiVersion: v1\nkind: Secret\nmetadata: { name: token, namespace: ops }\nstringData: { a: b }\n";
        let read =
            read(&format!("---\n{SERVER}status: {{ x: y }}\n---\n{account}---\n{secret}---\n")).unwrap();
        let keys: Vec<String> = read.objects.iter().map(|manifest| manifest.key.to_string()).collect();
        assert_eq!(keys, ["FhirServer default/clinic"]);
        assert_eq!(read.objects[0].object.get("status"), None);
        assert_eq!(read.ignored, ["ServiceAccount exporter"]);
        assert!(read.secrets.secret("ops", "token").is_ok());
    }

    #[test]
    fn what_cannot_be_read_is_named_by_file_line_and_field() {
        for (text, said) in [
            (format!("{SERVER}---\n{SERVER}"), "all.yaml:7: FhirServer clinic: metadata.name: another"),
            (
                SERVER.replace("clinic", "Clinic"),
                "all.yaml:3: FhirServer Clinic: metadata.name: \"Clinic\" is not",
            ),
            (SERVER.replace("{ name: clinic }", "{}"), "metadata.name: it is required"),
            (
                SERVER.replace("v1alpha1", "v1"),
                "all.yaml:1: FhirServer clinic: apiVersion: use fhirexport.dev/v1alpha1",
            ),
            (SERVER.replace("FhirServer", "Pod"), "all.yaml:2: Pod clinic: kind: use FhirServer"),
            (SERVER.replace("clinic }", "clinic, labels: { a: 1 } }"), "metadata.labels.a: "),
            ("a: [".to_owned(), "all.yaml:1: this is not YAML: "),
        ] {
            let refused = read(&text).err().unwrap();
            assert!(refused.contains(said), "{said}: {refused}");
        }
        let none = Manifests::read(&["nowhere.yaml".into()]).err().unwrap().to_string();
        assert!(none.starts_with("nowhere.yaml cannot be read: "), "{none}");
    }

    #[test]
    fn a_directory_stands_for_the_manifests_in_it() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("b.yaml"), SERVER.replace("clinic", "second")).unwrap();
        std::fs::write(folder.path().join("a.yml"), SERVER).unwrap();
        std::fs::write(folder.path().join("notes.txt"), "not a manifest: [").unwrap();
        let read = Manifests::read(&[folder.path().to_owned()]).unwrap();
        let names: Vec<&str> = read.objects.iter().map(|manifest| &*manifest.key.name).collect();
        assert_eq!(names, ["clinic", "second"]);
    }
}
