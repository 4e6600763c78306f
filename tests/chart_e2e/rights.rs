//! Compares the rights that the chart's roles grant with the requests of the operator in the API server's audit log.

use std::collections::BTreeSet;

use serde_json::Value;
use stage::{AuditEntry, wait_for};

use crate::release::{NAME, NAMESPACE, PATIENCE, Release};

/// A right: group, resource with its subresource, verb.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Right(String, String, String);

pub type Rights = BTreeSet<Right>;

/// The rights that the roles of the rendered chart grant its ServiceAccount. The same Role in several namespaces counts
/// once: the operator does the same in each, and RBAC refuses its requests elsewhere.
fn given(manifest: &[Value]) -> Rights {
    let is_own = |subject: &Value| subject["kind"] == "ServiceAccount" && subject["name"] == NAME;
    let bound =
        manifest.iter().filter(|o| o["kind"].as_str().is_some_and(|kind| kind.ends_with("RoleBinding")));
    let bound: Vec<&Value> = bound.filter(|o| o["subjects"].as_array().unwrap().iter().any(is_own)).collect();
    assert!(!bound.is_empty(), "no role is bound to the operator");
    let mut rights = BTreeSet::new();
    for binding in bound {
        let of = |o: &&Value| {
            o["kind"] == binding["roleRef"]["kind"]
                && o["metadata"]["name"] == binding["roleRef"]["name"]
                && o["metadata"]["namespace"] == binding["metadata"]["namespace"]
        };
        let role = manifest.iter().find(of).unwrap_or_else(|| panic!("{binding} names no role of the chart"));
        for rule in role["rules"].as_array().unwrap() {
            let words = |list: &str| {
                let words = rule[list].as_array().unwrap();
                words.iter().map(|w| w.as_str().unwrap().to_owned()).collect::<Vec<_>>()
            };
            for group in words("apiGroups") {
                for resource in words("resources") {
                    for verb in words("verbs") {
                        rights.insert(Right(group.clone(), resource.clone(), verb));
                    }
                }
            }
        }
    }
    assert!(
        rights.iter().all(|Right(group, resource, verb)| ![group, resource, verb].contains(&&"*".to_owned()))
    );
    rights
}

fn used(entries: &[AuditEntry]) -> Rights {
    // Anybody may send requests that concern no object, such as those for the versions of a group.
    let objects = entries.iter().filter(|entry| !entry.resource.is_empty());
    objects
        .map(|entry| {
            let resource = match entry.subresource.as_str() {
                "" => entry.resource.clone(),
                sub => format!("{}/{sub}", entry.resource),
            };
            Right(entry.group.clone(), resource, entry.verb.clone())
        })
        .collect()
}

/// The rights that the installed release grants.
pub async fn of(release: &Release) -> Rights {
    let manifest = release.shell(&format!("helm get manifest {NAME} -n {NAMESPACE}")).await.ok().unwrap();
    given(&serde_saphyr::from_multiple::<Value>(&manifest).unwrap())
}

/// Asserts that the operator used every right that it was given, and requested nothing beyond. Requests that a test
/// provokes (`on_purpose`) may be refused. Stops the operator, since the audit log shows a watch only when it is
/// closed.
pub async fn are_those_used(release: &mut Release, given: &Rights, on_purpose: impl Fn(&AuditEntry) -> bool) {
    release.operator.stop(PATIENCE).await.unwrap();
    let result = wait_for("each right to be used", PATIENCE / 6, || async {
        let entries = release.asked();
        let refused: Vec<_> =
            entries.iter().filter(|entry| entry.is_refused() && !on_purpose(entry)).collect();
        let used = used(&entries);
        let idle: Vec<_> = given.difference(&used).collect();
        let beyond: Vec<_> = used.difference(given).collect();
        if refused.is_empty() && idle.is_empty() && beyond.is_empty() {
            Ok(())
        } else {
            Err(format!(
                "given and never used: {idle:#?}\nused and not given: {beyond:#?}\nrefused: {refused:#?}"
            ))
        }
    })
    .await;
    result.unwrap();
}

#[test]
fn what_is_given_and_used_are_told_apart() {
    let role = |rules: &str| {
        let bound =
            "roleRef: {kind: Role, name: r}\nsubjects: [{kind: ServiceAccount, name: fhir-export-operator}]";
        let text = format!(
            "kind: Role\nmetadata: {{name: r, namespace: a}}\nrules: {rules}\n---\nkind: RoleBinding\n\
             metadata: {{name: r, namespace: a}}\n{bound}\n"
        );
        given(&serde_saphyr::from_multiple::<Value>(&text).unwrap())
    };
    let right = |resource: &str, verb: &str| Right("g".into(), resource.into(), verb.into());
    let rules = "[{apiGroups: [g], resources: [things, things/status], verbs: [get, patch]}]";
    let all = role(rules);
    assert_eq!(all.len(), 4);
    assert!(all.contains(&right("things", "get")) && all.contains(&right("things/status", "patch")));
    let log = r#"{"requestReceivedTimestamp":"2026-01-01T00:00:00Z","verb":"patch",
        "requestURI":"/x","user":{"username":"u"},
        "objectRef":{"apiGroup":"g","resource":"things","subresource":"status"}}"#;
    let folder = stage::Folder::new("rights").unwrap();
    let path = folder.write("audit.log", log.replace('\n', "") + "\n").unwrap();
    let entries = stage::AuditLog::at(path).entries().unwrap();
    assert_eq!(used(&entries), [right("things/status", "patch")].into());
}
