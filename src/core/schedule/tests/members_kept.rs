//! What is kept of runs that keep track of a group's members: their objects, the chain's history, and what a
//! lost status is rebuilt from.

use serde_json::json;

use super::members::{cohort, go_through, join, named, takes_patients, whole};
use super::world::{End, World};
use crate::api::{ConditionStatus, ConditionType, Reason, RunMode};

#[test]
fn history_limits_count_runs_and_not_their_exports() {
    let mut world = cohort(json!({}));
    world.edit(json!({ "successfulRunsHistoryLimit": 2 }));
    whole(&mut world, "2026-11-24T02:00:00Z");
    for (day, id) in [(25, "c"), (26, "d"), (27, "e")] {
        join(&mut world, id);
        whole(&mut world, &format!("2026-11-{day}T02:00:00Z"));
    }
    let kept: Vec<&String> = world.runs.keys().collect();
    let both = |run: &str| [run.to_owned(), named(run, "-members"), named(run, "-newcomers")];
    assert_eq!(
        kept,
        both("nightly-20261126-0200").iter().chain(&both("nightly-20261127-0200")).collect::<Vec<_>>()
    );
    // The exports of a run that is under way are kept.
    world.edit(json!({ "successfulRunsHistoryLimit": 0, "failedRunsHistoryLimit": 0,
        "template": { "spec": { "ttlSecondsAfterFinished": 0 } } }));
    join(&mut world, "f");
    world.at("2026-11-28T02:00:00Z").ends(End::Exported);
    let kept: Vec<&str> = world.runs.keys().map(String::as_str).collect();
    assert_eq!(kept, ["nightly-20261128-0200-members", "nightly-20261128-0200-newcomers"]);
    world.ends(End::Exported).ends(End::Exported);
    assert_eq!(world.runs.len(), 0);
}

#[test]
fn ten_runs_are_told_each_with_its_newcomers() {
    let mut world = cohort(json!({}));
    for day in 1..=14 {
        join(&mut world, &format!("{day:064}"));
        whole(&mut world, &format!("2026-12-{day:02}T02:00:00Z"));
    }
    let chain = world.status().chain.unwrap();
    assert_eq!(chain.history.len(), 20);
    assert_eq!((chain.history[0].mode, chain.history[1].mode), (RunMode::Newcomers, RunMode::Incremental));
    let size = serde_json::to_vec(&world.status()).unwrap().len();
    assert!(size < 16 << 10, "{size}");
    let text = serde_json::to_string(&world.status()).unwrap();
    assert!(
        !text.contains(&format!("{:064}", 14)) && world.notes.iter().all(|n| !n.message.contains("000000"))
    );
}

#[test]
fn a_status_that_is_lost_is_made_anew_with_the_members() {
    let mut world = cohort(json!({}));
    whole(&mut world, "2026-11-24T02:00:00Z");
    join(&mut world, "c");
    whole(&mut world, "2026-11-25T02:00:00Z");
    let before = world.status();
    world.schedule.status = None;
    world.look();
    let chain = world.status().chain.unwrap();
    assert_eq!(chain, before.chain.unwrap());
    assert_eq!(world.status().last_schedule_time, before.last_schedule_time);
    // In the middle of a run, what it has found so far does not count.
    for (ends, active) in [(0, "-members"), (1, "-newcomers"), (2, "")] {
        let day = 26 + ends;
        join(&mut world, &format!("d{ends}"));
        world.at(&format!("2026-11-{day}T02:00:00Z"));
        go_through(&mut world, ends);
        let run = format!("nightly-202611{day}-0200");
        assert_eq!(world.last(), named(&run, active));
        world.schedule.status = None;
        world.look();
        assert_eq!(world.status().active[0].name, named(&run, active));
        world.ends(End::Exported);
        let chain = world.status().chain.unwrap();
        let counted = chain.history.last().unwrap().name == run;
        assert_eq!(
            (counted, chain.members == before_members(&world, &run)),
            (ends == 2, ends == 2),
            "{active}"
        );
        assert_eq!(world.status().active, []);
    }
    whole(&mut world, "2026-11-29T02:00:00Z");
    world.says(ConditionType::ChainIntact, ConditionStatus::True, Reason::Chained);
    // A part that can no longer be named is not left out silently: nobody could load the rest without it.
    join(&mut world, "e");
    whole(&mut world, "2026-11-30T02:00:00Z");
    world.runs.remove("nightly-20261130-0200-newcomers").unwrap();
    world.schedule.status = None;
    world.look();
    let chain = world.status().chain.unwrap();
    assert_eq!((chain.history.len(), chain.covered_until.is_some()), (0, true));
}

fn before_members(world: &World, run: &str) -> Option<crate::api::MemberList> {
    let path = format!("lake/{run}-members/members.txt");
    let text = world.lists.get(&path)?;
    let sha256 = crate::core::manifest::sha256_hex(text.as_bytes());
    Some(crate::api::MemberList { path: Some(path), sha256 })
}

#[test]
fn lists_are_kept_as_long_as_the_run_that_they_are_of() {
    let mut world = cohort(json!({ "fullSchedule": "0 2 27 * *" }));
    world.edit(json!({ "retention": { "fullChains": 1 } }));
    let storage = json!({ "type": "AzureBlob",
        "azureBlob": { "endpoint": "https://lake.example.org", "auth": { "type": "AccountKey" } } });
    world.server = Some(takes_patients(json!({ "spec": { "storage": storage } })));
    whole(&mut world, "2026-11-24T02:00:00Z");
    join(&mut world, "c");
    whole(&mut world, "2026-11-25T02:00:00Z");
    let folders = |world: &World| {
        let chains = world.status().retention.unwrap_or_default().chains;
        let counted = chains.iter().map(|chain| (chain.full, chain.folders.len()));
        counted.collect::<Vec<_>>()
    };
    assert_eq!(folders(&world), [(true, 5)], "two lists, newcomers, a full run and changes");
    assert_eq!(world.doomed.len(), 0);
    // What a failed run found does not belong to the chain.
    world.at("2026-11-26T02:00:00Z").ends(End::Exported).ends(End::Failed);
    assert_eq!(folders(&world)[0], (true, 5));
    whole(&mut world, "2026-11-27T02:00:00Z");
    assert!(world.doomed.len() >= 5, "{:?}", world.doomed);
    assert_eq!(folders(&world), [(true, 2)]);
    let list = world.status().chain.unwrap().members.unwrap().path.unwrap();
    assert!(
        world.doomed.iter().all(|plan| !list.starts_with(&format!("{}/{}/", plan.container, plan.folder)))
    );
}
