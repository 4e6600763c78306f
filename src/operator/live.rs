//! The real edges: the API server, FHIR servers, storage accounts, the clock and randomness.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};

use futures::future::BoxFuture;
use jiff::Timestamp;
use kube::Client;
use tokio::task::{AbortHandle, JoinSet};

use crate::api::FhirExport;
use crate::cluster::stores::server_key;
use crate::cluster::watch::Watches;
use crate::cluster::{KubeCluster, KubeStores};
use crate::controller::runs::Runs;
use crate::controller::wake::Wakes;
use crate::controller::world::World;
use crate::core::trace::Span;
use crate::core::tuning::Tuning;
use crate::metrics::Metrics;
use crate::metrics::metered::Metered;
use crate::ports::{
    EndTask, ExportTask, LandingPods, ObjectStore, Stores, SystemClock, SystemRandomness, Wire,
};
use crate::traces::Traces;

/// Everything that reconciles use.
pub struct Live<W, C> {
    /// The API server.
    pub cluster: KubeCluster,
    /// Requests to FHIR servers.
    pub wire: Metered<W>,
    /// The stores of `FhirServer`s.
    pub container: C,
    /// The stores that the watches fill.
    pub stores: KubeStores,
    /// Time limits, intervals and delays.
    pub tuning: Tuning,
    /// In-memory state of the runs.
    pub runs: Runs,
    /// Wakes, which trigger reconciles of objects.
    pub wakes: Wakes,
    /// The operator's metrics.
    pub metrics: Arc<Metrics>,
    /// Where the traces of exports go; `None` if they go nowhere.
    pub traces: Option<Traces>,
    /// Tasks that run beside the reconciles.
    pub beside: Tasks,
    /// The pods that land files, if a namespace for them is designated.
    pub pods: Option<Arc<dyn LandingPods>>,
}

/// What a process needs that lands files and does nothing else. Nothing may be asked of the API server of `client`.
pub fn alone<W: Wire, C>(client: Client, wire: W, container: C, tuning: Tuning) -> Live<W, C> {
    let metrics = Metrics::new();
    let stores = Watches::new(client.clone(), &BTreeSet::new()).stores();
    Live {
        cluster: KubeCluster::new(client, metrics.clone()),
        wire: Metered::new(wire, metrics.clone()),
        container,
        stores,
        tuning,
        runs: Runs::default(),
        wakes: Wakes::new().0,
        metrics,
        traces: None,
        beside: Tasks::default(),
        pods: None,
    }
}

/// Tasks that run beside the reconciles.
#[derive(Debug, Default)]
pub struct Tasks(Mutex<JoinSet<()>>);

impl Tasks {
    fn spawn(&self, task: BoxFuture<'static, ()>) -> AbortHandle {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        while all.try_join_next().is_some() {}
        all.spawn(task)
    }

    /// Ends all tasks, each at its next await point.
    pub async fn end(&self) {
        let mut all = std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner));
        all.shutdown().await;
    }
}

impl<W: Wire, C> Live<W, C> {
    /// Updates the gauges, before a scrape.
    pub fn count(&self) {
        let server_of = |export: &FhirExport| {
            let (namespace, name) = server_key(export);
            self.stores.server(&namespace, &name)
        };
        self.metrics.count_exports(&self.stores.exports(), server_of, &self.tuning, Timestamp::now());
        self.metrics.count_servers(&self.stores.server_store().state(), |server| self.wire.throttles(server));
        self.metrics.tell_schedules(&self.stores.schedules());
        self.metrics.throttled_origins(self.wire.throttled_origins());
    }
}

impl<W: Wire + 'static, C: ObjectStore + 'static> World for Live<W, C> {
    type Cluster = KubeCluster;
    type Wire = Metered<W>;
    type Objects = C;
    type Clock = SystemClock;
    type Randomness = SystemRandomness;
    type Stores = KubeStores;

    fn cluster(&self) -> &KubeCluster {
        &self.cluster
    }

    fn wire(&self) -> &Metered<W> {
        &self.wire
    }

    fn objects(&self) -> &C {
        &self.container
    }

    fn clock(&self) -> &SystemClock {
        &SystemClock
    }

    fn randomness(&self) -> &SystemRandomness {
        &SystemRandomness
    }

    fn stores(&self) -> &KubeStores {
        &self.stores
    }

    fn tuning(&self) -> &Tuning {
        &self.tuning
    }

    fn runs(&self) -> &Runs {
        &self.runs
    }

    fn landing_pods(&self) -> Option<&dyn LandingPods> {
        self.pods.as_deref()
    }

    fn note_landed(&self, files: u64, bytes: u64) {
        self.metrics.landed(files, bytes);
    }

    fn note_poll_wait(&self, wait: std::time::Duration) {
        self.metrics.poll_in(wait);
    }

    fn note_panic(&self, task: ExportTask) {
        self.metrics.task_panicked(task);
    }

    fn traces(&self) -> bool {
        self.traces.is_some()
    }

    fn note_span(&self, span: Span) {
        if let Some(traces) = &self.traces {
            traces.tell(span);
        }
    }

    fn spawn(&self, task: BoxFuture<'static, ()>) -> EndTask {
        let task = self.beside.spawn(task);
        Box::new(move || task.abort())
    }

    fn wake_export(&self, namespace: &str, name: &str) {
        self.wakes.export(namespace, name);
    }

    fn wake_server(&self, namespace: &str, name: &str) {
        self.wakes.server(namespace, name);
    }

    fn wake_schedule(&self, namespace: &str, name: &str) {
        self.wakes.schedule(namespace, name);
    }
}
