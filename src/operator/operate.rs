//! Everything that runs concurrently: listeners, watches and queues.

use std::collections::HashSet;
use std::convert::Infallible;
use std::fmt::Debug;
use std::hash::Hash;
use std::sync::Arc;
use std::time::Duration;

use futures::channel::mpsc::UnboundedReceiver;
use futures::future::{BoxFuture, FutureExt, Shared};
use futures::stream::{self, StreamExt};
use kube::runtime::controller::{Action, Config as Queue, Controller, Error};
use kube::runtime::reflector::{ObjectRef, Store};
use kube::{Client, Resource, ResourceExt};
use serde::de::DeserializeOwned;
use tokio::task::JoinSet;
use tracing::{error, info, warn};

use super::live::{Live, Tasks};
use super::stand_by::stand_by;
use super::sweep::sweep;
use crate::api::{FhirExport, FhirExportSchedule, FhirServer};
use crate::cluster::lead::{Election, Leadership, LeaseKey, Standing};
use crate::cluster::neighbours::elder_release;
use crate::cluster::stores::key;
use crate::cluster::watch::{Change, Primed, Watches};
use crate::cluster::{KubeCluster, definitions};
use crate::config::Config;
use crate::controller::export::reconcile_export;
use crate::controller::guard::Guard;
use crate::controller::places;
use crate::controller::request;
use crate::controller::runs::Runs;
use crate::controller::schedule::reconcile_schedule;
use crate::controller::server::reconcile_server;
use crate::controller::wake::{Wakes, Woken};
use crate::metrics::Kind;
use crate::metrics::Metrics;
use crate::metrics::metered::Metered;
use crate::ports::{LandingPods, ObjectStore, Stores, SystemClock, Wire};
use crate::serve::{Health, listen};
use crate::stop::Stop;
use crate::traces::Traces;

/// How often the in-memory state of deleted objects is removed.
const CLEAN_UP_INTERVAL: Duration = Duration::from_mins(10);
/// How long events that are not posted yet hold up the end of the operator, and spans that are not sent yet.
const FAREWELL: Duration = Duration::from_secs(2);

/// Completes when the operator should stop.
type Stopping = Shared<BoxFuture<'static, ()>>;

/// Runs the operator with this wire and storage until `stop` completes and everything in flight is finished.
/// With an election, it works only while this replica leads.
pub async fn operate<W: Wire + 'static, C: ObjectStore + 'static>(
    config: Config,
    client: Client,
    election: Option<Election>,
    (wire, container, pods): (W, C, Option<Arc<dyn LandingPods>>),
    stop: impl Future<Output = ()> + Send + 'static,
) -> Result<(), Stop> {
    let metrics = Metrics::new();
    let health = Health::starting("The operator is starting.");
    let watches = Watches::new(client.clone(), &config.watch_namespaces);
    let stores = watches.stores();
    let (wakes, woken) = Wakes::new();
    let tenure = election.as_ref().map(|election| election.tenure.clone()).unwrap_or_default();
    let traces = match &config.otlp_endpoint {
        Some(endpoint) => Some(Traces::to(endpoint, config.extra_ca.as_deref(), metrics.clone())?),
        None => None,
    };
    let live = Arc::new(Live {
        cluster: KubeCluster::new(client.clone(), metrics.clone()).within(tenure),
        wire: Metered::new(wire, metrics.clone()),
        container,
        stores,
        tuning: config.tuning.clone(),
        runs: Runs::default(),
        wakes,
        metrics: metrics.clone(),
        traces,
        beside: Tasks::default(),
        pods,
    });
    let (counted, broken, unreadable) = (live.clone(), watches.broken(), watches.unreadable());
    let (metrics_addr, health_addr) = (config.metrics_addr, config.health_addr);
    let served = listen(metrics_addr, health_addr, metrics.clone(), health.clone(), move |metrics| {
        counted.count();
        metrics.watches_broken(broken.count());
        for kind in Kind::ALL {
            metrics.unreadable_objects(kind, unreadable.count(kind.as_str()));
        }
    })
    .await?;
    info!(
        version = env!("CARGO_PKG_VERSION"),
        metrics = %served.metrics_addr,
        health = %served.health_addr,
        namespaces = %watched(&config),
        "the operator is starting"
    );
    let operator = Operator {
        config,
        client,
        live,
        exports: Arc::new(Guard::new(Kind::FhirExport, metrics.clone())),
        servers: Arc::new(Guard::new(Kind::FhirServer, metrics.clone())),
        schedules: Arc::new(Guard::new(Kind::FhirExportSchedule, metrics)),
        health,
        stopping: stop.boxed().shared(),
    };
    tokio::select! {
        done = operator.work(watches, woken, election) => done,
        ended = served.run() => Err(Stop::because(format!("The HTTP listeners ended unexpectedly: {ended:?}."))),
    }
}

