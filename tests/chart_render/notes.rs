//! The notes that Helm prints after an install: the commands in them name what the release has.

use serde_json::{Value, json};
use stage::{Folder, Tool};

use super::{OPERATOR, file, of_kind, rendered};

/// The notes of release `export` in namespace `ops`, and the objects that the same values give.
async fn notes(values: Value) -> (String, Vec<Value>) {
    let mut values = values;
    values["image"] = json!({ "repository": "registry.example/fhir-export-operator" });
    let folder = Folder::new("notes").unwrap();
    let helm = stage::helm().await.unwrap().program("HELM").unwrap();
    let args = ["install", "export", OPERATOR, "--namespace", "ops", "--dry-run=client", "--values", "-"];
    let tool = Tool::new(helm, args).unwrap().directory(&file("")).stdin(&values.to_string()).unwrap();
    let tool = tool.env("HELM_CACHE_HOME", folder.path()).env("HELM_CONFIG_HOME", folder.path());
    let said = tool.env("HELM_DATA_HOME", folder.path()).run().await.unwrap().ok().unwrap();
    let (_, notes) = said.split_once("\nNOTES:\n").unwrap();
    (notes.to_owned(), rendered(OPERATOR, values).await)
}

#[tokio::test]
async fn the_notes_name_the_deployment_the_role_and_the_definitions_of_the_release() {
    for name in ["", "exporter"] {
        let values = json!({ "fullnameOverride": name, "rbac": { "editorRole": { "create": true } } });
        let (notes, objects) = notes(values).await;
        let deployment = of_kind(&objects, "Deployment")[0]["metadata"]["name"].as_str().unwrap();
        assert!(
            notes.contains(&format!("kubectl -n ops rollout status deployment/{deployment}\n")),
            "{notes}"
        );
        let (_, role) = notes.split_once("--clusterrole=").unwrap();
        let role = role.split_whitespace().next().unwrap();
        let roles = of_kind(&objects, "ClusterRole");
        assert!(roles.iter().any(|there| there["metadata"]["name"] == role), "{role}");
        let (_, crds) = notes.split_once("kubectl delete crd ").unwrap();
        let mut crds: Vec<&str> = crds.split_whitespace().collect();
        crds.sort_unstable();
        let definitions = of_kind(&objects, "CustomResourceDefinition");
        let mut definitions: Vec<&str> =
            definitions.iter().map(|crd| crd["metadata"]["name"].as_str().unwrap()).collect();
        definitions.sort_unstable();
        assert_eq!(crds, definitions);
    }
}

#[tokio::test]
async fn the_notes_say_whom_the_release_serves_and_how_to_uninstall_it() {
    let everywhere = "kubectl delete fsched,fexp --all -A && kubectl delete fserver --all -A && \
        helm uninstall export -n ops\n";
    let (all, _) = notes(json!({})).await;
    assert!(all.contains("It serves all namespaces.") && all.contains(everywhere), "{all}");
    assert!(all.contains("set rbac.editorRole.create=true") && !all.contains("--clusterrole="), "{all}");

    let (some, _) = notes(json!({ "watchNamespaces": ["a", "b"], "credentialNamespaces": ["b"] })).await;
    let in_two = "kubectl delete fsched,fexp --all -n a && kubectl delete fsched,fexp --all -n b && \
        kubectl delete fserver --all -n a && kubectl delete fserver --all -n b && helm uninstall export -n ops\n";
    assert!(some.contains("It serves the namespaces a, b.") && some.contains(in_two), "{some}");
    assert!(some.contains("It reads credentials in b only.") && !some.contains("-A"), "{some}");

    let (trusted, _) = notes(json!({ "readCredentialsInAllNamespaces": true })).await;
    assert!(trusted.contains("It may read every Secret of the cluster by name"), "{trusted}");
}
