//! A schedule of a group that patients join and leave while their data change. The runs of the chain together hold
//! exactly the server's data of the group's members. Runs fail at each stage, and the operator is killed at each.

use std::cell::Cell;
use std::collections::BTreeSet;
use std::time::Duration;

use bulk_fhir::{Options, Patients, Quirks, Script, Server};
use fhir_export_operator::api::{ChainedRun, FhirExport, FhirExportSchedule, RunMode};
use fhir_export_operator::core::schedule::name_of_token;
use kube::ResourceExt;
use kube::api::{ListParams, Patch, PatchParams, PostParams};
use replay::{Journal, Mode, Run, State};
use serde_json::{Value, json};
use stage::{Folder, wait_for};

use super::example::Example;
use crate::place::Place;
use crate::site::{PATIENCE, Site, condition, shared};

const GROUP: &str = "study";
const SCHEDULE: &str = "cohort";
/// The time between two changes of the data.
const PACE: Duration = Duration::from_millis(10);

/// Changes data of these patients until `stop` is set. Some resources of the first patient are deleted again.
async fn change(fhir: &Server, people: &[String], stop: &Cell<bool>) -> Journal {
    let mut journal = Journal::default();
    for number in 0.. {
        if stop.get() {
            break;
        }
        {
            let mut patients = fhir.patients();
            // A changed resource stays with its patient.
            let of = number % people.len();
            let (person, id) = (&people[of], format!("changing-{of}-{}", number % 5));
            patients.change(observation(&id, person, number)).unwrap();
            journal.put(patients.get("Observation", &id).unwrap());
            if number % 7 == 0 {
                let id = format!("short-{}", number / 7);
                patients.change(observation(&id, &people[0], number)).unwrap();
            } else if number % 7 == 6 {
                let id = format!("short-{}", number / 7);
                assert!(patients.remove("Observation", &id));
                journal.deleted(&format!("Observation/{id}"));
            }
        }
        // Not a wait for a condition: the data change at this pace, also while exports run.
        tokio::time::sleep(PACE).await;
    }
    journal
}

fn observation(id: &str, person: &str, number: usize) -> Value {
    json!({"resourceType": "Observation", "id": id, "status": "final", "code": {"text": format!("change {number}")},
        "subject": {"reference": format!("Patient/{person}")}})
}

/// The resources in `state` that belong to members of the group.
fn of_members(state: &State, members: &BTreeSet<String>) -> State {
    let inside = |resource: &&Value| {
        let patient = resource["resourceType"] == "Patient";
        let own = resource["id"].as_str().filter(|_| patient);
        own.or_else(|| test_server::owner(resource)).is_some_and(|id| members.contains(id))
    };
    State::of(state.resources().values().filter(inside).cloned())
}

struct Cohort<'a> {
    site: &'a mut Site,
    fhir: &'a Server,
    chain: Vec<ChainedRun>,
}

