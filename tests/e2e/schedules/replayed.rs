//! Thirty runs of a schedule from a server whose data change all the time, also while exports run. Some runs fail, some
//! are cancelled or deleted, the operator is killed repeatedly and is down for two days. Loading the runs of the chain
//! in order yields exactly the data that the server has at the end.

use std::cell::Cell;
use std::sync::MutexGuard;
use std::time::Duration;

use azure_storage_blob::BlobContainerClient;
use bulk_fhir::{Options, Patients, Script, Server};
use fhir_export_operator::api::{ChainedRun, FhirExport, FhirExportSchedule, RunMode};
use fhir_export_operator::core::schedule::name_of_token;
use jiff::{Timestamp, ToSpan};
use kube::ResourceExt;
use kube::api::{ListParams, Patch, PatchParams, PostParams};
use replay::{Change, Changes, Journal, Mode, Run, State};
use serde_json::json;
use stage::{Folder, wait_for};

use super::ahead;
use super::example::Example;
use super::mishap::Mishap;
use crate::place::Place;
use crate::site::{PATIENCE, Site, condition, shared};

const SCHEDULE: &str = "always";
const RUNS: usize = 30;
/// The time between two changes of the data.
const PACE: Duration = Duration::from_millis(5);
const TWO_DAYS: i64 = 2 * 24 * 3600;

/// Changes a server's data until `stop` is set, and returns a journal of the changes.
pub async fn change<'a>(
    patients: impl Fn() -> MutexGuard<'a, Patients>,
    seed: u64,
    stop: &Cell<bool>,
) -> Journal {
    let mut journal = Journal::default();
    for change in Changes::new(seed, true) {
        if stop.get() {
            break;
        }
        match change {
            Change::Put(resource) => {
                let (kind, id) = (resource["resourceType"].clone(), resource["id"].clone());
                let mut patients = patients();
                patients.change(resource).unwrap();
                journal.put(patients.get(kind.as_str().unwrap(), id.as_str().unwrap()).unwrap());
            }
            Change::Delete { kind, id } => {
                assert!(patients().remove(&kind, &id));
                journal.deleted(&format!("{kind}/{id}"));
            }
        }
        // Not a wait for a condition: the data change at this pace, also while exports run.
        tokio::time::sleep(PACE).await;
    }
    journal
}

/// The schedule, and the runs that its chain has named so far.
struct Story<'a> {
    site: &'a mut Site,
    fhir: &'a Server,
    chain: Vec<ChainedRun>,
}

