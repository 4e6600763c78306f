//! Schedules: runs by the clock and by hand, chains of incremental runs, what is kept and what is refused.

use std::time::Duration;

use azure_fhir::{Failure, Script};
use fhir_export_operator::api::{FhirExport, FhirExportSchedule, RunMode};
use fhir_export_operator::core::schedule::name_of_token;
use jiff::Timestamp;
use k8s_openapi::api::events::v1::Event;
use kube::api::{DeleteParams, ListParams, Patch, PatchParams, PostParams};
use kube::{Api, ResourceExt};
use serde_json::{Value, json};
use stage::{ProcessOptions, wait_for, wait_until};

use crate::site::{PATIENCE, Site, merge, shared};

/// A minute may have to pass before a run is due by the clock.
const A_MINUTE_OR_TWO: Duration = Duration::from_secs(200);
/// Comes once a year, so that only runs by hand are made.
const RARELY: &str = "0 0 1 1 *";

/// One schedule of a site, named as the site's container.
struct Scheduled<'a> {
    site: &'a Site,
    name: &'a str,
}

impl<'a> Scheduled<'a> {
    /// Creates a schedule of level System into a container of its own name; `spec` is merged over that.
    async fn create(site: &'a Site, name: &'a str, spec: Value) -> Self {
        let mut whole = json!({"schedule": RARELY, "template": {"spec": {"serverRef": {"name": "clinic"},
            "request": {"level": "System", "types": ["Patient", "Observation"], "container": name}}}});
        merge(&mut whole, spec);
        let object: FhirExportSchedule =
            serde_json::from_value(json!({"metadata": {"name": name}, "spec": whole})).unwrap();
        site.api().create(&PostParams::default(), &object).await.unwrap();
        Self { site, name }
    }

    fn api(&self) -> Api<FhirExportSchedule> {
        self.site.api()
    }

    async fn patch(&self, patch: Value) {
        self.api().patch(self.name, &PatchParams::default(), &Patch::Merge(patch)).await.unwrap();
    }

    /// Asks for a run, and answers its name.
    async fn run_now(&self, token: &str) -> String {
        self.patch(json!({"metadata": {"annotations": {"fhirexport.dev/run-now": token}}})).await;
        name_of_token(self.name, token)
    }

    async fn until(&self, what: &str, wanted: impl Fn(&FhirExportSchedule) -> bool) -> FhirExportSchedule {
        let api = self.api();
        let what = format!("{} to be {what}", self.name);
        let result = wait_for(&what, A_MINUTE_OR_TWO, || async {
            let object = api.get(self.name).await.map_err(|e| e.to_string())?;
            if wanted(&object) {
                Ok(object)
            } else {
                Err(serde_json::to_string_pretty(&object.status).unwrap_or_default())
            }
        })
        .await;
        self.site.told(result)
    }

    async fn until_condition(&self, type_: &str, status: &str, reason: &str) -> String {
        let object = self
            .until(&format!("{type_}={status} {reason}"), |object| {
                condition(object, type_).is_some_and(|c| c.0 == status && c.1 == reason)
            })
            .await;
        condition(&object, type_).unwrap().2
    }

    /// Waits until nothing runs, and the run of this name is taken in.
    async fn settled(&self, run: &str) -> FhirExportSchedule {
        self.site.ended(run).await;
        self.until(&format!("done with {run}"), |object| {
            let status = object.status.as_ref();
            status.is_some_and(|s| s.active.is_empty() && s.last_run_now.as_deref() == Some(run))
        })
        .await
    }

    /// The runs that are there, by name.
    async fn runs(&self) -> Vec<FhirExport> {
        let label = format!("fhirexport.dev/schedule={}", self.name);
        let api: Api<FhirExport> = self.site.api();
        api.list(&ListParams::default().labels(&label)).await.unwrap().items
    }

    async fn names(&self) -> Vec<String> {
        let mut names: Vec<String> = self.runs().await.iter().map(ResourceExt::name_any).collect();
        names.sort();
        names
    }

