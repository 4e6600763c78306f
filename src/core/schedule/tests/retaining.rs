//! Which folders are deleted and in which order, what stays, and what users are told.

use serde_json::{Value, json};

use super::world::{End, World, merge, server};
use crate::api::{ConditionStatus, ConditionType, Reason, RetentionStatus};
use crate::core::ledger::FolderDeletion;

/// What the server `clinic` needs for its folders to be deleted.
pub(super) fn storage() -> Value {
    json!({ "spec": { "defaultContainer": "lake", "storage": { "type": "AzureBlob", "azureBlob": {
        "endpoint": "https://lake.blob.core.windows.net", "auth": { "type": "SameAsServer" } } } } })
}

pub(super) fn with_storage(mut world: World) -> World {
    world.server = Some(server(storage()));
    world
}

/// Runs at 02:00 each day, on Sundays in full, that keep this many full chains. 2026-11-23 is a Monday.
fn weekly(keep: i32) -> World {
    let mut world = with_storage(World::incremental(json!({ "fullSchedule": "0 2 * * 0" })));
    world.edit(json!({ "retention": { "fullChains": keep } }));
    world
}

/// The folder of the `made`-th run, which ended on this day.
pub(super) fn folder(day: u32, made: u32) -> String {
    format!("202611{day:02}T030000-u-{made}")
}

/// The folders that were to be deleted since the last call, in order.
pub(super) fn doomed(world: &mut World) -> Vec<String> {
    world.doomed.drain(..).map(|plan| plan.folder).collect()
}

/// A day with a run that ends like this.
pub(super) fn day(world: &mut World, day: u32, end: End) {
    world.at(&format!("2026-11-{day:02}T02:00:00Z")).ends(end);
}

pub(super) fn ledger(world: &World) -> RetentionStatus {
    world.status().retention.unwrap_or_default()
}

#[test]
fn a_chain_goes_as_a_whole_newest_run_first_when_a_newer_full_run_counts() {
    let mut world = weekly(1);
    for (n, end) in
        [End::Exported, End::Exported, End::Failed, End::Exported, End::Exported].iter().enumerate()
    {
        day(&mut world, 24 + u32::try_from(n).unwrap(), *end);
    }
    // The full run of Sunday fails, so the one of Monday is full.
    day(&mut world, 29, End::Failed);
    assert_eq!(doomed(&mut world), [""; 0]);
    let message = world.says(ConditionType::OldFilesDeleted, ConditionStatus::True, Reason::Retained);
    assert!(message.contains("newest 1 full chains"), "{message}");
    world.at("2026-11-30T02:00:00Z");
    assert_eq!(doomed(&mut world), [""; 0], "a full run under way is no reason");
    world.ends(End::Exported);
    let chain = [folder(28, 5), folder(27, 4), folder(25, 2), folder(24, 1)];
    // Then the folders of runs that did not count follow.
    let aside = [folder(29, 6), folder(26, 3)];
    assert_eq!(doomed(&mut world), [&chain[..], &aside].concat());
    assert_eq!(world.noted(Reason::FolderDeleted), 6);
    let told = world.notes.iter().find(|note| note.reason == Reason::FolderDeleted).unwrap();
    assert_eq!(
        told.message,
        "deleted lake/20261128T030000-u-5 (1 file) of chain 20261124-0200, since spec.retention.fullChains is 1"
    );
    let left = ledger(&world);
    assert_eq!(left.chains.len(), 1);
    assert_eq!((left.chains[0].id.as_str(), left.chains[0].full), ("20261130-0200", true));
    assert_eq!(left.last_deleted.unwrap().folder, folder(26, 3));
}

#[test]
fn so_many_chains_are_kept() {
    for keep in 1..=4_usize {
        let mut world = with_storage(World::new(json!({ "retention": { "fullChains": keep } })));
        for n in 0..6_u32 {
            // In between, some runs do not count.
            day(&mut world, 24 + n, if n == 1 { End::WithErrors } else { End::Exported });
        }
        let full = [24, 26, 27, 28, 29_u32];
        let gone = &full[..5 - keep];
        let mut expected: Vec<String> = gone.iter().map(|day| folder(*day, day - 23)).collect();
        // The folder goes with the chain that was the newest when it was made.
        if keep <= 4 {
            expected.insert(1, folder(25, 2));
        }
        let expected = if keep == 5 { vec![] } else { expected };
        assert_eq!(doomed(&mut world), expected, "{keep}");
    }
}