impl Cohort<'_> {
    async fn create(&self, request: Value) {
        let mut whole = json!({"level": "Group", "groupID": GROUP, "container": self.site.namespace});
        crate::site::merge(&mut whole, request);
        let object = json!({
            "apiVersion": "fhirexport.dev/v1alpha1", "kind": "FhirExportSchedule", "metadata": {"name": SCHEDULE},
            "spec": {"schedule": "0 0 29 2 *", "successfulRunsHistoryLimit": 100, "failedRunsHistoryLimit": 100,
                "incremental": {"overlapSeconds": 0},
                "template": {"spec": {"serverRef": {"name": "clinic"}, "request": whole}}}});
        let object: FhirExportSchedule = serde_json::from_value(object).unwrap();
        self.site.api().create(&PostParams::default(), &object).await.unwrap();
    }

    fn group(&self, change: impl FnOnce(&mut BTreeSet<String>)) -> BTreeSet<String> {
        let mut patients = self.fhir.patients();
        let mut members = patients.group(GROUP).cloned().unwrap_or_default();
        change(&mut members);
        patients.set_group(GROUP, members.clone());
        members
    }

    async fn schedule(&self) -> FhirExportSchedule {
        self.site.api::<FhirExportSchedule>().get(SCHEDULE).await.unwrap()
    }

    async fn ask(&self, token: &str) -> String {
        let patch = json!({"metadata": {"annotations": {"fhirexport.dev/run-now": token}}});
        let api = self.site.api::<FhirExportSchedule>();
        api.patch(SCHEDULE, &PatchParams::default(), &Patch::Merge(patch)).await.unwrap();
        name_of_token(SCHEDULE, token)
    }

    /// Waits until the schedule has recorded the run, and appends the new runs of the chain to `self.chain`.
    async fn absorbed(&mut self, run: &str) {
        let api = self.site.api::<FhirExportSchedule>();
        let done = wait_for(&format!("{run} to be taken in"), PATIENCE, || async {
            let status = api.get(SCHEDULE).await.map_err(|e| e.to_string())?.status.unwrap_or_default();
            let over = status.active.is_empty() && status.last_run_now.as_deref() == Some(run);
            if over { Ok(status) } else { Err(format!("{status:?}")) }
        })
        .await;
        let status = self.site.told(done);
        for run in status.chain.unwrap_or_default().history {
            if self.chain.iter().all(|known| known.uid != run.uid) {
                self.chain.push(run);
            }
        }
    }

    async fn run(&mut self, token: &str) -> String {
        let run = self.ask(token).await;
        self.absorbed(&run).await;
        run
    }

    /// Requests a run, kills the operator in each stage, and waits until the schedule has recorded the run.
    async fn run_with_kills(&mut self, token: &str) -> String {
        self.fhir.script(Script { uses: Some(3), ..Script::polls(3) });
        let run = self.ask(token).await;
        for ending in ["-members", "-newcomers", ""] {
            let kicked_off = |o: &FhirExport| o.status.as_ref().is_some_and(|s| s.job.is_some());
            self.site.until(&format!("{run}{ending}"), "kicked off", kicked_off).await;
            self.site.kill_operator().await;
            self.site.start_operator().await;
        }
        self.absorbed(&run).await;
        run
    }

    async fn exports(&self) -> Vec<FhirExport> {
        let labelled = ListParams::default().labels(&format!("fhirexport.dev/schedule={SCHEDULE}"));
        self.site.api().list(&labelled).await.unwrap().items
    }

    async fn made(&self, run: &str) -> Vec<String> {
        let mut names: Vec<String> = self.exports().await.iter().map(ResourceExt::name_any).collect();
        names.retain(|name| name.starts_with(run));
        names.sort();
        names
    }

    /// Asserts that the last run of the chain is `run`, and that the chain ends with runs of these modes.
    fn told(&self, run: &str, modes: &[RunMode]) {
        assert_eq!(self.chain.last().unwrap().name, run, "{:?}", self.chain);
        let last = self.chain.iter().rev().take(modes.len()).rev().map(|run| run.mode);
        assert_eq!(last.collect::<Vec<_>>(), modes, "{:?}", self.chain);
    }

    async fn loaded(&self) -> State {
        let container = blobs::container(&shared().await.azurite, &self.site.namespace).await.unwrap();
        let mut state = State::default();
        for run in &self.chain {
            let Some(folder) = run.folder.as_deref() else { continue };
            let landed = Run::of(&blobs::folder(&container, folder).await.unwrap()).unwrap();
            state.load(if run.mode == RunMode::Full { Mode::Full } else { Mode::Incremental }, &landed);
        }
        state
    }

    async fn chain_says(&self) -> (String, String, String) {
        let status = self.schedule().await.status.unwrap();
        let told = status.conditions.iter().find(|c| c.type_ == "ChainIntact").unwrap();
        (format!("{:?}", told.status), told.reason.clone(), told.message.clone())
    }
}

fn server_state(patients: &Patients) -> State {
    State::of(patients.latest().filter_map(|latest| latest.resource.cloned()))
}

