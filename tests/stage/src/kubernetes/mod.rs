mod control_plane;

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::time::Duration;

use k8s_openapi::api::authentication::v1::{TokenRequest, TokenRequestSpec};
use k8s_openapi::api::core::v1::ServiceAccount;
use kube::api::{Api, PostParams};

use crate::kubeconfig::{Identity, client, kubeconfig};
use crate::{AuditLog, Authority, Error, Folder, Issued, Process, Result, Tool, audit, parts, wait_for};

const READY_WITHIN: Duration = Duration::from_mins(1);
const STOPPED_WITHIN: Duration = Duration::from_secs(15);

/// How to start the control plane.
#[derive(Debug, Clone, Default)]
pub struct KubernetesOptions {
    api_server_args: Vec<String>,
    controllers: Vec<String>,
}

impl KubernetesOptions {
    /// Gives the API server one more argument.
    #[must_use]
    pub fn api_server_arg(mut self, arg: &str) -> Self {
        self.api_server_args.push(arg.to_owned());
        self
    }

    /// Runs one more controller, `job-controller` say.
    #[must_use]
    pub fn controller(mut self, name: &str) -> Self {
        self.controllers.push(name.to_owned());
        self
    }
}

/// A Kubernetes control plane: etcd, the API server with RBAC, and those
/// controllers that a namespace and its objects need to come and go.
///
/// There are no nodes: a Pod stays Pending.
#[derive(Debug)]
pub struct Kubernetes {
    // Before the folder, so that they have ended when the folder is removed.
    controller_manager: Option<Process>,
    api_server: Option<Process>,
    etcd: Option<Process>,
    options: KubernetesOptions,
    keys: Keys,
    etcd_port: u16,
    api_port: u16,
    folder: Folder,
}

#[derive(Debug)]
struct Keys {
    authority: Authority,
    server: Issued,
    admin: Issued,
    controller_manager: Issued,
    service_account_key: PathBuf,
    service_account_public_key: PathBuf,
}

impl Keys {
    fn new(folder: &Folder) -> Result<Self> {
        let authority = Authority::new(folder)?;
        let service_accounts = rcgen::KeyPair::generate()?;
        Ok(Self {
            server: authority.server(folder, "kube-apiserver")?,
            admin: authority.client(folder, "admin", "system:masters")?,
            // It is in the group because it acts for all the controllers, but
            // has a name of its own in the audit log.
            controller_manager: authority.client(
                folder,
                "system:kube-controller-manager",
                "system:masters",
            )?,
            service_account_key: folder.write("service-accounts.key", service_accounts.serialize_pem())?,
            service_account_public_key: folder
                .write("service-accounts.pub", service_accounts.public_key_pem())?,
            authority,
        })
    }
}

/// The name by which a `ServiceAccount` is known as a user.
pub fn service_account_user(name: &str, namespace: &str) -> String {
    format!("system:serviceaccount:{namespace}:{name}")
}

impl Kubernetes {
    /// Starts the control plane and waits until it is ready for use.
    pub async fn start(options: KubernetesOptions) -> Result<Self> {
        let folder = Folder::new("kubernetes")?;
        folder.write("audit-policy.yaml", audit::POLICY)?;
        folder.write("audit.log", "")?;
        let mut kubernetes = Self {
            controller_manager: None,
            api_server: None,
            etcd: None,
            options,
            keys: Keys::new(&folder)?,
            etcd_port: 0,
            api_port: 0,
            folder,
        };
        kubernetes.start_first_etcd().await?;
        kubernetes.start_first_api_server().await?;
        kubernetes.start_controller_manager().await?;
        kubernetes.default_service_account().await?;
        Ok(kubernetes)
    }

    /// Ends all of it at once.
    pub async fn stop(mut self) -> Result<()> {
        // Nothing of it is kept, so nothing needs the time to end in order.
        let all = [self.controller_manager.take(), self.api_server.take(), self.etcd.take()];
        for mut process in all.into_iter().flatten() {
            process.sigkill().await?;
        }
        Ok(())
    }

    /// Ends the API server in order: open watches are closed. Its data stays.
    pub async fn stop_api_server(&mut self) -> Result<()> {
        if let Some(mut process) = self.api_server.take() {
            process.stop(STOPPED_WITHIN).await?;
        }
        Ok(())
    }

    /// Kills the API server: open watches just break. Its data stays.
    pub async fn kill_api_server(&mut self) -> Result<()> {
        if let Some(mut process) = self.api_server.take() {
            process.sigkill().await?;
        }
        Ok(())
    }

    /// Starts the API server again, at the same address, and waits until it is
    /// ready.
    pub async fn start_api_server(&mut self) -> Result<()> {
        if self.api_server.is_none() {
            self.resume_api_server().await?;
        }
        // It gives up when it loses the API server for long.
        let runs = match &mut self.controller_manager {
            Some(process) => process.is_running()?,
            None => false,
        };
        if !runs {
            self.start_controller_manager().await?;
        }
        Ok(())
    }

