//! Laws of deletions: no folder that is to be kept, and no folder that is not the schedule's own, is ever deleted.

use std::collections::{BTreeMap, BTreeSet};

use kube::ResourceExt;
use proptest::prelude::*;
use serde_json::json;

use super::retaining::storage;
use super::world::{End, World, merge, server};
use crate::api::{FhirExport, RunMode};
use crate::core::ledger::{FolderDeletion, StorageFailure, StorageFailureKind};
use crate::core::schedule::owned_by;

/// An event in the life of a schedule.
#[derive(Clone, Debug)]
enum Act {
    /// The next run comes, and ends like this.
    Run(End),
    /// The next run comes, and is under way.
    Begin,
    /// The run that is under way ends like this.
    End(End),
    Full,
    Delete(usize),
    Crash(usize),
    LoseStatus,
    Keep(Option<i32>),
    Suspend(bool),
    Server(u8),
    Claim(usize),
    Types(bool),
    Incremental(bool),
    /// Sets the result of the next deletion.
    Comes(u8),
}

fn act() -> impl Strategy<Value = Act> {
    let end = || {
        prop_oneof![6 => Just(End::Exported), 1 => Just(End::WithErrors), 2 => Just(End::Failed),
        1 => Just(End::Cancelled)]
    };
    prop_oneof![
        20 => end().prop_map(Act::Run),
        2 => Just(Act::Begin),
        2 => end().prop_map(Act::End),
        5 => Just(Act::Full),
        1 => (0_usize..5).prop_map(Act::Delete),
        2 => (0_usize..6).prop_map(Act::Crash),
        2 => Just(Act::LoseStatus),
        1 => prop_oneof![1 => Just(None), 4 => (1_i32..4).prop_map(Some)].prop_map(Act::Keep),
        1 => any::<bool>().prop_map(Act::Suspend),
        1 => (0_u8..4).prop_map(Act::Server),
        1 => (0_usize..8).prop_map(Act::Claim),
        1 => any::<bool>().prop_map(Act::Types),
        2 => any::<bool>().prop_map(Act::Incremental),
        3 => (0_u8..5).prop_map(Act::Comes),
    ]
}

/// What the test knows about runs and chains, independently of the ledger.
#[derive(Default)]
struct Books {
    /// The folders of the schedule's runs, each with its run.
    folders: BTreeMap<String, FhirExport>,
    /// The chains in the order in which their full runs counted, derived from the runs: id and folders.
    chains: Vec<(String, Vec<String>)>,
    told: BTreeSet<String>,
}

impl Books {
    fn note(&mut self, world: &World) {
        for run in world.runs.values().filter(|run| owned_by(run, "s-1")) {
            let output = run.status.as_ref().and_then(|status| status.output.as_ref());
            if let Some(folder) = output.and_then(|output| output.folder.clone()) {
                self.folders.insert(folder, run.clone());
            }
        }
        let status = world.status();
        if let Some(chain) = &status.chain {
            for run in &chain.history {
                self.told.insert(run.uid.clone());
                let (id, folder) = (chain.id.clone().unwrap(), run.folder.clone().unwrap());
                if self.chains.iter().any(|(_, folders)| folders.contains(&folder)) {
                    continue;
                }
                match run.mode {
                    // A chain that is rebuilt after a lost status may continue from a full run that did not count.
                    RunMode::Full => self.chains.push((id, vec![folder])),
                    RunMode::Incremental | RunMode::Newcomers => {
                        let own = self.chains.iter_mut().find(|(known, _)| *known == id);
                        own.expect("a chain begins with a full run").1.push(folder);
                    }
                }
            }
            // A run that ended meanwhile without being part of a chain does not become one later.
            let waits = |run: &FhirExport| status.active.iter().any(|active| active.name == run.name_any());
            let aside = self.folders.values().filter(|run| !unfinished(run) && !waits(run));
            self.told.extend(aside.filter_map(ResourceExt::uid));
        } else {
            // Each run that counts, in the order in which they ended.
            let mut ended: Vec<&FhirExport> =
                self.folders.values().filter(|run| super::super::run::counts(run).is_ok()).collect();
            ended.retain(|run| run.spec.request.since.is_none());
            ended.sort_by_key(|run| run.status.as_ref().unwrap().completion_time);
            for run in ended {
                if self.told.insert(run.uid().unwrap()) {
                    let folder = run.status.clone().unwrap().output.unwrap().folder.unwrap();
                    let id = run.name_any().strip_prefix("nightly-").unwrap().to_owned();
                    self.chains.push((id, vec![folder]));
                }
            }
        }
    }

