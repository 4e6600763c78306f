//! A schedule's deletion of old runs: it deletes the chains that are not kept, one after the other, also if the
//! operator is killed in between. The kept chain can be loaded as before, and nothing else is touched.

use std::cell::Cell;
use std::collections::BTreeMap;

use azure_fhir::{Failure, Script};
use azure_storage_blob::BlobContainerClient;
use fhir_export_operator::api::{ChainedRun, FhirExportSchedule, FhirExportScheduleStatus, RunMode};
use fhir_export_operator::core::schedule::name_of_token;
use futures::TryStreamExt;
use k8s_openapi::api::events::v1::Event;
use kube::Api;
use kube::api::{ListParams, Patch, PatchParams, PostParams};
use replay::{Mode, Run, State};
use serde_json::{Value, json};
use stage::wait_for;

use super::ahead;
use super::replayed::change;
use crate::site::{PATIENCE, Site, shared};

const NAME: &str = "retained";
/// Seconds that are longer than the wait after a failed deletion.
const LATER: i64 = 2 * 3600;

type Blobs = BTreeMap<String, Vec<u8>>;

async fn patch(site: &Site, patch: Value) {
    let api: Api<FhirExportSchedule> = site.api();
    api.patch(NAME, &PatchParams::default(), &Patch::Merge(patch)).await.unwrap();
}

async fn until(
    site: &Site,
    what: &str,
    wanted: impl Fn(&FhirExportScheduleStatus) -> bool,
) -> FhirExportScheduleStatus {
    let api: Api<FhirExportSchedule> = site.api();
    let done = wait_for(what, PATIENCE, || async {
        let status = api.get(NAME).await.map_err(|e| e.to_string())?.status.unwrap_or_default();
        if wanted(&status) { Ok(status) } else { Err(serde_json::to_string(&status).unwrap()) }
    })
    .await;
    site.told(done)
}

fn says(status: &FhirExportScheduleStatus, value: &str, reason: &str) -> bool {
    let found = status.conditions.iter().find(|c| c.type_ == "OldFilesDeleted");
    found.is_some_and(|c| format!("{:?}", c.status) == value && c.reason == reason)
}

/// Requests a run and waits until the schedule has recorded it. Returns the run's entry in the chain, if it has one.
async fn run(site: &Site, token: &str) -> Option<ChainedRun> {
    patch(site, json!({"metadata": {"annotations": {"fhirexport.dev/run-now": token}}})).await;
    let name = name_of_token(NAME, token);
    let status = until(site, &format!("{token} to be taken in"), |status| {
        status.active.is_empty() && status.last_run_now.as_ref() == Some(&name)
    })
    .await;
    status.chain.unwrap_or_default().history.into_iter().find(|run| run.name == name)
}

/// The contents of all blobs of the container, by name.
async fn all(container: &BlobContainerClient) -> Blobs {
    let listed: Vec<_> = container.list_blobs(None).unwrap().try_collect().await.unwrap();
    let mut blobs = Blobs::new();
    for name in listed.into_iter().filter_map(|blob| blob.name) {
        let body = container.blob_client(&name).download(None).await.unwrap().body.collect().await.unwrap();
        blobs.insert(name, body.to_vec());
    }
    blobs
}

fn folder(run: &ChainedRun) -> String {
    run.folder.clone().unwrap()
}

fn below(blobs: &Blobs, folder: &str) -> Vec<String> {
    let prefix = format!("{folder}/");
    blobs.keys().filter(|name| name.starts_with(&prefix)).cloned().collect()
}

async fn loaded(container: &BlobContainerClient, chain: &[ChainedRun]) -> State {
    let mut state = State::default();
    for run in chain {
        let Some(folder) = run.folder.as_deref() else { continue };
        let landed = Run::of(&blobs::folder(container, folder).await.unwrap()).unwrap();
        state.load(if run.mode == RunMode::Full { Mode::Full } else { Mode::Incremental }, &landed);
    }
    state
}

