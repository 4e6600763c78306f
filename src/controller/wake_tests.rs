use serde_json::{Value, json};

use std::collections::HashMap;

use super::*;
use crate::ports::JobKey;

/// Exports by name, and schedules; all name the server `clinic` of namespace `ns`.
#[derive(Default)]
struct Known(HashMap<String, Arc<FhirExport>>, Vec<Arc<FhirExportSchedule>>);

impl Known {
    fn with(mut self, name: &str, created: i64, status: Value) -> Self {
        self.0.insert(name.into(), export(name, created, status));
        self
    }
}

impl Stores for Known {
    fn server(&self, _: &str, _: &str) -> Option<Arc<FhirServer>> {
        None
    }
    fn exports_of(&self, _: &str, _: &str) -> Vec<Arc<FhirExport>> {
        self.0.values().cloned().collect()
    }
    fn exports_with(&self, _: &JobKey) -> Vec<Arc<FhirExport>> {
        Vec::new()
    }
    fn export(&self, _: &str, name: &str) -> Option<Arc<FhirExport>> {
        self.0.get(name).cloned()
    }
    fn exports(&self) -> Vec<Arc<FhirExport>> {
        self.0.values().cloned().collect()
    }
    fn children_of(&self, _: &str) -> Vec<Arc<FhirExport>> {
        Vec::new()
    }
    fn schedules(&self) -> Vec<Arc<FhirExportSchedule>> {
        self.1.clone()
    }
}

fn export(name: &str, created: i64, status: Value) -> Arc<FhirExport> {
    let at = jiff::Timestamp::from_second(created).unwrap().to_string();
    let object = json!({
        "metadata": { "name": name, "namespace": "ns", "uid": name, "generation": 1, "creationTimestamp": at },
        "spec": { "serverRef": { "name": "clinic" }, "request": { "level": "System" } },
        "status": status,
    });
    Arc::new(serde_json::from_value(object).unwrap())
}

fn server(generation: i64, ready: &str) -> Arc<FhirServer> {
    let ready = json!([{ "type": "Ready", "status": ready, "reason": "X", "message": "",
        "lastTransitionTime": "2026-01-01T00:00:00Z" }]);
    let object = json!({
        "metadata": { "name": "clinic", "namespace": "ns", "uid": "clinic", "generation": generation },
        "spec": { "url": "https://x.example.org", "dialect": "Azure", "auth": { "type": "None" } },
        "status": { "conditions": ready },
    });
    Arc::new(serde_json::from_value(object).unwrap())
}

fn done() -> Value {
    json!({ "completionTime": "2026-01-01T00:00:00Z" })
}

fn running() -> Value {
    json!({ "job": { "intentTime": "2026-01-01T00:00:00Z" } })
}

/// The names of the exports that a change wakes, in order, and how many times it wakes a server.
fn woken(change: impl FnOnce(&Wakes)) -> (Vec<String>, usize) {
    let (wakes, mut woken) = Wakes::new();
    change(&wakes);
    drop(wakes);
    let exports = std::iter::from_fn(|| woken.exports.try_recv().ok()).map(|r| r.name).collect();
    (exports, std::iter::from_fn(|| woken.servers.try_recv().ok()).count())
}

#[test]
fn our_own_status_wakes_nobody() {
    let change = Change { old: Some(export("one", 1, json!({}))), new: Some(export("one", 1, running())) };
    assert_eq!(woken(|w| w.export_changed(&change)), (vec![], 0));
}

#[test]
fn a_new_export_wakes_itself_and_its_server() {
    let change = Change { old: None, new: Some(export("one", 1, json!({}))) };
    assert_eq!(woken(|w| w.export_changed(&change)), (vec!["one".into()], 1));
}

#[test]
fn who_ends_or_goes_wakes_its_server() {
    let ended = Change { old: Some(export("one", 1, running())), new: Some(export("one", 1, done())) };
    assert_eq!(woken(|w| w.export_changed(&ended)), (vec![], 1));
    let gone = Change { old: Some(export("one", 1, running())), new: None };
    assert_eq!(woken(|w| w.export_changed(&gone)), (vec![], 1));
    let mut anew = (*export("one", 1, json!({}))).clone();
    anew.metadata.uid = Some("another".into());
    let replaced = Change { old: Some(export("one", 1, running())), new: Some(Arc::new(anew)) };
    assert_eq!(woken(|w| w.export_changed(&replaced)), (vec!["one".into()], 1));
}

