//! The roles that the chart creates: what they grant, where, and to whom.

use serde_json::{Value, json};

use super::{OPERATOR, arguments, gives, image, namespaces, of_kind, rendered, template};

/// The roles of the operator itself.
fn own_roles<'a>(objects: &'a [Value], kind: &str) -> Vec<&'a Value> {
    let user_role = |o: &&Value| {
        let name = o["metadata"]["name"].as_str().unwrap();
        name.ends_with(":viewer") || name.ends_with(":editor")
    };
    of_kind(objects, kind).into_iter().filter(|o| !user_role(o)).collect()
}

/// The names of cluster-scoped objects hold the release and its namespace, except those of the definitions, which a
/// cluster has once.
#[tokio::test]
async fn two_releases_share_no_object() {
    let everything =
        json!({ "rbac": { "editorRole": { "create": true } }, "flowSchema": { "enabled": true } });
    let mut objects = rendered(OPERATOR, everything).await;
    objects.retain(|o| o["kind"] != "CustomResourceDefinition" && o["metadata"].get("namespace").is_none());
    let names: Vec<&str> = objects.iter().map(|o| o["metadata"]["name"].as_str().unwrap()).collect();
    assert_eq!(names.len(), 5, "{names:?}");
    for name in names {
        // A FlowSchema has a DNS name.
        assert!(name.replace('.', ":").starts_with("ops:export-fhir-export-operator"), "{name}");
    }
    let named = json!({ "rbac": { "viewerRole": { "name": "readers" },
        "editorRole": { "create": true, "name": "exporters" } } });
    let objects = rendered(OPERATOR, named).await;
    let roles = of_kind(&objects, "ClusterRole");
    for name in ["readers", "exporters"] {
        assert!(roles.iter().any(|role| role["metadata"]["name"] == name), "{name}");
    }
}

#[tokio::test]
async fn cluster_wide_by_default() {
    let objects = rendered(OPERATOR, json!({})).await;
    let roles = own_roles(&objects, "ClusterRole");
    assert_eq!(roles.len(), 1);
    for (resource, verb) in [
        ("fhirexports", "delete"),
        ("fhirexports", "create"),
        ("fhirexportschedules", "watch"),
        ("fhirexportschedules/status", "patch"),
        ("fhirexports/status", "patch"),
        ("fhirservers/status", "patch"),
        ("fhirservers", "patch"),
        ("events", "create"),
        ("namespaces", "get"),
        ("leases", "list"),
    ] {
        assert!(gives(roles[0], resource, verb), "{verb} {resource}");
    }
    for (resource, verb) in [
        ("leases", "get"),
        ("secrets", "get"),
        ("secrets", "list"),
        ("secrets", "watch"),
        ("configmaps", "get"),
        ("serviceaccounts", "get"),
        ("serviceaccounts/token", "create"),
        ("fhirexportschedules", "create"),
        ("fhirexportschedules", "patch"),
        ("fhirexports", "update"),
        ("fhirservers", "delete"),
        ("namespaces", "list"),
        ("customresourcedefinitions", "get"),
        ("fhirexports/status", "update"),
        ("pods", "get"),
    ] {
        assert!(!gives(roles[0], resource, verb), "{verb} {resource}");
    }
    let elsewhere = of_kind(&objects, "Role");
    assert_eq!(elsewhere.len(), 2, "for credentials and for the Lease");
    assert!(elsewhere.iter().all(|role| role["metadata"]["namespace"] == "ops"));
}

#[tokio::test]
async fn no_cluster_role_gives_credentials_unless_it_is_asked_for_by_name() {
    let credentials = [
        ("secrets", "get"),
        ("configmaps", "get"),
        ("serviceaccounts", "get"),
        ("serviceaccounts/token", "create"),
    ];
    for values in
        [json!({}), json!({ "credentialNamespaces": ["fhir"] }), json!({ "watchNamespaces": ["fhir"] })]
    {
        let objects = rendered(OPERATOR, values.clone()).await;
        let given = if values == json!({}) { "ops" } else { "fhir" };
        for (resource, verb) in credentials {
            let wide = of_kind(&objects, "ClusterRole").into_iter().any(|role| gives(role, resource, verb));
            assert!(!wide, "{verb} {resource} with {values}");
            assert_eq!(namespaces(&of_kind(&objects, "Role"), resource, verb), [given], "{values}");
        }
    }
    let objects = rendered(OPERATOR, json!({ "readCredentialsInAllNamespaces": true })).await;
    for (resource, verb) in credentials {
        assert!(gives(own_roles(&objects, "ClusterRole")[0], resource, verb), "{verb} {resource}");
        assert!(namespaces(&of_kind(&objects, "Role"), resource, verb).is_empty(), "{verb} {resource}");
    }
    let both = json!({ "readCredentialsInAllNamespaces": true, "credentialNamespaces": ["fhir"] });
    let refused = template(OPERATOR, &both).await.ok().unwrap_err().to_string();
    assert!(refused.contains("credentialNamespaces must be empty"), "{refused}");
}

#[tokio::test]
async fn one_lease_in_its_own_namespace_and_no_other() {
    let objects = rendered(OPERATOR, json!({ "watchNamespaces": ["a"] })).await;
    let roles = of_kind(&objects, "Role");
    for verb in ["get", "update", "create"] {
        assert_eq!(namespaces(&roles, "leases", verb), ["ops"], "{verb}");
    }
    for verb in ["list", "watch", "patch", "delete"] {
        assert!(namespaces(&roles, "leases", verb).is_empty(), "{verb}");
    }
    let role = roles.iter().find(|role| gives(role, "leases", "update")).unwrap();
    let name = "export-fhir-export-operator";
    let rules = role["rules"].as_array().unwrap();
    let named = |rule: &Value| rule["resourceNames"] == json!([name]);
    // A rule for `create` cannot name an object, since the object does not exist yet.
    assert!(rules.iter().all(|rule| named(rule) || rule["verbs"] == json!(["create"])), "{rules:?}");
    assert!(arguments(&objects).contains(&format!("--lease={name}")));
}

