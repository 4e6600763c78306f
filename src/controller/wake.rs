//! Who is looked at again when something changes.

use std::collections::HashMap;
use std::sync::Arc;

use futures::StreamExt;
use futures::channel::mpsc::{UnboundedReceiver, UnboundedSender, unbounded};
use kube::ResourceExt;
use kube::runtime::reflector::ObjectRef;

use crate::api::{
    ConditionStatus, ConditionType, FhirExport, FhirExportSchedule, FhirServer, RUN_NOW_ANNOTATION,
};
use crate::cluster::stores::{KubeStores, key, owner_of, server_key, template_server_key};
use crate::cluster::watch::{Change, matters, reference};
use crate::ports::Stores;

/// How many of the exports that wait for a place are woken when one is free: the others look again by
/// themselves, and ten thousand need not look each time.
const WOKEN: usize = 64;

/// Has objects reconciled. Cheap; many wakes of one object that was not reconciled yet are one.
#[derive(Clone, Debug)]
pub struct Wakes {
    exports: UnboundedSender<ObjectRef<FhirExport>>,
    servers: UnboundedSender<ObjectRef<FhirServer>>,
    schedules: UnboundedSender<ObjectRef<FhirExportSchedule>>,
}

/// The other ends, for kube's runtime.
pub struct Woken {
    /// Exports to reconcile.
    pub exports: UnboundedReceiver<ObjectRef<FhirExport>>,
    /// Servers to reconcile.
    pub servers: UnboundedReceiver<ObjectRef<FhirServer>>,
    /// Schedules to reconcile.
    pub schedules: UnboundedReceiver<ObjectRef<FhirExportSchedule>>,
}

impl Woken {
    /// Lets wakes pass until all other ends are gone.
    pub async fn ignore(&mut self) {
        let (exports, servers, schedules) = (&mut self.exports, &mut self.servers, &mut self.schedules);
        futures::join!(
            exports.by_ref().for_each(|_| std::future::ready(())),
            servers.by_ref().for_each(|_| std::future::ready(())),
            schedules.by_ref().for_each(|_| std::future::ready(()))
        );
    }
}

impl Wakes {
    /// All ends.
    pub fn new() -> (Self, Woken) {
        let (exports, woken_exports) = unbounded();
        let (servers, woken_servers) = unbounded();
        let (schedules, woken_schedules) = unbounded();
        let woken = Woken { exports: woken_exports, servers: woken_servers, schedules: woken_schedules };
        (Self { exports, servers, schedules }, woken)
    }

    /// Has an export reconciled.
    pub fn export(&self, namespace: &str, name: &str) {
        // It can only fail when the operator is stopping.
        let _ = self.exports.unbounded_send(reference(namespace, name));
    }

    /// Has a server reconciled.
    pub fn server(&self, namespace: &str, name: &str) {
        let _ = self.servers.unbounded_send(reference(namespace, name));
    }

    /// Has everything reconciled.
    pub fn all(&self, stores: &KubeStores) {
        for server in stores.server_store().state() {
            let (namespace, name) = key(server.as_ref());
            self.server(&namespace, &name);
        }
        for export in stores.exports() {
            let (namespace, name) = key(export.as_ref());
            self.export(&namespace, &name);
        }
        for schedule in stores.schedules() {
            let (namespace, name) = key(schedule.as_ref());
            self.schedule(&namespace, &name);
        }
    }

    /// Has a schedule reconciled.
    pub fn schedule(&self, namespace: &str, name: &str) {
        let _ = self.schedules.unbounded_send(reference(namespace, name));
    }

    /// A schedule changed: itself.
    pub fn schedule_changed(&self, change: &Change<FhirExportSchedule>) {
        let asked = |schedule: &Option<Arc<FhirExportSchedule>>| {
            schedule.as_ref().and_then(|schedule| schedule.annotations().get(RUN_NOW_ANNOTATION).cloned())
        };
        if let Some(new) =
            change.new.as_ref().filter(|_| matters(change) || asked(&change.old) != asked(&change.new))
        {
            let (namespace, name) = key(new.as_ref());
            self.schedule(&namespace, &name);
        }
    }

