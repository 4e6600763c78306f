//! The charts as Helm renders them: what the operator may do, how its pod is shut in, which values are refused.
#![allow(missing_docs, clippy::unwrap_used, clippy::indexing_slicing)]

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use clap::{CommandFactory, Parser};
use fhir_export_operator::api;
use fhir_export_operator::config::RunArgs;
use fhir_export_operator::storage::StorageHosts;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use serde_json::{Value, json};
use stage::{Output, Tool};

const OPERATOR: &str = "charts/fhir-export-operator";
const CRDS: &str = "charts/fhir-export-operator-crds";

#[derive(Debug, Parser)]
struct Line {
    #[command(flatten)]
    args: RunArgs,
}

fn file(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

fn yaml(text: &str) -> Vec<Value> {
    serde_saphyr::from_multiple(text).unwrap()
}

/// What Helm makes of a chart with these values, and an image where they name none.
async fn template(chart: &str, values: &Value) -> Output {
    let mut values = values.clone();
    if chart == OPERATOR {
        let image = || json!({ "repository": "registry.example/fhir-export-operator" });
        values.as_object_mut().unwrap().entry("image").or_insert_with(image);
    }
    template_as_it_is(chart, &values).await
}

async fn template_as_it_is(chart: &str, values: &Value) -> Output {
    let parts = stage::helm().await.unwrap();
    let folder = stage::Folder::new("charts").unwrap();
    let args =
        ["template", "export", chart, "--namespace", "ops", "--kube-version", "1.33.0", "--values", "-"];
    Tool::new(parts.program("HELM").unwrap(), args)
        .unwrap()
        .directory(&file(""))
        .env("HELM_CACHE_HOME", folder.path())
        .env("HELM_CONFIG_HOME", folder.path())
        .env("HELM_DATA_HOME", folder.path())
        .stdin(&values.to_string())
        .unwrap()
        .run()
        .await
        .unwrap()
}

async fn rendered(chart: &str, values: Value) -> Vec<Value> {
    let output = template(chart, &values).await;
    // Helm warns there of what it would rather not have found, symbolic links for one.
    assert_eq!(output.stderr, "", "{values}");
    yaml(&output.ok().unwrap())
}

fn of_kind<'a>(objects: &'a [Value], kind: &str) -> Vec<&'a Value> {
    objects.iter().filter(|o| o["kind"] == kind).collect()
}

/// Whether the rules of a role give `verb` on `resource`.
fn gives(role: &Value, resource: &str, verb: &str) -> bool {
    let has = |rule: &Value, list: &str, word: &str| {
        rule[list].as_array().unwrap().iter().any(|w| w == word || w == "*")
    };
    role["rules"].as_array().unwrap().iter().any(|r| has(r, "resources", resource) && has(r, "verbs", verb))
}

/// The roles of the operator itself.
fn own_roles<'a>(objects: &'a [Value], kind: &str) -> Vec<&'a Value> {
    let user_role = |o: &&Value| {
        let name = o["metadata"]["name"].as_str().unwrap();
        name.ends_with(":viewer") || name.ends_with(":editor")
    };
    of_kind(objects, kind).into_iter().filter(|o| !user_role(o)).collect()
}

fn namespaces(roles: &[&Value], resource: &str, verb: &str) -> Vec<String> {
    let at = |r: &&&Value| gives(r, resource, verb);
    roles.iter().filter(at).map(|r| r["metadata"]["namespace"].as_str().unwrap().into()).collect()
}

fn arguments(objects: &[Value]) -> Vec<String> {
    let deployment = of_kind(objects, "Deployment")[0];
    let args = deployment["spec"]["template"]["spec"]["containers"][0]["args"].as_array().unwrap();
    args.iter().map(|a| a.as_str().unwrap().into()).collect()
}

fn image(objects: &[Value]) -> &str {
    let deployment = of_kind(objects, "Deployment")[0];
    deployment["spec"]["template"]["spec"]["containers"][0]["image"].as_str().unwrap()
}

#[tokio::test]
async fn without_an_image_one_sentence_says_what_to_set() {
    let said = template_as_it_is(OPERATOR, &json!({})).await;
    assert!(!said.succeeded());
    // `helm template` adds a hint about --debug, which `helm install` does not.
    let lines = said.stderr.lines().filter(|line| !line.is_empty() && !line.starts_with("Use --debug"));
    assert_eq!(lines.count(), 1, "{}", said.stderr);
    for word in ["image.repository is not set", "make image", "--set image.repository=registry.example/"] {
        assert!(said.stderr.contains(word), "{}", said.stderr);
    }
}