struct Operator<W, C> {
    config: Config,
    client: Client,
    live: Arc<Live<W, C>>,
    exports: Arc<Guard>,
    servers: Arc<Guard>,
    schedules: Arc<Guard>,
    health: Health,
    stopping: Stopping,
}

impl<W: Wire + 'static, C: ObjectStore + 'static> Operator<W, C> {
    async fn work(self, watches: Watches, mut woken: Woken, election: Option<Election>) -> Result<(), Stop> {
        tokio::select! {
            () = definitions::wait(&self.client, |missing| self.health.not_ready(missing)) => {}
            () = self.stopping.clone() => return Ok(()),
        }
        let (mut watching, primed) = self.watch(watches);
        self.health
            .not_ready("Waiting for the first lists of FhirServers, FhirExports and FhirExportSchedules.");
        tokio::select! {
            all = primed => all?,
            _ = watching.join_next() => return Err(Stop::ended_by_itself("a watch")),
            () = self.stopping.clone() => return Ok(()),
        }
        info!(exports = self.live.stores.exports().len(), "the operator is ready");
        // The Lease is only sought now: a leader that does not know all objects yet would delay the others.
        let own = election.as_ref().map(|election| election.lease.clone());
        let mut leadership = match election {
            Some(election) => Leadership::seek(election)
                .map_err(|e| Stop::because(format!("The program cannot start its threads: {e}.")))?,
            None => Leadership::alone(),
        };
        let stood_by = leadership.standing() != Standing::Leads;
        tokio::select! {
            biased;
            leads = stand_by(&mut leadership, &mut woken, |standing| self.report_standing(standing)) => leads?,
            _ = watching.join_next() => return Err(Stop::ended_by_itself("a watch")),
            () = self.stopping.clone() => {
                // This replica may just have been elected.
                leadership.release(&SystemClock).await;
                return Ok(());
            }
        }
        if let Some(elder) = self.elder(own).await {
            leadership.release(&SystemClock).await;
            return Err(elder);
        }
        if stood_by {
            self.live.wakes.all(&self.live.stores);
        }
        self.live.metrics.leads(true);
        let work = async {
            tokio::join!(
                self.work_on_exports(woken.exports),
                self.work_on_servers(woken.servers),
                self.work_on_schedules(woken.schedules)
            )
        };
        let farewell = async {
            self.stopping.clone().await;
            self.health.not_ready("The operator is stopping.");
            std::future::pending::<()>().await;
        };
        tokio::select! {
            _ = work => {}
            () = self.forget_the_gone() => {}
            () = sweep(&self.live) => {}
            _ = watching.join_next() => return Err(Stop::ended_by_itself("a watch")),
            () = farewell => {}
        }
        if self.stopping.peek().is_none() {
            return Err(Stop::ended_by_itself("a queue"));
        }
        // No task may run any more when the next replica leads.
        self.live.beside.end().await;
        // Events bind nobody, and the log has them: they hold up the end for a moment only.
        let _ = tokio::time::timeout(FAREWELL, self.live.cluster.events_posted()).await;
        if let Some(traces) = &self.live.traces {
            let _ = tokio::time::timeout(FAREWELL, traces.sent()).await;
        }
        leadership.release(&SystemClock).await;
        info!("the operator has stopped");
        Ok(())
    }

