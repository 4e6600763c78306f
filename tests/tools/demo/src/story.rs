//! The story: an export that outlives a crash of the operator, and one that is cancelled by deleting it.

mod books;
mod files;

use std::time::{Duration, Instant};

use azure_fhir::{JobView, Life, Script, Server, State, Storage};
use fhir_export_operator::api::{ConditionType, FhirExport, FhirExportStatus};
use kube::Api;
use serde_json::json;

use crate::cluster::Cluster;
use crate::demo::{JOB, TOKEN};
use crate::live::Live;
use crate::operator::Operator;
use crate::tell::Tell;
use crate::{Error, Result};

/// The export that is shown.
const COHORT: &str = "cohort-42";
/// The export that is deleted.
const EVERYTHING: &str = "everything";
/// The container of both.
const CONTAINER: &str = "research-lake";
/// Longer than anything here takes on a slow machine.
const PATIENCE: Duration = Duration::from_secs(90);
/// Files of the first export after which the operator is killed.
const KILLED_AFTER: usize = 5;
/// Files that the job writes while the operator is dead.
const UNSEEN: usize = 3;
/// Files of the second export after which it is deleted.
const DELETED_AFTER: usize = 3;

/// What the story is played with.
#[derive(Debug)]
pub struct Story<'a> {
    tell: &'a Tell,
    cluster: &'a Cluster,
    server: &'a Server,
    storage: Storage,
    exports: Api<FhirExport>,
    live: Option<Live>,
    finished: Option<(FhirExportStatus, JobView)>,
}

impl<'a> Story<'a> {
    /// Before its beginning.
    pub async fn new(
        tell: &'a Tell,
        cluster: &'a Cluster,
        server: &'a Server,
        storage: Storage,
    ) -> Result<Self> {
        let exports = Api::namespaced(cluster.client().await?, &cluster.namespace);
        Ok(Self { tell, cluster, server, storage, exports, live: None, finished: None })
    }

