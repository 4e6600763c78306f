//! The demonstration from its start to its end, and what it holds meanwhile.

use std::path::Path;
use std::time::Duration;

use azure_fhir::{Access, KnownToken, Life, Options, Script, Server, Storage};
use serde_json::Value;
use stage::{Azurite, AzuriteOptions, Folder, Kubernetes};

use crate::cluster::Cluster;
use crate::install;
use crate::operator::Operator;
use crate::story::Story;
use crate::tell::{Tell, thousands};
use crate::{Error, Result};

/// How long the job of each export runs on the FHIR test server.
pub const JOB: Duration = Duration::from_secs(20);
/// So that a job writes a file a second, or so.
const LINES_PER_FILE: usize = 150;

/// All that runs.
#[derive(Debug)]
pub struct Demo {
    tell: Tell,
    context: Option<String>,
    operator: Option<Operator>,
    cluster: Option<Cluster>,
    azurite: Option<Azurite>,
    server: Option<Server>,
    held: bool,
    /// It is to stay up afterwards.
    pub stays: bool,
    took: Duration,
}

impl Demo {
    /// Nothing runs yet.
    pub fn new(context: Option<String>) -> Self {
        Self {
            tell: Tell::new(),
            context,
            operator: None,
            cluster: None,
            azurite: None,
            server: None,
            held: false,
            stays: false,
            took: Duration::ZERO,
        }
    }

    /// The whole of it.
    pub async fn show(&mut self) -> Result<()> {
        self.tell.say("fhir-export-operator: a FHIR bulk export as a Kubernetes resource, on real parts.")?;
        self.tell.say("Each line with [ok] was checked before it was printed.")?;
        self.tell.chapter("What runs here")?;
        self.raise().await?;
        self.tell.chapter("The operator is installed")?;
        self.install().await?;
        let tell = &self.tell;
        let (Some(cluster), Some(operator), Some(server), Some(azurite)) =
            (self.cluster.as_ref(), self.operator.as_mut(), self.server.as_ref(), self.azurite.as_ref())
        else {
            return Err(Error::NotSo("all parts run".into()));
        };
        let mut story = Story::new(tell, cluster, server, storage(azurite)?).await?;
        story.connect(azurite.key()).await?;
        story.export(operator).await?;
        story.files().await?;
        story.cancel().await?;
        story.books().await?;
        self.took = self.tell.elapsed();
        Ok(())
    }

    async fn raise(&mut self) -> Result<()> {
        let folder = Folder::new("demo")?;
        let cluster = match &self.context {
            None => {
                self.tell
                    .say("  Starting a Kubernetes control plane, Azurite and the FHIR test server ...")?;
                Cluster::own(folder).await?
            }
            Some(name) => Cluster::of_context(folder, name).await?,
        };
        let cluster = self.cluster.insert(cluster);
        let version = cluster.version().await?;
        let azurite = self.azurite.insert(Azurite::start(AzuriteOptions::default()).await?);
        let options = Options {
            access: Access::Tokens(vec![KnownToken::exporter(TOKEN)]),
            storage: Some(storage(azurite)?),
            script: Script {
                life: Life::Millis(u64::try_from(JOB.as_millis()).unwrap_or(u64::MAX)),
                lines_per_file: LINES_PER_FILE,
                ..Script::default()
            },
            ..Options::default()
        };
        let server = self.server.insert(Server::start(options).await?);
        let part =
            |name: &str, place: &str, what: &str| self.tell.say(format!("  {name:<20} {place:<41} {what}"));
        let whose = match &cluster.context {
            None => "etcd, API server, controller-manager".to_owned(),
            Some(context) => format!("context {context}, namespace {}", cluster.namespace),
        };
        part(&format!("Kubernetes {version}"), &cluster.address, &whose)?;
        part(
            &format!("Azurite {}", azurite_version()?),
            azurite.endpoint()?.as_str(),
            "the Azure Blob Storage emulator",
        )?;
        let resources: usize = {
            let patients = server.patients();
            patients.types().iter().map(|kind| patients.ids(kind).len()).sum()
        };
        let people = server.patients().ids("Patient").len();
        part(
            "FHIR test server",
            &server.url(),
            "the project's own, speaks the dialect of Azure's FHIR service;",
        )?;
        let what = format!("{people} synthetic patients, {} resources", thousands(resources));
        part("", "", &what)
    }

    /// All that this program started.
    fn pids(&mut self) -> Vec<u32> {
        let kubernetes = self.cluster.as_ref().and_then(|cluster| cluster.own.as_ref());
        let mut pids = kubernetes.map(Kubernetes::pids).unwrap_or_default();
        pids.extend(self.operator.as_ref().map(Operator::pid));
        pids.extend(self.azurite.as_mut().and_then(|azurite| Some(azurite.process().ok()?.pid())));
        pids
    }

