//! Chains of incremental runs: each run begins where the last successful one ended, even if the operator is killed.

use azure_fhir::{Failure, Script};
use fhir_export_operator::api::RunMode;
use kube::api::PostParams;
use serde_json::json;

use super::{Scheduled, covered, kicked_off};
use crate::site::Site;

#[tokio::test]
async fn incremental_runs_begin_where_the_last_one_ended_whatever_happens_to_the_operator() {
    let mut site = Site::start("chain").await;
    let spec = json!({"incremental": {"overlapSeconds": 0}});
    Scheduled::create(&site, "chain", spec).await;
    let mut last: Option<String> = None;
    for (n, end) in ["full", "good", "bad", "good", "gone", "good"].iter().enumerate() {
        // The operator is down when the run is requested, or when it ends.
        site.kill_operator().await;
        let token = format!("run-{n}");
        let run = Scheduled { site: &site, name: "chain" }.run_now(&token).await;
        match *end {
            "bad" => {
                site.fhir.script(Script::fails(Failure::OutOfMemory { max_count: 10 }).container("chain"));
            }
            "gone" => site.fhir.script(Script::stuck().container("chain")),
            _ => {}
        }
        site.start_operator().await;
        let made = site.until(&run, "running", kicked_off).await;
        assert_eq!(made.spec.request.since, last, "{end}");
        if n % 2 == 0 {
            site.kill_operator().await;
            site.start_operator().await;
        }
        let scheduled = Scheduled { site: &site, name: "chain" };
        if *end == "gone" {
            site.delete(&run).await;
            scheduled.until_condition("LastRunSucceeded", "False", "RunLost").await;
            continue;
        }
        let schedule = scheduled.settled(&run).await;
        let status = site.ended(&run).await.status.unwrap();
        if *end == "bad" {
            assert_eq!(
                (covered(&schedule), schedule.status.unwrap().consecutive_failures),
                (last.clone(), Some(1))
            );
            continue;
        }
        assert_eq!(covered(&schedule), status.transaction_time, "verbatim");
        last = status.transaction_time;
    }
    let scheduled = Scheduled { site: &site, name: "chain" };
    let message = scheduled.until_condition("ChainIntact", "True", "Chained").await;
    assert!(message.contains(&last.unwrap()) && message.contains("no overlap, no gap"), "{message}");
    let chain = scheduled.api().get("chain").await.unwrap().status.unwrap().chain.unwrap();
    let modes: Vec<RunMode> = chain.history.iter().map(|run| run.mode).collect();
    assert_eq!(modes, [RunMode::Full, RunMode::Incremental, RunMode::Incremental, RunMode::Incremental]);
    assert!(chain.history.iter().all(|run| run.container.as_deref() == Some("chain")));
    // Nothing changed meanwhile, so only the full run has files.
    let folders: Vec<bool> = chain.history.iter().map(|run| run.folder.is_some()).collect();
    assert_eq!(folders, [true, false, false, false]);
    // The requests that the server received agree with the status.
    let asked: Vec<bool> = site
        .fhir
        .requests()
        .iter()
        .filter(|r| r.is_kick_off())
        .map(|r| r.query.as_deref().is_some_and(|q| q.contains("_since=")))
        .collect();
    assert_eq!(asked.iter().filter(|since| !**since).count(), 1, "one full run: {asked:?}");
}

#[tokio::test]
async fn a_status_that_is_lost_is_made_anew() {
    let mut site = Site::start("lost").await;
    let spec = json!({"incremental": {"overlapSeconds": 0}});
    let scheduled = Scheduled::create(&site, "lost", spec).await;
    for token in ["a", "b"] {
        let run = scheduled.run_now(token).await;
        scheduled.settled(&run).await;
    }
    let before = scheduled.api().get("lost").await.unwrap();
    site.kill_operator().await;
    let mut emptied = before.clone();
    emptied.status = None;
    let scheduled = Scheduled { site: &site, name: "lost" };
    scheduled.api().replace_status("lost", &PostParams::default(), &emptied).await.unwrap();
    site.start_operator().await;
    let scheduled = Scheduled { site: &site, name: "lost" };
    let after = scheduled.until("seen again", |object| covered(object).is_some()).await;
    assert_eq!(after.status.as_ref().unwrap().chain, before.status.unwrap().chain);
    assert_eq!(scheduled.names().await.len(), 2, "nothing is run again");
    let run = scheduled.run_now("c").await;
    scheduled.settled(&run).await;
    assert_eq!(site.ended(&run).await.spec.request.since, covered(&after));
}