fn schedule(name: &str, asked: Option<&str>) -> Arc<FhirExportSchedule> {
    let annotations = asked.map(|token| json!({ RUN_NOW_ANNOTATION: token })).unwrap_or(json!({}));
    let object = json!({
        "metadata": { "name": name, "namespace": "ns", "uid": name, "generation": 1, "annotations": annotations },
        "spec": { "schedule": "0 2 * * *", "template": { "spec": { "serverRef": { "name": "clinic" },
            "request": { "level": "System" } } } },
    });
    Arc::new(serde_json::from_value(object).unwrap())
}

/// The names of the schedules that a change wakes, in order.
fn woken_schedules(change: impl FnOnce(&Wakes)) -> Vec<String> {
    let (wakes, mut woken) = Wakes::new();
    change(&wakes);
    drop(wakes);
    std::iter::from_fn(|| woken.schedules.try_recv().ok()).map(|reference| reference.name).collect()
}

fn run_of_a_schedule(status: Value, deleting: bool) -> Arc<FhirExport> {
    let mut run = FhirExport::clone(&export("nightly-1", 1, status));
    run.metadata.owner_references = serde_json::from_value(json!([{ "apiVersion": "fhirexport.dev/v1alpha1",
        "kind": "FhirExportSchedule", "name": "nightly", "uid": "nightly", "controller": true }]))
    .unwrap();
    run.metadata.deletion_timestamp =
        deleting.then(|| serde_json::from_value(json!("2026-01-01T00:00:00Z")).unwrap());
    Arc::new(run)
}

#[test]
fn a_schedule_is_woken_by_its_runs_when_they_end_or_go() {
    let run = run_of_a_schedule;
    for (old, new, wakes) in [
        (None, Some(run(json!({}), false)), false),
        (Some(run(json!({}), false)), Some(run(running(), false)), false),
        (Some(run(running(), false)), Some(run(done(), false)), true),
        (Some(run(running(), false)), Some(run(running(), true)), true),
        (Some(run(done(), false)), None, true),
        (Some(export("by-hand", 1, running())), Some(export("by-hand", 1, done())), false),
    ] {
        let change = Change { old, new };
        let woken = woken_schedules(|w| w.export_changed(&change));
        assert_eq!(!woken.is_empty(), wakes, "{change:?}");
    }
}

#[test]
fn a_schedule_is_woken_when_it_is_asked_for_a_run_and_when_its_server_comes() {
    let change = |old, new| woken_schedules(|w| w.schedule_changed(&Change { old, new }));
    let nightly = vec!["nightly".to_string()];
    assert_eq!(change(None, Some(schedule("nightly", None))), nightly);
    let (one, two) = (Some(schedule("nightly", Some("1"))), Some(schedule("nightly", Some("2"))));
    assert_eq!(change(one.clone(), two), nightly);
    assert_eq!(change(one.clone(), one), Vec::<String>::new());
    let known = Known(HashMap::new(), vec![schedule("nightly", None)]);
    let server_comes = Change { old: None, new: Some(server(1, "False")) };
    assert_eq!(woken_schedules(|w| w.server_changed(&known, &server_comes)), nightly);
    let seen = |generation| {
        let mut server = FhirServer::clone(&server(2, "True"));
        server.status.as_mut().unwrap().observed_generation = Some(generation);
        Some(Arc::new(server))
    };
    let looked_at = Change { old: seen(1), new: seen(2) };
    assert_eq!(woken_schedules(|w| w.server_changed(&known, &looked_at)), nightly);
    let same = Change { old: seen(2), new: seen(2) };
    assert_eq!(woken_schedules(|w| w.server_changed(&known, &same)), Vec::<String>::new());
}

#[test]
fn a_server_wakes_its_exports_when_it_changes_but_not_at_each_probe() {
    let known = Known::default().with("one", 1, running()).with("over", 1, done());
    let change = |old, new| woken(|w| w.server_changed(&known, &Change { old, new }));
    let one = vec!["one".to_string()];
    assert_eq!(change(None, Some(server(1, "False"))), (one.clone(), 1));
    assert_eq!(change(Some(server(1, "False")), Some(server(1, "False"))), (vec![], 0));
    assert_eq!(change(Some(server(1, "False")), Some(server(1, "True"))), (one.clone(), 0));
    assert_eq!(change(Some(server(1, "True")), Some(server(2, "True"))), (one.clone(), 1));
    assert_eq!(change(Some(server(1, "True")), None), (one, 0));
}
