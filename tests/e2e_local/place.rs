//! The world of one test: a directory with manifests, a state file and a container, and a Bulk Data server.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use bulk_fhir::{Access, Expected, List, Options, Server};
use serde_json::{Value, json};
use stage::{Folder, Process, ProcessOptions, wait_for};

/// The timeout of waits: long enough for a loaded machine.
pub const PATIENCE: Duration = Duration::from_secs(60);
/// The bearer token of the server. It occurs nowhere else.
pub const TOKEN: &str = "sesame-4711-open";
/// The container of the exports.
pub const CONTAINER: &str = "research-lake";

/// The world of one test.
pub struct Place {
    pub folder: Folder,
    pub fhir: Server,
    calls: u32,
}

impl Place {
    /// A world with a server that takes [`TOKEN`], and with manifests in `all.yaml`: the server, its Secret and the
    /// export `cohort`.
    pub async fn start() -> Self {
        let access = Access::Bearer(TOKEN.to_owned());
        let fhir = Server::start(Options { access, ..Options::default() }).await.unwrap();
        let place = Self { folder: Folder::new("local").unwrap(), fhir, calls: 0 };
        place.write("all.yaml", &[place.secret(), place.server(), export("cohort", json!({}))]);
        place
    }

    pub fn secret(&self) -> Value {
        json!({ "apiVersion": "v1", "kind": "Secret", "stringData": { "token": TOKEN }, "metadata": {
            "name": "clinic", "labels": { "fhirexport.dev/credential": "true" } } })
    }

    pub fn server(&self) -> Value {
        let token = json!({ "secretRef": { "name": "clinic", "key": "token" } });
        json!({ "apiVersion": "fhirexport.dev/v1alpha1", "kind": "FhirServer", "metadata": { "name": "clinic" },
            "spec": { "url": self.fhir.url(), "allowInsecureHTTP": true, "dialect": "BulkData",
                "auth": { "type": "BearerToken", "bearerToken": token },
                "limits": { "minPollSeconds": 1, "maxRetryAfterSeconds": 1, "maxParallelDownloads": 4 } } })
    }

