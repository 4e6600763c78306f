//! This version continues the exports that an earlier version had stored.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures::TryStreamExt;
use kube::runtime::{WatchStreamExt, watcher};
use serde_json::Value;
use stage::wait_for;
use tokio::task::JoinSet;

use super::phases::{
    AZURE_JOBS, BULK_JOBS, azure_script, bulk_script, container, end_well, release, run, world,
};
use super::recording::{Recording, api, kinds};
use super::schema;
use crate::place::Place;
use crate::site::PATIENCE;

const EARLIER: &str = "df878be";

/// What definitions of the earlier version may drop: fields that only repeat what the conditions say, so that an
/// operator which goes back loses nothing.
const MAY_BE_LOST: [&str; 2] = ["status.message", "status.reason"];

/// Kicks off the jobs that the earlier version had started. Returns their ids and status URLs, by the names of their
/// exports.
async fn kick_off(place: &Place) -> BTreeMap<String, (String, String)> {
    let mut jobs = BTreeMap::new();
    for name in BULK_JOBS.into_iter().map(str::to_owned).chain([run()]) {
        place.fhir.script(bulk_script(&name));
        send(&format!("{}/$export", place.fhir.url())).await;
        let job = place.last_job();
        jobs.insert(name, (job.id, job.status_url));
    }
    let azure = &place.site.fhir;
    for (nth, name) in AZURE_JOBS.into_iter().enumerate() {
        azure.script(azure_script(name));
        send(&format!("{}/$export?_container={}", azure.url(), container(name, &place.container()))).await;
        let made =
            wait_for("the job", PATIENCE, || async { azure.jobs().get(nth).cloned().ok_or("not yet") });
        let job = made.await.unwrap();
        jobs.insert(name.to_owned(), (job.id, job.status_url));
    }
    jobs
}

/// Sends a kick-off. Its answer may never come.
async fn send(url: &str) {
    let kick_off = reqwest::Client::new()
        .get(url)
        .header("accept", "application/fhir+json")
        .header("prefer", "respond-async")
        .timeout(Duration::from_secs(1));
    let _ = kick_off.send().await;
}

/// All statuses that are stored from the start of the watch on, each with the plural of its kind.
struct Statuses {
    seen: Arc<Mutex<Vec<(String, Value)>>>,
    _watches: JoinSet<()>,
}

impl Statuses {
    fn watch(place: &Place) -> Self {
        let seen = Arc::new(Mutex::new(Vec::new()));
        let mut watches = JoinSet::new();
        for resource in kinds() {
            let (api, seen) = (api(&place.site, &resource), Arc::clone(&seen));
            watches.spawn(async move {
                let objects = watcher(api, watcher::Config::default()).applied_objects();
                let kept = objects.try_for_each(|object| {
                    let status = object.data.get("status").cloned().unwrap_or_default();
                    seen.lock().unwrap().push((resource.plural.clone(), status));
                    std::future::ready(Ok(()))
                });
                kept.await.unwrap();
            });
        }
        Self { seen, _watches: watches }
    }
}

#[tokio::test]
async fn exports_of_an_earlier_version_go_on_in_every_phase() {
    let recording = Recording::read(EARLIER);
    let mut place = world("upgraded").await;
    let jobs = kick_off(&place).await;
    recording.make(&place, &jobs).await;
    let id = |name: &str| jobs[name].0.clone();
    let statuses = Statuses::watch(&place);

    place.site.start_operator().await;
    // The operator continues each job where it was, and starts no second one.
    for name in ["running", "cancelling", "deleting"] {
        let looked = |job: &bulk_fhir::JobView| job.polls > 0 || job.cancel_requests > 0;
        place.until_served(name, |server| server.job(&id(name)).as_ref().is_some_and(looked)).await;
    }
    assert_eq!((place.fhir.kick_offs(), place.site.kick_offs()), (5, 2));
    release(&place, &id).await;
    end_well(&place, &id).await;
    // The new kick-offs are those of exports that waited, were suspended, or had been refused.
    assert_eq!((place.fhir.kick_offs(), place.site.kick_offs()), (8, 2));

    let seen = statuses.seen.lock().unwrap().clone();
    assert!(seen.len() > 20, "{}", seen.len());
    for (plural, status) in seen {
        let mut lost = schema::lost(&recording.schemas[&plural], &status);
        lost.retain(|field| !MAY_BE_LOST.contains(&field.as_str()));
        assert!(
            lost.is_empty(),
            "the definitions of {EARLIER} do not keep {lost:?} of {plural}. May an operator that goes back lose it? \
             See docs/upgrades.md"
        );
    }
}
