use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;

const LIMITS: Limits = Limits { places: 4, per_group: 1 };

fn clinic() -> Key {
    ("ns".into(), "clinic".into())
}

fn at(second: i64) -> String {
    Timestamp::from_second(second).unwrap().to_string()
}

/// An export of the server `clinic`, as the API server has it.
fn export(namespace: &str, name: &str, created: i64, version: u64, status: &Value) -> Arc<FhirExport> {
    let object = json!({
        "metadata": { "name": name, "namespace": namespace, "uid": format!("{namespace}-{name}"),
            "resourceVersion": version.to_string(), "creationTimestamp": at(created) },
        "spec": { "serverRef": { "name": "clinic", "namespace": "ns" }, "request": { "level": "System" } },
        "status": status,
    });
    Arc::new(serde_json::from_value(object).unwrap())
}

fn running(start: i64) -> Value {
    json!({ "startTime": at(start), "job": { "intentTime": at(start) } })
}

fn queued() -> Value {
    json!({ "startTime": at(0), "conditions": [{ "type": "Reconciling", "status": "True", "reason": "Queued",
        "message": "", "lastTransitionTime": at(0) }] })
}

fn done(start: i64) -> Value {
    json!({ "startTime": at(start), "completionTime": at(start) })
}

fn appears(export: Arc<FhirExport>) -> Change<FhirExport> {
    Change { old: None, new: Some(export) }
}

/// Runs to which the watch has shown these exports.
fn shown(exports: impl IntoIterator<Item = Arc<FhirExport>>) -> Runs {
    let runs = Runs::default();
    exports.into_iter().for_each(|export| runs.shown(&appears(export)));
    runs
}

fn names(next: Vec<Key>) -> Vec<String> {
    next.into_iter().map(|(_, name)| name).collect()
}

#[test]
fn who_waits_is_next_in_order_when_a_run_ends() {
    let one = export("ns", "one", 1, 1, &running(1));
    let runs = shown([
        export("ns", "third", 3, 1, &queued()),
        export("ns", "second", 2, 1, &json!({})),
        export("ns", "busy", 1, 1, &running(1)),
        export("ns", "over", 1, 1, &done(1)),
        one.clone(),
    ]);
    let limits = Limits { places: 2, per_group: 1 };
    assert!(runs.next_in(&clinic(), limits).is_empty());
    runs.shown(&Change { old: Some(one.clone()), new: Some(export("ns", "one", 1, 2, &done(1))) });
    assert_eq!(names(runs.next_in(&clinic(), limits)), ["second"]);
    runs.shown(&Change { old: Some(one), new: None });
    assert_eq!(names(runs.next_in(&clinic(), LIMITS)), ["second", "third"]);
    assert_eq!(runs.users_of(&clinic()), 1);
}

#[test]
fn of_a_long_queue_as_many_are_next_as_places_are_free_and_no_namespace_is_hidden() {
    let queue = (0..1000).map(|n| export("ns", &format!("e{n:04}"), n, 1, &json!({})));
    let runs = shown(queue.chain([export("ns", "busy", 0, 1, &running(1))]));
    assert_eq!(names(runs.next_in(&clinic(), LIMITS)), ["e0000", "e0001", "e0002"]);
    runs.shown(&appears(export("elsewhere", "other", 5000, 1, &json!({}))));
    assert_eq!(names(runs.next_in(&clinic(), LIMITS)), ["other", "e0000", "e0001"]);
}

#[test]
fn who_asks_counts_as_one_that_waits_whatever_its_status_says() {
    let refused = json!({ "conditions": [{ "type": "Accepted", "status": "False", "reason": "NotAllowed",
        "message": "", "lastTransitionTime": at(0) }] });
    let runs = shown([export("ns", "refused", 1, 1, &refused)]);
    assert!(runs.next_in(&clinic(), LIMITS).is_empty());
    assert!(runs.gets_place(&clinic(), "u", LIMITS, "ns-refused"));
    assert!(runs.next_in(&clinic(), LIMITS).is_empty(), "it only asked");
    assert!(!runs.gets_place(&clinic(), "u", LIMITS, "ns-unknown"));
}