    /// An export changed: itself, its server, its schedule, and who waits for its place.
    pub fn export_changed(&self, stores: &impl Stores, change: &Change<FhirExport>) {
        if let (true, Some(new)) = (matters(change), &change.new) {
            let (namespace, name) = key(new.as_ref());
            self.export(&namespace, &name);
        }
        let (was, is) = (change.old.as_deref(), change.new.as_deref());
        // Deleted and made again while the watch was interrupted: both at once.
        let gone = change.gone().is_some();
        let appeared = was.is_none() || gone && is.is_some();
        let ended = was.is_some_and(|was| !finished(was)) && (gone || is.is_none_or(finished));
        let Some((namespace, name)) = is.or(was).map(server_key) else { return };
        let deleting = |export: &FhirExport| export.metadata.deletion_timestamp.is_some();
        if (ended || gone || is.is_some_and(deleting))
            && let Some(export) = is.or(was)
            && let Some(owner) = owner_of(export).filter(|owner| owner.kind == "FhirExportSchedule")
        {
            self.schedule(&export.namespace().unwrap_or_default(), &owner.name);
        }
        if appeared || ended || gone {
            self.server(&namespace, &name);
        }
        if ended || gone {
            for export in first_waiting(stores.exports_of(&namespace, &name)) {
                let (namespace, name) = key(export.as_ref());
                self.export(&namespace, &name);
            }
        }
    }

    /// A server changed: itself, and the exports that name it.
    pub fn server_changed(&self, stores: &impl Stores, change: &Change<FhirServer>) {
        let Some(server) = change.new.as_ref().or(change.old.as_ref()) else { return };
        let (namespace, name) = key(server.as_ref());
        if matters(change) {
            self.server(&namespace, &name);
        }
        let readiness = |server: &Option<Arc<FhirServer>>| server.as_deref().map(ready);
        if matters(change) || change.new.is_none() || readiness(&change.old) != readiness(&change.new) {
            for export in stores.exports_of(&namespace, &name).iter().filter(|e| !finished(e)) {
                let (namespace, name) = key(export.as_ref());
                self.export(&namespace, &name);
            }
            let theirs = stores.schedules().into_iter();
            let server = (namespace, name);
            for schedule in theirs.filter(|schedule| template_server_key(schedule) == server) {
                let (namespace, name) = key(schedule.as_ref());
                self.schedule(&namespace, &name);
            }
        }
    }
}

fn finished(export: &FhirExport) -> bool {
    export.status.as_ref().is_some_and(|status| status.completion_time.is_some())
}

/// Whether the server is ready, and of which generation that is: a schedule waits until a change is looked at.
fn ready(server: &FhirServer) -> Option<(Option<i64>, Option<ConditionStatus>)> {
    let status = server.status.as_ref()?;
    let ready = status.conditions.iter().find(|c| c.is(ConditionType::Ready));
    Some((status.observed_generation, ready.map(|c| c.status)))
}

