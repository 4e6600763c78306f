//! Runs by the clock: two at once, and after an outage.

use azure_fhir::Script;
use jiff::Timestamp;
use serde_json::json;
use stage::wait_until;

use super::{A_MINUTE_OR_TWO, Scheduled};
use crate::site::{PATIENCE, Site, merge};

/// Waits until the clock shows another minute.
async fn next_minute() -> Timestamp {
    let minute = || Timestamp::now().as_second() / 60;
    let began = minute();
    wait_until("the next minute", A_MINUTE_OR_TWO, || async { minute() > began }).await.unwrap();
    Timestamp::from_second(minute() * 60).unwrap()
}

fn slot_name(schedule: &str, slot: Timestamp) -> String {
    format!("{schedule}-{}", slot.to_zoned(jiff::tz::TimeZone::UTC).strftime("%Y%m%d-%H%M"))
}

#[tokio::test]
async fn runs_come_by_the_clock_and_a_policy_says_what_two_of_them_do() {
    let site = Site::start("clock").await;
    site.apply_server(json!({"limits": {"maxConcurrentExports": 50}})).await;
    let each = |policy: &str| json!({"schedule": "* * * * *", "concurrencyPolicy": policy});
    for name in ["forbid", "replace", "allow"] {
        site.fhir.script(Script::stuck().container(name).every_time());
    }
    let forbid = Scheduled::create(&site, "forbid", each("Forbid")).await;
    let replace = Scheduled::create(&site, "replace", each("Replace")).await;
    let allow = Scheduled::create(&site, "allow", each("Allow")).await;
    let mut held = each("Forbid");
    merge(&mut held, json!({"suspend": true}));
    let suspended = Scheduled::create(&site, "suspended", held).await;
    suspended.until_condition("Suspended", "True", "Suspended").await;

    // Two minutes pass, each with a run.
    let first = allow.count(1).await;
    allow.count(2).await;
    assert_eq!(allow.api().get("allow").await.unwrap().status.unwrap().active.len(), 2);
    let slot = first[0].strip_prefix("allow-").unwrap();
    let skipped =
        forbid.until("skipping", |o| o.status.as_ref().is_some_and(|s| s.last_skipped.is_some())).await;
    assert_eq!(skipped.status.unwrap().last_skipped.unwrap().reason, "StillRunning");
    assert_eq!(forbid.names().await, [format!("forbid-{slot}")]);
    replace
        .until("replacing", |o| {
            let active = o.status.as_ref().map(|s| s.active.clone()).unwrap_or_default();
            active.len() == 1 && active[0].name != format!("replace-{slot}") && active[0].uid.is_some()
        })
        .await;
    site.gone(&format!("replace-{slot}")).await;
    assert!(replace.events("Replaced").await >= 1);
    assert_eq!(suspended.names().await, Vec::<String>::new());
}

#[tokio::test]
async fn after_an_outage_one_run_makes_up_for_what_was_missed() {
    let mut site = Site::start("outage").await;
    Scheduled::create(&site, "outage", json!({"schedule": "* * * * *"})).await;
    let scheduled = Scheduled { site: &site, name: "outage" };
    let first = scheduled.count(1).await.remove(0);
    site.complete(&first).await;
    site.kill_operator().await;
    let missed = next_minute().await;
    let newest = next_minute().await;
    let before = Scheduled { site: &site, name: "outage" }.names().await;
    site.start_operator().await;
    let scheduled = Scheduled { site: &site, name: "outage" };
    let caught_up = slot_name("outage", newest);
    let result = wait_until("the run of the newest minute", PATIENCE, || async {
        scheduled.names().await.contains(&caught_up)
    })
    .await;
    site.told(result);
    // The run of the previous minute is no longer created, unless it existed before the operator stopped.
    let names = scheduled.names().await;
    assert_eq!(
        names.contains(&slot_name("outage", missed)),
        before.contains(&slot_name("outage", missed)),
        "{names:?}"
    );
}