#[test]
fn what_ended_before_it_was_asked_for_stays_and_so_does_what_is_not_known_any_more() {
    let mut world = weekly(1);
    world.edit(json!({ "retention": null }));
    day(&mut world, 24, End::Exported);
    assert_eq!(world.status().retention, None);
    world.edit(json!({ "retention": { "fullChains": 1 } }));
    // The full run of this chain is not known, so all of it stays.
    day(&mut world, 25, End::Exported);
    assert_eq!(ledger(&world).chains, []);
    day(&mut world, 29, End::Exported);
    world.at("2026-12-06T02:00:00Z").ends(End::Exported);
    assert_eq!(doomed(&mut world), [folder(29, 3)]);
    // When `retention` is removed, the ledger is forgotten.
    world.edit(json!({ "retention": null }));
    world.look();
    assert_eq!(world.status().retention, None);
    world.edit(json!({ "retention": { "fullChains": 1 } }));
    world.at("2026-12-13T02:00:00Z").ends(End::Exported);
    assert_eq!(doomed(&mut world), [""; 0]);
}

#[test]
fn what_is_in_doubt_stays_and_is_told() {
    type Change = fn(&mut World);
    let rows: [(&str, Change); 5] = [
        ("not of this schedule", |world| {
            world.claimed.insert(("lake".into(), folder(24, 1)));
        }),
        ("another one by now", |world| {
            let mut other = storage();
            merge(&mut other, json!({ "metadata": { "uid": "f-2" } }));
            world.server = Some(server(other));
        }),
        ("another one by now", |world| {
            let mut other = storage();
            let endpoint = "https://other.blob.core.windows.net";
            merge(&mut other, json!({ "spec": { "storage": { "azureBlob": { "endpoint": endpoint } } } }));
            world.server = Some(server(other));
        }),
        ("its manifest.json is not the one", |world| {
            world.deletions.push_back(Ok(FolderDeletion::Changed));
        }),
        ("its name is not that of a run's folder", |world| {
            let status = world.schedule.status.as_mut().unwrap();
            status.retention.as_mut().unwrap().chains[0].folders[0].folder = String::new();
        }),
    ];
    for (why, change) in rows {
        let mut world = with_storage(World::new(json!({ "retention": { "fullChains": 1 } })));
        day(&mut world, 24, End::Exported);
        world.at("2026-11-25T02:00:00Z");
        change(&mut world);
        let asked = usize::from(!world.deletions.is_empty());
        world.ends(End::Exported);
        assert_eq!(doomed(&mut world).len(), asked, "{why}");
        let kept = ledger(&world).last_kept.unwrap();
        assert!(kept.why.contains(why), "{}", kept.why);
        assert_eq!((world.noted(Reason::FolderKept), world.noted(Reason::FolderDeleted)), (1, 0));
        let message = world.says(ConditionType::OldFilesDeleted, ConditionStatus::True, Reason::FolderKept);
        assert!(message.contains(why), "{message}");
        // The folder is not in the ledger any more.
        assert!(ledger(&world).chains.iter().all(|chain| chain.folders[0].folder == folder(25, 2)));
    }
}

#[test]
fn a_folder_is_written_down_only_if_it_is_certainly_the_runs_own() {
    let rows = [
        (json!({ "output": { "folder": "a" } }), "its name"),
        (json!({ "output": { "folder": "" } }), "its name"),
        (json!({ "output": { "folder": "20261125T030000-u-2/../x" } }), "its name"),
        (json!({ "output": { "folder": "20261125T030000-u-1" } }), "the run's job"),
        (json!({ "output": { "container": "" } }), "its name"),
        (json!({ "output": { "manifest": null } }), "no manifest"),
        (json!({ "output": { "manifest": { "path": "manifest.json" } } }), "no manifest"),
        (json!({ "server": { "uid": "f-0" } }), "another FhirServer"),
    ];
    for (change, why) in rows {
        let mut world = with_storage(World::new(json!({ "retention": { "fullChains": 1 } })));
        day(&mut world, 24, End::Exported);
        world.at("2026-11-25T02:00:00Z");
        let name = world.last().to_owned();
        world.hours(1);
        world.end(&name, End::Exported);
        let run = world.runs.get_mut(&name).unwrap();
        let mut status = serde_json::to_value(&run.status).unwrap();
        merge(&mut status, change.clone());
        run.status = serde_json::from_value(status).unwrap();
        world.look();
        let kept = ledger(&world);
        assert!(kept.last_kept.unwrap().why.contains(why), "{change}");
        assert_eq!(kept.chains.len(), 1, "{change}");
        // The chain does not count as one of those that are kept, so the chains before it stay, too.
        assert_eq!(doomed(&mut world), [""; 0], "{change}");
    }
}