#[tokio::test]
async fn a_packaged_chart_names_its_image_by_digest() {
    let parts = stage::helm().await.unwrap();
    let folder = stage::Folder::new("package").unwrap();
    let digest = format!("sha256:{}", "0123456789abcdef".repeat(4));
    let package = async |digest: &str| {
        let to = folder.path().to_str().unwrap();
        let args = ["1.2.3", "registry.example/published", digest, to];
        let tool =
            Tool::new(&file("charts/package"), args).unwrap().env("HELM", parts.program("HELM").unwrap());
        tool.run().await.unwrap()
    };
    let refused = package("latest").await.ok().unwrap_err().to_string();
    assert!(refused.contains("latest is not a digest"), "{refused}");
    package(&digest).await.ok().unwrap();
    let chart = folder.path().join("fhir-export-operator-1.2.3.tgz");
    let output = template_as_it_is(chart.to_str().unwrap(), &json!({})).await;
    let objects = yaml(&output.ok().unwrap());
    assert_eq!(image(&objects), format!("registry.example/published@{digest}"));
    assert!(folder.path().join("fhir-export-operator-crds-1.2.3.tgz").exists());
}

/// Cluster-scoped objects carry the release and its namespace, but for the definitions, which a cluster has once.
#[tokio::test]
async fn two_releases_share_no_object() {
    let everything = json!({ "rbac": { "editorRole": { "create": true } } });
    let mut objects = rendered(OPERATOR, everything).await;
    objects.retain(|o| o["kind"] != "CustomResourceDefinition" && o["metadata"].get("namespace").is_none());
    let names: Vec<&str> = objects.iter().map(|o| o["metadata"]["name"].as_str().unwrap()).collect();
    assert_eq!(names.len(), 4, "{names:?}");
    for name in names {
        assert!(name.starts_with("ops:export-fhir-export-operator"), "{name}");
    }
    let named = json!({ "rbac": { "viewerRole": { "name": "readers" }, "editorRole": { "create": true, "name": "exporters" } } });
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
    // No rule can name what does not exist yet.
    assert!(rules.iter().all(|rule| named(rule) || rule["verbs"] == json!(["create"])), "{rules:?}");
    assert!(arguments(&objects).contains(&format!("--lease={name}")));
}