    /// Finds another release that already works in the cluster. A release with
    /// `--watch-namespaces` does not look for one.
    async fn elder(&self, own: Option<LeaseKey>) -> Option<Stop> {
        let own = own.filter(|_| self.config.watch_namespaces.is_empty())?;
        match elder_release(&self.client, &own).await {
            Ok(found) => found.map(|(place, holder)| {
                Stop::because(format!(
                    "Another release of the operator works in this cluster already: {holder} holds the Lease \
                     {place}, which is older than {own}. Both would kick off the same exports: uninstall one of them, \
                     or limit each to namespaces of its own."
                ))
            }),
            Err(why) => {
                warn!("it is not known whether another release of the operator works in this cluster: {why}");
                None
            }
        }
    }

    /// Updates readiness from this replica's standing: a standby is ready if it could lead.
    fn report_standing(&self, standing: &Standing) {
        match standing {
            Standing::Unknown(hindrance) => {
                self.health
                    .not_ready(hindrance.as_deref().unwrap_or("Waiting for the first read of the Lease."));
            }
            Standing::Waiting | Standing::Leads => self.health.ready(),
        }
    }

    /// Removes the state of deleted objects from time to time, because a deletion during a reconcile leaves
    /// some behind.
    async fn forget_the_gone(&self) {
        loop {
            tokio::time::sleep(CLEAN_UP_INTERVAL).await;
            let exports = self.live.stores.exports().into_iter().filter_map(|export| export.uid());
            let servers =
                self.live.stores.server_store().state().into_iter().filter_map(|server| server.uid());
            let alive: HashSet<String> = exports.chain(servers).collect();
            request::retain(self.live.as_ref(), |uid| alive.contains(uid));
        }
    }

    fn watch(&self, watches: Watches) -> (JoinSet<()>, impl Future<Output = Result<(), Stop>> + use<W, C>) {
        let (live, guard) = (self.live.clone(), self.exports.clone());
        let exports_changed = move |change: Change<FhirExport>| {
            if let Some(gone) = change.gone() {
                guard.forget(&key(gone));
            }
            places::shown(live.as_ref(), &change);
            live.wakes.export_changed(&change);
        };
        let (live, guard) = (self.live.clone(), self.servers.clone());
        let servers_changed = move |change: Change<FhirServer>| {
            if let Some(gone) = change.gone() {
                guard.forget(&key(gone));
                live.wire.forget(gone.metadata.uid.as_deref().unwrap_or_default());
            }
            live.wakes.server_changed(&live.stores, &change);
        };
        let (live, guard) = (self.live.clone(), self.schedules.clone());
        let schedules_changed = move |change: Change<FhirExportSchedule>| {
            if let Some(gone) = change.gone() {
                guard.forget(&key(gone));
            }
            live.wakes.schedule_changed(&change);
        };
        let mut watching = JoinSet::new();
        let mut lists = Vec::new();
        for watch in watches.start(exports_changed, servers_changed, schedules_changed) {
            watching.spawn(watch.work);
            lists.push(watch.primed);
        }
        let primed = async {
            for list in lists {
                until(list).await?;
            }
            Ok(())
        };
        (watching, primed)
    }

