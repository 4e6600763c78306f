//! Whoever joins or leaves, and whichever stage fails: the exports that the chain names hold all data of each member.

use std::collections::BTreeMap;

use jiff::Timestamp;
use kube::ResourceExt;
use proptest::prelude::*;
use serde_json::json;

use super::members::{cohort, takes_patients};
use super::world::{End, World, bulk};
use crate::api::{ChainedRun, ConditionStatus, ConditionType, FhirExport, MemberList, RunMode};

/// An event in the life of a schedule.
#[derive(Clone, Debug)]
enum Act {
    Wait(i64),
    Join(u8),
    Leave(u8),
    Start,
    End(End),
    Delete,
    Crash(usize),
    Storage(bool),
    LoseLists,
    LoseStatus,
    Types(bool),
    Takes(bool),
    Token(u8, bool),
    Policy(bool),
}

fn act() -> impl Strategy<Value = Act> {
    let end = prop_oneof![
        10 => Just(End::Exported),
        1 => Just(End::WithErrors),
        1 => Just(End::Failed),
        1 => Just(End::Rejected),
        1 => Just(End::Cancelled)
    ];
    prop_oneof![
        6 => (1_i64..150_000).prop_map(Act::Wait),
        6 => (0_u8..6).prop_map(Act::Join),
        3 => (0_u8..6).prop_map(Act::Leave),
        6 => Just(Act::Start),
        12 => end.prop_map(Act::End),
        1 => Just(Act::Delete),
        3 => (0_usize..6).prop_map(Act::Crash),
        1 => any::<bool>().prop_map(Act::Storage),
        1 => Just(Act::LoseLists),
        1 => Just(Act::LoseStatus),
        1 => any::<bool>().prop_map(Act::Types),
        1 => any::<bool>().prop_map(Act::Takes),
        2 => (0_u8..4, any::<bool>()).prop_map(|(n, full)| Act::Token(n, full)),
        1 => any::<bool>().prop_map(Act::Policy),
    ]
}

/// For each patient, the time up to which all data is in what was loaded.
#[derive(Default)]
struct Loaded(BTreeMap<String, Timestamp>);

impl Loaded {
    /// Loads what a run of the chain landed.
    fn load(&mut self, world: &World, row: &ChainedRun, export: &FhirExport) {
        let time: Timestamp = row.transaction_time.parse().unwrap();
        let members = &world.began_with[&row.name];
        match row.mode {
            RunMode::Full => self.0 = members.iter().map(|id| (id.clone(), time)).collect(),
            RunMode::Newcomers => {
                let list = export.spec.request.bulk_data.clone().unwrap().patients_blob.unwrap();
                for id in world.lists[&list.path].lines() {
                    self.0.insert(id.to_owned(), time);
                }
            }
            RunMode::Incremental => {
                let since: Timestamp = row.since.as_deref().unwrap().parse().unwrap();
                for id in members {
                    if let Some(until) = self.0.get_mut(id).filter(|until| **until >= since) {
                        *until = time;
                    }
                }
            }
        }
    }

    /// The members whose data is incomplete.
    fn missing(&self, world: &World, run: &ChainedRun) -> Vec<String> {
        let time: Timestamp = run.transaction_time.parse().unwrap();
        // A patient who joined after the members were listed is new to the next run.
        let listed = world.began_with.get(&format!("{}-members", run.name));
        let members = world.began_with[&run.name].iter().filter(|id| listed.is_some_and(|l| l.contains(*id)));
        members.filter(|id| self.0.get(*id) != Some(&time)).cloned().collect()
    }
}

/// All runs that the chain ever named, in order.
#[derive(Default)]
struct Books {
    rows: Vec<ChainedRun>,
    exports: BTreeMap<String, FhirExport>,
    tracked: bool,
}

impl Books {
    fn check(&mut self, world: &World) {
        for run in world.runs.values() {
            self.exports.insert(run.name_any(), run.clone());
        }
        let Some(chain) = world.status().chain else { return };
        let known = |row: &ChainedRun| self.rows.iter().any(|known| known.uid == row.uid);
        let new: Vec<ChainedRun> = chain.history.iter().filter(|row| !known(row)).cloned().collect();
        if new.is_empty() {
            return;
        }
        self.rows.extend(new);
        let last = self.rows.last().unwrap();
        assert_ne!(last.mode, RunMode::Newcomers, "they come before the run that they are of");
        if chain.members.is_none() {
            return;
        }
        self.tracked = true;
        let mut loaded = Loaded::default();
        self.rows.iter().for_each(|row| loaded.load(world, row, &self.exports[&row.name]));
        let missing = loaded.missing(world, last);
        assert!(missing.is_empty(), "{missing:?} of {}", last.name);
    }
}

fn unfinished(world: &World) -> Option<String> {
    let runs = world.runs.values();
    let mut open = runs.filter(|r| r.status.as_ref().is_none_or(|status| status.completion_time.is_none()));
    open.next().map(ResourceExt::name_any)
}

/// A member who leaves and comes back between two lists goes unnoticed; the documentation says so.
fn may_come_back(world: &World, id: &str) -> bool {
    let chain = world.status().chain.unwrap_or_default();
    let lists = [chain.members, chain.pending.and_then(|pending| pending.members)];
    let on = |list: &MemberList| {
        let text = list.path.as_ref().and_then(|path| world.lists.get(path));
        text.is_some_and(|text| text.lines().any(|line| line == id))
    };
    let found = |run: &FhirExport| {
        let name = run.name_any();
        name.ends_with("-members") && world.began_with.get(&name).is_some_and(|ids| ids.contains(id))
    };
    !lists.iter().flatten().any(on) && !world.runs.values().any(found)
}

