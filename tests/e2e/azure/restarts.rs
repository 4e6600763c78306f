//! The operator is killed in each state and restarted: no job and no data is lost or duplicated.

use azure_fhir::{Fault, Life, Script};
use kube::ResourceExt;
use serde_json::json;

use crate::site::Site;

fn state(object: &fhir_export_operator::api::FhirExport) -> Option<&str> {
    object.status.as_ref()?.state_word()
}

#[tokio::test]
async fn killed_while_it_waits_queues_and_runs() {
    let mut site = Site::start("killed").await;
    site.apply_server(json!({"limits": {"maxConcurrentExports": 1}})).await;
    site.fhir.script(Script::stuck().container("killed"));
    site.export("runs", json!({"level": "System", "container": "killed"}), json!({})).await;
    let object = site.until("runs", "running", |o| state(o) == Some("Running")).await;
    let id = object.status.unwrap().job.unwrap().id.unwrap();
    site.export("queues", json!({"level": "System", "container": "killed"}), json!({})).await;
    site.until("queues", "queued", |o| state(o) == Some("Queued")).await;
    site.export(
        "waits",
        json!({"level": "System", "container": "killed"}),
        json!({"serverRef": {"name": "later"}}),
    )
    .await;
    site.until_condition("waits", "Reconciling", "True", "ServerNotFound").await;
    site.kill_operator().await;
    site.fhir.rescript(&id, |script| script.life = Life::Polls(1));
    let spec = site.server_spec(json!({})).await;
    site.apply_server_named("later", spec).await;
    site.start_operator().await;
    for name in ["runs", "queues", "waits"] {
        site.complete(name).await;
    }
    assert_eq!((site.kick_offs(), site.cancels()), (3, 0));
}

#[tokio::test]
async fn killed_while_the_answer_to_the_kick_off_is_on_its_way() {
    let mut site = Site::start("onitsway").await;
    site.fhir.script(
        Script { kick_off: azure_fhir::KickOffAnswer::LostTo(Fault::Hang), ..Script::default() }
            .container("onitsway"),
    );
    site.export("hang", json!({"level": "System", "container": "onitsway"}), json!({})).await;
    site.until("hang", "intended", |o| o.status.as_ref().is_some_and(|s| s.job.is_some())).await;
    let result = stage::wait_until("the kick-off to be seen", crate::site::PATIENCE, || async {
        site.kick_offs() == 1
    })
    .await;
    site.told(result);
    site.kill_operator().await;
    site.start_operator().await;
    site.until_condition("hang", "KickOffUncertain", "True", "").await;
    let object = site.complete("hang").await;
    assert_eq!(site.kick_offs(), 1);
    assert!(object.status.unwrap().unsettled_jobs.is_empty());
}

#[tokio::test]
async fn killed_during_the_retry_and_while_suspended() {
    let mut site = Site::start("between").await;
    site.flags = vec!["--retry-base-seconds=4".into(), "--retry-max-seconds=4".into()];
    site.kill_operator().await;
    site.start_operator().await;
    site.fhir.script(Script::refuses(Fault::Internal { outcome: true }).container("between"));
    site.export("retry", json!({"level": "System", "container": "between"}), json!({})).await;
    site.until_condition("retry", "Reconciling", "True", "WaitingToRetry").await;
    site.export("held", json!({"level": "System", "container": "between"}), json!({"suspend": true})).await;
    site.until_condition("held", "Suspended", "True", "Suspended").await;
    site.kill_operator().await;
    site.change("held", json!({"suspend": false})).await;
    site.start_operator().await;
    let object = site.complete("retry").await;
    assert_eq!(object.status.unwrap().attempts, Some(2));
    site.complete("held").await;
    assert_eq!(site.kick_offs(), 3);
}

#[tokio::test]
async fn deleted_while_the_operator_is_down() {
    let mut site = Site::start("away").await;
    site.fhir.script(Script::stuck());
    site.export("away", json!({"level": "System", "container": "away"}), json!({})).await;
    site.until("away", "running", |o| state(o) == Some("Running")).await;
    site.kill_operator().await;
    site.delete("away").await;
    site.start_operator().await;
    site.gone("away").await;
    assert_eq!(site.cancels(), 1);
}

#[tokio::test]
async fn killed_after_the_end_it_changes_nothing() {
    let mut site = Site::start("after").await;
    site.export("done", json!({"level": "System", "container": "after"}), json!({})).await;
    site.complete("done").await;
    let before = site.until("done", "let go", |o| o.finalizers().is_empty()).await;
    site.kill_operator().await;
    site.start_operator().await;
    site.export("next", json!({"level": "System", "container": "after"}), json!({})).await;
    site.complete("next").await;
    let after = site.complete("done").await;
    assert_eq!(before.resource_version(), after.resource_version());
}

/// After SIGTERM the operator finishes requests in flight: the answer to a kick-off comes late, and the operator still
/// writes its status URL.
#[tokio::test]
async fn told_to_stop_it_writes_the_status_url_first() {
    let mut site = Site::start("sigterm").await;
    let late = azure_fhir::KickOffAnswer::LostTo(Fault::Delay { millis: 1500 });
    site.fhir.script(Script { kick_off: late, ..Script::default() }.container("sigterm"));
    site.export("late", json!({"level": "System", "container": "sigterm"}), json!({})).await;
    let result = stage::wait_until("the kick-off to be seen", crate::site::PATIENCE, || async {
        site.kick_offs() == 1
    })
    .await;
    site.told(result);
    let mut operator = site.operator.take().unwrap();
    operator.sigterm().unwrap();
    assert_eq!(operator.wait_at_most(crate::site::PATIENCE).await.unwrap(), Some(0));
    site.until("late", "running", |o| {
        o.status.as_ref().is_some_and(|s| s.job.as_ref().is_some_and(|j| j.status_url.is_some()))
    })
    .await;
    site.start_operator().await;
    site.complete("late").await;
    assert_eq!(site.kick_offs(), 1);
}