impl Story<'_> {
    /// Creates the schedule, whose own times are half an hour away.
    async fn begin(&self) {
        let minute = Timestamp::now().checked_add(30.minutes()).unwrap().strftime("%M").to_string();
        let object = json!({
            "apiVersion": "fhirexport.dev/v1alpha1", "kind": "FhirExportSchedule", "metadata": {"name": SCHEDULE},
            "spec": {
                "schedule": format!("{minute} * * * *"),
                "successfulRunsHistoryLimit": 100, "failedRunsHistoryLimit": 100,
                "incremental": {"overlapSeconds": 0},
                "template": {"spec": {"serverRef": {"name": "clinic"},
                    "request": {"level": "System", "container": self.site.namespace}}}}});
        let object: FhirExportSchedule = serde_json::from_value(object).unwrap();
        self.site.api().create(&PostParams::default(), &object).await.unwrap();
    }

    async fn schedule(&self) -> FhirExportSchedule {
        self.site.api::<FhirExportSchedule>().get(SCHEDULE).await.unwrap()
    }

    /// Requests a run as the command `schedule run` does, and returns the run's name.
    async fn ask(&self, token: &str) -> String {
        let patch = json!({"metadata": {"annotations": {"fhirexport.dev/run-now": token}}});
        let api = self.site.api::<FhirExportSchedule>();
        api.patch(SCHEDULE, &PatchParams::default(), &Patch::Merge(patch)).await.unwrap();
        name_of_token(SCHEDULE, token)
    }

    /// Waits until the operator has created a run.
    async fn made(&self, name: &str) -> FhirExport {
        let api = self.site.api::<FhirExport>();
        let made = wait_for(&format!("{name} to be made"), PATIENCE, || api.get(name)).await;
        self.site.told(made)
    }

    /// Performs one run with its mishap, and waits until no run of the schedule is active.
    async fn run(&mut self, number: usize, mishap: Mishap) {
        let covered = self.covered().await;
        self.fhir.script(mishap.script());
        if mishap == Mishap::KilledBefore {
            self.site.kill_operator().await;
        }
        let full = if mishap == Mishap::Full { "full-" } else { "" };
        let name = self.ask(&format!("{full}{number}")).await;
        if mishap == Mishap::KilledBefore {
            self.site.start_operator().await;
        }
        self.made(&name).await;
        match mishap {
            Mishap::Cancelled => {
                self.site.until_condition(&name, "Reconciling", "False", "KickedOff").await;
                self.site.change(&name, json!({"cancel": true})).await;
            }
            Mishap::Deleted => {
                self.site.until_condition(&name, "Reconciling", "False", "KickedOff").await;
                self.site.delete(&name).await;
            }
            Mishap::KilledInJob => {
                self.site.until_condition(&name, "Reconciling", "False", "KickedOff").await;
                self.site.kill_operator().await;
                self.site.start_operator().await;
            }
            Mishap::KilledInLanding => {
                let sending =
                    || self.fhir.jobs().last().is_some_and(|j| j.files.iter().any(|f| f.bytes_sent > 0));
                let sent = wait_for("files to be on their way", PATIENCE, || async {
                    if sending() { Ok(()) } else { Err("none") }
                });
                let sent = sent.await;
                self.site.told(sent);
                self.site.kill_operator().await;
                self.site.start_operator().await;
            }
            _ => {}
        }
        self.absorbed(&name).await;
        assert_eq!(self.covered().await != covered, mishap.counts(), "run {number}, {mishap:?}");
        let last = self.chain.last();
        assert!(!mishap.counts() || last.is_some_and(|last| last.name == name), "{name} is not in the chain");
        let wanted = if mishap == Mishap::Full || number == 0 { RunMode::Full } else { RunMode::Incremental };
        assert!(!mishap.counts() || last.is_some_and(|last| last.mode == wanted), "{name}: {last:?}");
    }

    async fn covered(&self) -> Option<String> {
        self.schedule().await.status?.chain?.covered_until
    }

    /// Waits until the schedule has recorded a run that ended, and appends the new runs of the chain to `self.chain`.
    async fn absorbed(&mut self, name: &str) {
        let api = self.site.api::<FhirExportSchedule>();
        let done = wait_for(&format!("{name} to be taken in"), PATIENCE, || async {
            let status = api.get(SCHEDULE).await.map_err(|e| e.to_string())?.status.unwrap_or_default();
            if status.active.is_empty() { Ok(status) } else { Err(format!("{:?}", status.active)) }
        })
        .await;
        let status = self.site.told(done);
        let told = status.chain.unwrap_or_default().history;
        for run in told {
            if self.chain.iter().any(|known| known.uid == run.uid) {
                continue;
            }
            let before = self.chain.last().map(|before| before.transaction_time.clone());
            let since = if run.mode == RunMode::Full { None } else { before };
            assert_eq!(run.since, since, "{} goes on where the run before it ended", run.name);
            self.chain.push(run);
        }
    }

    async fn children(&self) -> Vec<FhirExport> {
        let labelled = ListParams::default().labels(&format!("fhirexport.dev/schedule={SCHEDULE}"));
        self.site.api().list(&labelled).await.unwrap().items
    }

    /// The operator is down while its clock advances by two days. For the 48 runs that it missed it creates one.
    async fn outage(&mut self) {
        let before = self.children().await.len();
        let covered = self.covered().await;
        self.site.kill_operator().await;
        self.site.variables = ahead::environment(TWO_DAYS, self.site.folder.path());
        self.fhir.script(Script::polls(1));
        let back = Timestamp::now().checked_add(jiff::SignedDuration::from_secs(TWO_DAYS)).unwrap();
        self.site.start_operator().await;
        let api = self.site.api::<FhirExportSchedule>();
        let caught_up = wait_for("the schedule to catch up", PATIENCE, || async {
            let status = api.get(SCHEDULE).await.map_err(|e| e.to_string())?.status.unwrap_or_default();
            let run = status.active.first().map(|run| run.name.clone());
            let last = status.last_schedule_time.ok_or("no run by the clock yet")?;
            run.or_else(|| status.chain.and_then(|chain| Some(chain.history.last()?.name.clone())))
                .map(|name| (last, name))
                .ok_or("no run")
                .map_err(str::to_owned)
        })
        .await;
        let (last, name) = self.site.told(caught_up);
        let missed = back.checked_sub(1.hour()).unwrap();
        assert!(missed <= last && last <= back, "{last} is the last time before {back}");
        self.absorbed(&name).await;
        assert_eq!(self.children().await.len(), before + 1, "one run makes up for all that were missed");
        let run = self.chain.last().unwrap();
        assert_eq!((run.since.clone(), run.name.clone()), (covered, name));
    }

    async fn container(&self) -> BlobContainerClient {
        blobs::container(&shared().await.azurite, &self.site.namespace).await.unwrap()
    }

    /// Loads the new runs with the documentation's example.
    async fn load(&self, example: &mut Example<'_>) {
        let schedule = serde_json::to_value(self.schedule().await).unwrap();
        example.load(&self.container().await, &self.chain, &schedule).await;
    }

    /// The resources that loading the runs of the chain in order yields.
    async fn loaded(&self) -> State {
        let container = self.container().await;
        let mut state = State::default();
        for run in &self.chain {
            let files = blobs::folder(&container, run.folder.as_deref().unwrap()).await.unwrap();
            let landed = Run::of(&files).unwrap();
            assert_eq!(landed.transaction_time.as_ref(), Some(&run.transaction_time));
            let mode = if run.mode == RunMode::Full { Mode::Full } else { Mode::Incremental };
            state.load(mode, &landed);
        }
        state
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn thirty_runs_with_mishaps_and_an_outage_of_two_days_lose_nothing() {
    let mut place = Place::start("replayed", Options::default(), json!({})).await;
    let Place { site, fhir, .. } = &mut place;
    let fhir: &Server = fhir;
    let mut story = Story { site, fhir, chain: Vec::new() };
    story.begin().await;
    let folder = Folder::new("lake").unwrap();
    let mut example = Example::new(folder.path());
    let stop = Cell::new(false);
    let (journal, ()) = tokio::join!(change(|| fhir.patients(), 5, &stop), async {
        for number in 0..RUNS - 2 {
            story.run(number, Mishap::of(number)).await;
            if number % 5 == 0 {
                story.load(&mut example).await;
            }
            // Three runs in a row have failed by now.
            if number == 14 {
                story.outage().await;
            }
        }
        stop.set(true);
    });
    // One more run covers what changed after the previous one began.
    story.run(RUNS - 1, Mishap::None).await;

    let failed = (0..RUNS).filter(|number| !Mishap::of(*number).counts()).count();
    assert_eq!(story.chain.len(), RUNS - failed, "{:?}", story.chain);
    let server = State::of(fhir.patients().latest().filter_map(|latest| latest.resource.cloned()));
    let told = journal.compare(&story.loaded().await, &server);
    println!("{} runs, {failed} failed: {} changes made, {} landed", RUNS, told.made, told.landed);
    assert!(told.none(), "{told:?}");
    story.load(&mut example).await;
    let by_example = journal.compare(&example.known(), &server);
    assert!(by_example.none(), "{by_example:?}");
    // The example must refuse increments without the full run that they build on.
    let mut schedule = serde_json::to_value(story.schedule().await).unwrap();
    let history = schedule["status"]["chain"]["history"].as_array_mut().unwrap();
    history.retain(|run| run["mode"] == "Incremental");
    let refused = example.call(&schedule, "another.db").unwrap_err();
    assert!(refused.contains("wait for the next full run"), "{refused}");
    assert!(told.made > 1000, "{}", told.made);
    // A run is part of the chain exactly if it completed without errors.
    for child in story.children().await {
        let chained = story.chain.iter().any(|run| run.name == child.name_any());
        let exported = condition(&child, "Complete").is_some_and(|c| c.0 == "True" && c.1 == "Exported");
        assert_eq!(chained, exported, "{}", child.name_any());
    }
}