fn ends(world: &mut World, name: &str, end: End) {
    if world.runs[name].metadata.deletion_timestamp.is_some() {
        world.runs.remove(name);
        return;
    }
    if !world.began_with.contains_key(name) {
        world.start(name);
    }
    // A server refuses patients who are not in the group.
    let list = world.runs[name].spec.request.bulk_data.clone().and_then(|bulk| bulk.patients_blob);
    let members = &world.began_with[name];
    let refused = list.is_some_and(|list| world.lists[&list.path].lines().any(|id| !members.contains(id)));
    world.end(name, if refused { End::Rejected } else { end });
}

fn happen(world: &mut World, act: &Act) {
    match act {
        Act::Wait(seconds) => world.wait(*seconds),
        Act::Join(number) => {
            let id = format!("p{number}");
            if may_come_back(world, &id) {
                world.group.insert(id);
            }
        }
        Act::Leave(number) => drop(world.group.remove(&format!("p{number}"))),
        Act::Start => {
            if let Some(name) = unfinished(world).filter(|name| world.runs[name].status.is_none()) {
                world.start(&name);
            }
        }
        Act::End(end) => {
            if let Some(name) = unfinished(world) {
                world.wait(1);
                ends(world, &name, *end);
            }
        }
        Act::Delete => {
            if let Some(name) = unfinished(world) {
                world.delete(&name);
            }
        }
        Act::Crash(fuse) => drop(world.look_until(*fuse)),
        Act::Storage(away) => {
            let kind = crate::core::ledger::StorageFailureKind::Transient { retry_after: None };
            world.storage = away.then_some(kind);
        }
        Act::LoseLists => {
            let path = world.status().chain.and_then(|chain| chain.members?.path);
            if let Some(text) = path.and_then(|path| world.lists.get_mut(&path)) {
                text.push_str("somebody\n");
            }
        }
        Act::LoseStatus => world.schedule.status = None,
        Act::Types(more) => {
            let types = if *more { json!(["Observation", "Encounter"]) } else { json!(["Observation"]) };
            world.edit(json!({ "template": { "spec": { "request": { "types": types } } } }));
        }
        Act::Takes(list) => {
            world.server = Some(if *list { takes_patients(json!({})) } else { bulk("Some Server") });
        }
        Act::Token(number, full) => {
            world.annotate(&format!("{}{number}", if *full { "full-" } else { "" }));
        }
        Act::Policy(replace) => {
            world.edit(json!({ "concurrencyPolicy": if *replace { "Replace" } else { "Forbid" } }));
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn each_member_is_whole_whatever_happens(
        acts in proptest::collection::vec(act(), 1..80),
        overlap in prop_oneof![Just(0_i64), Just(300)],
    ) {
        let mut world = cohort(json!({ "overlapSeconds": overlap }));
        world.edit(json!({ "successfulRunsHistoryLimit": 100, "failedRunsHistoryLimit": 100 }));
        let mut books = Books::default();
        for act in &acts {
            happen(&mut world, act);
            books.check(&world);
            if !matches!(act, Act::Crash(_)) {
                world.look();
                books.check(&world);
            }
        }
        // Once all is well again, a newcomer is complete after the next runs.
        world.storage = None;
        world.server = Some(takes_patients(json!({})));
        world.group.insert("last".to_owned());
        for _ in 0..4 {
            world.hours(24);
            world.look();
            while let Some(name) = unfinished(&world) {
                world.wait(60);
                ends(&mut world, &name, End::Exported);
                world.look();
                books.check(&world);
            }
        }
        let (status, reason, message) = world.condition(ConditionType::ChainIntact);
        prop_assert_eq!(status, ConditionStatus::True, "{} {}", reason, message);
        prop_assert!(books.tracked);
        let members = world.status().chain.unwrap().members.unwrap().path.unwrap();
        prop_assert!(world.lists[&members].contains("last\n"));
    }
}

/// The check itself notices missing newcomers.
#[test]
fn a_chain_without_its_newcomers_is_found_out() {
    let mut world = cohort(json!({}));
    for (day, joins) in [(24, None), (25, Some("c")), (26, None)] {
        world.group.extend(joins.map(str::to_owned));
        world.at(&format!("2026-11-{day}T02:00:00Z"));
        while !world.status().active.is_empty() {
            world.ends(End::Exported);
        }
    }
    let history = world.status().chain.unwrap().history;
    let missing = |rows: &[&ChainedRun]| {
        let mut loaded = Loaded::default();
        for row in rows {
            loaded.load(&world, row, &world.runs[&row.name]);
        }
        loaded.missing(&world, rows.last().unwrap())
    };
    let all: Vec<&ChainedRun> = history.iter().collect();
    assert_eq!(all.iter().filter(|row| row.mode == RunMode::Newcomers).count(), 1);
    assert_eq!(missing(&all), [""; 0]);
    let without: Vec<&ChainedRun> =
        all.iter().copied().filter(|row| row.mode != RunMode::Newcomers).collect();
    assert_eq!(missing(&without), ["c"]);
    // A run of the chain that is left out is noticed, too.
    let leaps: Vec<&ChainedRun> = all.iter().copied().filter(|row| row.name != all[2].name).collect();
    assert_eq!(missing(&leaps).len(), 3);
}
