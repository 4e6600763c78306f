//! Laws that hold for any sequence of times, ends, crashes, edits, deletions and lost statuses.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use kube::ResourceExt;
use proptest::prelude::*;
use serde_json::json;

use super::world::{End, World, server};
use crate::api::{Condition, ConditionStatus, ConditionType, FhirExport};
use crate::core::schedule::{ScheduleInputs, decide_schedule, owned_by};

/// An event in the life of a schedule.
#[derive(Clone, Debug)]
enum Act {
    Wait(i64),
    Start,
    End(End),
    Delete,
    Crash(usize),
    Types(bool),
    Suspend(bool),
    Policy(bool),
    Token(u8, bool),
    Server(u8),
    LoseStatus,
    Foreign,
}

fn act() -> impl Strategy<Value = Act> {
    let end = prop_oneof![
        4 => Just(End::Exported),
        1 => Just(End::WithErrors),
        1 => Just(End::Failed),
        1 => Just(End::Cancelled)
    ];
    prop_oneof![
        8 => (1_i64..200_000).prop_map(Act::Wait),
        5 => Just(Act::Start),
        8 => end.prop_map(Act::End),
        1 => Just(Act::Delete),
        4 => (0_usize..6).prop_map(Act::Crash),
        1 => any::<bool>().prop_map(Act::Types),
        1 => any::<bool>().prop_map(Act::Suspend),
        1 => any::<bool>().prop_map(Act::Policy),
        2 => (0_u8..4, any::<bool>()).prop_map(|(n, full)| Act::Token(n, full)),
        1 => (0_u8..3).prop_map(Act::Server),
        1 => Just(Act::LoseStatus),
        1 => Just(Act::Foreign),
    ]
}

/// What the test knows about the runs, independently of the status.
#[derive(Default)]
struct Books {
    /// Every run ever seen, in its last state, by uid.
    seen: BTreeMap<String, FhirExport>,
    /// By chain: the instant up to which its counted runs reach.
    reach: BTreeMap<String, Timestamp>,
    /// By chain: the latest `since`.
    since: BTreeMap<String, Timestamp>,
    /// The runs that these laws have checked.
    told: BTreeSet<String>,
    forgets: bool,
}

fn instant(text: &str) -> Timestamp {
    text.parse().unwrap()
}

impl Books {
    /// Records the runs as they are, before a look may delete them.
    fn note(&mut self, world: &World) {
        for run in world.runs.values() {
            self.seen.insert(run.uid().unwrap(), run.clone());
        }
    }

    fn check(&mut self, world: &World) {
        self.note(world);
        let status = world.status();
        let own = |run: &&FhirExport| owned_by(run, "s-1");
        let live = world.runs.values().filter(own).filter(|run| {
            run.metadata.deletion_timestamp.is_none()
                && run.status.as_ref().is_none_or(|status| status.completion_time.is_none())
        });
        assert!(live.count() <= 1, "slot-before-run: two runs of one chain: {:?}", world.runs.keys());
        let Some(chain) = &status.chain else { return };
        if let Some(covered) = &chain.covered_until {
            let proves = |run: &FhirExport| {
                let status = run.status.as_ref().unwrap();
                let exported = |c: &Condition| c.is(ConditionType::Complete) && c.reason == "Exported";
                status.transaction_time.as_ref() == Some(covered) && status.conditions.iter().any(exported)
            };
            let mut ended = self.seen.values().filter(|run| run.status.is_some());
            assert!(ended.any(proves), "chain-moves-with-pending: no run that is good is of {covered}");
        }
        for link in &chain.history {
            if !self.told.insert(link.uid.clone()) {
                continue;
            }
            let id = chain.id.clone().unwrap();
            let until = instant(&link.transaction_time);
            let run = &self.seen[&link.uid];
            assert_eq!(run.spec.request.since, link.since, "the run is what the books say");
            match &link.since {
                None => drop(self.reach.insert(id, until)),
                Some(since) => {
                    let reach = self.reach.get_mut(&id).expect("a chain begins with a full run");
                    assert!(
                        instant(since) <= *reach,
                        "chain-moves-with-pending: a gap from {reach} to {since}"
                    );
                    *reach = until.max(*reach);
                }
            }
        }
        if let (Some(id), Some(covered)) = (&chain.id, &chain.covered_until) {
            assert!(self.reach[id] >= instant(covered), "more is told than covered");
        }
        let Some(pending) = &chain.pending else { return };
        if let Some(since) = pending.since.as_deref().map(instant) {
            assert!(Some(&pending.chain) == chain.id.as_ref() || self.forgets);
            let latest = self.since.entry(pending.chain.clone()).or_insert(since);
            assert!(
                since >= *latest || self.forgets,
                "chain-moves-with-pending: since went back from {latest} to {since}"
            );
            *latest = since;
        }
    }
}

fn run_of(world: &World, wanted: impl Fn(&FhirExport) -> bool) -> Option<String> {
    let own = world.runs.values().filter(|run| owned_by(run, "s-1"));
    own.filter(|run| wanted(run)).map(ResourceExt::name_any).next()
}

fn unfinished(run: &FhirExport) -> bool {
    run.status.as_ref().is_none_or(|status| status.completion_time.is_none())
}

