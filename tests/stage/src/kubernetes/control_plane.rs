//! How the processes of the control plane are started.

use std::path::Path;
use std::time::{Duration, Instant};

use tokio::time::{sleep, timeout};

use super::{Keys, Kubernetes, READY_WITHIN};
use crate::kubeconfig::{Identity, client};
use crate::{Error, Process, ProcessOptions, Result, free_port, parts, port};

const LOOK_EVERY: Duration = Duration::from_millis(50);
const ANSWER_WITHIN: Duration = Duration::from_secs(5);

/// Those that make a namespace usable and clean up after what was deleted.
const CONTROLLERS: &[&str] = &[
    "namespace-controller",
    "garbage-collector-controller",
    "serviceaccount-controller",
    "serviceaccount-token-controller",
    "root-ca-certificate-publisher-controller",
    "clusterrole-aggregation-controller",
    "ttl-after-finished-controller",
];

impl Kubernetes {
    pub(super) async fn start_first_etcd(&mut self) -> Result<()> {
        let mut attempt = 1;
        loop {
            self.etcd_port = free_port()?;
            match self.try_etcd().await {
                Err(error) if port::is_taken(&error) && attempt < port::ATTEMPTS => attempt += 1,
                started => return started,
            }
        }
    }

    /// As with the API server, whoever has the port meanwhile leaves it again.
    pub(super) async fn resume_etcd(&mut self) -> Result<()> {
        let deadline = Instant::now() + READY_WITHIN;
        loop {
            match self.try_etcd().await {
                Err(error) if port::is_taken(&error) && Instant::now() < deadline => {}
                started => return started,
            }
        }
    }

    async fn try_etcd(&mut self) -> Result<()> {
        let program = parts::kubernetes().await?.program("ETCD")?;
        let url = format!("http://127.0.0.1:{}", self.etcd_port);
        let command = self
            .command(program, "etcd")
            .arg("--data-dir")
            .arg(self.folder.path().join("etcd"))
            .args(["--listen-client-urls", &url])
            .args(["--advertise-client-urls", &url])
            // Its only peer is itself.
            .args(["--listen-peer-urls", "http://127.0.0.1:0"])
            // Nothing here is to outlive a loss of power.
            .arg("--unsafe-no-fsync");
        self.etcd = Some(etcd(&command).await?);
        Ok(())
    }

    pub(super) async fn start_first_api_server(&mut self) -> Result<()> {
        let mut attempt = 1;
        loop {
            self.api_port = free_port()?;
            self.write_admin_kubeconfigs()?;
            match self.try_api_server().await {
                Err(error) if port::is_taken(&error) && attempt < port::ATTEMPTS => attempt += 1,
                started => return started,
            }
        }
    }

    /// Another program may have got the port for an outgoing connection since;
    /// these pass, and the address must not change.
    pub(super) async fn resume_api_server(&mut self) -> Result<()> {
        let deadline = Instant::now() + READY_WITHIN;
        loop {
            match self.try_api_server().await {
                Err(error) if port::is_taken(&error) && Instant::now() < deadline => {}
                started => return started,
            }
        }
    }

    fn write_admin_kubeconfigs(&self) -> Result<()> {
        let Keys { admin, controller_manager, .. } = &self.keys;
        for (name, issued) in [("admin", admin), ("controller-manager", controller_manager)] {
            self.write_kubeconfig(name, "default", &Identity::Certificate(issued))?;
        }
        Ok(())
    }

    async fn try_api_server(&mut self) -> Result<()> {
        let program = parts::kubernetes().await?.program("KUBE_APISERVER")?;
        let mut process = Process::start(&self.api_server_command(program))?;
        let client = client(&self.admin_kubeconfig()).await?;
        let started = Instant::now();
        loop {
            process.must_run()?;
            // An answer proves that it is ours: it has our certificate.
            let last = match timeout(ANSWER_WITHIN, ready(&client)).await {
                Ok(Ok(())) => break,
                Ok(Err(error)) => error.to_string(),
                Err(_) => "it does not answer".to_owned(),
            };
            if started.elapsed() > READY_WITHIN {
                return Err(Error::Timeout {
                    what: "the API server to get ready".to_owned(),
                    waited: started.elapsed(),
                    last: format!("{last}; the end of its log:\n{}", process.log_end()),
                });
            }
            sleep(LOOK_EVERY).await;
        }
        self.api_server = Some(process);
        Ok(())
    }

    pub(super) async fn start_controller_manager(&mut self) -> Result<()> {
        let program = parts::kubernetes().await?.program("KUBE_CONTROLLER_MANAGER")?;
        let controllers: Vec<&str> =
            CONTROLLERS.iter().copied().chain(self.options.controllers.iter().map(String::as_str)).collect();
        let command = self
            .command(program, "kube-controller-manager")
            .arg("--kubeconfig")
            .arg(self.folder.path().join("controller-manager.kubeconfig"))
            .arg(format!("--controllers={}", controllers.join(",")))
            .args(["--leader-elect=false", "--secure-port=0"])
            .arg("--service-account-private-key-file")
            .arg(&self.keys.service_account_key)
            .arg("--root-ca-file")
            .arg(self.keys.authority.certificate());
        self.controller_manager = Some(Process::start(&command)?);
        Ok(())
    }

    fn api_server_command(&self, program: &Path) -> ProcessOptions {
        let keys = &self.keys;
        self.command(program, "kube-apiserver")
            .arg(format!("--etcd-servers=http://127.0.0.1:{}", self.etcd_port))
            .arg("--bind-address=127.0.0.1")
            .arg(format!("--secure-port={}", self.api_port))
            .arg("--tls-cert-file")
            .arg(&keys.server.certificate)
            .arg("--tls-private-key-file")
            .arg(&keys.server.key)
            .arg("--client-ca-file")
            .arg(keys.authority.certificate())
            .arg("--authorization-mode=RBAC")
            .arg("--service-account-issuer=https://kubernetes.default.svc")
            .arg("--service-account-signing-key-file")
            .arg(&keys.service_account_key)
            .arg("--service-account-key-file")
            .arg(&keys.service_account_public_key)
            .arg("--service-cluster-ip-range=10.0.0.0/24")
            // It cannot tell pods to come to a loopback address.
            .arg("--endpoint-reconciler-type=none")
            // Else it waits a minute at its end for clients that do not go.
            .arg("--shutdown-watch-termination-grace-period=1s")
            .arg("--audit-policy-file")
            .arg(self.folder.path().join("audit-policy.yaml"))
            .arg("--audit-log-path")
            .arg(self.folder.path().join("audit.log"))
            .args(&self.options.api_server_args)
    }

    fn command(&self, program: &Path, name: &str) -> ProcessOptions {
        ProcessOptions::new(program, self.folder.next_log(name)).directory(self.folder.path())
    }
}

async fn ready(client: &kube::Client) -> Result<()> {
    let request = http::Request::get("/readyz").body(Vec::new());
    let request = request.map_err(kube::Error::HttpError)?;
    client.request_text(request).await?;
    Ok(())
}

async fn etcd(command: &ProcessOptions) -> Result<Process> {
    let mut process = Process::start(command)?;
    process.wait_for_log("ready to serve client requests", READY_WITHIN).await?;
    Ok(process)
}