    /// Waits until so many runs are there.
    async fn count(&self, wanted: usize) -> Vec<String> {
        let result = wait_for(&format!("{wanted} runs of {}", self.name), A_MINUTE_OR_TWO, || async {
            let names = self.names().await;
            if names.len() == wanted { Ok(names) } else { Err(format!("{names:?}")) }
        })
        .await;
        self.site.told(result)
    }

    async fn events(&self, reason: &str) -> usize {
        let api: Api<Event> = self.site.api();
        let events = api.list(&ListParams::default()).await.unwrap().items;
        let about = |e: &&Event| {
            e.regarding.as_ref().is_some_and(|r| {
                r.name.as_deref() == Some(self.name) && r.kind.as_deref() == Some("FhirExportSchedule")
            }) && e.reason.as_deref() == Some(reason)
        };
        events.iter().filter(about).count()
    }
}

fn condition(object: &FhirExportSchedule, type_: &str) -> Option<(String, String, String)> {
    let found = object.status.as_ref()?.conditions.iter().find(|c| c.type_ == type_)?;
    Some((format!("{:?}", found.status), found.reason.clone(), found.message.clone()))
}

fn kicked_off(run: &FhirExport) -> bool {
    run.status.as_ref().and_then(|status| status.job.as_ref()).is_some_and(|job| job.status_url.is_some())
}

fn covered(object: &FhirExportSchedule) -> Option<String> {
    object.status.as_ref()?.chain.as_ref()?.covered_until.clone()
}

/// Waits until the clock shows another minute.
async fn next_minute() -> Timestamp {
    let minute = || Timestamp::now().as_second() / 60;
    let began = minute();
    wait_until("the next minute", A_MINUTE_OR_TWO, || async { minute() > began }).await.unwrap();
    Timestamp::from_second(minute() * 60).unwrap()
}

fn slot_name(schedule: &str, slot: Timestamp) -> String {
    format!("{schedule}-{}", slot.to_zoned(jiff::tz::TimeZone::UTC).strftime("%Y%m%d-%H%M"))
}

#[tokio::test]
async fn incremental_runs_begin_where_the_last_one_ended_whatever_happens_to_the_operator() {
    let mut site = Site::start("chain").await;
    let spec = json!({"incremental": {"overlapSeconds": 0}});
    Scheduled::create(&site, "chain", spec).await;
    let mut last: Option<String> = None;
    for (n, end) in ["full", "good", "bad", "good", "gone", "good"].iter().enumerate() {
        // The operator is away when it is asked, or when the run ends.
        site.kill_operator().await;
        let token = format!("run-{n}");
        let run = Scheduled { site: &site, name: "chain" }.run_now(&token).await;
        match *end {
            "bad" => {
                site.fhir.script(Script::fails(Failure::OutOfMemory { max_count: 10 }).container("chain"));
            }
            "gone" => site.fhir.script(Script::stuck().container("chain")),
            _ => {}
        }
        site.start_operator().await;
        let made = site.until(&run, "running", kicked_off).await;
        assert_eq!(made.spec.request.since, last, "{end}");
        if n % 2 == 0 {
            site.kill_operator().await;
            site.start_operator().await;
        }
        let scheduled = Scheduled { site: &site, name: "chain" };
        if *end == "gone" {
            site.delete(&run).await;
            scheduled.until_condition("LastRunSucceeded", "False", "RunLost").await;
            continue;
        }
        let schedule = scheduled.settled(&run).await;
        let status = site.ended(&run).await.status.unwrap();
        if *end == "bad" {
            assert_eq!(
                (covered(&schedule), schedule.status.unwrap().consecutive_failures),
                (last.clone(), Some(1))
            );
            continue;
        }
        assert_eq!(covered(&schedule), status.transaction_time, "verbatim");
        last = status.transaction_time;
    }
    let scheduled = Scheduled { site: &site, name: "chain" };
    let message = scheduled.until_condition("ChainIntact", "True", "Chained").await;
    assert!(message.contains(&last.unwrap()) && message.contains("no overlap, no gap"), "{message}");
    let chain = scheduled.api().get("chain").await.unwrap().status.unwrap().chain.unwrap();
    let modes: Vec<RunMode> = chain.history.iter().map(|run| run.mode).collect();
    assert_eq!(modes, [RunMode::Full, RunMode::Incremental, RunMode::Incremental, RunMode::Incremental]);
    assert!(chain.history.iter().all(|run| run.container.as_deref() == Some("chain")));
    // Nothing changed meanwhile, so only the full run has files.
    let folders: Vec<bool> = chain.history.iter().map(|run| run.folder.is_some()).collect();
    assert_eq!(folders, [true, false, false, false]);
    // What the server was asked, too.
    let asked: Vec<bool> = site
        .fhir
        .requests()
        .iter()
        .filter(|r| r.is_kick_off())
        .map(|r| r.query.as_deref().is_some_and(|q| q.contains("_since=")))
        .collect();
    assert_eq!(asked.iter().filter(|since| !**since).count(), 1, "one full run: {asked:?}");
}

