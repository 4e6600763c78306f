//! Landings by the pods of a Job, on the real API server with the real Job controller and a stand-in for the kubelet.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use bulk_fhir::{FileScript, Options, Script, Step};
use fhir_export_operator::api::FhirExport;
use fhir_export_operator::core::manifest::sha256_hex;
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::{Namespace, Pod, Secret};
use kube::api::{DeleteParams, ListParams, Patch, PatchParams, PostParams, PropagationPolicy};
use kube::{Api, ResourceExt};
use serde_json::{Value, json};
use stage::wait_for;

use crate::kubelet::Kubelet;
use crate::place::Place;
use crate::site::{PATIENCE, condition};

/// A place whose operator may make Jobs in a namespace of their own, and a kubelet that runs their pods.
struct Jobs {
    place: Place,
    namespace: String,
    kubelet: Kubelet,
}

impl Jobs {
    async fn start(name: &str, transfer: Value) -> Self {
        let change = json!({ "transfer": transfer });
        Self::of(Place::without_operator(name, Options::default(), change).await).await
    }

    /// Starts the operator of a place anew, with a namespace for Jobs.
    async fn of(mut place: Place) -> Self {
        place.site.kill_operator().await;
        let namespace = format!("{}-jobs", place.site.namespace);
        let object: Namespace = serde_json::from_value(json!({"metadata": {"name": namespace}})).unwrap();
        Api::all(place.site.client.clone()).create(&PostParams::default(), &object).await.unwrap();
        place.site.flags.push(format!("--landing-jobs-namespace={namespace}"));
        place.site.flags.push("--landing-jobs-image=operator".to_owned());
        place.site.start_operator().await;
        let kubelet = Kubelet::start(&place.site.client, &namespace, &place.site.program);
        Self { place, namespace, kubelet }
    }

    fn api<K>(&self) -> Api<K>
    where
        K: kube::Resource<Scope = k8s_openapi::NamespaceResourceScope>,
        K::DynamicType: Default,
    {
        Api::namespaced(self.place.site.client.clone(), &self.namespace)
    }

    /// What is left in the namespace of the Jobs.
    async fn left(&self) -> Vec<String> {
        let all = ListParams::default();
        let jobs = self.api::<Job>().list(&all).await.unwrap();
        let pods = self.api::<Pod>().list(&all).await.unwrap();
        let secrets = self.api::<Secret>().list(&all).await.unwrap();
        let jobs = jobs.iter().map(|job| format!("Job {}", job.name_any()));
        let pods = pods.iter().map(|pod| format!("Pod {}", pod.name_any()));
        let secrets = secrets.iter().map(|secret| format!("Secret {}", secret.name_any()));
        jobs.chain(pods).chain(secrets).collect()
    }

    /// Waits until no Job, pod or Secret is left.
    async fn until_nothing_is_left(&self) {
        let nothing = wait_for("the Jobs to be gone", PATIENCE, || async {
            let left = self.left().await;
            if left.is_empty() { Ok(()) } else { Err(format!("{left:?}")) }
        });
        self.told(nothing.await);
    }

    /// Waits until `landed` files have landed in the container, besides those of `before`.
    async fn until_landed(&self, landed: usize) {
        let landing = wait_for("files to land", PATIENCE, || async {
            let names = self.place.names_outside("none").await;
            let found = names.iter().filter(|name| name.ends_with(".ndjson")).count();
            if found >= landed { Ok(()) } else { Err(format!("{found} of {landed}")) }
        });
        self.told(landing.await);
    }

    fn told<T>(&self, result: stage::Result<T>) -> T {
        if result.is_err() {
            eprintln!("{}", self.kubelet.logs());
        }
        self.place.site.told(result)
    }

    /// The data files of an export by name, without those that say how it was landed.
    async fn files(&self, export: &FhirExport) -> BTreeMap<String, Vec<u8>> {
        let mut blobs = self.place.blobs(export).await;
        blobs.retain(|name, _| name.ends_with(".ndjson"));
        blobs
    }

