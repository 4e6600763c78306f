//! The watches and the objects that they hold.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use fhir_export_operator::cluster::watch::{Broken, Change, Primed, Watches};
use fhir_export_operator::cluster::{KubeStores, client_within};
use fhir_export_operator::ports::Stores;
use k8s_openapi::api::rbac::v1::RoleBinding;
use kube::api::{DeleteParams, PostParams};
use kube::{Api, Client, ResourceExt};
use serde_json::json;
use stage::wait_until;
use tokio::task::JoinSet;

use crate::place::{MALFORMED, SOON, exports, kubernetes, make_export, make_server, namespace};

struct Watching {
    stores: KubeStores,
    primed: Vec<Primed>,
    changed: Arc<Mutex<Vec<String>>>,
    broken: Broken,
    _tasks: JoinSet<()>,
}

fn watch(client: &Client, namespaces: &[&str]) -> Watching {
    let namespaces: BTreeSet<String> = namespaces.iter().map(|n| (*n).to_string()).collect();
    let watches = Watches::new(client.clone(), &namespaces);
    let (stores, broken) = (watches.stores(), watches.broken());
    let changed = Arc::new(Mutex::new(Vec::new()));
    let note = changed.clone();
    let all = watches.start(
        move |change: Change<_>| {
            let object = change.new.as_ref().or(change.old.as_ref()).unwrap();
            note.lock().unwrap().push(object.name_any());
        },
        |_| {},
        |_| {},
    );
    let mut tasks = JoinSet::new();
    let primed = all.map(|watch| {
        tasks.spawn(watch.work);
        watch.primed
    });
    Watching { stores, primed: primed.into(), changed, broken, _tasks: tasks }
}

impl Watching {
    async fn primed(&mut self) {
        for primed in &mut self.primed {
            tokio::time::timeout(SOON, primed.wait_for(|p| *p)).await.unwrap().unwrap();
        }
    }

    fn of_clinic(&self, namespace: &str) -> BTreeSet<String> {
        self.stores.exports_of(namespace, "clinic").iter().map(|e| e.name_any()).collect()
    }
}

/// The API server accepts connections and never answers, as behind a load balancer that silently dropped them.
#[tokio::test]
async fn a_list_that_gets_no_answer_is_begun_anew() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap()).parse().unwrap();
    let (asked, mut asks) = tokio::sync::watch::channel(0_usize);
    let _server = JoinSet::from_iter([async move {
        let mut open = Vec::new();
        while let Ok((connection, _)) = listener.accept().await {
            open.push(connection);
            asked.send_replace(open.len());
        }
    }]);
    let client = client_within(kube::Config::new(url), Duration::from_millis(300)).unwrap();
    let watching = watch(&client, &["watch-silent"]);
    wait_until("the watches are known as broken", SOON, || async { watching.broken.count() == 3 })
        .await
        .unwrap();
    // Each of the three kinds is listed for the second time.
    tokio::time::timeout(SOON, asks.wait_for(|asks| *asks >= 6)).await.unwrap().unwrap();
}

fn names(names: &[&str]) -> BTreeSet<String> {
    names.iter().map(|n| (*n).to_string()).collect()
}

#[tokio::test]
async fn the_chosen_namespaces_are_watched_as_one() {
    let client = namespace("watch-a").await;
    namespace("watch-b").await;
    namespace("watch-c").await;
    make_server(&client, "watch-a").await;
    make_export(&client, "watch-a", "before").await;
    make_export(&client, "watch-c", "elsewhere").await;
    let mut watching = watch(&client, &["watch-a", "watch-b"]);
    watching.primed().await;
    assert!(watching.stores.server("watch-a", "clinic").is_some());
    assert_eq!(watching.of_clinic("watch-a"), names(&["before"]));
    let before = watching.stores.export("watch-a", "before").unwrap();
    assert!(before.managed_fields().is_empty(), "they would be half of the memory");

    make_export(&client, "watch-a", "after").await;
    make_export(&client, "watch-b", "other").await;
    wait_until("both new exports", SOON, || async {
        watching.of_clinic("watch-a") == names(&["after", "before"])
            && watching.of_clinic("watch-b") == names(&["other"])
    })
    .await
    .unwrap();
    exports(&client, "watch-a").delete("before", &DeleteParams::default()).await.unwrap();
    wait_until("the deletion", SOON, || async { watching.of_clinic("watch-a") == names(&["after"]) })
        .await
        .unwrap();
    assert!(watching.stores.export("watch-a", "before").is_none());
    assert!(watching.stores.export("watch-c", "elsewhere").is_none());
    assert_eq!(watching.stores.exports().len(), 2);
    assert!(!watching.changed.lock().unwrap().contains(&"elsewhere".to_string()));
}

#[tokio::test]
async fn an_object_that_cannot_be_read_hides_no_other() {
    let client = kubernetes().await.client().await.unwrap();
    let mut watching = watch(&client, &[MALFORMED]);
    watching.primed().await;
    assert!(watching.stores.exports().is_empty());
    make_export(&client, MALFORMED, "even").await;
    wait_until("the other one", SOON, || async { watching.of_clinic(MALFORMED) == names(&["even"]) })
        .await
        .unwrap();
    assert_eq!(*watching.changed.lock().unwrap(), ["even"]);
}

#[tokio::test]
async fn watches_that_are_refused_are_counted_until_they_work() {
    let admin = namespace("watch-refused").await;
    let client = kubernetes().await.client_for("default", "watch-refused").await.unwrap();
    let mut watching = watch(&client, &["watch-refused"]);
    wait_until("all to be refused", SOON, || async { watching.broken.count() == 3 }).await.unwrap();
    let binding: RoleBinding = serde_json::from_value(json!({"metadata": {"name": "all"},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "cluster-admin"},
        "subjects": [{"kind": "ServiceAccount", "name": "default", "namespace": "watch-refused"}]}))
    .unwrap();
    let bindings: Api<RoleBinding> = Api::namespaced(admin, "watch-refused");
    bindings.create(&PostParams::default(), &binding).await.unwrap();
    watching.primed().await;
    assert_eq!(watching.broken.count(), 0);
}