    async fn work_on_exports(&self, woken: UnboundedReceiver<ObjectRef<FhirExport>>) {
        let (live, guard) = (self.live.clone(), self.exports.clone());
        let (stopping, live_at_end) = (self.stopping.clone(), self.live.clone());
        let end = async move {
            stopping.await;
            live_at_end.runs.stop();
            // The answer to a kick-off in flight is written first.
            live_at_end.runs.settled().await;
        };
        let owing = self.live.clone();
        let owes =
            move |export: &FhirExport| owing.runs.owes(export.metadata.uid.as_deref().unwrap_or_default());
        let reconcile = move |object: Arc<FhirExport>| {
            let (live, guard) = (live.clone(), guard.clone());
            async move { guard.run(key(object.as_ref()), reconcile_export(&live, object)).await }
        };
        self.queue(self.live.stores.export_store(), woken, end, owes, reconcile).await;
    }

    async fn work_on_servers(&self, woken: UnboundedReceiver<ObjectRef<FhirServer>>) {
        let (live, guard) = (self.live.clone(), self.servers.clone());
        let reconcile = move |object: Arc<FhirServer>| {
            let (live, guard) = (live.clone(), guard.clone());
            async move { guard.run(key(object.as_ref()), reconcile_server(&live, object)).await }
        };
        let end = self.stopping.clone();
        self.queue(self.live.stores.server_store(), woken, end, |_| false, reconcile).await;
    }

    async fn work_on_schedules(&self, woken: UnboundedReceiver<ObjectRef<FhirExportSchedule>>) {
        let (live, guard) = (self.live.clone(), self.schedules.clone());
        let reconcile = move |object: Arc<FhirExportSchedule>| {
            let (live, guard) = (live.clone(), guard.clone());
            async move { guard.run(key(object.as_ref()), reconcile_schedule(&live, object)).await }
        };
        let end = self.stopping.clone();
        self.queue(self.live.stores.schedule_store(), woken, end, |_| false, reconcile).await;
    }

    /// Runs the queue of one kind. Once the operator should stop, it only looks at objects for which `owes`
    /// is true. Ends after `end`, when all reconciles that have begun are finished.
    async fn queue<K, F>(
        &self,
        store: Store<K>,
        woken: UnboundedReceiver<ObjectRef<K>>,
        end: impl Future<Output = ()> + Send + Sync + 'static,
        owes: impl Fn(&K) -> bool + Send + 'static,
        reconcile: impl Fn(Arc<K>) -> F + Clone + Send + 'static,
    ) where
        K: Resource<DynamicType = ()> + Clone + Debug + DeserializeOwned + Send + Sync + 'static,
        ObjectRef<K>: Eq + Hash,
        F: Future<Output = Action> + Send + 'static,
    {
        let stopping = self.stopping.clone();
        // Every wake comes through the channel, because the watches already filter and extend the changes.
        Controller::for_stream(stream::pending(), store)
            .with_config(Queue::default().concurrency(self.config.concurrency))
            .reconcile_on(woken)
            .graceful_shutdown_on(end)
            .run(
                move |object, _| {
                    let begins = stopping.peek().is_none() || owes(&object);
                    let begin = begins.then(|| reconcile(object));
                    async move {
                        // Objects that were due but not looked at are due again at the next start.
                        Ok::<_, Infallible>(match begin {
                            Some(reconcile) => reconcile.await,
                            None => Action::await_change(),
                        })
                    }
                },
                |_, impossible, _| match *impossible {},
                Arc::new(()),
            )
            .for_each(|end| async {
                match end {
                    // The object was deleted while it waited for its turn.
                    Ok(_) | Err(Error::ObjectNotFound(_)) => {}
                    Err(other) => error!("the queue of {} failed: {other}", K::kind(&())),
                }
            })
            .await;
    }
}

async fn until(mut primed: Primed) -> Result<(), Stop> {
    primed.wait_for(|primed| *primed).await.map(|_| ()).map_err(|_| Stop::ended_by_itself("a watch"))
}

fn watched(config: &Config) -> String {
    if config.watch_namespaces.is_empty() {
        return "all".into();
    }
    config.watch_namespaces.iter().cloned().collect::<Vec<_>>().join(",")
}
