//! All parts of a run of this program, from the first start to the end.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use kube::ResourceExt;
use stage::{Folder, Hapi, Kubernetes, KubernetesOptions, say, timed};
use tokio::sync::Mutex;
use tokio::time::sleep_until;

use crate::cluster::Cluster;
use crate::collect::collect;
use crate::fire::Fire;
use crate::operator::Fleet;
use crate::plan::{DOOMED, NAMESPACE, Plan};
use crate::record::{Act, Records};
use crate::scrape::{self, Series};
use crate::servers::Servers;
use crate::stores::Stores;
use crate::table::Figures;
use crate::tally::Tally;
use crate::{Error, Result};

/// How long to wait for all exports to end after the faults. Each takes far less by itself.
const QUIET_WITHIN: Duration = Duration::from_mins(3);
const LOOK_EVERY: Duration = Duration::from_millis(500);

/// The running parts, which end in this order.
#[derive(Debug, Default)]
pub struct World {
    fleet: Option<Mutex<Fleet>>,
    servers: Option<Servers>,
    hapi: Option<Hapi>,
    stores: Option<Stores>,
    kubernetes: Option<Kubernetes>,
}

impl World {
    /// Starts all parts, injects the faults, waits until all exports have ended, and collects the records.
    pub async fn rage(&mut self, plan: &Plan) -> Result<(Records, Figures)> {
        let started = Instant::now();
        let (hapi, kubernetes, stores) = timed("starting a control plane, the stores and HAPI FHIR", async {
            tokio::try_join!(
                Box::pin(async { Hapi::start().await.map_err(Error::from) }),
                Box::pin(async {
                    Kubernetes::start(KubernetesOptions::default()).await.map_err(Error::from)
                }),
                Box::pin(Stores::start()),
            )
        })
        .await?;
        let hapi = self.hapi.insert(hapi);
        let kubernetes = self.kubernetes.insert(kubernetes);
        let stores = self.stores.insert(stores);
        let servers = Servers::start(plan, stores.account(), hapi);
        let servers = timed("starting the FHIR servers, and loading HAPI", servers).await?;
        let servers = self.servers.insert(servers);
        let cluster = Cluster::open(kubernetes).await?;
        for namespace in [NAMESPACE, DOOMED] {
            cluster.prepare(namespace, servers, stores).await?;
        }
        let folder = Folder::new("chaos")?;
        let mut flags = servers.flags(&folder)?;
        flags.extend(stores.flags());
        let fleet = self.fleet.insert(Mutex::new(Fleet::new(&kubernetes.admin_kubeconfig(), flags).await?));
        fleet.lock().await.start()?;

        let (tally, series, unbroken) = (Tally::default(), Series::default(), Mutex::new(()));
        let began = tokio::time::Instant::now();
        let fire = Fire {
            servers,
            stores,
            fleet,
            unbroken: &unbroken,
            tally: &tally,
            started: began,
            until: began + plan.fire,
        };
        let lanes = async {
            say(&format!("  the fire burns for {} s", plan.fire.as_secs()));
            let wires = async {
                fire.wires(plan).await;
                Ok(())
            };
            tokio::try_join!(
                owners(plan, &cluster, &unbroken, began),
                fire.processes(plan),
                fire.control_plane(kubernetes, plan),
                wires,
            )?;
            stores.set(stage::Manner::Pass);
            servers.calm();
            kubernetes.start_etcd().await?;
            kubernetes.start_api_server().await?;
            timed("waiting until all have ended", settle(plan, &cluster, fleet, &tally)).await
        };
        tokio::select! {
            done = lanes => done?,
            stopped = series.scrape(fleet, began) => stopped?,
        }
        let kept = series.keep()?;
        say(&format!("  the metrics of this run are in {}", kept.display()));
        let said = fleet.lock().await.said();
        let records = timed(
            "comparing the servers' records with the resources and the containers",
            collect(plan, &cluster, servers, stores, &said, &series.text()),
        )
        .await?;
        let figures = Figures {
            seed: plan.seed,
            faults: tally.all(),
            kick_offs: servers.kick_offs(),
            seconds: started.elapsed().as_secs(),
        };
        Ok((records, figures))
    }