#[test]
fn an_increment_that_is_not_certain_keeps_its_whole_chain() {
    let mut world = weekly(1);
    day(&mut world, 24, End::Exported);
    world.at("2026-11-25T02:00:00Z");
    let name = world.last().to_owned();
    world.hours(1);
    world.end(&name, End::Exported);
    let output = world.runs.get_mut(&name).unwrap().status.as_mut().unwrap().output.as_mut().unwrap();
    output.manifest = None;
    world.look();
    day(&mut world, 29, End::Exported);
    world.at("2026-12-06T02:00:00Z").ends(End::Exported);
    assert_eq!(doomed(&mut world), [folder(29, 3)]);
}

#[test]
fn earlier_attempts_go_with_their_run_and_a_job_that_may_be_somebody_elses_does_not() {
    for (adopted, gone) in [(false, 3), (true, 2)] {
        let mut world = with_storage(World::new(json!({ "retention": { "fullChains": 1 } })));
        world.at("2026-11-24T02:00:00Z");
        let name = world.last().to_owned();
        world.hours(1);
        world.end(&name, End::Exported);
        let run = world.runs.get_mut(&name).unwrap();
        let mut status = serde_json::to_value(&run.status).unwrap();
        let earlier = json!({ "id": "7", "folder": "20261124T020000-7", "startTime": "2026-11-24T02:00:00Z",
            "endTime": "2026-11-24T02:10:00Z", "reason": "JobDied" });
        merge(&mut status, json!({ "previousJobs": [earlier] }));
        run.status = serde_json::from_value(status).unwrap();
        world.look();
        world.at("2026-11-25T02:00:00Z");
        let failed = world.last().to_owned();
        world.hours(1);
        world.end(&failed, End::Failed);
        if adopted {
            let status = world.runs.get_mut(&failed).unwrap().status.as_mut().unwrap();
            let (type_, yes) = (ConditionType::KickOffUncertain, ConditionStatus::True);
            crate::core::condition::set(
                &mut status.conditions,
                type_,
                yes,
                Reason::JobAdopted,
                "m",
                1,
                world.now,
            );
        }
        world.look();
        assert_eq!(world.noted(Reason::FolderKept), usize::from(adopted));
        day(&mut world, 26, End::Exported);
        let went = std::mem::take(&mut world.doomed);
        assert_eq!(went.len(), gone);
        assert_eq!(went[0].folder, folder(24, 1));
        let earlier = went.iter().find(|plan| plan.folder == "20261124T020000-7").unwrap();
        assert_eq!(earlier.manifest, None);
        assert!(went[0].manifest.as_ref().is_some_and(|digits| digits.len() == 16));
    }
}

#[test]
fn an_empty_full_run_does_not_make_the_last_data_go() {
    let mut world = with_storage(World::new(json!({ "retention": { "fullChains": 1 } })));
    day(&mut world, 24, End::Exported);
    world.at("2026-11-25T02:00:00Z");
    let name = world.last().to_owned();
    world.hours(1);
    world.end(&name, End::Exported);
    let output = world.runs.get_mut(&name).unwrap().status.as_mut().unwrap().output.as_mut().unwrap();
    (output.folder, output.manifest) = (None, None);
    world.look();
    assert_eq!(doomed(&mut world), [""; 0]);
}

