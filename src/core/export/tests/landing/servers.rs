//! How servers differ: the status of jobs, lost answers, clean-up, and access to storage.

use serde_json::json;

use super::super::fake::KickOff;
use super::super::said::{answer, outcome};
use super::super::world::failure;
use super::super::{at, bulk_server};
use super::{ran, world};
use crate::api::ConditionType::{Failed, KickOffUncertain};
use crate::api::Reason;
use crate::core::effect::Requeue;
use crate::core::wire::Answer;

#[test]
fn a_job_of_its_own_status_is_read_by_that() {
    let mut world = world(json!({"version": "STU3"}), json!({"backoffLimit": 0}));
    let accepted = Answer {
        content_location: Some("https://clinic.example/_operations/export/7".into()),
        separate_status: true,
        ..answer(202)
    };
    world.kick_off_meets([KickOff::Reply(Ok(accepted))]);
    world.fake.polls.extend([
        Ok(Answer { export_status: Some(202), ..answer(200) }),
        Ok(outcome(500, "processing", "the question failed, not the job")),
        Ok(Answer { export_status: Some(500), ..outcome(200, "processing", "the job failed") }),
    ]);
    world.run();
    assert_eq!(world.says(Failed), "True/ExportFailed");
    assert!(world.message(Failed).contains("the job failed"));
    assert_eq!(world.status().job.unwrap().separate_status, Some(true));
}

#[test]
fn a_lost_answer_cannot_be_searched_for() {
    let lost = failure(
        crate::core::wire::Sent::Maybe,
        crate::core::wire::FailureKind::Unreachable,
        Reason::TimedOut,
    );
    let mut world = world(json!({}), json!({"onUncertainKickOff": "Fail"}));
    world.kick_off_meets([KickOff::MadeAndLost(lost)]);
    world.run();
    assert_eq!(world.says(Failed), "True/KickOffUncertain");
    assert_eq!(world.says(KickOffUncertain), "True/NoJobFound");
    assert_eq!(world.status().unsettled_jobs.len(), 1);
}

#[test]
fn a_server_that_cannot_be_told_is_given_up_and_that_is_said() {
    let mut world = world(json!({}), json!({}));
    world.fake.clean_ups.extend((0..9).map(|_| Ok(answer(503))));
    assert_eq!(
        {
            world.run();
            world.look()
        },
        Requeue::AwaitChange
    );
    assert_eq!((world.state().as_str(), world.fake.cleaned.len(), world.held()), ("Complete", 5, false));
    for status in [200, 204, 404, 405, 410] {
        let world = ran(json!({}), json!({}), |w| w.fake.clean_ups.push_back(Ok(answer(status))));
        assert_eq!(world.fake.cleaned.len(), 1, "{status}");
    }
}

#[test]
fn no_job_is_started_whose_files_could_not_be_stored() {
    let refused = |type_: &str, reason: &str| {
        json!({"observedGeneration": 1, "conditions": [{"type": type_, "status": "False", "reason": reason,
            "message": "give the identity the role", "lastTransitionTime": at(0).to_string()}]})
    };
    for (type_, reason, waits) in [
        ("StorageAccessible", "NoStorageAccess", "NoStorageAccess"),
        ("Ready", "WrongDialect", "WrongDialect"),
    ] {
        let mut world = world(json!({}), json!({}));
        world.edit_server(|s| s.status = Some(serde_json::from_value(refused(type_, reason)).unwrap()));
        world.look();
        assert_eq!(world.says(crate::api::ConditionType::Reconciling), format!("True/{waits}"));
        assert!(world.fake.sent.is_empty() && world.state() == "Waiting");
        world.edit_server(|s| s.status = bulk_server(json!({})).status);
        world.run();
        assert_eq!(world.state(), "Complete");
    }
}

#[test]
fn who_may_use_one_container_need_not_see_them_all() {
    let refused = json!({"observedGeneration": 1, "conditions": [{"type": "StorageAccessible", "status": "False",
        "reason": "NoStorageAccess", "message": "m", "lastTransitionTime": at(0).to_string()}]});
    for (default, auth, waits) in [
        (None, "SASToken", false),
        (Some("other"), "SASToken", false),
        (Some("lake"), "SASToken", true),
        (None, "AccountKey", true),
    ] {
        let mut world = world(json!({}), json!({}));
        world.edit_server(|s| {
            s.status = Some(serde_json::from_value(refused.clone()).unwrap());
            s.spec.default_container = default.map(str::to_owned);
            let blob = s.spec.storage.as_mut().unwrap().azure_blob.as_mut().unwrap();
            blob.auth.type_ = serde_json::from_value(json!(auth)).unwrap();
        });
        world.look();
        assert_eq!(world.state() == "Waiting", waits, "{default:?} {auth}");
    }
}
