//! External Secrets for every type of Secret that the operator reads.

use std::collections::BTreeSet;

use fhir_export_operator::api::{CREDENTIAL_LABEL, crds};
use serde_json::Value;

const FILE: &str = "external-secrets/azure-key-vault.yaml";

/// Adds the path of each field below `schema` that names a Secret.
fn references(path: &str, schema: &Value, found: &mut BTreeSet<String>) {
    for (name, inner) in schema["properties"].as_object().into_iter().flatten() {
        let path = format!("{path}.{name}");
        if name == "secretRef" || name.ends_with("SecretRef") {
            found.insert(path.clone());
        }
        references(&path, inner, found);
    }
    if let Some(items) = schema.get("items") {
        references(path, items, found);
    }
}

#[test]
fn every_field_that_names_a_secret_has_one() {
    let mut fields = BTreeSet::new();
    for crd in crds().unwrap() {
        let crd = serde_json::to_value(crd).unwrap();
        let schema = &crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"];
        references("spec", schema, &mut fields);
    }
    let text = super::read(FILE);
    let told =
        text.lines().filter_map(|line| line.strip_prefix("# ")).filter(|line| line.starts_with("spec."));
    assert_eq!(told.map(str::to_owned).collect::<BTreeSet<_>>(), fields);
    // Each of them stands above an ExternalSecret.
    for document in text.split("\n---\n").filter(|document| document.contains("\n# spec.")) {
        assert!(document.contains("\nkind: ExternalSecret\n"), "{document}");
    }
}

#[test]
fn what_comes_is_what_the_operator_reads() {
    let objects = super::objects(FILE);
    let stores: Vec<_> = objects.iter().filter(|o| o["kind"] == "SecretStore").collect();
    assert_eq!(stores.len(), 1);
    for secret in objects.iter().filter(|o| o["kind"] == "ExternalSecret") {
        let (spec, name) = (&secret["spec"], &secret["metadata"]["name"]);
        assert_eq!(spec["secretStoreRef"]["name"], stores[0]["metadata"]["name"]);
        assert_eq!(&spec["target"]["name"], name);
        let template = &spec["target"]["template"];
        assert_eq!(template["metadata"]["labels"][CREDENTIAL_LABEL], "true", "{name}");
        let keys: Vec<_> =
            spec["data"].as_array().unwrap().iter().map(|d| d["secretKey"].as_str().unwrap()).collect();
        // The keys that Kubernetes demands of a type.
        match template["type"].as_str() {
            Some("kubernetes.io/basic-auth") => assert_eq!(keys, ["username", "password"]),
            Some("kubernetes.io/tls") => assert_eq!(keys, ["tls.crt", "tls.key"]),
            None if keys.len() == 1 => {}
            None => assert_eq!(keys, ["AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"], "{name}"),
            Some(other) => panic!("{name}: {other}"),
        }
    }
}