fn happen(world: &mut World, books: &mut Books, act: &Act) {
    match act {
        Act::Wait(seconds) => world.wait(*seconds),
        Act::Start => {
            if let Some(name) = run_of(world, |run| run.status.is_none()).filter(|_| world.server.is_some()) {
                world.start(&name);
            }
        }
        Act::End(end) => {
            if let Some(name) = run_of(world, unfinished).filter(|_| world.server.is_some()) {
                let deleting = world.runs[&name].metadata.deletion_timestamp.is_some();
                if deleting {
                    world.runs.remove(&name);
                } else {
                    world.end(&name, *end);
                }
            }
        }
        Act::Delete => {
            if let Some(name) = run_of(world, |_| true) {
                // If the status is lost, too, the proof is lost with the object.
                books.forgets = true;
                world.delete(&name);
            }
        }
        Act::Crash(fuse) => {
            world.look_until(*fuse);
        }
        Act::Types(more) => {
            let types = if *more { json!(["Patient", "Encounter"]) } else { json!(["Patient"]) };
            world.edit(json!({ "template": { "spec": { "request": { "types": types } } } }));
        }
        Act::Suspend(on) => world.edit(json!({ "suspend": on })),
        Act::Policy(replace) => {
            let policy = if *replace { "Replace" } else { "Forbid" };
            world.edit(json!({ "concurrencyPolicy": policy }));
        }
        Act::Token(number, full) => {
            world.annotate(&format!("{}{number}", if *full { "full-" } else { "" }));
        }
        Act::Server(0) => world.server = None,
        Act::Server(number) => {
            world.server = Some(server(json!({ "metadata": { "uid": format!("f-{number}") } })));
        }
        Act::LoseStatus => {
            books.forgets = true;
            world.schedule.status = None;
        }
        Act::Foreign => {
            let next = world.status().next_schedule_time.unwrap_or(world.now);
            let name = super::super::names::name_of_slot("nightly", next);
            let foreign = json!({ "metadata": { "name": name, "namespace": "ns", "uid": format!("foreign-{name}") },
                "spec": { "serverRef": { "name": "clinic" }, "request": { "level": "System" } } });
            world.runs.entry(name).or_insert_with(|| serde_json::from_value(foreign).unwrap());
        }
    }
}

fn comes_to_rest(world: &World) {
    let facts = world.facts();
    let again = decide_schedule(ScheduleInputs {
        schedule: &world.schedule,
        facts: &facts,
        seen: None,
        now: world.now,
    });
    assert_eq!((again.effect, again.notes.len()), (None, 0));
    assert_eq!(Some(again.status), world.schedule.status);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn no_gap_whatever_happens(
        acts in proptest::collection::vec(act(), 1..50),
        overlap in prop_oneof![Just(0_i64), Just(300)],
        weekly in any::<bool>(),
        limit in 0_i32..3,
    ) {
        let full = if weekly { json!("30 2 * * 0") } else { json!(null) };
        let mut world = World::incremental(json!({ "overlapSeconds": overlap, "fullSchedule": full }));
        world.edit(json!({ "successfulRunsHistoryLimit": limit }));
        let mut books = Books { forgets: limit == 0, ..Books::default() };
        for act in &acts {
            happen(&mut world, &mut books, act);
            books.check(&world);
            if !matches!(act, Act::Crash(_)) {
                world.look();
                books.check(&world);
                comes_to_rest(&world);
            }
            let foreign = world.runs.values().filter(|run| !owned_by(run, "s-1"));
            for run in foreign {
                prop_assert!(!world.deleted.contains(&run.name_any()));
                prop_assert!(!world.status().active.iter().any(|active| active.name == run.name_any()));
            }
        }
        // Once all is well again, the chain recovers.
        world.server = Some(server(json!({})));
        world.edit(json!({ "suspend": false }));
        world.look();
        for _ in 0..4 {
            while let Some(name) = run_of(&world, unfinished) {
                if world.runs[&name].metadata.deletion_timestamp.is_some() {
                    world.runs.remove(&name);
                } else {
                    world.wait(60);
                    world.end(&name, End::Exported);
                }
                books.note(&world);
                world.look();
            }
            world.hours(24);
            world.look();
            books.check(&world);
        }
        let (status, reason, message) = world.condition(ConditionType::ChainIntact);
        prop_assert_eq!(status, ConditionStatus::True, "{} {}", reason, message);
    }

    /// A look makes a run exactly when a time is due, and no time gets two runs.
    #[test]
    fn each_time_has_one_run_if_somebody_looks(looks in proptest::collection::vec(1_i64..30_000, 1..30)) {
        let mut world = World::new(json!({ "schedule": "0 */3 * * *", "timeZone": "America/New_York" }));
        world.look();
        for wait in looks {
            let due = world.status().next_schedule_time.unwrap();
            world.wait(wait);
            let made = world.made.len();
            world.look();
            prop_assert!(world.made.len() <= made + 1, "slot-before-run: two runs of one look");
            prop_assert_eq!(world.made.len() > made, due <= world.now);
            if world.made.len() > made {
                let name = world.last().to_owned();
                world.end(&name, End::Exported);
                world.look();
            }
        }
        let unique: BTreeSet<&String> = world.made.iter().collect();
        prop_assert_eq!(unique.len(), world.made.len());
    }
}