#[tokio::test]
async fn credentials_are_read_only_where_they_are_listed() {
    let objects = rendered(OPERATOR, json!({ "credentialNamespaces": ["fhir"] })).await;
    let role = own_roles(&objects, "ClusterRole")[0];
    assert!(gives(role, "fhirexports", "watch"));
    for resource in ["secrets", "configmaps", "serviceaccounts", "serviceaccounts/token"] {
        assert!(!gives(role, resource, "get") && !gives(role, resource, "create"), "{resource}");
    }
    let roles = of_kind(&objects, "Role");
    assert_eq!(namespaces(&roles, "secrets", "get"), ["fhir"]);
    assert_eq!(namespaces(&roles, "serviceaccounts/token", "create"), ["fhir"]);
}

#[tokio::test]
async fn namespaced_mode_gives_nothing_cluster_wide() {
    let objects = rendered(OPERATOR, json!({ "watchNamespaces": ["a", "b"] })).await;
    assert!(own_roles(&objects, "ClusterRole").is_empty());
    assert!(of_kind(&objects, "ClusterRoleBinding").is_empty());

    let roles = of_kind(&objects, "Role");
    for (resource, verb) in [("fhirexports", "watch"), ("events", "create"), ("secrets", "get")] {
        assert_eq!(namespaces(&roles, resource, verb), ["a", "b"], "{verb} {resource}");
    }
    for binding in of_kind(&objects, "RoleBinding") {
        assert_eq!(binding["subjects"][0]["namespace"], "ops");
        assert_eq!(binding["roleRef"]["name"], binding["metadata"]["name"]);
    }
    assert!(arguments(&objects).contains(&"--watch-namespaces=a,b".into()));

    let elsewhere = json!({ "watchNamespaces": ["a"], "credentialNamespaces": ["c"] });
    let refused = template(OPERATOR, &elsewhere).await.ok().unwrap_err().to_string();
    assert!(refused.contains(r#""c" is not in watchNamespaces"#), "{refused}");
}

#[tokio::test]
async fn no_role_lets_editors_move_patient_data() {
    let values = json!({ "rbac": { "editorRole": { "create": true } } });
    let objects = rendered(OPERATOR, values).await;
    let roles = of_kind(&objects, "ClusterRole");
    let label = |role: &Value, to: &str| {
        role["metadata"]["labels"].get(format!("rbac.authorization.k8s.io/aggregate-to-{to}")).cloned()
    };
    for role in &roles {
        assert_eq!((label(role, "edit"), label(role, "admin")), (None, None));
        let writes = ["create", "update", "patch", "delete", "deletecollection"];
        if label(role, "view").is_some() {
            assert_eq!(role["metadata"]["name"], "ops:export-fhir-export-operator:viewer");
            assert!(gives(role, "fhirexports", "watch") && gives(role, "fhirexportschedules", "watch"));
            assert!(
                !writes
                    .iter()
                    .any(|verb| gives(role, "fhirexports", verb) || gives(role, "fhirservers", verb))
            );
        }
    }
    let name = "ops:export-fhir-export-operator:editor";
    let editor = roles.iter().find(|r| r["metadata"]["name"] == name).unwrap();
    assert!(gives(editor, "fhirexports", "create") && gives(editor, "fhirexportschedules", "create"));
    assert!(!gives(editor, "fhirservers", "create"));
    assert!(of_kind(&rendered(OPERATOR, json!({})).await, "ClusterRole").len() < roles.len());
}

#[tokio::test]
async fn jobs_are_made_only_in_the_namespace_that_is_designated() {
    let without = rendered(OPERATOR, json!({})).await;
    let roles = |objects: &[Value]| -> Vec<Value> {
        of_kind(objects, "Role").into_iter().chain(of_kind(objects, "ClusterRole")).cloned().collect()
    };
    let none = roles(&without);
    assert!(none.iter().all(|role| !gives(role, "jobs", "create") && !gives(role, "secrets", "create")));
    assert!(!arguments(&without).iter().any(|argument| argument.starts_with("--landing-jobs")));

    let with = rendered(OPERATOR, json!({ "landingJobs": { "namespace": "landings" } })).await;
    let all = roles(&with);
    let all: Vec<&Value> = all.iter().collect();
    for (resource, verb) in [
        ("jobs", "get"),
        ("jobs", "list"),
        ("jobs", "create"),
        ("jobs", "delete"),
        ("secrets", "create"),
        ("secrets", "patch"),
        ("secrets", "delete"),
        ("secrets", "list"),
        ("pods", "list"),
        ("pods", "delete"),
    ] {
        assert_eq!(namespaces(&all, resource, verb), ["landings"], "{verb} {resource}");
    }
    assert!(all.iter().all(|role| !gives(role, "pods", "get") && !gives(role, "jobs", "patch")));
    let arguments = arguments(&with);
    assert!(arguments.contains(&"--landing-jobs-namespace=landings".to_owned()), "{arguments:?}");
    assert!(arguments.contains(&format!("--landing-jobs-image={}", image(&with))), "{arguments:?}");
}
