//! An operator process, as one pod of the Deployment.

use std::sync::LazyLock;
use std::time::{Duration, Instant};

use k8s_openapi::api::coordination::v1::Lease;
use kube::Api;
use serde_json::Value;
use stage::{Process, ProcessOptions, free_port, wait_for, wait_until};

use crate::gate::ApiGate;
use crate::place::{NAME, PATIENCE, Place};

/// How long a replica may take to answer a request for its metrics or its health.
const ASKED: Duration = Duration::from_secs(5);

pub struct Replica {
    pub name: String,
    lease: Api<Lease>,
    pub process: Process,
    pub asked: Asked,
}

/// The ports on which a replica serves its metrics and its health.
#[derive(Clone, Debug)]
pub struct Asked {
    metrics: u16,
    health: u16,
}

impl Replica {
    /// Starts a replica, which reaches the API server through `gate` if there is one.
    pub fn start(place: &Place, name: &str, gate: Option<&ApiGate>) -> Self {
        let asked = Asked { metrics: free_port().unwrap(), health: free_port().unwrap() };
        let mut kubeconfig: Value =
            serde_json::from_str(&std::fs::read_to_string(&place.kubeconfig).unwrap()).unwrap();
        if let Some(gate) = gate {
            kubeconfig["clusters"][0]["cluster"] = serde_json::json!({"server": gate.url()});
        }
        let kubeconfig = place.folder.write(&format!("{name}.kubeconfig"), kubeconfig.to_string()).unwrap();
        let log = place.folder.path().join(format!("{name}.log"));
        let mut options = ProcessOptions::new(env!("CARGO_BIN_EXE_fhir-export-operator"), log)
            .env("KUBECONFIG", kubeconfig)
            .env("HOSTNAME", name);
        for arg in &place.args {
            // The arguments of the Deployment, except that each replica needs ports of its own.
            options = options.arg(&match arg.split('=').next().unwrap() {
                "--metrics-addr" => format!("--metrics-addr=127.0.0.1:{}", asked.metrics),
                "--health-addr" => format!("--health-addr=127.0.0.1:{}", asked.health),
                _ => arg.clone(),
            });
        }
        Self { name: name.into(), lease: place.api(), process: Process::start(&options).unwrap(), asked }
    }

    /// Waits until the replica leads. Returns when the Lease was first seen to name it.
    pub async fn leads(&mut self) -> Instant {
        let what = format!("the Lease to name {}", self.name);
        let named = wait_for(&what, PATIENCE, || async {
            let lease = self.lease.get(NAME).await.map_err(|e| e.to_string())?;
            let holder = lease.spec.and_then(|spec| spec.holder_identity).unwrap_or_default();
            holder.starts_with(&format!("{}_", self.name)).then(Instant::now).ok_or(holder)
        });
        let named = named.await.unwrap_or_else(|error| panic!("{error}\n{}", self.process.log_end()));
        let what = format!("{} to lead", self.name);
        let works = wait_until(&what, PATIENCE, || async { self.asked.leads().await == Some(true) });
        works.await.unwrap_or_else(|error| panic!("{error}\n{}", self.process.log_end()));
        named
    }

    /// Waits until the replica is ready and does not lead.
    pub async fn stands_by(&mut self) {
        let what = format!("{} to stand by", self.name);
        let asked = self.asked.clone();
        let stands = wait_for(&what, PATIENCE, || async {
            match (asked.get(asked.health, "readyz").await, asked.leads().await) {
                (Some((200, _)), Some(false)) => Ok(()),
                other => Err(format!("{other:?}")),
            }
        });
        stands.await.unwrap_or_else(|error| panic!("{error}\n{}", self.process.log_end()));
    }

    /// Waits for the replica to end. Returns when it did, its exit code and its log.
    pub async fn ends(&mut self) -> (Instant, i32, String) {
        let code = self.process.wait_at_most(PATIENCE).await.unwrap();
        let code = code.unwrap_or_else(|| panic!("{} does not end\n{}", self.name, self.process.log_end()));
        (Instant::now(), code, std::fs::read_to_string(self.process.log()).unwrap())
    }
}

impl Asked {
    /// Whether the replica leads. `None` if it does not answer.
    pub async fn leads(&self) -> Option<bool> {
        let (_, text) = self.get(self.metrics, "metrics").await?;
        text.lines().find_map(|line| line.strip_prefix("fhir_export_leader ")).map(|value| value == "1")
    }

    /// Why the replica is not ready. `None` if it is ready or does not answer.
    pub async fn why_not_ready(&self) -> Option<String> {
        self.get(self.health, "readyz").await.filter(|(code, _)| *code != 200).map(|(_, text)| text)
    }

    async fn get(&self, port: u16, path: &str) -> Option<(u16, String)> {
        let answer = async {
            // All replicas share one client, since each client reads the machine's certificates. The client keeps no
            // connections, since they must not outlive the runtime of their test.
            static CLIENT: LazyLock<reqwest::Client> =
                LazyLock::new(|| reqwest::Client::builder().pool_max_idle_per_host(0).build().unwrap());
            let answer = CLIENT.get(format!("http://127.0.0.1:{port}/{path}")).send().await.ok()?;
            Some((answer.status().as_u16(), answer.text().await.ok()?))
        };
        tokio::time::timeout(ASKED, answer).await.ok()?
    }
}