    /// Writes the records that explain findings to a folder beside this program's build, and returns the folder.
    pub async fn keep(&self, records: &Records) -> Result<PathBuf> {
        let folder = scrape::folder()?;
        std::fs::write(folder.join("exports.txt"), format!("{:#?}\n{:#?}\n", records.exports, records.jobs))?;
        if let Some(fleet) = &self.fleet {
            for (number, log) in (1..).zip(fleet.lock().await.said()) {
                std::fs::write(folder.join(format!("operator-{number}.log")), log)?;
            }
        }
        Ok(folder)
    }

    /// The end of the operator's log, for when the program failed.
    pub async fn clues(&self) -> Vec<String> {
        let Some(fleet) = &self.fleet else { return Vec::new() };
        vec![format!("The end of the log of the operator:\n{}", fleet.lock().await.log_end().trim_end())]
    }

    /// Ends all parts.
    pub async fn end(&mut self) -> Result<()> {
        if let Some(fleet) = self.fleet.take() {
            fleet.into_inner().stop().await?;
        }
        drop(self.servers.take());
        if let Some(hapi) = self.hapi.take() {
            hapi.stop().await?;
        }
        if let Some(stores) = self.stores.take() {
            stores.stop().await?;
        }
        if let Some(kubernetes) = self.kubernetes.take() {
            kubernetes.stop().await?;
        }
        Ok(())
    }
}

/// Performs the actions of the exports' owners, in order of time.
async fn owners(
    plan: &Plan,
    cluster: &Cluster,
    unbroken: &Mutex<()>,
    began: tokio::time::Instant,
) -> Result<()> {
    enum Deed {
        Create,
        Act,
        DeleteNamespace,
    }
    let mut deeds: Vec<(Duration, usize, Deed)> = vec![(plan.deletion, 0, Deed::DeleteNamespace)];
    for (place, planned) in plan.exports.iter().enumerate() {
        deeds.push((planned.at, place, Deed::Create));
        if !matches!(planned.act, Act::Wait | Act::DeleteNamespace) {
            deeds.push((planned.at + planned.after, place, Deed::Act));
        }
    }
    deeds.sort_by_key(|(at, ..)| *at);
    for (at, place, deed) in deeds {
        sleep_until(began + at).await;
        let Some(planned) = plan.exports.get(place) else { continue };
        match (deed, planned.act) {
            (Deed::Create, _) => cluster.create(planned).await?,
            (Deed::DeleteNamespace, _) => {
                let _whole = unbroken.lock().await;
                say(&format!("    {:>6.1} s  a namespace deleted", began.elapsed().as_secs_f64()));
                cluster.delete_namespace(DOOMED).await?;
            }
            (Deed::Act, Act::Cancel) => cluster.cancel(planned).await?,
            (Deed::Act, _) => cluster.delete(planned).await?,
        }
    }
    Ok(())
}

/// Waits until every export has ended and has no finalizer, and every deleted object is gone. Gives up after
/// [`QUIET_WITHIN`]: the audit reports what is left.
async fn settle(plan: &Plan, cluster: &Cluster, fleet: &Mutex<Fleet>, tally: &Tally) -> Result<()> {
    let deadline = Instant::now() + QUIET_WITHIN;
    let deleted: Vec<String> =
        plan.exports.iter().filter(|export| export.act.deletes()).map(crate::plan::Planned::name).collect();
    loop {
        fleet.lock().await.tend(tally)?;
        let all = cluster.list().await?;
        let open = all.iter().filter(|export| {
            let ended = export.status.as_ref().is_some_and(|status| status.completion_time.is_some());
            let held = !export.finalizers().is_empty() || export.metadata.deletion_timestamp.is_some();
            !ended || held || deleted.contains(&export.name_any())
        });
        let open = open.count();
        if open == 0 && !cluster.has_namespace(DOOMED).await? {
            return Ok(());
        }
        if Instant::now() > deadline {
            say(&format!("  {open} have not, or the namespace has not gone, within {QUIET_WITHIN:?}"));
            return Ok(());
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
}