#[tokio::test]
async fn a_status_that_is_lost_is_made_anew() {
    let mut site = Site::start("lost").await;
    let spec = json!({"incremental": {"overlapSeconds": 0}});
    let scheduled = Scheduled::create(&site, "lost", spec).await;
    for token in ["a", "b"] {
        let run = scheduled.run_now(token).await;
        scheduled.settled(&run).await;
    }
    let before = scheduled.api().get("lost").await.unwrap();
    site.kill_operator().await;
    let mut emptied = before.clone();
    emptied.status = None;
    let scheduled = Scheduled { site: &site, name: "lost" };
    scheduled.api().replace_status("lost", &PostParams::default(), &emptied).await.unwrap();
    site.start_operator().await;
    let scheduled = Scheduled { site: &site, name: "lost" };
    let after = scheduled.until("seen again", |object| covered(object).is_some()).await;
    assert_eq!(after.status.as_ref().unwrap().chain, before.status.unwrap().chain);
    assert_eq!(scheduled.names().await.len(), 2, "nothing is run again");
    let run = scheduled.run_now("c").await;
    scheduled.settled(&run).await;
    assert_eq!(site.ended(&run).await.spec.request.since, covered(&after));
}

#[tokio::test]
async fn runs_belong_to_their_schedule_and_go_with_it() {
    let site = Site::start("owner").await;
    let scheduled = Scheduled::create(&site, "owner", json!({})).await;
    let done = scheduled.run_now("done").await;
    scheduled.settled(&done).await;
    site.fhir.script(Script::stuck().container("owner"));
    let running = scheduled.run_now("running").await;
    let object = site.until(&running, "running", kicked_off).await;
    let schedule = scheduled.api().get("owner").await.unwrap();
    let owner = &object.owner_references()[0];
    assert_eq!(
        (owner.kind.as_str(), Some(&owner.uid), owner.controller),
        ("FhirExportSchedule", schedule.uid().as_ref(), Some(true))
    );
    assert!(object.spec.kick_off_before.is_some_and(|end| end > Timestamp::now()));
    scheduled.api().delete("owner", &DeleteParams::default()).await.unwrap();
    site.gone(&running).await;
    site.gone(&done).await;
    assert_eq!(site.cancels(), 1);
}

#[tokio::test]
async fn what_it_did_not_make_it_never_takes() {
    let site = Site::start("foreign").await;
    let foreign = name_of_token("foreign", "now");
    let request = json!({"level": "System", "container": "foreign"});
    let before = site.export(&foreign, request, json!({"suspend": true})).await;
    site.until_condition(&foreign, "Suspended", "True", "").await;
    let scheduled = Scheduled::create(&site, "foreign", json!({"incremental": {}})).await;
    scheduled.run_now("now").await;
    let message = scheduled.until_condition("LastRunSucceeded", "False", "AdoptionRefused").await;
    assert!(message.contains(&foreign), "{message}");
    let result =
        wait_until("the event", PATIENCE, || async { scheduled.events("AdoptionRefused").await == 1 }).await;
    site.told(result);
    let after: FhirExport = site.api().get(&foreign).await.unwrap();
    assert_eq!((after.uid(), after.owner_references().len()), (before.uid(), 0));
    let run = scheduled.run_now("another").await;
    let schedule = scheduled.settled(&run).await;
    assert!(covered(&schedule).is_some());
}