    /// Checks that no folder that was to be deleted since the last call was one to keep.
    fn check(&mut self, world: &mut World, claimed: &BTreeSet<(String, String)>) {
        self.note(world);
        let status = world.status();
        let doomed = std::mem::take(&mut world.doomed);
        for plan in &doomed {
            let Some(retention) = &world.schedule.spec.retention else { panic!("nobody asked for {plan:?}") };
            assert_ne!(world.schedule.spec.suspend, Some(true));
            let keep = usize::try_from(retention.full_chains).unwrap();
            let run = self
                .folders
                .get(&plan.folder)
                .unwrap_or_else(|| panic!("folder-in-ledger: not its own: {plan:?}"));
            assert_eq!(plan.container, "lake");
            let ran = run.status.as_ref().unwrap();
            assert_eq!(
                plan.manifest.as_deref(),
                ran.output.as_ref().unwrap().manifest.as_ref().map(|manifest| &manifest.sha256[..16])
            );
            assert_eq!(ran.server.as_ref().unwrap().uid, world.server.as_ref().unwrap().uid().unwrap());
            assert!(ran.completion_time.is_some(), "folder-in-ledger: it goes on: {plan:?}");
            assert!(!claimed.contains(&(plan.container.clone(), plan.folder.clone())));
            let kept = &self.chains[self.chains.len().saturating_sub(keep)..];
            let kept = kept.iter().find(|(_, folders)| folders.contains(&plan.folder));
            assert_eq!(
                kept, None,
                "folder-in-ledger: {plan:?} is of the newest {keep} chains of {:?}",
                self.chains
            );
            let current = status.chain.as_ref().and_then(|chain| chain.id.clone());
            let own = self.chains.iter().find(|(_, folders)| folders.contains(&plan.folder));
            assert!(
                current.is_none() || own.map(|(id, _)| id.clone()) != current,
                "folder-in-ledger: {plan:?} is of the chain that goes on"
            );
            // Later folders of the chain are gone, or were released, before an earlier one goes.
            let ledger = status.retention.clone().unwrap_or_default();
            let known: Vec<&str> =
                ledger.chains.iter().flat_map(|c| &c.folders).map(|f| f.folder.as_str()).collect();
            if let Some((_, folders)) = own {
                let place = folders.iter().position(|folder| *folder == plan.folder).unwrap();
                let later = doomed.iter().rposition(|other| other.folder == plan.folder).unwrap();
                let after =
                    doomed[later + 1..].iter().any(|other| folders[place + 1..].contains(&other.folder));
                let left = folders[place + 1..].iter().any(|folder| known.contains(&folder.as_str()));
                assert!(!after && !left, "{plan:?} goes before what builds on it");
            }
        }
        assert!(serde_json::to_vec(&status).unwrap().len() < 16 << 10);
    }
}

fn unfinished(run: &FhirExport) -> bool {
    run.status.as_ref().is_none_or(|status| status.completion_time.is_none())
}

fn end_what_runs(world: &mut World, end: End) {
    let name = world.runs.values().find(|run| unfinished(run)).map(ResourceExt::name_any);
    if let Some(name) = name.filter(|_| world.server.is_some()) {
        if world.runs[&name].metadata.deletion_timestamp.is_some() {
            world.runs.remove(&name);
        } else {
            world.wait(1);
            world.end(&name, end);
        }
    }
}

fn failure(kind: StorageFailureKind) -> StorageFailure {
    StorageFailure { kind, message: "no".into() }
}