    /// Asserts that the files of an export are those that the server's last job served, byte for byte.
    async fn assert_as_served(&self, export: &FhirExport) {
        let job = self.place.fhir.jobs().last().unwrap().id.clone();
        let served = self.place.fhir.expected(&job);
        let served =
            served.iter().map(|file| (format!("Observation-{}.ndjson", file.index + 1), file.sha256()));
        let landed = self.files(export).await;
        let landed = landed.into_iter().map(|(name, body)| (name, sha256_hex(&body)));
        assert_eq!(landed.collect::<BTreeMap<_, _>>(), served.collect::<BTreeMap<_, _>>());
    }

    /// Those of the files `landed` that were requested after the request number `since`.
    fn requested_again(&self, landed: &[String], since: usize) -> Vec<String> {
        let job = self.place.fhir.jobs().last().unwrap().clone();
        let requests = self.place.fhir.requests();
        let again = |name: &&String| {
            let digits: String = name.chars().filter(char::is_ascii_digit).collect();
            let path = &job.files[digits.parse::<usize>().unwrap() - 1].path;
            requests[since..].iter().any(|request| request.path == *path)
        };
        landed.iter().filter(again).cloned().collect()
    }

    /// The names of the data files that lie in the container.
    async fn lying(&self) -> Vec<String> {
        let names = self.place.names_outside("none").await;
        names.into_iter().filter(|name| name.ends_with(".ndjson")).collect()
    }
}

fn two_pods() -> Value {
    json!({ "mode": "Job", "parallelism": 2 })
}

/// Files that take a while each.
fn slow(files: u64) -> Script {
    let slow = FileScript { trickle: Some(100_000), gzip: false, ..FileScript::default() };
    Script::polls(1).made("Observation", files, 100_000).files(slow)
}

#[tokio::test]
async fn two_pods_land_what_the_operator_would() {
    two_pods_land_the_same(Jobs::start("jobs-whole", json!({ "mode": "Operator" })).await).await;
}

#[tokio::test]
async fn two_pods_land_on_a_volume() {
    let place = Place::on_a_volume("jobs-volume", Options::default(), json!({})).await;
    two_pods_land_the_same(Jobs::of(place).await).await;
}

#[tokio::test]
async fn two_pods_land_in_s3() {
    let place = Place::on_s3("jobs-s3", Options::default(), json!({})).await;
    two_pods_land_the_same(Jobs::of(place).await).await;
}

async fn two_pods_land_the_same(jobs: Jobs) {
    let script = || Script::polls(1).made("Observation", 20, 20_000);
    jobs.place.fhir.script(script());
    let by_operator = jobs.place.landed("by-operator", json!({})).await;
    assert_eq!(jobs.kubelet.started(), 0);
    jobs.place.change_server(json!({ "transfer": two_pods() })).await;
    jobs.place.fhir.script(script());
    jobs.place.export("by-pods", json!({}), json!({})).await;
    let by_pods = jobs.place.site.ended("by-pods").await;
    assert!(condition(&by_pods, "Complete").is_some_and(|it| it.0 == "True"), "{}", jobs.kubelet.logs());
    let (wanted, found) = (jobs.files(&by_operator).await, jobs.files(&by_pods).await);
    assert_eq!(found.len(), 20);
    assert!(found == wanted, "the files are equal byte by byte");
    assert_eq!(condition(&by_pods, "Verified"), condition(&by_operator, "Verified"));
    let mut shares = jobs.kubelet.shares();
    shares.sort();
    assert_eq!(shares, ["0", "1"]);
    jobs.until_nothing_is_left().await;
    let job = jobs.place.fhir.jobs().last().unwrap().clone();
    for file in &job.files {
        let requests = jobs.place.fhir.requests();
        let times = requests.iter().filter(|request| request.path == file.path).count();
        assert_eq!(times, 1, "{} was requested once", file.path);
    }
}

#[tokio::test]
async fn a_pod_that_is_killed_is_gone_on_with() {
    let jobs = Jobs::start("jobs-killed", two_pods()).await;
    jobs.place.fhir.script(slow(40));
    jobs.place.export("killed", json!({}), json!({})).await;
    jobs.until_landed(6).await;
    let lying = jobs.lying().await;
    assert!(jobs.kubelet.kill_one().await);
    let since = jobs.place.fhir.requests().len();
    let killed = jobs.place.site.complete("killed").await;
    assert!(jobs.kubelet.started() >= 3, "another pod went on");
    assert_eq!(jobs.requested_again(&lying, since), Vec::<String>::new());
    jobs.assert_as_served(&killed).await;
    jobs.until_nothing_is_left().await;
}