    /// Writes a file of manifests, one document each.
    pub fn write(&self, name: &str, documents: &[Value]) {
        let text: Vec<String> = documents.iter().map(|document| format!("{document:#}\n")).collect();
        std::fs::write(self.path(name), text.join("---\n")).unwrap();
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Starts the program with these arguments in the directory of this world.
    pub fn start_program(&mut self, arguments: &[&str]) -> Process {
        self.calls += 1;
        let log = self.path(&format!("call-{}.log", self.calls));
        let options = self.options(&log, arguments).stdout(log.with_extension("out"));
        Process::start(&options).unwrap()
    }

    /// How the program is started with these arguments; its messages go to `log`.
    pub fn options(&self, log: &Path, arguments: &[&str]) -> ProcessOptions {
        let quick = [
            "--poll-floor-seconds=0.1",
            "--poll-ceiling-seconds=0.3",
            "--retry-base-seconds=0.3",
            "--retry-max-seconds=1",
            "--orphan-wait-seconds=2",
            "--missing-retry-seconds=0.3",
        ];
        let works = !matches!(arguments.get(1), Some(&"get"));
        ProcessOptions::new(env!("CARGO_BIN_EXE_fhir-export-operator"), log)
            .directory(self.folder.path())
            .env("RUST_BACKTRACE", "1")
            .args(arguments)
            .args(if works { &quick[..] } else { &[] })
    }

    /// Starts `local` on `all.yaml`, with the container `lake`.
    pub fn start_local(&mut self, arguments: &[&str]) -> Process {
        let all = [&["local", "-f", "all.yaml", "--container", "lake"], arguments].concat();
        self.start_program(&all)
    }

    /// Waits for the end of a call.
    pub async fn ended(&self, mut process: Process) -> Ended {
        let code = process.wait_at_most(PATIENCE).await.unwrap();
        let read = |path: &Path| std::fs::read_to_string(path).unwrap_or_default();
        let said = read(process.log());
        let Some(code) = code else { panic!("the program does not end:\n{said}") };
        Ended { code, stdout: read(&process.log().with_extension("out")), said }
    }

    /// Calls the program and waits for its end.
    pub async fn call(&mut self, arguments: &[&str]) -> Ended {
        let process = self.start_program(arguments);
        self.ended(process).await
    }

    /// Runs `local` on `all.yaml` until it ends.
    pub async fn local(&mut self, arguments: &[&str]) -> Ended {
        let process = self.start_local(arguments);
        self.ended(process).await
    }

    /// The files in a container directory, without hidden ones: contents by path below it.
    pub fn files_in(&self, container: &str) -> BTreeMap<String, Vec<u8>> {
        let mut files = BTreeMap::new();
        collect(&self.path(container), "", &mut files);
        files
    }

    /// The NDJSON files that have landed, by name.
    pub fn landed(&self) -> BTreeMap<String, Vec<u8>> {
        let files = self.files_in(&format!("lake/{CONTAINER}")).into_iter();
        let name = |path: String| path.rsplit_once('/').map_or(path.clone(), |(_, name)| name.to_owned());
        files.map(|(path, bytes)| (name(path), bytes)).filter(|(name, _)| name.ends_with(".ndjson")).collect()
    }

    /// Waits until at least `count` files have landed.
    pub async fn until_landed(&self, count: usize) {
        wait_for("files to land", PATIENCE, || async {
            let landed = self.landed().len();
            if landed >= count { Ok(()) } else { Err(format!("{landed} of {count}")) }
        })
        .await
        .unwrap();
    }

    /// Waits until `holds` is true for what the state file says of an export.
    pub async fn until(&self, name: &str, holds: impl Fn(&Value) -> bool) {
        wait_for(name, PATIENCE, || async {
            let object = self.stored(name).unwrap_or_default();
            if holds(&object) { Ok(()) } else { Err(object.to_string()) }
        })
        .await
        .unwrap();
    }

    /// Waits until the server has accepted the export `cohort`, and the state file says so.
    pub async fn until_running(&self) {
        self.until("cohort", |export| export.pointer("/status/job/statusURL").is_some()).await;
    }

    /// What the state file says of an export.
    pub fn stored(&self, name: &str) -> Option<Value> {
        let state: Value = serde_json::from_str(&self.state()).ok()?;
        let named = |o: &&Value| o["kind"] == "FhirExport" && o["metadata"]["name"] == name;
        state["objects"].as_array()?.iter().find(named).cloned()
    }

    /// The state file as it is.
    pub fn state(&self) -> String {
        std::fs::read_to_string(self.path(".fhir-export/state.json")).unwrap_or_default()
    }

    /// Asserts that what has landed is what the server sent for its last job, and that it was asked for one job.
    pub fn assert_whole(&self) {
        let jobs = self.fhir.jobs();
        assert_eq!((jobs.len(), self.fhir.kick_offs()), (1, 1), "one job, one kick-off");
        let landed = self.landed();
        let expected: Vec<Expected> = self.fhir.expected(&jobs[0].id);
        let wanted: Vec<String> =
            expected.iter().filter(|file| file.list == List::Output).map(Expected::sha256).collect();
        let mut sums: Vec<String> = landed.values().map(|bytes| sha256(bytes)).collect();
        let mut wanted = wanted;
        sums.sort();
        wanted.sort();
        assert_eq!(sums, wanted, "{:?}", landed.keys());
    }
}

/// What a call came to.
#[derive(Debug)]
pub struct Ended {
    pub code: i32,
    /// Standard output.
    pub stdout: String,
    /// Standard error.
    pub said: String,
}

/// An export of the server `clinic`, with `change` merged into its spec.
pub fn export(name: &str, change: Value) -> Value {
    let mut spec = json!({ "serverRef": { "name": "clinic" },
        "request": { "level": "System", "container": CONTAINER } });
    merge(&mut spec, change);
    json!({ "apiVersion": "fhirexport.dev/v1alpha1", "kind": "FhirExport", "metadata": { "name": name },
        "spec": spec })
}

fn merge(into: &mut Value, change: Value) {
    match (into, change) {
        (Value::Object(into), Value::Object(change)) => {
            for (member, value) in change {
                merge(into.entry(member).or_insert(Value::Null), value);
            }
        }
        (into, value) => *into = value,
    }
}

fn collect(directory: &Path, prefix: &str, files: &mut BTreeMap<String, Vec<u8>>) {
    for entry in std::fs::read_dir(directory).into_iter().flatten().flatten() {
        let name = entry.file_name().into_string().unwrap();
        if name.starts_with('.') {
            continue;
        }
        let path = if prefix.is_empty() { name } else { format!("{prefix}/{name}") };
        if entry.path().is_dir() {
            collect(&entry.path(), &path, files);
        } else if let Ok(bytes) = std::fs::read(entry.path()) {
            files.insert(path, bytes);
        }
    }
}

fn sha256(bytes: &[u8]) -> String {
    use sha2::Digest;
    let sum = sha2::Sha256::digest(bytes);
    sum.iter().map(|byte| format!("{byte:02x}")).collect()
}
