//! Every example is what its kind says: no unknown field, no broken rule. The tests on a real API server apply them,
//! too.
#![allow(missing_docs, clippy::unwrap_used, clippy::indexing_slicing, clippy::panic)]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use fhir_export_operator::api::{CREDENTIAL_LABEL, FhirExport, FhirExportSchedule, FhirServer};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

fn yaml_files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.ends_with("examples/gitops") {
            // Objects of other projects, too: tests/api_gitops looks at them.
        } else if path.is_dir() {
            found.extend(yaml_files(&path));
        } else if path.extension().is_some_and(|e| e == "yaml") {
            found.push(path);
        }
    }
    found.sort();
    found
}

fn examples() -> BTreeMap<PathBuf, (String, Vec<Value>)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples");
    let parsed = |path: PathBuf| {
        let text = std::fs::read_to_string(&path).unwrap();
        let objects =
            serde_saphyr::from_multiple(&text).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
        (path, (text, objects))
    };
    yaml_files(&folder).into_iter().map(parsed).collect()
}

/// What the types do not know is lost on the way through them.
fn nothing_is_lost<K: DeserializeOwned + Serialize>(path: &Path, object: &Value) -> K {
    let typed: K =
        serde_json::from_value(object.clone()).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    let again = serde_json::to_value(&typed).unwrap();
    assert_eq!(again["spec"], object["spec"], "{}", path.display());
    typed
}

#[test]
fn every_example_keeps_the_rules() {
    let (mut servers, mut exports, mut schedules) = (0, 0, 0);
    for (path, (_, objects)) in &examples() {
        for object in objects {
            let broken = match object["kind"].as_str().unwrap() {
                "FhirServer" => {
                    servers += 1;
                    nothing_is_lost::<FhirServer>(path, object).validate_cel()
                }
                "FhirExport" => {
                    exports += 1;
                    nothing_is_lost::<FhirExport>(path, object).validate_cel()
                }
                "FhirExportSchedule" => {
                    schedules += 1;
                    nothing_is_lost::<FhirExportSchedule>(path, object).validate_cel()
                }
                "Secret" | "ServiceAccount" => {
                    assert_eq!(object["metadata"]["labels"][CREDENTIAL_LABEL], "true", "{}", path.display());
                    Ok(())
                }
                "Namespace" => Ok(()),
                other => panic!("{}: {other}", path.display()),
            };
            broken.unwrap_or_else(|e| panic!("{}: {e}", path.display()));
        }
    }
    assert!(servers >= 8 && exports >= 5 && schedules >= 3, "{servers} {exports} {schedules}");
}

#[test]
fn every_example_says_what_it_shows_and_what_to_change() {
    for (path, (text, _)) in examples() {
        assert!(text.starts_with("# ") && text.contains("\n# Change: "), "{}", path.display());
    }
}

#[test]
fn no_example_holds_a_secret() {
    for (path, (_, objects)) in examples() {
        for secret in objects.iter().filter(|o| o["kind"] == "Secret") {
            for (key, value) in secret["stringData"].as_object().unwrap() {
                // The second one is the first one in base64.
                assert!(value == "replace-me" || value == "cmVwbGFjZS1tZQ==", "{}: {key}", path.display());
            }
        }
    }
}