    /// The connection: a Secret and a `FhirServer`.
    pub async fn connect(&mut self, account_key: &str) -> Result<()> {
        let tell = self.tell;
        tell.chapter("The connection, owned by the platform team")?;
        let secret = json!({
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": {
                "name": "clinic-credentials",
                "labels": { "fhirexport.dev/credential": "true" },
            },
            "stringData": { "token": TOKEN, "account-key": account_key },
        });
        let text = include_str!("../manifests/server.yaml")
            .replace("{url}", &self.server.url())
            .replace("{endpoint}", &self.storage.endpoint);
        let folder = self.cluster.folder();
        folder.write("secret.json", secret.to_string())?;
        folder.write("server.yaml", &text)?;
        folder.write("everything.yaml", include_str!("../manifests/everything.yaml"))?;
        tell.verbatim(&text)?;
        tell.say("")?;
        self.show("kubectl apply -f secret.json -f server.yaml").await?;
        let ready = "kubectl wait --for=condition=Ready fserver/clinic --timeout=60s";
        self.show(ready).await?;
        self.show("kubectl get fserver").await?;
        tell.fact(
            true,
            "FhirServer clinic is Ready: the server, its token and the storage account were probed",
        )
    }

    /// The export, and the operator's death in the middle of it.
    pub async fn export(&mut self, operator: &mut Operator) -> Result<()> {
        let tell = self.tell;
        tell.chapter("The export, applied by a researcher, live")?;
        let text = include_str!("../manifests/cohort.yaml");
        self.cluster.folder().write("cohort.yaml", text)?;
        tell.verbatim(text)?;
        tell.say("")?;
        let mut live = Live::start(self.cluster.client().await?, &self.cluster.namespace);
        self.show("kubectl apply -f cohort.yaml").await?;
        tell.command("kubectl get fexp -w")?;
        live.heading(tell)?;
        self.live = Some(live);
        let applied = Instant::now();
        let job = self.wait_for_files(COHORT, KILLED_AFTER).await?;

        let before = operator.pid();
        operator.kill().await?;
        tell.say("")?;
        tell.say(format!("  -- kill -9 {before}: the operator is gone in the middle of the export."))?;
        let files = self.job(&job.id)?.files.len();
        tell.fact(
            !operator.is_running()?,
            format!("process {before} is dead; the server's job {} has written {files} files", job.id),
        )?;
        let now = self.wait_for_files(COHORT, files + UNSEEN).await?;
        tell.fact(
            now.state == State::Running,
            format!("nobody watches, and the server's job goes on: {} files", now.files.len()),
        )?;
        operator.resume().await?;
        tell.say(format!("  -- the operator is started again, as process {}.\n", operator.pid()))?;

        let status = self.wait_for_end(COHORT).await?;
        let job = self.job(&job.id)?;
        tell.say("")?;
        self.tell_conditions(&status)?;
        tell.say("")?;
        let id = status.job.as_ref().and_then(|job| job.id.clone()).unwrap_or_default();
        tell.fact(id == job.id, format!("after the crash it is still job {id}"))?;
        let starts = self.kick_offs(COHORT);
        tell.fact(starts == 1, format!("the FHIR server counts {starts} kick-off of this export, not two"))?;
        tell.fact(
            is_true(&status, ConditionType::Complete) && is_true(&status, ConditionType::Verified),
            format!("Complete and Verified, {} seconds after kubectl apply", applied.elapsed().as_secs()),
        )?;
        let done = job.created.checked_add(JOB).unwrap_or(job.created);
        let late = status.completion_time.map_or(f64::MAX, |end| end.duration_since(done).as_secs_f64());
        tell.fact(late < 10.0, format!("that is {late:.1} s after the server's job was done"))?;
        self.finished = Some((status, job));
        Ok(())
    }

    /// The second export, deleted while it runs.
    pub async fn cancel(&mut self) -> Result<()> {
        let tell = self.tell;
        tell.chapter("A change of mind: a second export is deleted while it runs")?;
        let life = Life::Millis(120_000);
        self.server.script(Script { life, lines_per_file: 20, ..Script::default() });
        tell.say("  The same with level System, a job of two minutes:\n")?;
        self.show("kubectl apply -f everything.yaml").await?;
        tell.command("kubectl get fexp -w")?;
        if let Some(live) = &mut self.live {
            live.heading(tell)?;
        }
        let job = self.wait_for_files(EVERYTHING, DELETED_AFTER).await?;
        tell.fact(job.state == State::Running, format!("the server runs job {} for it", job.id))?;
        let asked = Instant::now();
        self.show("kubectl delete fexp everything").await?;
        let took = asked.elapsed().as_secs_f64();
        self.follow("a look", async || Ok(Some(()))).await?;
        let gone = self.exports.get_opt(EVERYTHING).await?.is_none();
        tell.fact(gone, format!("it is gone after {took:.1} s, when the server had confirmed the cancel"))?;
        let job = self.job(&job.id)?;
        tell.say("\n  The server's own record of the job:")?;
        let cancelled = job.cancelled_at.map(|at| format!("{at:.0}")).unwrap_or_default();
        tell.verbatim(&format!(
            "  job {}: made {:.0}, cancelled {cancelled}, DELETE requests {}, state {:?}",
            job.id, job.created, job.cancel_requests, job.state
        ))?;
        let answer = self.server.requests().into_iter().find(|r| r.is_cancel() && r.mentions(&job.id));
        let code = answer.and_then(|r| r.status).unwrap_or_default();
        tell.fact(
            job.cancelled_at.is_some() && job.state == State::Gone && code == 202,
            format!("the server answered {code} to DELETE, and no longer knows the job"),
        )
    }

    /// Runs a command and shows both it and what it says.
    async fn show(&self, line: &str) -> Result<()> {
        self.tell.command(line)?;
        let said = self.cluster.run(line.trim_start_matches("kubectl ")).await?;
        self.tell.verbatim(&said)
    }

    fn kick_offs(&self, export: &str) -> usize {
        let ours = |r: &azure_fhir::Request| r.is_kick_off() && r.mentions(export);
        self.server.requests().iter().filter(|r| ours(r)).count()
    }

    fn job(&self, id: &str) -> Result<JobView> {
        self.server.job(id).ok_or_else(|| Error::NotSo(format!("the server has job {id}")))
    }

    /// Shows the changes until the server's job for an export has written so many files, and kubectl says that it runs.
    async fn wait_for_files(&mut self, export: &str, files: usize) -> Result<JobView> {
        let (server, exports) = (self.server, self.exports.clone());
        let what = format!("the job of {export} writes {files} files");
        self.follow(&what, async || {
            let id = exports.get_opt(export).await?.and_then(|e| e.status?.job?.id);
            let job = id.and_then(|id| server.job(&id));
            Ok(job.filter(|job| job.files.len() >= files))
        })
        .await
    }

    async fn wait_for_end(&mut self, export: &str) -> Result<FhirExportStatus> {
        let exports = self.exports.clone();
        self.follow(&format!("{export} ends"), async || {
            let status = exports.get_opt(export).await?.and_then(|export| export.status);
            Ok(status.filter(|status| status.completion_time.is_some()))
        })
        .await
    }

    async fn follow<T>(&mut self, what: &str, look: impl AsyncFnMut() -> Result<Option<T>>) -> Result<T> {
        let Some(live) = &mut self.live else { return Err(Error::NotSo("kubectl watches".into())) };
        live.until(self.tell, what, PATIENCE, look).await
    }

    fn tell_conditions(&self, status: &FhirExportStatus) -> Result<()> {
        self.tell.say("  Its conditions:")?;
        for condition in &status.conditions {
            let status = format!("{:?}", condition.status);
            let head = format!("    {:<16} {status:<6} {:<12} ", condition.type_, condition.reason);
            self.tell.broken(&head, &condition.message)?;
        }
        Ok(())
    }
}

fn is_true(status: &FhirExportStatus, type_: ConditionType) -> bool {
    status.conditions.iter().any(|c| c.type_ == type_.to_string() && c.is_true())
}
