//! The charts as they are published, and as the manifests for Argo CD and Flux configure them.

use serde_json::{Value, json};
use stage::{Folder, Output, Tool};

use super::{CRDS, OPERATOR, file, image, of_kind, rendered, template_as_it_is, yaml};

/// Runs Helm with configuration of its own.
async fn helm(args: &[&str]) -> Output {
    let folder = Folder::new("helm").unwrap();
    let helm = stage::helm().await.unwrap().program("HELM").unwrap();
    let tool = Tool::new(helm, args).unwrap().directory(&file(""));
    let tool = tool.env("HELM_CACHE_HOME", folder.path()).env("HELM_CONFIG_HOME", folder.path());
    tool.env("HELM_DATA_HOME", folder.path()).run().await.unwrap()
}

/// Packages both charts as version 1.2.3 into `folder`, with these changes.
async fn package(folder: &Folder, changes: &str, digest: &str, repository: &str) -> Output {
    folder.write("CHANGELOG.md", changes).unwrap();
    let parts = stage::helm().await.unwrap();
    let to = folder.path().to_str().unwrap();
    let args = ["1.2.3", "registry.example/published", digest, repository, to];
    let tool = Tool::new(&file("charts/package"), args).unwrap();
    let tool = tool.env("HELM", parts.program("HELM").unwrap());
    tool.env("CHANGELOG", folder.path().join("CHANGELOG.md")).run().await.unwrap()
}

const REPOSITORY: &str = "https://git.example.org/team/operator";
const CHANGES: &str = "# Changelog\n\n## [1.2.3] - 2026-12-01\n\n### Added\n\n- A [thing](docs/thing.md). More.\n\n\
    ### Security\n\n- A \"quoted\" hole\n  is closed.\n\n## [1.2.2] - 2026-11-01\n\n- Old.\n";

fn digest() -> String {
    format!("sha256:{}", "0123456789abcdef".repeat(4))
}

#[tokio::test]
async fn a_packaged_chart_names_its_image_by_digest() {
    let folder = Folder::new("package").unwrap();
    package(&folder, CHANGES, &digest(), REPOSITORY).await.ok().unwrap();
    let chart = folder.path().join("fhir-export-operator-1.2.3.tgz");
    let values = json!({ "metrics": { "prometheusRule": { "enabled": true } } });
    let objects = yaml(&template_as_it_is(chart.to_str().unwrap(), &values).await.ok().unwrap());
    assert_eq!(image(&objects), format!("registry.example/published@{}", digest()));
    let rule = &of_kind(&objects, "PrometheusRule")[0]["spec"]["groups"][0]["rules"][0];
    let page = format!("{REPOSITORY}/blob/v1.2.3/docs/runbooks.md#");
    assert!(rule["annotations"]["runbook_url"].as_str().unwrap().starts_with(&page), "{rule}");
    assert!(folder.path().join("fhir-export-operator-crds-1.2.3.tgz").exists());
}

#[tokio::test]
async fn a_packaged_chart_says_where_it_is_from_and_what_has_changed() {
    let folder = Folder::new("package").unwrap();
    package(&folder, CHANGES, &digest(), REPOSITORY).await.ok().unwrap();
    for chart in ["fhir-export-operator", "fhir-export-operator-crds"] {
        let path = folder.path().join(format!("{chart}-1.2.3.tgz"));
        let path = path.to_str().unwrap();
        let shown = helm(&["show", "chart", path]).await.ok().unwrap();
        let shown: Value = serde_saphyr::from_str(&shown).unwrap();
        assert_eq!((&shown["version"], &shown["home"]), (&json!("1.2.3"), &json!(REPOSITORY)));
        assert_eq!(shown["sources"][0], format!("{REPOSITORY}/tree/v1.2.3"));
        assert!(shown["maintainers"][0]["name"].is_string() && shown["icon"].is_string());
        let annotation = |name: &str| {
            let text = shown["annotations"][format!("artifacthub.io/{name}")].as_str().unwrap().to_owned();
            serde_saphyr::from_str::<Value>(&text).unwrap()
        };
        let changes = json!([{ "kind": "added", "description": "A thing." },
            { "kind": "security", "description": "A \"quoted\" hole is closed." }]);
        assert_eq!(annotation("changes"), changes);
        assert_eq!(shown["annotations"]["artifacthub.io/containsSecurityUpdates"], "true");
        for link in annotation("links").as_array().unwrap() {
            let url = link["url"].as_str().unwrap();
            // A page of the repository must be there.
            let page = url.strip_prefix(&format!("{REPOSITORY}/blob/v1.2.3/"));
            assert!(page.is_none_or(|page| file(page).exists()), "{url}");
        }
        if chart == "fhir-export-operator" {
            let image = &annotation("images")[0];
            assert_eq!(image["image"], format!("registry.example/published@{}", digest()));
        }
        helm(&["lint", "--strict", path]).await.ok().unwrap();
    }
}

#[tokio::test]
async fn what_cannot_be_published_is_refused() {
    for (changes, digest, repository, said) in [
        (CHANGES, "latest", REPOSITORY, "latest is not a digest"),
        (CHANGES, &digest(), "git@example.org:op", "is not the URL of a repository"),
        ("## [Unreleased]\n\n- New.\n", &digest(), REPOSITORY, "says nothing of version 1.2.3"),
    ] {
        let folder = Folder::new("package").unwrap();
        let refused = package(&folder, changes, digest, repository).await.ok().unwrap_err().to_string();
        assert!(refused.contains(said), "{refused}");
    }
}

#[tokio::test]
async fn helm_lint_has_nothing_to_say() {
    let image = ["--set", "image.repository=registry.example/fhir-export-operator"];
    for (chart, values) in [(OPERATOR, &image[..]), (CRDS, &[])] {
        let args: Vec<&str> = ["lint", "--strict", chart].into_iter().chain(values.iter().copied()).collect();
        let said = helm(&args).await.ok().unwrap();
        for level in ["[INFO]", "[WARNING]", "[ERROR]"] {
            assert!(!said.contains(level), "{said}");
        }
    }
}

/// The values in `examples/gitops`.
#[tokio::test]
async fn the_examples_for_argo_cd_and_flux_give_values_that_the_chart_takes() {
    let mut rendered_from = 0;
    for path in ["examples/gitops/argocd/operator.yaml", "examples/gitops/flux/operator.yaml"] {
        for object in yaml(&std::fs::read_to_string(file(path)).unwrap()) {
            let values = match object["kind"].as_str().unwrap() {
                "Application" => &object["spec"]["source"]["helm"]["valuesObject"],
                _ => &object["spec"]["values"],
            };
            if values.is_object() {
                let objects = rendered(OPERATOR, values.clone()).await;
                assert!(of_kind(&objects, "CustomResourceDefinition").is_empty(), "{path}");
                assert_eq!(of_kind(&objects, "Deployment")[0]["spec"]["replicas"], 2, "{path}");
                rendered_from += 1;
            }
        }
    }
    assert_eq!(rendered_from, 2);
}