fn happen(world: &mut World, books: &Books, act: &Act) {
    match act {
        Act::Run(end) => {
            world.hours(24);
            world.look();
            end_what_runs(world, *end);
        }
        Act::Begin => world.hours(24),
        Act::End(end) => end_what_runs(world, *end),
        Act::Full => {
            let token = format!("full-{}", world.now);
            world.annotate(&token);
            world.look();
            end_what_runs(world, End::Exported);
        }
        Act::Delete(which) => {
            let name = world.runs.keys().nth(*which).cloned();
            if let Some(name) = name {
                world.delete(&name);
            }
        }
        Act::Crash(fuse) => {
            world.look_until(*fuse);
        }
        Act::LoseStatus => world.schedule.status = None,
        Act::Keep(keep) => {
            let retention = keep.map(|n| json!({ "fullChains": n })).unwrap_or_default();
            world.edit(json!({ "retention": retention }));
        }
        Act::Suspend(on) => world.edit(json!({ "suspend": on })),
        Act::Server(0) => world.server = None,
        Act::Server(number) => {
            let mut own = storage();
            merge(&mut own, json!({ "metadata": { "uid": format!("f-{}", number % 2) } }));
            world.server = Some(server(own));
        }
        Act::Claim(which) => {
            let folder = books.folders.keys().nth(*which).cloned();
            world.claimed.extend(folder.map(|folder| ("lake".to_owned(), folder)));
        }
        Act::Types(more) => {
            let types = if *more { json!(["Patient", "Encounter"]) } else { json!(["Patient"]) };
            world.edit(json!({ "template": { "spec": { "request": { "types": types } } } }));
        }
        Act::Incremental(on) => {
            let incremental = if *on { json!({ "overlapSeconds": 0 }) } else { json!(null) };
            world.edit(json!({ "incremental": incremental }));
        }
        Act::Comes(what) => world.deletions.push_back(match what {
            0 => Ok(FolderDeletion::Going { files: 200 }),
            1 => Ok(FolderDeletion::Changed),
            2 => Ok(FolderDeletion::Done { files: 3, others: 1 }),
            3 => Err(failure(StorageFailureKind::Denied)),
            _ => Err(failure(StorageFailureKind::NotFound)),
        }),
    }
}

/// Performs these acts on a schedule with these limits, and checks the law after each of them.
fn live_through(acts: &[Act], keep: i32, limit: i32) {
    let mut world = World::incremental(json!({}));
    world.server = Some(server(storage()));
    world.edit(json!({ "retention": { "fullChains": keep }, "successfulRunsHistoryLimit": limit }));
    let mut books = Books::default();
    world.look();
    for act in acts {
        happen(&mut world, &books, act);
        let claimed = world.claimed.clone();
        books.check(&mut world, &claimed);
        world.look();
        books.check(&mut world, &claimed);
    }
}

#[test]
fn a_full_run_that_began_no_chain_begins_none_after_the_status_was_lost() {
    use Act::{Begin, Full, Incremental, LoseStatus, Run};
    let acts = [
        Incremental(false),
        Begin,
        Full,
        Incremental(true),
        Act::End(End::Exported),
        Incremental(false),
        LoseStatus,
        Run(End::Exported),
    ];
    live_through(&acts, 1, 2);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn what_is_kept_is_never_deleted(
        acts in proptest::collection::vec(act(), 1..80),
        keep in 1_i32..4,
        limit in 0_i32..6,
    ) {
        live_through(&acts, keep, limit);
    }

    /// Retention has its intended effect: when all goes well, the newest chains are there, and nothing else.
    #[test]
    fn what_is_not_kept_goes(fulls in proptest::collection::vec(0_usize..4, 2..8), keep in 1_usize..4) {
        let mut world = World::incremental(json!({}));
        world.server = Some(server(storage()));
        world.edit(json!({ "retention": { "fullChains": keep } }));
        world.look();
        let mut chains: Vec<Vec<String>> = Vec::new();
        let mut lake: BTreeSet<String> = BTreeSet::new();
        for (n, increments) in fulls.iter().enumerate() {
            for run in 0..=*increments {
                if run == 0 {
                    chains.push(Vec::new());
                    world.annotate(&format!("full-{n}"));
                    world.look();
                } else {
                    world.hours(24);
                    world.look();
                }
                end_what_runs(&mut world, End::Exported);
                let output = world.runs[world.last()].status.clone().unwrap().output.unwrap();
                let folder = output.folder.unwrap();
                lake.insert(folder.clone());
                chains.last_mut().unwrap().push(folder);
                world.look();
                for plan in world.doomed.drain(..) {
                    prop_assert!(lake.remove(&plan.folder), "once each");
                }
            }
        }
        let kept: BTreeSet<String> = chains.iter().rev().take(keep).flatten().cloned().collect();
        prop_assert_eq!(lake, kept);
    }
}
