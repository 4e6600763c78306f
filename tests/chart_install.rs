//! The charts on a real API server: they install, also where the definitions exist already; the API server accepts the
//! examples; RBAC and pod security are as intended; and uninstalling strands nothing.
#![allow(missing_docs, clippy::unwrap_used, clippy::indexing_slicing, clippy::panic)]

use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::{Value, json};
use stage::{Kubernetes, KubernetesOptions, Output, Tool, service_account_user, wait_until};

const OPERATOR: &str = "charts/fhir-export-operator";
const CRDS: &str = "charts/fhir-export-operator-crds";
const IMAGE: &str = "--set image.repository=registry.example/fhir-export-operator";

fn file(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

async fn kubectl(kubernetes: &Kubernetes, line: &str) -> String {
    let tool = kubernetes.kubectl(line.split_whitespace()).await.unwrap().directory(&file(""));
    tool.run().await.unwrap().ok().unwrap()
}

async fn helm(kubernetes: &Kubernetes, line: &str) -> String {
    let tool = kubernetes.helm(line.split_whitespace()).await.unwrap().directory(&file(""));
    tool.run().await.unwrap().ok().unwrap()
}

async fn may(kubernetes: &Kubernetes, what: &str) -> bool {
    let user = service_account_user("fhir-export-operator", "ops");
    let line = format!("auth can-i {what} --as={user} --quiet");
    kubernetes.kubectl(line.split_whitespace()).await.unwrap().run().await.unwrap().succeeded()
}

#[tokio::test]
async fn on_a_real_api_server() {
    let options = KubernetesOptions::default().controller("clusterrole-aggregation-controller");
    let kubernetes = Kubernetes::start(options).await.unwrap();
    for namespace in ["ops", "a", "b"] {
        kubectl(&kubernetes, &format!("create namespace {namespace}")).await;
    }
    kubectl(&kubernetes, "label namespace ops pod-security.kubernetes.io/enforce=restricted").await;

    let volume =
        "--set volumes[0].claimName=lake,volumes[0].grants[0].namespace=a,volumes[0].grants[0].path=in";
    helm(&kubernetes, &format!("install fhir-export-operator {OPERATOR} -n ops {IMAGE} {volume}")).await;
    kubectl(&kubernetes, "wait --for=condition=Established crd/fhirexports.fhirexport.dev --timeout=60s")
        .await;
    kubectl(&kubernetes, "wait --for=condition=Established crd/fhirservers.fhirexport.dev --timeout=60s")
        .await;
    kubectl(
        &kubernetes,
        "wait --for=condition=Established crd/fhirexportschedules.fhirexport.dev --timeout=60s",
    )
    .await;
    may_everywhere(&kubernetes).await;
    requests_for_the_lease_have_a_priority_of_their_own(&kubernetes).await;
    the_pod_is_admitted(&kubernetes).await;
    the_examples_are_accepted(&kubernetes).await;
    roles_of_people(&kubernetes).await;
    namespaced_mode(&kubernetes).await;
    namespace_and_kinds(&kubernetes).await;
    uninstalled(&kubernetes).await;
    kubernetes.stop().await.unwrap();
}

async fn may_everywhere(kubernetes: &Kubernetes) {
    for what in [
        "watch fhirexports.fhirexport.dev -A",
        "create fhirexports.fhirexport.dev -n a",
        "watch fhirexportschedules.fhirexport.dev -A",
        "patch fhirexportschedules.fhirexport.dev --subresource=status -n a",
        "patch fhirservers.fhirexport.dev -n a",
        "patch fhirexports.fhirexport.dev --subresource=status -n a",
        "create events.events.k8s.io -n a",
        "get secrets -n ops",
        "create serviceaccounts --subresource=token -n ops",
        "get namespaces/b",
    ] {
        assert!(may(kubernetes, what).await, "{what}");
    }
    for what in [
        "get secrets -n a",
        "get configmaps -n a",
        "create serviceaccounts --subresource=token -n b",
        "list secrets -n ops",
        "create fhirexportschedules.fhirexport.dev -n a",
        "create fhirservers.fhirexport.dev -n a",
        "get crd/fhirexports.fhirexport.dev",
    ] {
        assert!(!may(kubernetes, what).await, "{what}");
    }
}

/// Asserts that the API server handles requests for the Lease, and no others, by the FlowSchema of the chart.
async fn requests_for_the_lease_have_a_priority_of_their_own(kubernetes: &Kubernetes) {
    let enabled = "--set flowSchema.enabled=true";
    helm(kubernetes, &format!("upgrade fhir-export-operator {OPERATOR} -n ops {IMAGE} {enabled}")).await;
    let uid =
        kubectl(kubernetes, "get flowschema ops.fhir-export-operator -o jsonpath={.metadata.uid}").await;
    let user = service_account_user("fhir-export-operator", "ops");
    // With this verbosity kubectl prints the headers of the response, which name the FlowSchema.
    let handled_by = async |path: &str| {
        let line = format!("get --raw {path} --as={user} -v=8");
        let tool = kubernetes.kubectl(line.split_whitespace()).await.unwrap();
        let said = tool.run().await.unwrap().stderr;
        assert!(said.to_lowercase().contains("x-kubernetes-pf-flowschema-uid"), "{said}");
        said.contains(uid.trim())
    };
    let lease = "/apis/coordination.k8s.io/v1/namespaces/ops/leases/fhir-export-operator";
    // The API server takes a new FlowSchema in after a moment.
    wait_until("the FlowSchema to be in force", Duration::from_secs(60), || handled_by(lease)).await.unwrap();
    assert!(!handled_by("/apis/fhirexport.dev/v1alpha1/fhirexports").await);
}

/// Asserts that pod security admits the Pod. No controller creates Pods here, so the test creates one from the template
/// of the Deployment.
async fn the_pod_is_admitted(kubernetes: &Kubernetes) {
    let deployment = kubectl(kubernetes, "get deployment fhir-export-operator -n ops -o json").await;
    let mut deployment: Value = serde_json::from_str(&deployment).unwrap();
    let spec = deployment["spec"]["template"]["spec"].take();
    let pod = |spec: &Value| {
        json!({ "apiVersion": "v1", "kind": "Pod",
        "metadata": { "name": "operator", "namespace": "ops" }, "spec": spec })
    };
    let apply = async |pod: Value| {
        let tool = kubernetes.kubectl(["apply", "--dry-run=server", "-f", "-"]).await.unwrap();
        tool.stdin(&pod.to_string()).unwrap().run().await.unwrap()
    };
    apply(pod(&spec)).await.ok().unwrap();
    let mut loose = spec;
    loose["containers"][0]["securityContext"]["allowPrivilegeEscalation"] = true.into();
    let refused = apply(pod(&loose)).await.ok().unwrap_err().to_string();
    assert!(refused.contains("violates PodSecurity"), "{refused}");
}

async fn the_examples_are_accepted(kubernetes: &Kubernetes) {
    // The examples name two namespaces, which must exist for the dry run of the other objects.
    kubectl(kubernetes, "create namespace fhir").await;
    kubectl(kubernetes, "create namespace research").await;
    let mut examples = 0;
    for entry in std::fs::read_dir(file("examples/azure")).unwrap() {
        let path = entry.unwrap().path();
        let manifest = path.to_str().unwrap();
        let args = ["apply", "--dry-run=server", "--validate=strict", "-n", "a", "-f", manifest];
        let args: Vec<_> = args
            .into_iter()
            .filter(|a| !manifest.ends_with("shared-server.yaml") || !["-n", "a"].contains(a))
            .collect();
        let output = kubernetes.kubectl(args).await.unwrap().run().await.unwrap();
        assert!(!output.stderr.contains("Warning: unknown"), "{manifest}: {}", output.stderr);
        output.ok().unwrap_or_else(|e| panic!("{manifest}: {e}"));
        examples += 1;
    }
    assert!(examples >= 10, "{examples}");
    let nightly = "apply --dry-run=server --validate=strict -k examples/gitops/nightly";
    assert!(kubectl(kubernetes, nightly).await.contains("fhirexportschedule.fhirexport.dev/nightly created"));
    // The examples of the chart's README follow.
    let readme = std::fs::read_to_string(file("charts/fhir-export-operator/README.md")).unwrap();
    let manifests: Vec<_> =
        readme.split("```yaml").skip(1).map(|rest| rest.split("```").next().unwrap()).collect();
    assert_eq!(manifests.len(), 3);
    let role = std::fs::read_to_string(file("examples/gitops/credentials-role.yaml")).unwrap();
    assert!(role.ends_with(manifests[1].trim_start()), "the Role is another");
    for manifest in manifests {
        let args = ["apply", "--dry-run=server", "--validate=strict", "-n", "a", "-f", "-"];
        let tool = kubernetes.kubectl(args).await.unwrap().stdin(manifest).unwrap();
        tool.run().await.unwrap().ok().unwrap_or_else(|e| panic!("{manifest}: {e}"));
    }
}

/// Asserts that the role `edit` can read exports, once the controller has aggregated the viewer role, but not change
/// them.
async fn roles_of_people(kubernetes: &Kubernetes) {
    kubectl(kubernetes, "create rolebinding editor --clusterrole=edit --user=editor -n a").await;
    let can = async |what: &str| {
        let line = format!("auth can-i {what} -n a --as=editor --quiet");
        kubernetes.kubectl(line.split_whitespace()).await.unwrap().run().await.unwrap().succeeded()
    };
    let aggregated = async || can("watch fhirexports.fhirexport.dev").await;
    wait_until("edit to be aggregated", Duration::from_mins(1), aggregated).await.unwrap();
    for verb in ["create", "patch", "delete"] {
        assert!(!can(&format!("{verb} fhirexports.fhirexport.dev")).await, "{verb}");
    }
}

async fn namespaced_mode(kubernetes: &Kubernetes) {
    let values = "--set watchNamespaces={a},crds.install=true";
    helm(kubernetes, &format!("upgrade fhir-export-operator {OPERATOR} -n ops {IMAGE} {values}")).await;
    for what in ["watch fhirexports.fhirexport.dev -n a", "get secrets -n a"] {
        assert!(may(kubernetes, what).await, "{what}");
    }
    for what in
        ["watch fhirexports.fhirexport.dev -n b", "get secrets -n b", "get secrets -n ops", "get secrets -A"]
    {
        assert!(!may(kubernetes, what).await, "{what}");
    }
}

/// Asserts that the Role in a namespace also grants reading the Namespace itself, and that discovery needs no right.
async fn namespace_and_kinds(kubernetes: &Kubernetes) {
    let kubeconfig = kubernetes.kubeconfig_for("fhir-export-operator", "ops").await.unwrap();
    let as_operator = async |line: &str| {
        let tool = kubernetes.kubectl(line.split_whitespace()).await.unwrap().kubeconfig(&kubeconfig);
        tool.run().await.unwrap()
    };
    as_operator("get namespace a -o name").await.ok().unwrap();
    as_operator("get --raw /apis/fhirexport.dev/v1alpha1").await.ok().unwrap();
    let refused = as_operator("get namespace b -o name").await;
    assert!(refused.stderr.contains("Forbidden"), "{refused:?}");
}

async fn uninstalled(kubernetes: &Kubernetes) {
    helm(kubernetes, "uninstall fhir-export-operator -n ops").await;
    let left = kubectl(kubernetes, "get crd -o name").await;
    assert_eq!(left.lines().filter(|l| l.contains("fhirexport.dev")).count(), 3, "{left}");
    assert!(!may(kubernetes, "get secrets -n ops").await);
    // The release can be installed again, also with the CRDs from their own chart.
    helm(kubernetes, &format!("install fhir-export-operator-crds {CRDS} -n ops --take-ownership")).await;
    let line = format!("install fhir-export-operator {OPERATOR} -n ops {IMAGE} --set crds.install=false");
    helm(kubernetes, &line).await;
}

/// Runs lines in a shell in the repository, with kubectl and helm on the PATH.
async fn shell(kubernetes: &Kubernetes, lines: &str) -> Output {
    let parts = stage::parts().await.unwrap();
    let home = stage::Folder::new("install").unwrap();
    let folder = |name: &str| parts.program(name).unwrap().parent().unwrap().display().to_string();
    let path = format!("{}:{}:/usr/bin:/bin", folder("KUBECTL"), folder("HELM"));
    let tool = Tool::new(Path::new("/bin/bash"), ["-euo", "pipefail", "-c", lines]).unwrap();
    let tool = tool.kubeconfig(kubernetes.admin_kubeconfig()).env("PATH", path).env("HOME", home.path());
    tool.directory(&file("")).run().await.unwrap()
}

/// The commands in a section of docs/installing.md.
fn documented(section: &str) -> String {
    let text = std::fs::read_to_string(file("docs/installing.md")).unwrap();
    let (_, section) = text.split_once(&format!("\n## {section}\n")).unwrap();
    section.split("```").nth(1).unwrap().to_owned()
}

/// The releases that own the three definitions.
async fn owners(kubernetes: &Kubernetes) -> Vec<String> {
    let crds = kubectl(kubernetes, "get crd -o json").await;
    let crds: Value = serde_json::from_str(&crds).unwrap();
    let all = crds["items"].as_array().unwrap().iter();
    let ours = all.filter(|crd| crd["spec"]["group"] == "fhirexport.dev");
    ours.map(|crd| {
        let annotations = &crd["metadata"]["annotations"];
        let word = |name: &str| annotations[name].as_str().unwrap_or_default().to_owned();
        format!("{}/{}", word("meta.helm.sh/release-namespace"), word("meta.helm.sh/release-name"))
    })
    .collect()
}

#[tokio::test]
async fn definitions_that_are_there_already_are_taken_over_as_the_docs_say() {
    let kubernetes = Kubernetes::start(KubernetesOptions::default()).await.unwrap();
    for line in ["create namespace research", "create namespace lab", "apply -f crds"] {
        kubectl(&kubernetes, line).await;
    }
    kubectl(&kubernetes, "wait --for=condition=Established crd/fhirservers.fhirexport.dev --timeout=60s")
        .await;
    kubectl(&kubernetes, "apply -n research -f examples/azure/server.yaml").await;
    let server = "get fhirservers -n research -o jsonpath={.items[*].metadata.uid}";
    let before = kubectl(&kubernetes, server).await;
    assert!(!before.is_empty());

    let plain =
        format!("helm install fhir-export-operator {OPERATOR} -n fhir-export --create-namespace {IMAGE}");
    let refused = shell(&kubernetes, &plain).await;
    assert!(refused.stderr.contains("invalid ownership metadata"), "{refused:?}");
    let becomes = async |section: &str, owner: &str| {
        shell(&kubernetes, &documented(section)).await.ok().unwrap_or_else(|e| panic!("{section}: {e}"));
        assert_eq!(owners(&kubernetes).await, [owner; 3], "{section}");
        assert_eq!(kubectl(&kubernetes, server).await, before, "{section}");
    };
    becomes("CRDs that kubectl has applied", "fhir-export/fhir-export-operator").await;
    becomes("Another name for the release", "fhir-export/exports").await;
    shell(&kubernetes, "helm uninstall exports -n fhir-export").await.ok().unwrap();
    becomes("CRDs that kubectl has applied", "fhir-export/fhir-export-operator").await;
    becomes("CRDs in a release of their own", "fhir-export/fhir-export-operator-crds").await;
    becomes("Two releases in one cluster", "fhir-export/fhir-export-operator-crds").await;
    let both = shell(&kubernetes, "helm list -A -q --deployed").await.ok().unwrap();
    assert_eq!(both.lines().filter(|name| *name == "fhir-export-operator").count(), 2, "{both}");
    let all = "helm uninstall fhir-export-operator -n lab-export
        helm uninstall fhir-export-operator fhir-export-operator-crds -n fhir-export";
    shell(&kubernetes, all).await.ok().unwrap();
    becomes("Helm before 3.17", "fhir-export/fhir-export-operator").await;
    kubernetes.stop().await.unwrap();
}

/// The installed definitions are older than those of the chart.
#[tokio::test]
async fn older_definitions_are_replaced() {
    let kubernetes = Kubernetes::start(KubernetesOptions::default()).await.unwrap();
    let older = std::fs::read_to_string(file("crds/fhirservers.yaml")).unwrap();
    let changed = older.replacen("    - fhir\n", "    - older\n", 1);
    assert_ne!(older, changed);
    let apply = kubernetes.kubectl(["apply", "-f", "-"]).await.unwrap();
    apply.stdin(&changed).unwrap().run().await.unwrap().ok().unwrap();
    let documented = documented("CRDs that kubectl has applied");
    shell(&kubernetes, &format!("{} --force-conflicts", documented.trim_end())).await.ok().unwrap();
    let line = "get crd fhirservers.fhirexport.dev -o jsonpath={.spec.names.categories}";
    assert!(!kubectl(&kubernetes, line).await.contains("older"));
    kubernetes.stop().await.unwrap();
}