#[tokio::test]
async fn a_cancel_and_a_deletion_leave_no_pod() {
    let jobs = Jobs::start("jobs-ended", two_pods()).await;
    for name in ["cancelled", "deleted", "late"] {
        jobs.place.fhir.script(slow(400));
        let deadline = if name == "late" { json!({ "activeDeadlineSeconds": 12 }) } else { json!({}) };
        jobs.place.export(name, json!({}), deadline).await;
        let running = wait_for("two pods", PATIENCE, || async {
            if jobs.kubelet.running() == 2 { Ok(()) } else { Err(jobs.kubelet.logs()) }
        });
        jobs.told(running.await);
        if name == "late" {
            jobs.place.site.failed(name, "DeadlineExceeded").await;
        } else if name == "cancelled" {
            jobs.place.site.change(name, json!({ "cancel": true })).await;
            jobs.place.site.ended(name).await;
        } else {
            jobs.place.site.delete(name).await;
            jobs.place.site.gone(name).await;
        }
        // Nothing is waited for here: the run goes on only when no pod is left.
        assert_eq!(jobs.left().await, Vec::<String>::new(), "{name}");
        assert_eq!(jobs.kubelet.running(), 0);
    }
}

#[tokio::test]
async fn a_suspended_export_has_no_pods_and_goes_on() {
    let jobs = Jobs::start("jobs-held", two_pods()).await;
    jobs.place.fhir.script(slow(40));
    jobs.place.export("held", json!({}), json!({})).await;
    jobs.until_landed(4).await;
    jobs.place.site.change("held", json!({ "suspend": true })).await;
    jobs.place.site.until_condition("held", "Suspended", "True", "").await;
    jobs.until_nothing_is_left().await;
    let (lying, since) = (jobs.lying().await, jobs.place.fhir.requests().len());
    jobs.place.site.change("held", json!({ "suspend": false })).await;
    let held = jobs.place.site.complete("held").await;
    assert_eq!(jobs.requested_again(&lying, since), Vec::<String>::new());
    jobs.assert_as_served(&held).await;
}

#[tokio::test]
async fn an_operator_that_is_killed_goes_on_with_the_same_job() {
    let mut jobs = Jobs::start("jobs-restart", two_pods()).await;
    jobs.place.fhir.script(slow(60));
    jobs.place.export("restart", json!({}), json!({})).await;
    jobs.until_landed(2).await;
    let uid = |all: Vec<Job>| all.iter().filter_map(ResourceExt::uid).collect::<Vec<_>>();
    let before = uid(jobs.api::<Job>().list(&ListParams::default()).await.unwrap().items);
    jobs.place.site.kill_operator().await;
    // The pods go on without an operator.
    let lying = jobs.lying().await.len();
    jobs.until_landed(lying + 4).await;
    jobs.place.site.start_operator().await;
    jobs.until_landed(lying + 20).await;
    assert_eq!(uid(jobs.api::<Job>().list(&ListParams::default()).await.unwrap().items), before);
    let restart = jobs.place.site.complete("restart").await;
    assert_eq!(jobs.kubelet.started(), 2, "no pod was started again");
    assert_eq!(jobs.files(&restart).await.len(), 60);
    jobs.until_nothing_is_left().await;
}

#[tokio::test]
async fn a_run_that_is_deleted_while_no_operator_works_leaves_no_pod() {
    let mut jobs = Jobs::start("jobs-orphan", two_pods()).await;
    jobs.place.fhir.script(slow(200));
    jobs.place.export("orphan", json!({}), json!({})).await;
    jobs.until_landed(2).await;
    jobs.place.site.kill_operator().await;
    jobs.place.site.delete("orphan").await;
    jobs.place.site.start_operator().await;
    jobs.place.site.gone("orphan").await;
    assert_eq!(jobs.left().await, Vec::<String>::new());
}

#[tokio::test]
async fn a_job_whose_export_is_gone_is_swept_away() {
    let mut jobs = Jobs::start("jobs-swept", two_pods()).await;
    jobs.place.fhir.script(slow(400));
    jobs.place.export("swept", json!({}), json!({})).await;
    jobs.until_landed(2).await;
    jobs.place.site.kill_operator().await;
    let exports: Api<FhirExport> = jobs.place.site.api();
    let none = Patch::Merge(json!({ "metadata": { "finalizers": null } }));
    exports.patch("swept", &PatchParams::default(), &none).await.unwrap();
    jobs.place.site.delete("swept").await;
    jobs.place.site.gone("swept").await;
    assert!(!jobs.left().await.is_empty());
    jobs.place.site.start_operator().await;
    jobs.until_nothing_is_left().await;
    assert_eq!(jobs.kubelet.running(), 0);
}

