//! A stand-in for the kubelet: runs the command of each pod of a namespace as a process, with its environment and its
//! Secret as a directory, and reports its phase and exit code as a kubelet does.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use k8s_openapi::api::core::v1::{Pod, Secret};
use kube::api::{DeleteParams, ListParams, Patch, PatchParams, PostParams};
use kube::{Api, Client, ResourceExt};
use serde_json::{Value, json};
use stage::{Folder, Process, ProcessOptions};
use tokio::task::JoinHandle;

/// The time between two looks at the pods.
const LOOK: Duration = Duration::from_millis(50);
/// The directory at which the pods expect their Secret.
const MOUNTED: &str = "/etc/fhir-export/landing";

/// What the pods of a namespace do.
#[derive(Default)]
struct Ran {
    /// The processes that run, by the name of their pod.
    running: BTreeMap<String, Process>,
    /// Every pod that was started: its name, its share and its log.
    started: Vec<(String, String, PathBuf)>,
}

/// Runs the pods of one namespace until it is dropped.
pub struct Kubelet {
    ran: Arc<Mutex<Ran>>,
    work: JoinHandle<()>,
}

impl Drop for Kubelet {
    fn drop(&mut self) {
        self.work.abort();
    }
}

impl Kubelet {
    /// Runs the pods of `namespace` with `program` in place of their image.
    pub fn start(client: &Client, namespace: &str, program: &Path) -> Self {
        let ran = Arc::new(Mutex::new(Ran::default()));
        let node = Node {
            pods: Api::namespaced(client.clone(), namespace),
            secrets: Api::namespaced(client.clone(), namespace),
            program: program.to_owned(),
            folder: Folder::new("kubelet").unwrap(),
            ran: Arc::clone(&ran),
            mounted: BTreeMap::new(),
        };
        Self { ran, work: tokio::spawn(node.work()) }
    }

    /// The number of pods that were started so far.
    pub fn started(&self) -> usize {
        self.ran.lock().unwrap().started.len()
    }

    /// The shares of the pods that were started, in order.
    pub fn shares(&self) -> Vec<String> {
        self.ran.lock().unwrap().started.iter().map(|(_, share, _)| share.clone()).collect()
    }

    /// The number of processes that run.
    pub fn running(&self) -> usize {
        self.ran.lock().unwrap().running.len()
    }

    /// What the pods wrote to their logs.
    pub fn logs(&self) -> String {
        let started = self.ran.lock().unwrap().started.clone();
        let of = |(name, _, log): &(String, String, PathBuf)| {
            format!("--- {name}\n{}", std::fs::read_to_string(log).unwrap_or_default())
        };
        started.iter().map(of).collect()
    }

    /// Kills the process of one pod that runs, as the kernel does when memory is short. Returns whether there was one.
    pub async fn kill_one(&self) -> bool {
        let first = {
            let mut ran = self.ran.lock().unwrap();
            ran.running.pop_first()
        };
        let Some((name, mut process)) = first else { return false };
        process.sigkill().await.unwrap();
        // The process is reported as every other one that has ended.
        self.ran.lock().unwrap().running.insert(name, process);
        true
    }
}

struct Node {
    pods: Api<Pod>,
    secrets: Api<Secret>,
    program: PathBuf,
    folder: Folder,
    ran: Arc<Mutex<Ran>>,
    /// The version of each pod's Secret that its directory has.
    mounted: BTreeMap<String, String>,
}

impl Node {
    async fn work(mut self) {
        loop {
            // The namespace may be deleted at the end of a test.
            if let Ok(pods) = self.pods.list(&ListParams::default()).await {
                for pod in pods {
                    self.look(&pod).await;
                }
            }
            tokio::time::sleep(LOOK).await;
        }
    }