#[tokio::test]
async fn more_than_one_pod_needs_the_lease() {
    let objects = rendered(OPERATOR, json!({ "replicas": 2 })).await;
    let deployment = &of_kind(&objects, "Deployment")[0]["spec"];
    assert_eq!(deployment["replicas"], 2);
    let spread = &deployment["template"]["spec"]["topologySpreadConstraints"][0];
    let budget = &of_kind(&objects, "PodDisruptionBudget")[0]["spec"];
    let ours = &deployment["selector"]["matchLabels"];
    assert_eq!((&spread["labelSelector"]["matchLabels"], &budget["selector"]["matchLabels"]), (ours, ours));
    // One pod that may not be evicted would hold up its node.
    assert!(of_kind(&rendered(OPERATOR, json!({})).await, "PodDisruptionBudget").is_empty());

    let without = json!({ "leaderElection": { "enabled": false } });
    let objects = rendered(OPERATOR, without).await;
    assert_eq!(of_kind(&objects, "Deployment")[0]["spec"]["strategy"], json!({ "type": "Recreate" }));
    assert!(namespaces(&of_kind(&objects, "Role"), "leases", "create").is_empty());
    let args = arguments(&objects);
    assert!(args.contains(&"--no-leader-elect".into()) && !args.iter().any(|arg| arg.starts_with("--lease")));
    assert!(!Line::try_parse_from(&args).unwrap().args.resolve().unwrap().leader_elect);
    let both = json!({ "replicas": 2, "leaderElection": { "enabled": false } });
    let refused = template(OPERATOR, &both).await.ok().unwrap_err().to_string();
    assert!(refused.contains("needs leaderElection.enabled"), "{refused}");
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
async fn the_pod_keeps_to_the_restricted_standard() {
    let objects = rendered(OPERATOR, json!({})).await;
    let deployment = &of_kind(&objects, "Deployment")[0]["spec"];
    // The new pod stands by before the old one is told to go.
    let rolls = json!({ "type": "RollingUpdate", "rollingUpdate": { "maxSurge": 1, "maxUnavailable": 0 } });
    assert_eq!((&deployment["replicas"], &deployment["strategy"]), (&json!(1), &rolls));
    let pod = &deployment["template"]["spec"];
    let container = &pod["containers"][0];
    let context = &container["securityContext"];
    assert_eq!(context["allowPrivilegeEscalation"], false);
    assert_eq!(context["readOnlyRootFilesystem"], true);
    assert_eq!(context["runAsNonRoot"], true);
    assert_eq!(context["capabilities"], json!({ "drop": ["ALL"] }));
    assert_eq!(context["seccompProfile"]["type"], "RuntimeDefault");
    assert_ne!(pod["securityContext"]["runAsUser"], 0);
    assert_eq!(container["livenessProbe"]["httpGet"]["path"], "/livez");
    assert_eq!(container["readinessProbe"]["httpGet"]["path"], "/readyz");
    assert!(container["resources"]["limits"].get("memory").is_some());
    assert!(container.get("env").is_none(), "{container}");
    let values = json!({ "extraEnv": [{ "name": "HTTPS_PROXY", "value": "http://proxy.example:3128" }] });
    let objects = rendered(OPERATOR, values).await;
    let deployment = &of_kind(&objects, "Deployment")[0]["spec"];
    let env = &deployment["template"]["spec"]["containers"][0]["env"];
    assert_eq!(env[0]["name"], "HTTPS_PROXY");
}

/// No kick-off is cut off: a `FhirServer` may give one an hour, unless the operator is told to give less.
#[tokio::test]
async fn the_grace_outlasts_the_longest_request() {
    let grace = async |values: Value| {
        let objects = rendered(OPERATOR, values).await;
        let config = Line::try_parse_from(arguments(&objects)).unwrap().args.resolve().unwrap();
        let pod = &of_kind(&objects, "Deployment")[0]["spec"]["template"]["spec"];
        (pod["terminationGracePeriodSeconds"].as_u64().unwrap(), config.max_request_timeout.as_secs())
    };
    let definition = std::fs::read_to_string(file("crds/fhirservers.yaml")).unwrap();
    let definition: Value = serde_saphyr::from_str(&definition).unwrap();
    let spec = &definition["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"];
    let allowed = &spec["properties"]["limits"]["properties"]["requestTimeoutSeconds"]["maximum"];
    assert_eq!(allowed.as_f64(), Some(3600.0));
    assert_eq!(grace(json!({})).await, (3660, 3600));
    assert_eq!(grace(json!({ "tuning": { "maxRequestTimeoutSeconds": 120 } })).await, (180, 120));
    let longer =
        json!({ "tuning": { "maxRequestTimeoutSeconds": 120 }, "terminationGracePeriodSeconds": 900 });
    assert_eq!(grace(longer).await, (900, 120));
    let shorter =
        json!({ "tuning": { "maxRequestTimeoutSeconds": 120 }, "terminationGracePeriodSeconds": 100 });
    let refused = template(OPERATOR, &shorter).await.ok().unwrap_err().to_string();
    assert!(refused.contains("100 is less than 180"), "{refused}");
}

#[tokio::test]
async fn the_program_takes_every_flag_that_the_chart_gives() {
    let tuning = json!({ "concurrency": 8, "maxDownloads": 5, "maxRequestTimeoutSeconds": 120,
        "cancelGraceSeconds": 60, "cancelTries": 3, "pollFloorSeconds": 2,
        "pollCeilingSeconds": 600, "orphanWaitSeconds": 90, "retryBaseSeconds": 10, "retryMaxSeconds": 100,
        "missingRetrySeconds": 2, "progressIntervalSeconds": 30, "defaultDeadlineSeconds": 31_536_000 });
    let values = json!({ "watchNamespaces": ["a", "b"], "ownIdentityNamespaces": ["a"], "tuning": tuning,
        "entra": { "authorityHost": "https://login.example.org", "audiences": ["api://x", "https://y.example.org"] },
        "storageHosts": ["blobs.example.org", "[::1]:10000"], "refusedNetworks": ["10.96.0.0/12", "::1/128"], "extraCA": { "configMap": "authorities" }, "log": { "format": "text", "filter": "info,kube=warn" } });
    let args = arguments(&rendered(OPERATOR, values).await);
    assert_eq!(args[0], "run");
    let config = Line::try_parse_from(&args).unwrap().args.resolve().unwrap();
    assert_eq!(config.concurrency, 8);
    assert_eq!(config.max_downloads, 5);
    let networks: Vec<String> = config.refused_networks.iter().map(ToString::to_string).collect();
    assert_eq!(networks, ["10.96.0.0/12", "::1/128"]);
    assert_eq!(config.tuning.default_deadline.as_secs(), 31_536_000);
    assert_eq!(config.watch_namespaces.len(), 2);
    assert_eq!(config.entra_audiences.len(), 2);
    assert_eq!(config.storage_hosts, StorageHosts::parse("[::1]:10000,blobs.example.org").unwrap());

    let given: BTreeSet<_> = args[1..].iter().map(|a| a.split('=').next().unwrap()).collect();
    let program = Line::command();
    let known = program.get_arguments().filter_map(|a| a.get_long()).map(|flag| format!("--{flag}"));
    let left_out: Vec<_> = known
        .filter(|f| !given.contains(f.as_str()) && !["--help", "--no-leader-elect"].contains(&f.as_str()))
        .collect();
    assert_eq!(left_out, Vec::<String>::new());

    let by_default = arguments(&rendered(OPERATOR, json!({})).await);
    assert!(Line::try_parse_from(&by_default).unwrap().args.resolve().unwrap().leader_elect);
}

#[tokio::test]
async fn metrics_are_scraped_where_that_is_wanted() {
    let by_default = rendered(OPERATOR, json!({})).await;
    for kind in ["ServiceMonitor", "PrometheusRule"] {
        assert!(of_kind(&by_default, kind).is_empty(), "its definition may not be there");
    }
    let on = json!({ "metrics": { "serviceMonitor": { "enabled": true, "labels": { "release": "prometheus" } },
        "prometheusRule": { "enabled": true } } });
    let objects = rendered(OPERATOR, on).await;
    let monitor = of_kind(&objects, "ServiceMonitor")[0];
    let service = of_kind(&objects, "Service")[0];
    assert_eq!(monitor["metadata"]["labels"]["release"], "prometheus");
    for (label, value) in monitor["spec"]["selector"]["matchLabels"].as_object().unwrap() {
        assert_eq!(&service["metadata"]["labels"][label], value);
    }
    let endpoint = &monitor["spec"]["endpoints"][0];
    assert_eq!(endpoint["port"], service["spec"]["ports"][0]["name"]);
    assert_eq!(endpoint["honorLabels"], true);
    assert_eq!(of_kind(&objects, "PrometheusRule").len(), 1);

    let blind =
        json!({ "metrics": { "service": { "enabled": false }, "serviceMonitor": { "enabled": true } } });
    let refused = template(OPERATOR, &blind).await.ok().unwrap_err().to_string();
    assert!(refused.contains("metrics.serviceMonitor needs metrics.service.enabled"), "{refused}");
}

#[tokio::test]
async fn unknown_values_are_refused() {
    for (chart, values, named) in [
        (OPERATOR, json!({ "replicas": 0 }), "replicas"),
        (OPERATOR, json!({ "leaderElection": false }), "leaderElection"),
        (OPERATOR, json!({ "image": { "tga": "1" } }), "tga"),
        (OPERATOR, json!({ "tuning": { "pollFloor": 1 } }), "pollFloor"),
        (OPERATOR, json!({ "watchNamespaces": ["My_Namespace"] }), "My_Namespace"),
        (OPERATOR, json!({ "storageHosts": ["https://blobs.example.org"] }), "https://blobs.example.org"),
        (OPERATOR, json!({ "refusedNetworks": ["localhost"] }), "localhost"),
        (OPERATOR, json!({ "terminationGracePeriodSeconds": 5 }), "terminationGracePeriodSeconds"),
        (OPERATOR, json!({ "fhir-export-operator-crds": { "keep": false } }), "keep"),
        (CRDS, json!({ "keep": false }), "keep"),
    ] {
        let refused = template(chart, &values).await.ok().unwrap_err().to_string();
        assert!(refused.contains(named), "{values}: {refused}");
    }
}

#[tokio::test]
async fn the_definitions_are_those_of_the_program_and_stay() {
    let values =
        json!({ "annotations": { "example.org/owner": "platform", "helm.sh/resource-policy": "delete" } });
    let alone = rendered(CRDS, values.clone()).await;
    let within = rendered(OPERATOR, json!({ "fhir-export-operator-crds": values })).await;
    for objects in [&alone, &within] {
        let all = of_kind(objects, "CustomResourceDefinition");
        assert_eq!(all.len(), 3);
        for crd in all {
            let typed: CustomResourceDefinition = serde_json::from_value(crd.clone()).unwrap();
            let same = api::crds().unwrap().iter().any(|c| c.spec == typed.spec);
            assert!(same, "{} is not what the program says", crd["metadata"]["name"]);
            assert_eq!(crd["metadata"]["annotations"]["helm.sh/resource-policy"], "keep");
            assert_eq!(crd["metadata"]["annotations"]["example.org/owner"], "platform");
        }
    }
    let without = rendered(OPERATOR, json!({ "crds": { "install": false } })).await;
    assert!(of_kind(&without, "CustomResourceDefinition").is_empty());
}