/// Newcomers are exported in full, also with compressed files, through failures and kills in each stage.
#[tokio::test(flavor = "multi_thread")]
async fn who_joins_a_group_is_exported_in_full_whatever_happens() {
    let storage = json!({"storage": {"compression": "Gzip"}});
    let mut place = Place::start("joined", Options::default(), storage).await;
    let Place { site, fhir, .. } = &mut place;
    let fhir: &Server = fhir;
    let people: Vec<String> = fhir.patients().ids("Patient").into_iter().take(6).collect();
    let mut cohort = Cohort { site, fhir, chain: Vec::new() };
    cohort.group(|members| members.extend(people[..2].iter().cloned()));
    cohort.create(json!({})).await;
    let join = |cohort: &Cohort<'_>, number: usize| cohort.group(|m| m.extend([people[number].clone()]));
    let (newcomers, incremental) = (RunMode::Newcomers, RunMode::Incremental);
    let stop = Cell::new(false);
    let (journal, ()) = tokio::join!(change(fhir, &people, &stop), async {
        let run = cohort.run("0").await;
        cohort.told(&run, &[RunMode::Full]);
        let run = cohort.run("1").await;
        cohort.told(&run, &[RunMode::Full, incremental]);
        assert_eq!(cohort.made(&run).await, [run.clone(), format!("{run}-members")], "nobody joined");

        join(&cohort, 2);
        let run = cohort.run_with_kills("2").await;
        cohort.told(&run, &[incremental, newcomers, incremental]);

        // Each stage fails once. The next run exports the same newcomers.
        join(&cohort, 3);
        let known = cohort.schedule().await.status.unwrap().chain.unwrap();
        for (stage, ending) in ["-members", "-newcomers", ""].iter().enumerate() {
            (0..stage).for_each(|_| fhir.script(Script::polls(1)));
            fhir.script(Script::fails(400, "invalid", "the job failed on purpose"));
            let run = cohort.ask(&format!("fails-{stage}")).await;
            cohort.absorbed(&run).await;
            assert_eq!(cohort.made(&run).await.len(), stage + 1, "it ends with {run}{ending}");
            let now = cohort.schedule().await.status.unwrap().chain.unwrap();
            assert_eq!((&now.members, &now.covered_until), (&known.members, &known.covered_until));
        }
        let run = cohort.run("3").await;
        cohort.told(&run, &[incremental, newcomers, incremental]);

        // A patient who left is not a newcomer; one who comes back is.
        cohort.group(|members| assert!(members.remove(&people[1])));
        cohort.run("4").await;
        join(&cohort, 1);
        join(&cohort, 4);
        let run = cohort.run("5").await;
        cohort.told(&run, &[incremental, newcomers, incremental]);
        let api = cohort.site.api::<FhirExport>();
        let export = api.get(&format!("{run}-newcomers")).await.unwrap();
        let list = export.spec.request.bulk_data.unwrap().patients_blob.unwrap();
        let container = blobs::container(&shared().await.azurite, &cohort.site.namespace).await.unwrap();
        let text = blobs::read(&container, list.path.split_once('/').unwrap().1).await.unwrap();
        let mut both = [&people[1], &people[4]];
        both.sort();
        assert_eq!(String::from_utf8(text).unwrap(), format!("{}\n{}\n", both[0], both[1]));
        stop.set(true);
    });
    let run = cohort.run("last").await;
    cohort.told(&run, &[incremental]);

    let members = cohort.group(|_| {});
    assert_eq!(members.len(), 5);
    let server = of_members(&server_state(&fhir.patients()), &members);
    let loaded = cohort.loaded().await;
    let told = Journal::default().compare(&of_members(&loaded, &members), &server);
    println!(
        "{} rows of the chain, {} changes made, {} resources of members",
        cohort.chain.len(),
        journal.made(),
        server.resources().len()
    );
    assert!(told.none(), "{told:?}");
    assert!(journal.made() > 100 && server.resources().len() > 100);
    // The documentation's example arrives at the same data.
    let lake_folder = Folder::new("lake").unwrap();
    let example = Example::new(lake_folder.path());
    let container = blobs::container(&shared().await.azurite, &cohort.site.namespace).await.unwrap();
    for folder in cohort.chain.iter().filter_map(|run| run.folder.as_deref()) {
        example.download(&container, folder).await;
    }
    example.call(&serde_json::to_value(cohort.schedule().await).unwrap(), "fhir.db").unwrap();
    assert_eq!(of_members(&example.known(), &members), of_members(&loaded, &members));
    // The comparison is not empty: without the exports of newcomers, data are missing.
    cohort.chain.retain(|run| run.mode != newcomers);
    let without = of_members(&cohort.loaded().await, &members);
    let told = Journal::default().compare(&without, &server);
    assert!(told.missing.len() > 10, "{told:?}");

    let (status, reason, message) = cohort.chain_says().await;
    assert_eq!((status.as_str(), reason.as_str()), ("True", "Chained"), "{message}");
    assert!(message.contains("patients that joined the group in full"), "{message}");
    // The search at the end of each test asserts that no id is in a status, an event, the log or a metric.
    for export in cohort.exports().await {
        let text = serde_json::to_string(&export).unwrap();
        assert!(people.iter().all(|id| !text.contains(id)), "{}", export.name_any());
    }
    // The stored list of members is lost, so the next run is full.
    let list = cohort.schedule().await.status.unwrap().chain.unwrap().members.unwrap().path.unwrap();
    let container = blobs::container(&shared().await.azurite, &cohort.site.namespace).await.unwrap();
    container.blob_client(list.split_once('/').unwrap().1).delete(None).await.unwrap();
    join(&cohort, 5);
    let run = cohort.run("lost").await;
    cohort.told(&run, &[RunMode::Full]);
    let (status, reason, message) = cohort.chain_says().await;
    assert_eq!((status.as_str(), reason.as_str()), ("True", "Chained"), "{message}");
}