#[tokio::test(flavor = "multi_thread")]
async fn old_chains_go_and_what_is_kept_is_still_what_the_server_has() {
    let mut site = Site::start("retained").await;
    let container = blobs::container(&shared().await.azurite, &site.namespace).await.unwrap();
    let object: FhirExportSchedule = serde_json::from_value(json!({
        "apiVersion": "fhirexport.dev/v1alpha1", "kind": "FhirExportSchedule", "metadata": {"name": NAME},
        "spec": {
            "schedule": "0 0 29 2 *",
            "successfulRunsHistoryLimit": 1,
            "incremental": {"overlapSeconds": 0},
            "template": {"spec": {"serverRef": {"name": "clinic"}, "request": {"level": "System",
                "container": site.namespace, "includeAssociatedData": ["_deleted"]}}}}}))
    .unwrap();
    site.api().create(&PostParams::default(), &object).await.unwrap();

    // Without `retention`, nothing is deleted.
    let first = [run(&site, "full-a").await.unwrap(), run(&site, "full-b").await.unwrap()];
    let status = until(&site, "taken in", |status| status.active.is_empty()).await;
    assert_eq!(status.retention, None);
    let before = all(&container).await;
    assert!(first.iter().all(|run| below(&before, &folder(run)).len() > 1), "{:?}", before.keys());
    // An export that is not the schedule's, in the same container.
    let request = json!({"level": "System", "types": ["Patient"], "container": site.namespace});
    site.export("foreign", request, json!({})).await;
    site.complete("foreign").await;

    patch(&site, json!({"spec": {"retention": {"fullChains": 1}}})).await;
    let (stop, mut old, mut new) = (Cell::new(false), Vec::new(), Vec::new());
    let mut untouched = Blobs::new();
    let token = Cell::new(0);
    let next = |prefix: &str| {
        token.set(token.get() + 1);
        format!("{prefix}{}", token.get())
    };
    let journal = {
        let patients = || site.fhir.patients();
        let story = async {
            old.push(run(&site, &next("full-")).await.unwrap());
            old.push(run(&site, &next("")).await.unwrap());
            site.fhir.script(Script::fails(Failure::StorageAccessDenied).container(&site.namespace));
            assert_eq!(
                run(&site, &next("")).await,
                None,
                "it fails, and another one does what it should have"
            );
            old.push(run(&site, &next("")).await.unwrap());
            for run in &old {
                for name in
                    [format!("{}x/Patient-1.ndjson", folder(run)), format!("{}0/manifest.json", folder(run))]
                {
                    blobs::put(&container, &name, name.as_bytes()).await.unwrap();
                }
            }
            untouched = all(&container).await;
            // A lease holds one file of the newest run, so that the operator can delete only a part of its folder.
            let files = below(&untouched, &folder(&old[2]));
            assert!(files.len() > 2, "{files:?}");
            let held = files.iter().find(|name| name.ends_with(".ndjson")).unwrap().clone();
            container.blob_client(&held).acquire_lease(-1, None).await.unwrap();
            new.push(run(&site, &next("full-")).await.unwrap());
            let status =
                until(&site, "a deletion in its middle", |s| says(s, "False", "DeletionFailed")).await;
            let going = status.retention.unwrap().deleting.unwrap();
            assert_eq!((going.folder, going.files > 0), (folder(&old[2]), true));
            let half = all(&container).await;
            let left = below(&half, &folder(&old[2]));
            assert_eq!(
                left,
                [held.clone(), format!("{}/manifest.json", folder(&old[2]))],
                "the manifest goes last"
            );
            // The runs before it in its chain are whole.
            loaded(&container, &old[..2]).await;
            // The schedule continues with runs meanwhile.
            new.push(run(&site, &next("")).await.unwrap());
            container.blob_client(&held).break_lease(None).await.unwrap();
            stop.set(true);
        };
        tokio::join!(change(patients, 11, &stop), story).0
    };
    site.kill_operator().await;
    site.variables = ahead::environment(LATER, site.folder.path());
    site.start_operator().await;
    until(&site, "the rest to go", |s| says(s, "True", "Retained")).await;
    new.extend(run(&site, &next("")).await);

    let after = all(&container).await;
    for run in &old {
        assert_eq!(below(&after, &folder(run)), [""; 0]);
        untouched.retain(|name, _| !name.starts_with(&format!("{}/", folder(run))));
    }
    for (name, bytes) in &untouched {
        assert_eq!(after.get(name), Some(bytes), "{name} is not as it was");
    }
    let status = until(&site, "at rest", |status| status.active.is_empty()).await;
    let retention = status.retention.unwrap();
    let last = retention.last_deleted.unwrap();
    assert_eq!((last.folder, last.chain.contains("manual")), (folder(&old[0]), true), "the full run last");
    assert_eq!(retention.chains.iter().filter(|chain| chain.full).count(), 1);
    let events: Api<Event> = site.api();
    let events = events.list(&ListParams::default()).await.unwrap().items;
    let told = events.iter().filter(|e| e.reason.as_deref() == Some("FolderDeleted"));
    let told: Vec<&str> = told.filter_map(|event| event.note.as_deref()).collect();
    assert_eq!(told.len(), 3, "{told:?}");
    assert!(old.iter().all(|run| told.iter().any(|note| note.contains(&folder(run)))), "{told:?}");

    let server = State::of(site.fhir.patients().latest().filter_map(|latest| latest.resource.cloned()));
    let told = journal.compare(&loaded(&container, &new).await, &server);
    println!("{} changes made, {} landed in what is kept", told.made, told.landed);
    assert!(told.none() && told.made > 100, "{told:?}");
}