#[test]
fn what_this_process_wrote_is_kept_once_when_the_watch_shows_it() {
    let runs = shown([export("ns", "one", 1, 1, &json!({}))]);
    runs.wrote(&export("ns", "one", 1, 3, &running(1)));
    let late = export("ns", "one", 1, 2, &json!({}));
    runs.shown(&appears(late.clone()));
    assert_eq!(version(&runs.newest(&late)), 3);
    let (seen, earlier) = (export("ns", "one", 1, 3, &running(1)), export("ns", "one", 1, 2, &json!({})));
    runs.shown(&Change { old: Some(late), new: Some(seen.clone()) });
    assert!(Arc::ptr_eq(&runs.newest(&earlier), &seen), "the copy of the store is the only one");
}

/// A step of the model.
#[derive(Clone, Debug)]
enum Step {
    /// This process writes a status.
    Write(u8, u8),
    /// Another process writes a status, and this process learns of it only from the watch.
    Other(u8, u8),
    /// The watch shows the next version of an object.
    Deliver(u8),
    /// An object is deleted, and the watch shows it.
    Delete(u8),
    Place(u8, bool),
    End(u8),
    Forget(u8),
}

fn step() -> impl Strategy<Value = Step> {
    let name = || 0_u8..8;
    prop_oneof![
        4 => (name(), 0_u8..7).prop_map(|(name, state)| Step::Write(name, state)),
        2 => (name(), 0_u8..7).prop_map(|(name, state)| Step::Other(name, state)),
        6 => name().prop_map(Step::Deliver),
        1 => name().prop_map(Step::Delete),
        3 => (name(), any::<bool>()).prop_map(|(name, holds)| Step::Place(name, holds)),
        1 => name().prop_map(Step::End),
        1 => name().prop_map(Step::Forget),
    ]
}

/// The API server with eight names, and what the watch has shown of them.
#[derive(Default)]
struct Model {
    version: u64,
    written: BTreeMap<u8, Vec<Arc<FhirExport>>>,
    seen: BTreeMap<u8, Arc<FhirExport>>,
    served: BTreeMap<String, Timestamp>,
}

impl Model {
    /// A new version of an object, in one of seven states. Half of the exports are of another namespace, and some of a
    /// Group.
    fn write(&mut self, name: u8, state: u8) -> Arc<FhirExport> {
        self.version += 1;
        let start = i64::try_from(self.version).unwrap();
        let status = match state {
            0 => json!({}),
            1 => queued(),
            2 => running(start),
            3 => done(start),
            4 => json!({ "startTime": at(start), "conditions": [{ "type": "Suspended", "status": "True",
                "reason": "Suspended", "message": "", "lastTransitionTime": at(0) }] }),
            5 => json!({ "conditions": [{ "type": "Accepted", "status": "False", "reason": "NotAllowed",
                "message": "", "lastTransitionTime": at(0) }] }),
            _ => json!({ "startTime": at(start) }),
        };
        // An end is never undone, and never written again.
        let last = self.written.get(&name).and_then(|all| all.last()?.status.clone());
        let ended = last.filter(is_terminal).map(|last| serde_json::to_value(last).unwrap());
        let status = ended.unwrap_or(status);
        let namespace = if name.is_multiple_of(2) { "ns" } else { "other" };
        let mut object =
            FhirExport::clone(&export(namespace, &name.to_string(), name.into(), self.version, &status));
        object.spec.request.group_id = (name < 4).then(|| (name % 2).to_string());
        object.spec.suspend = (state == 4).then_some(true);
        let object = Arc::new(object);
        self.written.entry(name).or_default().push(Arc::clone(&object));
        object
    }