#[tokio::test]
async fn what_is_wrong_is_told_at_once() {
    let site = Site::start("wrong").await;
    for (name, spec, reason, words) in [
        ("words", json!({"schedule": "every night"}), "InvalidSchedule", "fields"),
        ("never", json!({"schedule": "0 2 30 2 *"}), "InvalidSchedule", "never"),
        ("zone", json!({"timeZone": "Europe/Atlantis"}), "InvalidSchedule", "Atlantis"),
        ("full", json!({"incremental": {"fullSchedule": "0 2 * *"}}), "InvalidSchedule", "fullSchedule"),
        (
            "loses",
            json!({"incremental": {}, "template": {"spec": {"request": {"level": "Patient"}}}}),
            "IncrementalLosesData",
            "level System with types",
        ),
        (
            "server",
            json!({"template": {"spec": {"serverRef": {"name": "later"}}}}),
            "ServerNotFound",
            "later",
        ),
    ] {
        let scheduled = Scheduled::create(&site, name, spec).await;
        let message = scheduled.until_condition("Ready", "False", reason).await;
        assert!(message.contains(words), "{message}");
    }
    // What is repaired goes on.
    let scheduled = Scheduled { site: &site, name: "never" };
    scheduled.patch(json!({"spec": {"schedule": "0 2 29 2 *"}})).await;
    scheduled.until_condition("Ready", "True", "Scheduled").await;
    let spec = site.server_spec(json!({})).await;
    site.apply_server_named("later", spec).await;
    Scheduled { site: &site, name: "server" }.until_condition("Ready", "True", "Scheduled").await;
}

#[tokio::test]
async fn objects_are_kept_by_outcome_and_files_stay() {
    let site = Site::start("history").await;
    let limits = json!({"successfulRunsHistoryLimit": 1, "failedRunsHistoryLimit": 1});
    let scheduled = Scheduled::create(&site, "history", limits).await;
    let mut kept = Vec::new();
    for (token, fails) in [("a", true), ("b", false), ("c", true), ("d", false)] {
        if fails {
            site.fhir.script(Script::fails(Failure::RecordTooLarge).container("history"));
        }
        let run = scheduled.run_now(token).await;
        scheduled.settled(&run).await;
        kept.push(run);
    }
    let mut newest = kept.split_off(2);
    newest.sort();
    assert_eq!(scheduled.count(2).await, newest);
    assert!(site.fhir.jobs().iter().flat_map(|job| &job.files).all(|file| file.written));
    // A time to live ends the rest.
    scheduled.patch(json!({"spec": {"template": {"spec": {"ttlSecondsAfterFinished": 1}}}})).await;
    scheduled.count(0).await;
}

#[tokio::test]
async fn a_command_asks_for_a_run() {
    let site = Site::start("command").await;
    let scheduled = Scheduled::create(&site, "command", json!({"incremental": {"overlapSeconds": 0}})).await;
    for (n, more) in [None, None, Some("--full")].into_iter().enumerate() {
        let log = site.folder.path().join(format!("command-{n}.log"));
        let mut options = ProcessOptions::new(env!("CARGO_BIN_EXE_fhir-export-operator"), &log)
            .env("KUBECONFIG", &site.kubeconfig);
        for word in ["schedule", "run", "command", "-n", &site.namespace].into_iter().chain(more) {
            options = options.arg(word);
        }
        let mut command = stage::Process::start(&options).unwrap();
        assert_eq!(command.wait_at_most(PATIENCE).await.unwrap(), Some(0));
        let said = std::fs::read_to_string(&log).unwrap();
        let run = said
            .trim()
            .strip_prefix("fhirexport.fhirexport.dev/")
            .unwrap_or_else(|| panic!("{said}"))
            .to_owned();
        let before = scheduled.api().get("command").await.unwrap();
        scheduled.settled(&run).await;
        let since = site.complete(&run).await.spec.request.since;
        assert_eq!(since, covered(&before).filter(|_| more.is_none()));
    }
}

