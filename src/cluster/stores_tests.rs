use std::collections::BTreeMap;

use kube::runtime::{reflector, watcher};
use proptest::prelude::*;
use serde_json::json;

use super::*;

/// The numbers of an export's server, and of its owner and its job if it has them; `None` if there is no such export.
type State = Option<(u8, Option<u8>, Option<u8>)>;

fn export(name: u8, (server, owner, job): (u8, Option<u8>, Option<u8>)) -> Arc<FhirExport> {
    let owner = owner.map(|owner| {
        json!([{
            "apiVersion": "fhir.example/v1", "kind": "FhirExportSchedule", "name": "s",
            "uid": format!("owner-{owner}"), "controller": true,
        }])
    });
    // Several servers may use the same status URL for their jobs.
    let status = job.map(|job| {
        json!({
            "server": {"uid": "u", "url": format!("https://{server}.example")},
            "job": {"intentTime": "2026-01-01T00:00:00Z", "statusURL": format!("https://x.example/{job}")},
        })
    });
    let object = json!({
        "metadata": {"name": format!("e{name}"), "namespace": "ns", "ownerReferences": owner},
        "spec": {"serverRef": {"name": format!("s{server}")}, "request": {"level": "System"}},
        "status": status,
    });
    Arc::new(serde_json::from_value(object).unwrap())
}

fn names(exports: impl IntoIterator<Item = Arc<FhirExport>>) -> BTreeSet<String> {
    exports.into_iter().map(|export| export.name_any()).collect()
}

fn state() -> impl Strategy<Value = State> {
    let of = |max: u8| proptest::option::of(0..max);
    proptest::option::weighted(0.8, (0_u8..3, of(2), of(3)))
}

proptest! {
    /// After any sequence of changes, the indices agree with a look at each export.
    #[test]
    fn the_indices_say_what_a_scan_says(changes in proptest::collection::vec((0_u8..6, state()), 1..60)) {
        let (exports, mut writer) = reflector::store();
        let stores = KubeStores::new(exports, reflector::store().0, reflector::store().0);
        let mut known: BTreeMap<u8, Arc<FhirExport>> = BTreeMap::new();
        for (name, state) in changes {
            let new = state.map(|state| export(name, state));
            let old = match &new {
                Some(new) => {
                    writer.apply_watcher_event(&watcher::Event::Apply(FhirExport::clone(new)));
                    known.insert(name, Arc::clone(new))
                }
                None => known.remove(&name),
            };
            if let (Some(old), None) = (&old, &new) {
                writer.apply_watcher_event(&watcher::Event::Delete(FhirExport::clone(old)));
            }
            stores.note(&Change { old, new });
            let scan = |like: &dyn Fn(&FhirExport) -> bool| {
                names(known.values().filter(|export| like(export)).cloned())
            };
            for server in 0..3 {
                let of = ("ns".to_owned(), format!("s{server}"));
                prop_assert_eq!(names(stores.exports_of(&of.0, &of.1)), scan(&|export| server_key(export) == of));
            }
            for owner in ["owner-0", "owner-1"] {
                let owned = |export: &FhirExport| owner_of(export).is_some_and(|o| o.uid == owner);
                prop_assert_eq!(names(stores.children_of(owner)), scan(&owned));
            }
            for export in known.values() {
                let Some(job) = JobKey::of(export) else { continue };
                let same = |other: &FhirExport| JobKey::of(other).as_ref() == Some(&job);
                prop_assert_eq!(names(stores.exports_with(&job)), scan(&same));
            }
        }
        for old in known.into_values() {
            stores.note(&Change { old: Some(old), new: None });
        }
        let kept = (
            stores.by_server.read().unwrap().len(),
            stores.by_owner.read().unwrap().len(),
            stores.by_job.read().unwrap().len(),
        );
        prop_assert_eq!(kept, (0, 0, 0), "nothing is kept of what is gone");
    }
}