    fn note_turn(&mut self, export: &FhirExport) {
        if let Some(start) = export.status.as_ref().and_then(|status| status.start_time) {
            let last = self.served.entry(export.namespace().unwrap()).or_insert(start);
            *last = start.max(*last);
        }
    }
}

/// Finds by a look at each export which ones are next, and how many need the server.
fn scan(model: &mut Model, runs: &Runs, limits: Limits) -> (Vec<String>, usize) {
    let newest: Vec<Arc<FhirExport>> = model.seen.values().map(|seen| runs.newest(seen)).collect();
    for export in &newest {
        model.note_turn(export);
    }
    let mut admission = Admission::default();
    for (namespace, at) in &model.served {
        admission.serve(namespace, *at);
    }
    for candidate in newest.iter().filter_map(|e| candidate(e, runs.holds_place(&uid_of(e)), false)) {
        admission.set(candidate);
    }
    let next: Vec<String> = admission.next(limits).map(|next| next.uid.clone()).collect();
    (next, newest.iter().filter(|export| uses_server(export)).count())
}

proptest! {
    /// In whatever order objects are written, shown and dropped, the places agree with a look at each export.
    #[test]
    fn the_places_say_what_a_scan_says(
        steps in proptest::collection::vec(step(), 1..80), places in 1_usize..5,
    ) {
        let runs = Runs::default();
        let mut model = Model::default();
        let limits = Limits { places, per_group: 1 };
        for step in steps {
            let uid_in = |model: &Model, name: u8| model.seen.get(&name).map(|seen| uid_of(seen));
            match step {
                Step::Write(name, state) => {
                    let written = model.write(name, state);
                    if model.seen.contains_key(&name) {
                        runs.wrote(&written);
                    }
                }
                Step::Other(name, state) => drop(model.write(name, state)),
                Step::Deliver(name) => {
                    let after = model.seen.get(&name).map_or(0, |seen| version(seen));
                    let mut all = model.written.get(&name).into_iter().flatten();
                    if let Some(new) = all.find(|object| version(object) > after).cloned() {
                        let old = model.seen.insert(name, Arc::clone(&new));
                        runs.shown(&Change { old, new: Some(new) });
                    }
                }
                Step::Delete(name) => {
                    if let Some(old) = model.seen.remove(&name) {
                        model.written.remove(&name);
                        let _ = runs.forget(&uid_of(&old));
                        runs.shown(&Change { old: Some(old), new: None });
                    }
                }
                Step::Place(name, holds) => {
                    if let Some(uid) = uid_in(&model, name) {
                        runs.note_place(&uid, holds);
                    }
                }
                Step::End(name) => {
                    let ended = |seen: &Arc<FhirExport>| runs.newest(seen).status.as_ref().is_some_and(is_terminal);
                    if model.seen.get(&name).is_some_and(ended) {
                        let _ = runs.ended(&uid_in(&model, name).unwrap());
                    }
                }
                Step::Forget(name) => {
                    if let Some(uid) = uid_in(&model, name) {
                        let _ = runs.forget(&uid);
                    }
                }
            }
            let (expected, users) = scan(&mut model, &runs, limits);
            let next = runs.next_in(&clinic(), limits);
            let next: Vec<String> = next.iter().map(|(namespace, name)| format!("{namespace}-{name}")).collect();
            prop_assert_eq!(next, expected);
            prop_assert_eq!(runs.users_of(&clinic()), users);
        }
        for old in std::mem::take(&mut model.seen).into_values() {
            let _ = runs.forget(&uid_of(&old));
            runs.shown(&Change { old: Some(old), new: None });
        }
        let _ = runs.retain(|_| false);
        let inner = locked(&runs.inner);
        prop_assert!(inner.places.servers.is_empty() && inner.places.shown.is_empty());
        prop_assert!(inner.places.held.iter().collect::<BTreeSet<_>>().is_empty());
    }
}