    /// Kills etcd: the API server stays, and answers what it can without it. Its data stays.
    pub async fn kill_etcd(&mut self) -> Result<()> {
        if let Some(mut process) = self.etcd.take() {
            process.sigkill().await?;
        }
        Ok(())
    }

    /// Starts etcd again, at the same address and with the same data.
    pub async fn start_etcd(&mut self) -> Result<()> {
        if self.etcd.is_none() {
            self.resume_etcd().await?;
        }
        Ok(())
    }

    /// The address of the API server.
    pub fn address(&self) -> String {
        format!("https://127.0.0.1:{}", self.api_port)
    }

    /// The kubeconfig of a user who may do anything.
    pub fn admin_kubeconfig(&self) -> PathBuf {
        self.folder.path().join("admin.kubeconfig")
    }

    /// A new client of a user who may do anything, for the current runtime.
    pub async fn client(&self) -> Result<kube::Client> {
        client(&self.admin_kubeconfig()).await
    }

    /// A kubeconfig of a `ServiceAccount`, with a token for eight hours. Waits
    /// for the account: that of a new namespace comes a moment after it.
    pub async fn kubeconfig_for(&self, name: &str, namespace: &str) -> Result<PathBuf> {
        let accounts: Api<ServiceAccount> = Api::namespaced(self.client().await?, namespace);
        wait_for(&format!("the ServiceAccount {namespace}/{name}"), READY_WITHIN, || accounts.get(name))
            .await?;
        let request = TokenRequest {
            spec: TokenRequestSpec { expiration_seconds: Some(8 * 60 * 60), ..TokenRequestSpec::default() },
            ..TokenRequest::default()
        };
        let token = accounts
            .create_token_request(name, &PostParams::default(), &request)
            .await?
            .status
            .map(|status| status.token)
            .unwrap_or_default();
        self.write_kubeconfig(&format!("{namespace}.{name}"), namespace, &Identity::Token(&token))
    }

    /// A new client of a `ServiceAccount`, for the current runtime.
    pub async fn client_for(&self, name: &str, namespace: &str) -> Result<kube::Client> {
        client(&self.kubeconfig_for(name, namespace).await?).await
    }

    /// kubectl, as a user who may do anything where no other kubeconfig is set.
    pub async fn kubectl<A: Into<OsString>>(&self, args: impl IntoIterator<Item = A>) -> Result<Tool> {
        let program = parts::kubernetes().await?.program("KUBECTL")?;
        Ok(self.tool(program, args)?.env("KUBECACHEDIR", self.folder.path().join("kubectl-cache")))
    }

    /// Helm, as a user who may do anything where no other kubeconfig is set,
    /// without the settings of the person who runs the tests.
    pub async fn helm<A: Into<OsString>>(&self, args: impl IntoIterator<Item = A>) -> Result<Tool> {
        let program = parts::helm().await?.program("HELM")?;
        let home = self.folder.path().join("helm");
        Ok(self
            .tool(program, args)?
            .env("HELM_CACHE_HOME", home.join("cache"))
            .env("HELM_CONFIG_HOME", home.join("config"))
            .env("HELM_DATA_HOME", home.join("data")))
    }

    fn tool<A: Into<OsString>>(&self, program: &Path, args: impl IntoIterator<Item = A>) -> Result<Tool> {
        Ok(Tool::new(program, args)?.kubeconfig(self.admin_kubeconfig()))
    }

    /// What the API server was asked.
    pub fn audit(&self) -> AuditLog {
        AuditLog::at(self.folder.path().join("audit.log"))
    }

    /// The API server, to signal it or to read its log.
    pub fn api_server(&mut self) -> Result<&mut Process> {
        self.api_server.as_mut().ok_or_else(|| Error::Stopped("the API server".to_owned()))
    }

    /// The process ids of all that runs.
    pub fn pids(&self) -> Vec<u32> {
        [&self.etcd, &self.api_server, &self.controller_manager]
            .into_iter()
            .flatten()
            .map(Process::pid)
            .collect()
    }

    fn write_kubeconfig(&self, name: &str, namespace: &str, identity: &Identity<'_>) -> Result<PathBuf> {
        let authority = self.keys.authority.certificate();
        let text = kubeconfig(&self.address(), authority, namespace, identity);
        self.folder.write(&format!("{name}.kubeconfig"), text)
    }

    async fn default_service_account(&self) -> Result<()> {
        let accounts: Api<ServiceAccount> = Api::default_namespaced(self.client().await?);
        wait_for("the default ServiceAccount", READY_WITHIN, || accounts.get("default")).await?;
        Ok(())
    }
}
