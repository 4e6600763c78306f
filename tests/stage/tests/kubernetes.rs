//! The control plane is a real one: RBAC refuses, the audit log tells, and an
//! outage loses nothing.
#![allow(clippy::unwrap_used, clippy::indexing_slicing)] // a test fails by panicking

use std::path::Path;
use std::time::{Duration, Instant};

use k8s_openapi::api::core::v1::{ConfigMap, Namespace};
use kube::api::{Api, DeleteParams};
use stage::{Kubernetes, KubernetesOptions, service_account_user, wait_for, wait_until};

const SOON: Duration = Duration::from_mins(1);

#[tokio::test]
async fn a_cluster_from_its_start_to_its_end() {
    let started = Instant::now();
    let mut kubernetes = Kubernetes::start(KubernetesOptions::default()).await.unwrap();
    eprintln!("ready in {:?}", started.elapsed());
    says_its_version(&kubernetes).await;
    refuses_and_tells(&kubernetes).await;
    survives_an_outage(&mut kubernetes).await;
    cleans_up_a_namespace(&kubernetes).await;
    installs_a_chart(&kubernetes).await;

    let pids = kubernetes.pids();
    let folder = kubernetes.admin_kubeconfig().parent().unwrap().to_owned();
    assert_eq!(pids.len(), 3);
    kubernetes.stop().await.unwrap();
    for pid in pids {
        assert!(!Path::new(&format!("/proc/{pid}")).exists(), "{pid} is left");
    }
    assert!(!folder.exists());
}

async fn says_its_version(kubernetes: &Kubernetes) {
    let said = kubectl(kubernetes, &["version"]).await;
    for line in ["Client Version: v1.", "Server Version: v1."] {
        assert!(said.contains(line), "{said}");
    }
    assert!(!said.contains("master"), "{said}");
}

async fn refuses_and_tells(kubernetes: &Kubernetes) {
    let manifest = r"
apiVersion: v1
kind: ConfigMap
metadata: { name: known, namespace: default }
data: { key: value }
---
apiVersion: v1
kind: ServiceAccount
metadata: { name: stranger, namespace: default }
";
    kubernetes
        .kubectl(["apply", "-f", "-"])
        .await
        .unwrap()
        .stdin(manifest)
        .unwrap()
        .run()
        .await
        .unwrap()
        .ok()
        .unwrap();

    let stranger = kubernetes.kubeconfig_for("stranger", "default").await.unwrap();
    let refused = kubernetes
        .kubectl(["get", "configmap", "known"])
        .await
        .unwrap()
        .kubeconfig(stranger)
        .run()
        .await
        .unwrap();
    assert_eq!(refused.code, 1, "{refused:?}");
    assert!(refused.stderr.contains("Forbidden"), "{refused:?}");

    let user = service_account_user("stranger", "default");
    let audit = kubernetes.audit();
    let entry = wait_for("the refusal in the audit log", SOON, || {
        let refused = audit.refused(&user).unwrap();
        async move { refused.into_iter().next().ok_or("there is none") }
    })
    .await
    .unwrap();
    assert_eq!((entry.code, entry.verb.as_str()), (403, "get"));
    assert_eq!(entry.decision, "forbid");
    assert!(entry.is_about("configmaps", "default", "known"));
    assert!(entry.user_agent.starts_with("kubectl"), "{entry:?}");

    let writes = audit.writes("configmaps", "default", "known").unwrap();
    assert_eq!(writes.len(), 1, "{writes:?}");
    assert_eq!(writes[0].user, "admin");
    assert!(audit.refused("admin").unwrap().is_empty());
}

async fn survives_an_outage(kubernetes: &mut Kubernetes) {
    let address = kubernetes.address();
    let client = kubernetes.client().await.unwrap();
    let maps: Api<ConfigMap> = Api::default_namespaced(client);
    let stopped = Instant::now();
    kubernetes.stop_api_server().await.unwrap();
    eprintln!("API server stopped in {:?}", stopped.elapsed());
    assert!(maps.get("known").await.is_err());
    assert!(kubernetes.api_server().is_err());

    let started = Instant::now();
    kubernetes.start_api_server().await.unwrap();
    eprintln!("API server back in {:?}", started.elapsed());
    assert_eq!(kubernetes.address(), address);
    assert_eq!(maps.get("known").await.unwrap().data.unwrap()["key"], "value");

    kubernetes.kill_api_server().await.unwrap();
    kubernetes.start_api_server().await.unwrap();
    maps.get("known").await.unwrap();
}

async fn cleans_up_a_namespace(kubernetes: &Kubernetes) {
    let namespaces: Api<Namespace> = Api::all(kubernetes.client().await.unwrap());
    kubectl(kubernetes, &["create", "namespace", "passing"]).await;
    kubectl(kubernetes, &["-n", "passing", "create", "configmap", "one"]).await;
    namespaces.delete("passing", &DeleteParams::default()).await.unwrap();
    wait_until("the namespace to go", SOON, || async {
        matches!(namespaces.get_opt("passing").await, Ok(None))
    })
    .await
    .unwrap();
}

async fn installs_a_chart(kubernetes: &Kubernetes) {
    let folder = stage::Folder::new("chart").unwrap();
    std::fs::create_dir(folder.path().join("templates")).unwrap();
    let chart = "apiVersion: v2\nname: small\nversion: 1.0.0\nkubeVersion: '>=1.31.0-0'\n";
    folder.write("Chart.yaml", chart).unwrap();
    let template = "apiVersion: v1\nkind: ConfigMap\nmetadata: { name: {{ .Release.Name }} }\n";
    folder.write("templates/map.yaml", template).unwrap();
    let installed =
        kubernetes.helm(["install", "charted"]).await.unwrap().directory(folder.path()).run().await.unwrap();
    assert!(!installed.succeeded(), "it has no chart to install");
    let said = kubernetes
        .helm(["install", "charted", folder.path().to_str().unwrap()])
        .await
        .unwrap()
        .run()
        .await
        .unwrap()
        .ok()
        .unwrap();
    assert!(said.contains("STATUS: deployed"), "{said}");
    kubectl(kubernetes, &["get", "configmap", "charted"]).await;
}

async fn kubectl(kubernetes: &Kubernetes, args: &[&str]) -> String {
    let tool = kubernetes.kubectl(args.iter().copied()).await.unwrap();
    tool.run().await.unwrap().ok().unwrap()
}
