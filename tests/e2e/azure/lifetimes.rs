//! Suspension, start windows, deadlines, the time to live and the queue.

use azure_fhir::{Life, Script};
use kube::ResourceExt;
use serde_json::json;

use crate::site::{Site, condition};

fn state(object: &fhir_export_operator::api::FhirExport) -> Option<&str> {
    object.status.as_ref()?.state_word()
}

#[tokio::test]
async fn suspended_before_the_start_it_waits_and_after_it_polls_no_more() {
    let site = Site::start("suspend").await;
    site.export("before", json!({"level": "System", "container": "suspend"}), json!({"suspend": true})).await;
    let object = site.until_condition("before", "Suspended", "True", "Suspended").await;
    assert!(object.finalizers().is_empty() && object.status.unwrap().start_time.is_none());
    assert_eq!(site.kick_offs(), 0);
    site.change("before", json!({"suspend": false})).await;
    site.complete("before").await;

    site.fhir.script(Script::stuck());
    site.export("after", json!({"level": "System", "container": "suspend"}), json!({})).await;
    let object = site.until("after", "running", |o| state(o) == Some("Running")).await;
    let id = object.status.unwrap().job.unwrap().id.unwrap();
    site.change("after", json!({"suspend": true})).await;
    site.until_condition("after", "Suspended", "True", "Suspended").await;
    let polls = site.fhir.job(&id).unwrap().polls;
    site.fhir.rescript(&id, |script| script.life = Life::Polls(0));
    // Another export runs to its end meanwhile, which leaves time for polls that must not happen.
    site.export("meanwhile", json!({"level": "System", "container": "suspend"}), json!({})).await;
    site.complete("meanwhile").await;
    assert_eq!(site.fhir.job(&id).unwrap().polls, polls);
    site.change("after", json!({"suspend": false})).await;
    site.complete("after").await;
    assert_eq!(site.cancels(), 0);
}

#[tokio::test]
async fn a_suspended_server_holds_its_exports() {
    let site = Site::start("held").await;
    site.apply_server(json!({"suspend": true})).await;
    site.export("held", json!({"level": "System", "container": "held"}), json!({})).await;
    site.until_condition("held", "Suspended", "True", "ServerSuspended").await;
    site.apply_server(json!({})).await;
    site.complete("held").await;
}

#[tokio::test]
async fn after_its_window_an_export_does_not_start() {
    let site = Site::start("window").await;
    let spec = json!({"kickOffBefore": "2020-01-01T00:00:00Z"});
    site.export("restored", json!({"level": "System", "container": "window"}), spec).await;
    site.failed("restored", "StartWindowMissed").await;
    let soon = jiff::Timestamp::now() + jiff::SignedDuration::from_secs(3);
    let spec = json!({"kickOffBefore": soon.to_string(), "suspend": true});
    site.export("held", json!({"level": "System", "container": "window"}), spec).await;
    site.failed("held", "StartWindowMissed").await;
    assert_eq!(site.kick_offs(), 0);
}

#[tokio::test]
async fn past_its_deadline_a_job_is_cancelled() {
    let site = Site::start("deadline").await;
    site.fhir.script(Script::stuck());
    let spec = json!({"activeDeadlineSeconds": 2});
    site.export("late", json!({"level": "System", "container": "deadline"}), spec).await;
    let object = site.failed("late", "DeadlineExceeded").await;
    assert!(condition(&object, "Failed").unwrap().2.contains("confirmed the cancel"));
    assert_eq!(site.cancels(), 1);
}

#[tokio::test]
async fn after_its_time_to_live_the_object_goes_and_the_data_stays() {
    let site = Site::start("ttl").await;
    let spec = json!({"ttlSecondsAfterFinished": 1});
    site.export("ttl", json!({"level": "System", "container": "ttl"}), spec).await;
    site.gone("ttl").await;
    assert_eq!((site.kick_offs(), site.cancels()), (1, 0));
    assert!(site.fhir.jobs()[0].files.iter().all(|f| f.written));
}

#[tokio::test]
async fn more_exports_than_places_wait_in_order() {
    let site = Site::start("queue").await;
    site.apply_server(json!({"limits": {"maxConcurrentExports": 1}})).await;
    site.fhir.script(Script::stuck().container("queue-0"));
    site.export("q0", json!({"level": "System", "container": "queue-0"}), json!({})).await;
    let object = site.until("q0", "running", |o| state(o) == Some("Running")).await;
    let id = object.status.unwrap().job.unwrap().id.unwrap();
    // Exports are queued in order of creation, and within a second by uid, so the order of these is not asserted.
    for n in 1..4 {
        let name = format!("q{n}");
        site.export(&name, json!({"level": "System", "container": format!("queue-{n}")}), json!({})).await;
        let object = site.until_condition(&name, "Reconciling", "True", "Queued").await;
        assert_eq!(state(&object), Some("Queued"));
    }
    assert_eq!(site.kick_offs(), 1);
    site.fhir.rescript(&id, |script| script.life = Life::Polls(0));
    for n in 0..4 {
        site.complete(&format!("q{n}")).await;
    }
    let jobs = site.fhir.jobs();
    assert_eq!(jobs.len(), 4);
}

#[tokio::test]
async fn one_export_of_a_group_at_a_time_and_others_pass() {
    let site = Site::start("groups").await;
    site.fhir.script(Script::stuck().container("groups-a"));
    let cohort = |container: &str| json!({"level": "Group", "groupID": "cohort-42", "container": container});
    site.export("a", cohort("groups-a"), json!({})).await;
    let object = site.until("a", "running", |o| state(o) == Some("Running")).await;
    let id = object.status.unwrap().job.unwrap().id.unwrap();
    site.export("b", cohort("groups-b"), json!({})).await;
    site.until_condition("b", "Reconciling", "True", "Queued").await;
    site.export("other", json!({"level": "Group", "groupID": "all", "container": "groups-c"}), json!({}))
        .await;
    site.complete("other").await;
    site.fhir.rescript(&id, |script| script.life = Life::Polls(0));
    site.complete("a").await;
    site.complete("b").await;
}

#[tokio::test]
async fn progress_is_shown_while_the_job_runs() {
    let site = Site::start("progress").await;
    site.fhir.script(Script { file_interval_ms: 1, ..Script::stuck() }.container("progress"));
    site.export("files", json!({"level": "System", "container": "progress"}), json!({})).await;
    let object = site
        .until("files", "showing files", |o| {
            o.status.as_ref().and_then(|s| s.job.as_ref()?.progress.as_ref()?.files).is_some()
        })
        .await;
    let progress = object.status.unwrap().job.unwrap().progress.unwrap();
    assert!(progress.summary.unwrap().contains("file"));
    site.delete("files").await;
    site.gone("files").await;
}