#[tokio::test]
async fn kubectl_shows_at_a_glance_how_it_stands() {
    let site = Site::start("glance").await;
    let scheduled =
        Scheduled::create(&site, "glance", json!({"incremental": {}, "schedule": "30 1 1 1 *"})).await;
    let run = scheduled.run_now("one").await;
    let covered = covered(&scheduled.settled(&run).await).unwrap();
    site.fhir.script(Script::stuck().container("glance"));
    let running = scheduled.run_now("two").await;
    site.until(&running, "running", kicked_off).await;
    let tool =
        shared().await.kubernetes.kubectl(["get", "fsched", "-n", site.namespace.as_str()]).await.unwrap();
    let table = tool.run().await.unwrap().stdout;
    let lines: Vec<&str> = table.lines().collect();
    for column in ["NAME", "SCHEDULE", "LAST SUCCESS", "NEXT RUN", "COVERED UNTIL", "RUNNING", "READY"] {
        assert!(lines[0].contains(column), "{table}");
    }
    for cell in ["glance", "30 1 1 1 *", "-01-01T01:30:00Z", covered.as_str(), running.as_str(), "True"] {
        assert!(lines[1].contains(cell), "{cell}: {table}");
    }
}

#[tokio::test]
async fn runs_come_by_the_clock_and_a_policy_says_what_two_of_them_do() {
    let site = Site::start("clock").await;
    site.apply_server(json!({"limits": {"maxConcurrentExports": 50}})).await;
    let each = |policy: &str| json!({"schedule": "* * * * *", "concurrencyPolicy": policy});
    for name in ["forbid", "replace", "allow"] {
        site.fhir.script(Script::stuck().container(name).every_time());
    }
    let forbid = Scheduled::create(&site, "forbid", each("Forbid")).await;
    let replace = Scheduled::create(&site, "replace", each("Replace")).await;
    let allow = Scheduled::create(&site, "allow", each("Allow")).await;
    let mut held = each("Forbid");
    merge(&mut held, json!({"suspend": true}));
    let suspended = Scheduled::create(&site, "suspended", held).await;
    suspended.until_condition("Suspended", "True", "Suspended").await;

    // Two minutes come.
    let first = allow.count(1).await;
    allow.count(2).await;
    assert_eq!(allow.api().get("allow").await.unwrap().status.unwrap().active.len(), 2);
    let slot = first[0].strip_prefix("allow-").unwrap();
    let skipped =
        forbid.until("skipping", |o| o.status.as_ref().is_some_and(|s| s.last_skipped.is_some())).await;
    assert_eq!(skipped.status.unwrap().last_skipped.unwrap().reason, "StillRunning");
    assert_eq!(forbid.names().await, [format!("forbid-{slot}")]);
    replace
        .until("replacing", |o| {
            let active = o.status.as_ref().map(|s| s.active.clone()).unwrap_or_default();
            active.len() == 1 && active[0].name != format!("replace-{slot}") && active[0].uid.is_some()
        })
        .await;
    site.gone(&format!("replace-{slot}")).await;
    assert!(replace.events("Replaced").await >= 1);
    assert_eq!(suspended.names().await, Vec::<String>::new());
}

#[tokio::test]
async fn after_an_outage_one_run_makes_up_for_what_was_missed() {
    let mut site = Site::start("outage").await;
    Scheduled::create(&site, "outage", json!({"schedule": "* * * * *"})).await;
    let scheduled = Scheduled { site: &site, name: "outage" };
    let first = scheduled.count(1).await.remove(0);
    site.complete(&first).await;
    site.kill_operator().await;
    let missed = next_minute().await;
    let newest = next_minute().await;
    let before = Scheduled { site: &site, name: "outage" }.names().await;
    site.start_operator().await;
    let scheduled = Scheduled { site: &site, name: "outage" };
    let caught_up = slot_name("outage", newest);
    let result = wait_until("the run of the newest minute", PATIENCE, || async {
        scheduled.names().await.contains(&caught_up)
    })
    .await;
    site.told(result);
    // That of the minute before is not made any more, unless it was before the operator went.
    let names = scheduled.names().await;
    assert_eq!(
        names.contains(&slot_name("outage", missed)),
        before.contains(&slot_name("outage", missed)),
        "{names:?}"
    );
}
