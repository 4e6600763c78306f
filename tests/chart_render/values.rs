//! Values: those that are rejected, and their effect on the image, the metrics and the definitions.

use fhir_export_operator::api;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use serde_json::{Value, json};

use super::{CRDS, OPERATOR, image, of_kind, rendered, template, template_as_it_is, yaml};

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
async fn a_mirror_replaces_the_registry_of_the_image() {
    let mirrored = async |repository: &str| {
        let values = json!({ "image": { "repository": repository, "tag": "1" },
            "global": { "imageRegistry": "mirror.example:5000/hub" } });
        image(&rendered(OPERATOR, values).await).to_owned()
    };
    for repository in [
        "registry.example/team/operator",
        "localhost/team/operator",
        "registry:5000/team/operator",
        "team/operator",
    ] {
        assert_eq!(mirrored(repository).await, "mirror.example:5000/hub/team/operator:1", "{repository}");
    }
}

#[tokio::test]
async fn alerts_are_tuned_by_name() {
    let rules = async |overrides: Value| {
        let values = json!({ "metrics": { "prometheusRule": { "enabled": true, "overrides": overrides } } });
        template(OPERATOR, &values).await
    };
    let rule = |output: stage::Output, name: &str| {
        let objects = yaml(&output.ok().unwrap());
        let groups = &of_kind(&objects, "PrometheusRule")[0]["spec"]["groups"];
        let all =
            groups.as_array().unwrap().iter().flat_map(|group| group["rules"].as_array().unwrap().clone());
        all.into_iter().find(|rule| rule["alert"] == name).unwrap()
    };
    let stuck = "FhirExportStuck";
    let plain = rule(rules(json!({})).await, stuck);
    let tuned = json!({ stuck: { "for": "15m", "threshold": 1800, "severity": "warning" } });
    let tuned = rule(rules(tuned).await, stuck);
    assert_eq!((&tuned["for"], &tuned["labels"]["severity"]), (&json!("15m"), &json!("warning")));
    let (plain, tuned) = (plain["expr"].as_str().unwrap(), tuned["expr"].as_str().unwrap());
    assert_eq!(plain.strip_suffix("> 900"), tuned.strip_suffix("> 1800"), "{plain}; {tuned}");
    for (overrides, said) in [
        (json!({ "FhirExportStuk": { "for": "1m" } }), "there is no alert \"FhirExportStuk\""),
        (
            json!({ "FhirExportOperatorNotLeading": { "threshold": 2 } }),
            "FhirExportOperatorNotLeading has no threshold",
        ),
    ] {
        let refused = rules(overrides).await.ok().unwrap_err().to_string();
        assert!(refused.contains(said), "{refused}");
    }
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

    let relabelings = json!([{ "targetLabel": "cluster", "replacement": "north" }]);
    let values = json!({ "metrics": { "service": { "enabled": false },
        "podMonitor": { "enabled": true, "interval": "1m", "relabelings": relabelings } } });
    let objects = rendered(OPERATOR, values).await;
    let monitor = &of_kind(&objects, "PodMonitor")[0]["spec"];
    let endpoint = &monitor["podMetricsEndpoints"][0];
    assert_eq!((&endpoint["interval"], &endpoint["relabelings"]), (&json!("1m"), &relabelings));
    let pod = &of_kind(&objects, "Deployment")[0]["spec"]["template"];
    for (label, value) in monitor["selector"]["matchLabels"].as_object().unwrap() {
        assert_eq!(&pod["metadata"]["labels"][label], value);
    }
    assert_eq!(endpoint["port"], pod["spec"]["containers"][0]["ports"][0]["name"]);
    let both =
        json!({ "metrics": { "podMonitor": { "enabled": true }, "serviceMonitor": { "enabled": true } } });
    let refused = template(OPERATOR, &both).await.ok().unwrap_err().to_string();
    assert!(refused.contains("would scrape each pod twice"), "{refused}");

    let blind =
        json!({ "metrics": { "service": { "enabled": false }, "serviceMonitor": { "enabled": true } } });
    let refused = template(OPERATOR, &blind).await.ok().unwrap_err().to_string();
    assert!(refused.contains("metrics.serviceMonitor needs metrics.service.enabled"), "{refused}");
}

#[tokio::test]
async fn either_monitor_takes_the_relabelings_of_the_platform() {
    let target = json!([{ "targetLabel": "cluster", "replacement": "north" }]);
    let series = json!([{ "sourceLabels": ["__name__"], "regex": "process_.*", "action": "drop" }]);
    for (value, kind, endpoints) in [
        ("serviceMonitor", "ServiceMonitor", "endpoints"),
        ("podMonitor", "PodMonitor", "podMetricsEndpoints"),
    ] {
        let given = json!({ "enabled": true, "scrapeTimeout": "9s", "relabelings": target,
            "metricRelabelings": series, "labels": { "release": "prometheus" } });
        let objects = rendered(OPERATOR, json!({ "metrics": { value: given } })).await;
        let monitor = of_kind(&objects, kind)[0];
        assert_eq!(monitor["metadata"]["labels"]["release"], "prometheus", "{kind}");
        let endpoint = &monitor["spec"][endpoints][0];
        assert_eq!(endpoint["scrapeTimeout"], "9s", "{kind}");
        assert_eq!((&endpoint["relabelings"], &endpoint["metricRelabelings"]), (&target, &series), "{kind}");
    }
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