    async fn install(&mut self) -> Result<()> {
        let Some(cluster) = &mut self.cluster else { return Ok(()) };
        let operator = install::install(&self.tell, cluster).await?;
        self.operator = Some(operator);
        Ok(())
    }

    /// Stays up, and starts the operator anew if somebody kills it.
    pub async fn hold(&mut self) -> Result<()> {
        self.held = true;
        let (Some(cluster), Some(operator), Some(server)) = (&self.cluster, &mut self.operator, &self.server)
        else {
            return Ok(());
        };
        let tell = &self.tell;
        let folder = cluster.folder().path().display();
        tell.chapter("Your turn: all of it stays up until Ctrl-C")?;
        tell.say("  In another terminal:\n")?;
        if let Some(folder) = cluster.kubectl_folder() {
            tell.verbatim(&format!("export PATH={}:$PATH", folder.display()))?;
        }
        tell.verbatim(&format!("export KUBECONFIG={}\n", cluster.kubeconfig().display()))?;
        let (pid, log, url) = (operator.pid(), operator.log().display(), server.url());
        for (command, remark) in [
            ("kubectl get fexp,fserver", ""),
            ("kubectl describe fexp cohort-42", ""),
            ("kubectl explain fexp.spec.request", ""),
            (&format!("kubectl apply -f {folder}/everything.yaml"), "a new export"),
            ("kubectl get fexp -w", "watch it"),
            ("kubectl delete fexp everything", "it cancels the server's job"),
            (&format!("kill -9 {pid}"), "the operator: it is started again here"),
            (&format!("less {log}"), "what it says"),
            (&format!("curl -s {url}/_test/jobs"), "the server's own record; also /_test/requests"),
        ] {
            let remark = if remark.is_empty() { String::new() } else { format!("# {remark}") };
            tell.say(format!("  {command:<66} {remark}").trim_end())?;
        }
        loop {
            tokio::time::sleep(Duration::from_millis(500)).await;
            if !operator.is_running()? {
                operator.resume().await?;
                tell.say(format!("  The operator had ended; it runs again, as process {}.", operator.pid()))?;
            }
        }
    }

    /// Ends all that runs, and takes back all that was put into somebody's cluster.
    pub async fn end(&mut self) -> Result<()> {
        let pids = self.pids();
        let Some(mut cluster) = self.cluster.take() else { return Ok(()) };
        let mut left = Ok(());
        if cluster.context.is_some() {
            if let Some(operator) = &mut self.operator {
                // It may have been interrupted while it was dead.
                let _ = operator.resume().await;
            }
            left = install::uninstall(&self.tell, &cluster)
                .await
                .map_err(|error| install::by_hand(&cluster, &error));
        }
        if let Some(operator) = self.operator.take() {
            operator.stop().await?;
        }
        if let Some(kubernetes) = cluster.own.take() {
            kubernetes.stop().await?;
        }
        if let Some(mut azurite) = self.azurite.take() {
            azurite.stop().await?;
        }
        self.server = None;
        left?;
        let runs = |pid: &&u32| Path::new(&format!("/proc/{pid}")).exists();
        match pids.iter().find(runs) {
            Some(pid) => Err(Error::NotSo(format!("nothing is left running (process {pid} is)"))),
            None => Ok(()),
        }
    }

    /// The last word.
    pub fn conclude(&self) -> Result<()> {
        self.tell.say(format!(
            "\nAll of it happened: {} facts checked, in {} seconds. Nothing is left running.",
            self.tell.facts(),
            self.took.as_secs()
        ))?;
        if self.held {
            return Ok(());
        }
        self.tell.say(
            "`make demo CLUSTER=1 HOLD=1` leaves it all up to play with; KUBE_CONTEXT=name uses a cluster of yours.",
        )
    }

    /// Where to look when it did not happen.
    pub fn clues(&self) -> Vec<String> {
        let Some(operator) = &self.operator else { return Vec::new() };
        vec![format!("The end of the operator's log:\n{}", operator.log_end().trim_end())]
    }
}

/// What the FHIR test server asks for; it lasts as long as the demonstration.
pub const TOKEN: &str = "demo-token-of-the-clinic";

fn storage(azurite: &Azurite) -> Result<Storage> {
    Ok(Storage::new(azurite.endpoint()?.as_str(), azurite.account(), azurite.key()))
}

/// As it is locked in tests/parts.
fn azurite_version() -> Result<String> {
    let package: Value = serde_json::from_str(include_str!("../../../parts/azurite/package.json"))?;
    let version = package.pointer("/dependencies/azurite").and_then(Value::as_str);
    Ok(version.unwrap_or_default().to_owned())
}