#[test]
fn a_ledger_that_is_full_lets_the_oldest_chain_go_and_tells_it() {
    let mut world = with_storage(World::incremental(json!({})));
    world.edit(json!({ "schedule": "0 * * * *", "retention": { "fullChains": 2 } }));
    let mut runs = 0;
    while world.noted(Reason::FolderKept) == 0 {
        // Full runs are rare.
        if runs == 40 {
            world.annotate("full-again");
            world.look();
        } else {
            world.hours(1);
            world.look();
        }
        let name = world.last().to_owned();
        world.end(&name, End::Exported);
        world.look();
        runs += 1;
        assert!(runs < 400, "the ledger has an end");
        assert!(serde_json::to_vec(&world.status()).unwrap().len() < 16 << 10);
    }
    assert!(runs > 80, "{runs}");
    let kept = ledger(&world);
    assert_eq!(kept.chains.iter().filter(|chain| chain.full).count(), 1);
    let why = kept.last_kept.unwrap().why;
    assert!(why.contains("no room") && why.contains("39 more folders of chain"), "{why}");
    assert_eq!(doomed(&mut world), [""; 0]);
}

#[test]
fn a_lost_status_is_made_anew_of_what_is_certain() {
    let mut world = weekly(1);
    world.edit(json!({ "successfulRunsHistoryLimit": 3 }));
    for day_ in [24, 25, 29] {
        day(&mut world, day_, End::Exported);
    }
    // The first chain is gone; the second one is complete.
    doomed(&mut world);
    day(&mut world, 30, End::Exported);
    let before = ledger(&world);
    world.schedule.status = None;
    world.look();
    let known: Vec<(String, usize)> =
        ledger(&world).chains.iter().map(|chain| (chain.id.clone(), chain.folders.len())).collect();
    assert_eq!(known, [("20261129-0200".to_owned(), 2)]);
    assert_eq!(ledger(&world).chains, before.chains);
    // Without its full run, or with a changed label, it is not certain which chain a run belongs to.
    let name = "nightly-20261129-0200";
    world.runs.remove(name);
    world.schedule.status = None;
    world.look();
    assert_eq!(ledger(&world).chains.iter().map(|c| c.folders.len()).sum::<usize>(), 0);
    assert_eq!(doomed(&mut world), [""; 0]);
}

#[test]
fn increments_are_no_chains_of_their_own_when_a_schedule_is_not_incremental_any_more() {
    let mut world = weekly(1);
    for day_ in [24, 25, 26] {
        day(&mut world, day_, End::Exported);
    }
    world.edit(json!({ "incremental": null }));
    world.schedule.status = None;
    world.look();
    assert_eq!(ledger(&world).chains.iter().map(|chain| chain.folders.len()).collect::<Vec<_>>(), [3]);
    assert_eq!(doomed(&mut world), [""; 0]);
    // Neither does one that ends after that.
    world.edit(json!({ "incremental": { "overlapSeconds": 0 } }));
    world.schedule.status = None;
    world.at("2026-11-27T02:00:00Z");
    assert!(world.since(world.last()).is_some());
    world.edit(json!({ "incremental": null }));
    world.look();
    world.ends(End::Exported);
    assert_eq!(doomed(&mut world), [""; 0]);
    day(&mut world, 28, End::Exported);
    assert_eq!(doomed(&mut world).len(), 4);
}

#[test]
fn the_chain_that_goes_on_stays_whatever_the_ledger_says() {
    for goes_on in ["id", "pending"] {
        let mut world = weekly(1);
        day(&mut world, 24, End::Exported);
        world.at("2026-11-29T02:00:00Z");
        let name = world.last().to_owned();
        world.hours(1);
        world.end(&name, End::Exported);
        // After the result was taken in, somebody makes the older chain the current one.
        world.look_until(1);
        let chain = world.schedule.status.as_mut().unwrap().chain.as_mut().unwrap();
        if goes_on == "id" {
            chain.id = Some("20261124-0200".into());
        } else {
            chain.pending = serde_json::from_value(json!({ "name": "n", "slotTime": "2026-11-29T02:00:00Z",
                "mode": "Incremental", "chain": "20261124-0200", "fingerprint": "f" }))
            .unwrap();
        }
        world.look();
        assert_eq!(doomed(&mut world), [""; 0], "{goes_on}");
        assert_eq!(ledger(&world).chains.len(), 2);
    }
}
