//! The pod: its confinement, how a rollout replaces it, and the flags of the operator.

use std::collections::BTreeSet;

use clap::{CommandFactory, Parser};
use fhir_export_operator::config::RunArgs;
use fhir_export_operator::core::volume::{VolumeFolder, VolumeGrants};
use fhir_export_operator::storage::StorageHosts;
use serde_json::{Value, json};

use super::{OPERATOR, arguments, file, namespaces, of_kind, rendered, template, template_for, yaml};

#[derive(Debug, Parser)]
struct Line {
    #[command(flatten)]
    args: RunArgs,
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
    // A single pod that may not be evicted would block the drain of its node.
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
async fn the_pod_keeps_to_the_restricted_standard() {
    let objects = rendered(OPERATOR, json!({})).await;
    let deployment = &of_kind(&objects, "Deployment")[0]["spec"];
    // The new pod stands by before the old one is told to stop.
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

/// OpenShift's restricted SCC refuses users and groups outside the range of the namespace.
#[tokio::test]
async fn the_platform_may_assign_the_user() {
    let user = async |values: Value| {
        let objects = rendered(OPERATOR, values).await;
        of_kind(&objects, "Deployment")[0]["spec"]["template"]["spec"]["securityContext"].clone()
    };
    let fixed = user(json!({})).await;
    assert_eq!((&fixed["runAsUser"], &fixed["fsGroup"]), (&json!(65532), &json!(65532)));
    let assigned = json!({ "runAsNonRoot": true, "seccompProfile": { "type": "RuntimeDefault" } });
    assert_eq!(user(json!({ "fixedUser": false })).await, assigned);

    let image = json!({ "image": { "repository": "registry.example/fhir-export-operator" } });
    let output = template_for(&["security.openshift.io/v1"], OPERATOR, &image).await;
    let objects = yaml(&output.ok().unwrap());
    let pod = &of_kind(&objects, "Deployment")[0]["spec"]["template"]["spec"];
    assert_eq!(pod["securityContext"], assigned, "by default");
}

#[tokio::test]
async fn what_a_platform_adds_to_the_pod_is_there_beside_what_the_chart_sets() {
    let plain = rendered(OPERATOR, json!({})).await;
    let plain = &of_kind(&plain, "Deployment")[0]["spec"]["template"]["spec"];
    assert!(
        plain.get("volumes").is_none() && plain["containers"][0].get("volumeMounts").is_none(),
        "{plain}"
    );
    let spread = json!([{ "topologyKey": "topology.kubernetes.io/zone", "maxSkew": 1,
        "whenUnsatisfiable": "DoNotSchedule" }]);
    let values = json!({ "replicas": 2, "extraArgs": ["--max-downloads=3"], "extraCA": { "configMap": "authorities" },
        "extraVolumes": [{ "name": "more", "emptyDir": {} }],
        "extraVolumeMounts": [{ "name": "more", "mountPath": "/more" }],
        "topologySpreadConstraints": spread,
        "livenessProbe": { "initialDelaySeconds": 7 }, "readinessProbe": { "periodSeconds": 9 },
        "podSecurityContext": { "supplementalGroups": [5], "runAsUser": 70000 },
        "containerSecurityContext": { "seccompProfile": { "type": "Localhost", "localhostProfile": "x" } },
        "imagePullSecrets": [{ "name": "one" }], "global": { "imagePullSecrets": [{ "name": "two" }] } });
    let objects = rendered(OPERATOR, values).await;
    let args = arguments(&objects);
    assert_eq!(Line::try_parse_from(&args).unwrap().args.resolve().unwrap().max_downloads, 3);
    let pod = &of_kind(&objects, "Deployment")[0]["spec"]["template"]["spec"];
    let container = &pod["containers"][0];
    let names = |list: &Value| {
        let all = list.as_array().unwrap().iter();
        all.map(|one| one["name"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(names(&pod["volumes"]), ["extra-ca", "more"]);
    assert_eq!(names(&container["volumeMounts"]), ["extra-ca", "more"]);
    assert_eq!(names(&pod["imagePullSecrets"]), ["one", "two"]);
    assert_eq!(pod["topologySpreadConstraints"], spread);
    let liveness = &container["livenessProbe"];
    assert_eq!((&liveness["initialDelaySeconds"], &liveness["periodSeconds"]), (&json!(7), &json!(20)));
    assert_eq!(liveness["httpGet"]["path"], "/livez");
    let readiness = &container["readinessProbe"];
    assert_eq!((&readiness["periodSeconds"], &readiness["timeoutSeconds"]), (&json!(9), &json!(5)));
    let context = &pod["securityContext"];
    assert_eq!((&context["runAsUser"], &context["runAsGroup"]), (&json!(70000), &json!(65532)));
    assert_eq!((&context["supplementalGroups"], &context["runAsNonRoot"]), (&json!([5]), &json!(true)));
    let context = &container["securityContext"];
    assert_eq!(context["seccompProfile"], json!({ "type": "Localhost", "localhostProfile": "x" }));
    assert_eq!((&context["readOnlyRootFilesystem"], &context["privileged"]), (&json!(true), &json!(false)));
}

/// The grace period cuts off no kick-off: a `FhirServer` may allow one an hour, unless the operator is set to allow
/// less.
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

/// A volume that one node mounts holds up an update for ever if the new pod is on another node.
#[tokio::test]
async fn volumes_are_mounted_under_the_names_of_their_claims() {
    let volumes = |mode: Value| {
        let mut lake = json!({ "claimName": "lake.v1", "grants": [{ "namespace": "clinic", "path": "in" }] });
        if !mode.is_null() {
            lake["accessMode"] = mode;
        }
        json!([{ "claimName": "other", "accessMode": "ReadWriteMany", "grants": [{ "namespace": "trial" }] }, lake])
    };
    let values = json!({ "volumes": volumes(Value::Null), "extraCA": { "configMap": "authorities" } });
    let objects = rendered(OPERATOR, values).await;
    let deployment = &of_kind(&objects, "Deployment")[0]["spec"];
    let pod = &deployment["template"]["spec"];
    let claim = |name: &str| json!({ "claimName": name });
    let (volumes_of_pod, mounts) = (&pod["volumes"], &pod["containers"][0]["volumeMounts"]);
    assert_eq!(volumes_of_pod[1], json!({ "name": "volume-0", "persistentVolumeClaim": claim("other") }));
    assert_eq!(volumes_of_pod[2], json!({ "name": "volume-1", "persistentVolumeClaim": claim("lake.v1") }));
    let at = "/var/lib/fhir-export/volumes/lake.v1";
    assert_eq!(mounts[2], json!({ "name": "volume-1", "mountPath": at }));
    assert_eq!((mounts[0]["name"].as_str(), mounts.as_array().unwrap().len()), (Some("extra-ca"), 3));
    let user = &pod["securityContext"];
    let group = (&user["fsGroup"], &user["fsGroupChangePolicy"]);
    assert_eq!(group, (&json!(65532), &json!("OnRootMismatch")));
    assert_eq!(
        deployment["strategy"],
        json!({ "type": "Recreate" }),
        "ReadWriteOnce, unless it says otherwise"
    );
    let args = arguments(&objects);
    assert!(args.contains(&"--volume-grants=trial=other,clinic=lake.v1/in".to_owned()), "{args:?}");

    let many = json!({ "volumes": volumes(json!("ReadWriteMany")), "replicas": 2 });
    let deployment = of_kind(&rendered(OPERATOR, many).await, "Deployment")[0]["spec"].clone();
    assert_eq!(
        (&deployment["strategy"]["type"], &deployment["replicas"]),
        (&json!("RollingUpdate"), &json!(2))
    );
    let once = json!({ "volumes": volumes(json!("ReadWriteOnce")), "replicas": 2 });
    let refused = template(OPERATOR, &once).await.ok().unwrap_err().to_string();
    assert!(refused.contains("lake.v1 is not: pods on other nodes could not mount it"), "{refused}");
    for wrong in [
        json!([{ "claimName": "lake" }]),
        json!([{ "claimName": "../lake", "grants": [{ "namespace": "a" }] }]),
        json!([{ "claimName": "lake", "grants": [{ "namespace": "a", "path": "../b" }] }]),
        json!([{ "claimName": "lake", "grants": [{ "namespace": "*" }] }]),
        json!([{ "claimName": "lake", "grants": [] }]),
    ] {
        let output = template(OPERATOR, &json!({ "volumes": wrong })).await;
        assert!(!output.succeeded(), "{wrong}");
    }
}

#[tokio::test]
async fn the_program_takes_every_flag_that_the_chart_gives() {
    let tuning = json!({ "concurrency": 8, "maxDownloads": 5, "maxRequestTimeoutSeconds": 120,
        "cancelGraceSeconds": 60, "cancelTries": 3, "pollFloorSeconds": 2,
        "pollCeilingSeconds": 600, "orphanWaitSeconds": 90, "retryBaseSeconds": 10, "retryMaxSeconds": 100,
        "missingRetrySeconds": 2, "progressIntervalSeconds": 30, "defaultDeadlineSeconds": 31_536_000 });
    let values = json!({ "watchNamespaces": ["a", "b"], "ownIdentityNamespaces": ["a"], "tuning": tuning,
        "entra": { "authorityHost": "https://login.example.org", "audiences": ["api://x", "https://y.example.org"] },
        "storageHosts": ["blobs.example.org", "[::1]:10000"],
        "volumes": [{ "claimName": "lake", "grants": [{ "namespace": "a" }] },
            { "claimName": "shared", "grants": [{ "namespace": "a", "path": "a/in" }, { "namespace": "b", "path": "b" }] }],
        "landingJobs": { "namespace": "landings" },
        "refusedNetworks": ["10.96.0.0/12", "::1/128"],
        "extraCA": { "configMap": "authorities" }, "tracing": { "endpoint": "http://collector.observability:4318" },
        "log": { "format": "text", "filter": "info,kube=warn" } });
    let args = arguments(&rendered(OPERATOR, values).await);
    assert_eq!(args[0], "run");
    let config = Line::try_parse_from(&args).unwrap().args.resolve().unwrap();
    assert_eq!(config.landing_jobs.unwrap().namespace, "landings");
    assert_eq!(config.concurrency, 8);
    assert_eq!(config.max_downloads, 5);
    let collector = config.otlp_endpoint.map(|url| url.to_string());
    assert_eq!(collector.as_deref(), Some("http://collector.observability:4318/"));
    let networks: Vec<String> = config.refused_networks.iter().map(ToString::to_string).collect();
    assert_eq!(networks, ["10.96.0.0/12", "::1/128"]);
    assert_eq!(config.tuning.default_deadline.as_secs(), 31_536_000);
    assert_eq!(config.watch_namespaces.len(), 2);
    assert_eq!(config.entra_audiences.len(), 2);
    assert_eq!(config.volumes, std::path::PathBuf::from("/var/lib/fhir-export/volumes"));
    let grants = [("a", "lake"), ("a", "shared/a/in"), ("b", "shared/b")]
        .map(|(to, folder)| (to.to_owned(), VolumeFolder::parse(folder).unwrap()));
    assert_eq!(config.volume_grants, VolumeGrants::new(grants).unwrap());
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