#[tokio::test(flavor = "multi_thread")]
async fn where_the_server_takes_no_lists_that_is_told_and_what_is_refused_comes_with_a_full_run() {
    let quirks = Quirks { unsupported: vec!["patient".to_owned()], ..Quirks::default() };
    let no = json!({"bulkData": {"supportsPatient": "No"}});
    let mut place = Place::start("unlisted", Options { quirks, ..Options::default() }, no).await;
    let Place { site, fhir, .. } = &mut place;
    let people: Vec<String> = fhir.patients().ids("Patient").into_iter().take(3).collect();
    let mut cohort = Cohort { site, fhir, chain: Vec::new() };
    cohort.group(|members| members.extend(people[..2].iter().cloned()));
    cohort.create(json!({"types": ["Patient"]})).await;
    let run = cohort.run("0").await;
    assert_eq!(cohort.made(&run).await, std::slice::from_ref(&run));
    let (status, reason, message) = cohort.chain_says().await;
    assert_eq!((status.as_str(), reason.as_str()), ("Unknown", "NewMembersIncomplete"));
    assert!(message.contains("bulkData.supportsPatient"), "{message}");

    // The FhirServer claims that the server accepts lists of patients, but the server refuses them.
    place.change_server(json!({"bulkData": {"supportsPatient": "Yes"}})).await;
    let Place { site, fhir, .. } = &mut place;
    let mut cohort = Cohort { site, fhir, chain: Vec::new() };
    let run = cohort.run("1").await;
    cohort.told(&run, &[RunMode::Full]);
    cohort.group(|members| members.extend([people[2].clone()]));
    let run = cohort.run("2").await;
    let refused = cohort.site.ended(&format!("{run}-newcomers")).await;
    assert_eq!(condition(&refused, "Failed").unwrap().1, "KickOffRejected");
    assert_eq!(cohort.made(&run).await.len(), 2);
    let run = cohort.run("3").await;
    cohort.told(&run, &[RunMode::Full]);
    let members = cohort.group(|_| {});
    let server = of_members(&server_state(&cohort.fhir.patients()), &members);
    cohort.chain.drain(..cohort.chain.len() - 1);
    let known = cohort.loaded().await;
    assert!(members.iter().all(|id| known.version(&format!("Patient/{id}")).is_some()));
    assert!(known.resources().keys().all(|name| server.resources().contains_key(name)));
}