#[tokio::test]
async fn a_job_that_somebody_deletes_is_made_again() {
    let jobs = Jobs::start("jobs-again", two_pods()).await;
    jobs.place.fhir.script(slow(60));
    jobs.place.export("again", json!({}), json!({})).await;
    jobs.until_landed(4).await;
    let api = jobs.api::<Job>();
    let job = api.list(&ListParams::default()).await.unwrap().items.remove(0);
    // Like `kubectl delete --cascade=orphan`: the pods stay, and only the operator can end them.
    let orphaning =
        DeleteParams { propagation_policy: Some(PropagationPolicy::Orphan), ..DeleteParams::default() };
    api.delete(&job.name_any(), &orphaning).await.unwrap();
    let ended = wait_for("its pods to end", PATIENCE, || async {
        let now = api.get_opt(&job.name_any()).await.unwrap().and_then(|job| job.uid());
        if now == job.uid() { Err("it is still there".to_owned()) } else { Ok(()) }
    });
    jobs.told(ended.await);
    let (lying, since) = (jobs.lying().await, jobs.place.fhir.requests().len());
    let again = jobs.place.site.complete("again").await;
    assert!(jobs.kubelet.started() >= 4);
    assert_eq!(jobs.requested_again(&lying, since), Vec::<String>::new());
    assert_eq!(jobs.files(&again).await.len(), 60);
}

#[tokio::test]
async fn without_a_namespace_for_jobs_the_export_waits_and_says_so() {
    let transfer = json!({ "transfer": two_pods() });
    let place = Place::start("jobs-none", Options::default(), transfer).await;
    place.fhir.script(Script::polls(1).made("Observation", 2, 1_000));
    place.export("waits", json!({}), json!({})).await;
    let waits = place.site.until_condition("waits", "Reconciling", "True", "DependencyMissing").await;
    let message = condition(&waits, "Reconciling").unwrap().2;
    assert!(message.contains("landingJobs.namespace") && message.contains("transfer.mode"), "{message}");
    place.change_server(json!({ "transfer": null })).await;
    place.site.complete("waits").await;
}

#[tokio::test]
async fn a_file_that_cannot_be_had_ends_the_export_with_its_sentence() {
    let jobs = Jobs::start("jobs-lasting", two_pods()).await;
    let mut script = Script::polls(1).made("Observation", 6, 1_000).every_time();
    let refused = bulk_fhir::outcome(400, "invalid");
    let gone = FileScript { faults: vec![Step::always(refused)], ..FileScript::default() };
    script.file_overrides.insert(3, gone);
    jobs.place.fhir.script(script);
    jobs.place.export("lasting", json!({}), json!({ "backoffLimit": 0 })).await;
    let ended = jobs.place.site.ended("lasting").await;
    let (_, _, message) = condition(&ended, "Failed").unwrap();
    assert!(message.contains("Observation-4.ndjson"), "{message}");
    jobs.until_nothing_is_left().await;
}

#[tokio::test]
async fn four_pods_are_faster_than_one() {
    let jobs = Jobs::start("jobs-rate", json!({ "mode": "Job", "parallelism": 1 })).await;
    let mut times = Vec::new();
    for pods in [1, 2, 4] {
        jobs.place.change_server(json!({ "transfer": { "parallelism": pods } })).await;
        let limited = FileScript { trickle: Some(100_000), gzip: false, ..FileScript::default() };
        jobs.place.fhir.script(Script::polls(1).made("Observation", 128, 100_000).files(limited));
        let name = format!("pods-{pods}");
        let began = Instant::now();
        let landed = jobs.place.landed(&name, json!({})).await;
        times.push(began.elapsed());
        assert_eq!(jobs.files(&landed).await.len(), 128);
    }
    println!("1, 2 and 4 pods: {times:?}");
    assert!(times[2] + Duration::from_secs(1) < times[0].mul_f64(0.6), "{times:?}");
}