/// Those without a job, in the order in which they get a place: namespaces in turn, each first come first served.
fn first_waiting(mut exports: Vec<Arc<FhirExport>>) -> Vec<Arc<FhirExport>> {
    let mut ahead: HashMap<String, usize> = HashMap::new();
    let has_job = |export: &FhirExport| export.status.as_ref().is_some_and(|status| status.job.is_some());
    for holder in exports.iter().filter(|export| !finished(export) && has_job(export)) {
        *ahead.entry(holder.namespace().unwrap_or_default()).or_default() += 1;
    }
    exports.retain(|export| !finished(export) && !has_job(export) && export.spec.suspend != Some(true));
    exports.sort_by_cached_key(|export| (export.creation_timestamp(), export.uid()));
    let turns = exports.into_iter().map(|export| {
        let turn = ahead.entry(export.namespace().unwrap_or_default()).or_default();
        *turn += 1;
        (*turn, export)
    });
    let mut turns: Vec<(usize, Arc<FhirExport>)> = turns.collect();
    turns.sort_by_key(|(turn, _)| *turn);
    turns.truncate(WOKEN);
    turns.into_iter().map(|(_, export)| export).collect()
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::needless_pass_by_value)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

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

    /// Names of the exports that are woken, in order, and how often a server is.
    fn woken(change: impl FnOnce(&Wakes)) -> (Vec<String>, usize) {
        let (wakes, mut woken) = Wakes::new();
        change(&wakes);
        drop(wakes);
        let exports = std::iter::from_fn(|| woken.exports.try_recv().ok()).map(|r| r.name).collect();
        (exports, std::iter::from_fn(|| woken.servers.try_recv().ok()).count())
    }

    #[test]
    fn our_own_status_wakes_nobody() {
        let change =
            Change { old: Some(export("one", 1, json!({}))), new: Some(export("one", 1, running())) };
        assert_eq!(woken(|w| w.export_changed(&Known::default(), &change)), (vec![], 0));
    }

    #[test]
    fn a_new_export_wakes_itself_and_its_server() {
        let change = Change { old: None, new: Some(export("one", 1, json!({}))) };
        assert_eq!(woken(|w| w.export_changed(&Known::default(), &change)), (vec!["one".into()], 1));
    }

    #[test]
    fn who_ends_or_goes_wakes_its_server_and_who_waits_in_order() {
        let known = Known::default()
            .with("third", 3, json!({ "state": "Queued" }))
            .with("second", 2, json!({}))
            .with("busy", 1, running())
            .with("over", 1, done());
        let waiting = vec!["second".to_string(), "third".to_string()];
        let ended = Change { old: Some(export("one", 1, running())), new: Some(export("one", 1, done())) };
        assert_eq!(woken(|w| w.export_changed(&known, &ended)), (waiting.clone(), 1));
        let gone = Change { old: Some(export("one", 1, running())), new: None };
        assert_eq!(woken(|w| w.export_changed(&known, &gone)), (waiting.clone(), 1));
        let mut anew = (*export("one", 1, json!({}))).clone();
        anew.metadata.uid = Some("another".into());
        let replaced = Change { old: Some(export("one", 1, running())), new: Some(Arc::new(anew)) };
        let (woken, servers) = woken(|w| w.export_changed(&known, &replaced));
        assert_eq!((woken, servers), ([vec!["one".into()], waiting].concat(), 1));
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

    /// Names of the schedules that are woken, in order.
    fn woken_schedules(change: impl FnOnce(&Wakes)) -> Vec<String> {
        let (wakes, mut woken) = Wakes::new();
        change(&wakes);
        drop(wakes);
        std::iter::from_fn(|| woken.schedules.try_recv().ok()).map(|reference| reference.name).collect()
    }

    fn run_of_a_schedule(status: Value, deleting: bool) -> Arc<FhirExport> {
        let mut run = FhirExport::clone(&export("nightly-1", 1, status));
        run.metadata.owner_references =
            serde_json::from_value(json!([{ "apiVersion": "fhirexport.dev/v1alpha1",
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
            let woken = woken_schedules(|w| w.export_changed(&Known::default(), &change));
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
    fn a_long_queue_is_not_woken_whole() {
        let known =
            (0..1000).fold(Known::default(), |known, n| known.with(&format!("e{n:04}"), n, json!({})));
        let gone = Change { old: Some(export("one", 1, running())), new: None };
        let (exports, _) = woken(|w| w.export_changed(&known, &gone));
        assert_eq!(exports.len(), WOKEN);
        assert_eq!(exports.first().map(String::as_str), Some("e0000"));
    }

    #[test]
    fn a_long_queue_of_one_namespace_hides_nobody() {
        let mut known =
            (0..1000).fold(Known::default(), |known, n| known.with(&format!("e{n:04}"), n, json!({})));
        let mut other = (*export("other", 5000, json!({}))).clone();
        other.metadata.namespace = Some("elsewhere".into());
        known.0.insert("other".into(), Arc::new(other));
        let known = known.with("busy", 0, running());
        let gone = Change { old: Some(export("one", 1, running())), new: None };
        let (exports, _) = woken(|w| w.export_changed(&known, &gone));
        assert_eq!((exports.len(), exports[0].as_str(), exports[1].as_str()), (WOKEN, "other", "e0000"));
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
}
