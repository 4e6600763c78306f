//! The objects of this operator, what they refer to, and that each manifest says what it is.

use std::collections::BTreeSet;

use fhir_export_operator::api::CREDENTIAL_LABEL;
use fhir_export_operator::offline::{Checked, Definitions, read};
use serde_json::Value;

/// The names of the objects of a kind in a list.
fn names<'a>(objects: &'a [Value], kind: &str) -> BTreeSet<&'a str> {
    objects.iter().filter(|o| o["kind"] == kind).map(|o| o["metadata"]["name"].as_str().unwrap()).collect()
}

/// The objects of the folder `nightly`, in the order of its kustomization.
fn nightly() -> Vec<Value> {
    let kustomization = super::objects("nightly/kustomization.yaml").remove(0);
    let resources = kustomization["resources"].as_array().unwrap();
    resources.iter().flat_map(|file| super::objects(&format!("nightly/{}", file.as_str().unwrap()))).collect()
}

#[test]
fn the_definitions_accept_every_object_of_this_operator() {
    let definitions = Definitions::load().unwrap();
    let mut valid = 0;
    for file in super::files() {
        for document in read(&file, &super::read(&file)).unwrap() {
            match definitions.check(&document) {
                Checked::Refused(problems) => panic!("{file}: {problems:?}"),
                Checked::Valid => valid += 1,
                Checked::Foreign => {}
            }
        }
    }
    assert!(valid >= 2, "{valid}");
}

#[test]
fn every_manifest_says_what_it_shows_and_what_to_change() {
    for file in super::files().iter().filter(|file| *file != "argocd/argocd-cm.yaml") {
        let text = super::read(file);
        assert!(text.starts_with("# ") && text.contains("\n# Change: "), "{file}");
    }
}

#[test]
fn the_nightly_export_is_whole() {
    let kustomization = super::objects("nightly/kustomization.yaml").remove(0);
    let listed: BTreeSet<String> = kustomization["resources"]
        .as_array()
        .unwrap()
        .iter()
        .map(|file| format!("nightly/{}", file.as_str().unwrap()))
        .collect();
    let there = super::files().into_iter();
    let there = there.filter(|file| file.starts_with("nightly/") && !file.ends_with("/kustomization.yaml"));
    assert_eq!(listed, there.collect());

    let objects = nightly();
    let (servers, accounts) = (names(&objects, "FhirServer"), names(&objects, "ServiceAccount"));
    let schedule = objects.iter().find(|o| o["kind"] == "FhirExportSchedule").unwrap();
    assert!(schedule["spec"].get("incremental").is_some());
    assert!(servers.contains(schedule["spec"]["template"]["spec"]["serverRef"]["name"].as_str().unwrap()));
    let server = objects.iter().find(|o| o["kind"] == "FhirServer").unwrap();
    let account = &server["spec"]["auth"]["entra"]["workloadIdentity"]["serviceAccountRef"]["name"];
    assert!(accounts.contains(account.as_str().unwrap()));
    for account in objects.iter().filter(|o| o["kind"] == "ServiceAccount") {
        assert_eq!(account["metadata"]["labels"][CREDENTIAL_LABEL], "true");
    }
    assert_eq!(names(&objects, "Namespace"), [kustomization["namespace"].as_str().unwrap()].into());
}

/// The role that lets the operator read credentials is the one of the page about installing.
#[test]
fn the_operator_gets_the_role_of_the_other_example() {
    let wanted = super::objects("credentials-role.yaml");
    let given = super::objects("nightly/access.yaml");
    for object in &wanted {
        assert!(given.contains(object), "{object}");
    }
}

/// A run in Git would be created again, with its data, whenever it is gone.
#[test]
fn no_run_is_in_git_and_no_schedule_is_pruned() {
    for file in super::files() {
        for object in super::objects(&file) {
            assert_ne!(object["kind"], "FhirExport", "{file}");
        }
    }
    let pruned = |object: &Value| match object["kind"].as_str().unwrap() {
        "Application" => object["spec"]["syncPolicy"]["automated"]["prune"].clone(),
        "ApplicationSet" => object["spec"]["template"]["spec"]["syncPolicy"]["automated"]["prune"].clone(),
        _ => object["spec"]["prune"].clone(),
    };
    for (file, name) in [
        ("argocd/nightly.yaml", "fhir-nightly"),
        ("argocd/teams.yaml", "fhir-teams"),
        ("flux/kustomizations.yaml", "fhir-nightly"),
    ] {
        let objects = super::objects(file);
        let object = objects.iter().find(|object| object["metadata"]["name"] == name).unwrap();
        assert_eq!(pruned(object), false, "{file}");
    }
    let teams = super::objects("argocd/teams.yaml").remove(0);
    assert_eq!(teams["spec"]["syncPolicy"]["preserveResourcesOnDeletion"], true);
}

/// The version and the folders that the manifests name.
#[test]
fn references_between_the_manifests_hold() {
    let version = env!("CARGO_PKG_VERSION");
    for application in super::objects("argocd/operator.yaml") {
        assert_eq!(application["spec"]["source"]["targetRevision"], version);
    }
    let flux = super::objects("flux/operator.yaml");
    for repository in flux.iter().filter(|o| o["kind"] == "OCIRepository") {
        assert_eq!(repository["spec"]["ref"]["tag"], version);
    }
    let (repositories, releases) = (names(&flux, "OCIRepository"), names(&flux, "HelmRelease"));
    for release in flux.iter().filter(|o| o["kind"] == "HelmRelease") {
        assert!(repositories.contains(release["spec"]["chartRef"]["name"].as_str().unwrap()));
        for other in release["spec"]["dependsOn"].as_array().into_iter().flatten() {
            assert!(releases.contains(other["name"].as_str().unwrap()));
        }
    }
    let kustomizations = super::objects("flux/kustomizations.yaml");
    let (sources, all) = (names(&kustomizations, "GitRepository"), names(&kustomizations, "Kustomization"));
    for kustomization in kustomizations.iter().filter(|o| o["kind"] == "Kustomization") {
        assert!(sources.contains(kustomization["spec"]["sourceRef"]["name"].as_str().unwrap()));
        for other in kustomization["spec"]["dependsOn"].as_array().into_iter().flatten() {
            assert!(all.contains(other["name"].as_str().unwrap()));
        }
    }
}