    async fn look(&mut self, pod: &Pod) {
        let name = pod.name_any();
        let phase = pod.status.as_ref().and_then(|status| status.phase.clone()).unwrap_or_default();
        let over = matches!(phase.as_str(), "Succeeded" | "Failed");
        let process = self.ran.lock().unwrap().running.remove(&name);
        if let Some(mut process) = process {
            if pod.metadata.deletion_timestamp.is_some() {
                let code = process.stop(Duration::from_secs(10)).await.unwrap_or_default();
                self.ended(&name, code.unwrap_or(137)).await;
            } else if let Some(code) = process.try_wait().unwrap_or(Some(137)) {
                // A process that was killed by a signal has no code of its own.
                self.ended(&name, if code < 0 { 137 } else { code }).await;
            } else {
                self.mount(pod).await;
                self.ran.lock().unwrap().running.insert(name, process);
            }
        } else if pod.metadata.deletion_timestamp.is_some() {
            if !over {
                self.ended(&name, 137).await;
            }
            let now = DeleteParams { grace_period_seconds: Some(0), ..DeleteParams::default() };
            let _ = self.pods.delete(&name, &now).await;
        } else if !over {
            self.run(pod).await;
        }
    }

    fn directory(&self, pod: &str) -> PathBuf {
        self.folder.path().join(pod)
    }

    /// Writes the keys of the pod's Secret into its directory, if they changed. Returns whether it is there.
    async fn mount(&mut self, pod: &Pod) -> bool {
        let name = pod.name_any();
        let mut volumes = pod.spec.iter().flat_map(|spec| spec.volumes.iter().flatten());
        let Some(secret) = volumes.find_map(|it| it.secret.as_ref()?.secret_name.clone()) else {
            return false;
        };
        let Ok(secret) = self.secrets.get(&secret).await else { return false };
        let version = secret.resource_version().unwrap_or_default();
        if self.mounted.get(&name) == Some(&version) {
            return true;
        }
        let directory = self.directory(&name);
        std::fs::create_dir_all(&directory).unwrap();
        for (key, value) in secret.data.unwrap_or_default() {
            let next = directory.join(format!(".{key}"));
            std::fs::write(&next, value.0).unwrap();
            std::fs::rename(next, directory.join(key)).unwrap();
        }
        self.mounted.insert(name, version);
        true
    }

    async fn run(&mut self, pod: &Pod) {
        if !self.mount(pod).await {
            return;
        }
        let name = pod.name_any();
        if pod.spec.as_ref().is_some_and(|spec| spec.node_name.is_none()) {
            // A pod that a node has is only gone when its kubelet says so.
            let binding = json!({ "apiVersion": "v1", "kind": "Binding", "metadata": { "name": name },
                "target": { "apiVersion": "v1", "kind": "Node", "name": "node" } });
            let new = PostParams::default();
            let bound = self.pods.create_subresource::<Value, Value>("binding", &name, &new, &binding);
            if bound.await.is_err() {
                return;
            }
        }
        let directory = self.directory(&name);
        let container = &pod.spec.as_ref().unwrap().containers[0];
        let share = pod.annotations().get("batch.kubernetes.io/job-completion-index").cloned().unwrap();
        let named = container.env.iter().flatten().any(|it| it.name == "JOB_COMPLETION_INDEX");
        assert!(named, "the Job controller names the share");
        let log = self.folder.path().join(format!("{name}.log"));
        let args = container.args.iter().flatten();
        let options = ProcessOptions::new(&self.program, &log)
            .args(args.map(|arg| arg.replace(MOUNTED, &directory.display().to_string())))
            .env("JOB_COMPLETION_INDEX", &share);
        let process = Process::start(&options).unwrap();
        let status =
            json!({ "phase": "Running", "containerStatuses": [container_status(&json!({ "running": {} }))] });
        self.report(&name, status).await;
        let mut ran = self.ran.lock().unwrap();
        ran.running.insert(name.clone(), process);
        ran.started.push((name, share, log));
    }

    async fn ended(&self, name: &str, code: i32) {
        let phase = if code == 0 { "Succeeded" } else { "Failed" };
        let state = json!({ "terminated": { "exitCode": code } });
        self.report(name, json!({ "phase": phase, "containerStatuses": [container_status(&state)] })).await;
    }

    async fn report(&self, name: &str, status: Value) {
        let patch = Patch::Merge(json!({ "status": status }));
        let _ = self.pods.patch_status(name, &PatchParams::default(), &patch).await;
    }
}

fn container_status(state: &Value) -> Value {
    json!({ "name": "land", "image": "operator", "imageID": "", "ready": false, "restartCount": 0, "state": state })
}
