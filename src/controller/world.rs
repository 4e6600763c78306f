//! Everything a reconcile touches, as one trait, so that the same reconciles run in a cluster and in the simulation.

use std::time::Duration;

use futures::future::BoxFuture;

use super::runs::Runs;
use crate::core::trace::Span;
use crate::core::tuning::Tuning;
use crate::ports::{Clock, Cluster, EndTask, ExportTask, LandingPods, ObjectStore, Randomness, Stores, Wire};

/// Everything that a reconcile touches: the ports, the settings and the state of the runs.
pub trait World: Send + Sync + 'static {
    /// The port to the API server.
    type Cluster: Cluster;
    /// The port to FHIR servers.
    type Wire: Wire;
    /// The object stores that files land in.
    type Objects: ObjectStore;
    /// The clock of this world.
    type Clock: Clock;
    /// The source of random numbers.
    type Randomness: Randomness;
    /// The stores of objects that the watches keep.
    type Stores: Stores;

    /// Writes to the API server.
    fn cluster(&self) -> &Self::Cluster;
    /// Sends requests to FHIR servers.
    fn wire(&self) -> &Self::Wire;
    /// Reads and writes objects.
    fn objects(&self) -> &Self::Objects;
    /// Tells the time.
    fn clock(&self) -> &Self::Clock;
    /// Draws random numbers.
    fn randomness(&self) -> &Self::Randomness;
    /// Answers from the watches' stores.
    fn stores(&self) -> &Self::Stores;
    /// The operator's settings for delays, limits and deadlines.
    fn tuning(&self) -> &Tuning;
    /// The in-memory state of the runs. An implementation creates it once, with `Runs::default()`.
    fn runs(&self) -> &Runs;
    /// Starts and ends pods that land files; `None` if no namespace for them is designated.
    fn landing_pods(&self) -> Option<&dyn LandingPods> {
        None
    }
    /// Counts files and bytes that have landed.
    fn note_landed(&self, files: u64, bytes: u64);
    /// Counts the wait before the next poll of a job.
    fn note_poll_wait(&self, _wait: Duration) {}
    /// Counts a task that panicked.
    fn note_panic(&self, _task: ExportTask) {}
    /// Whether spans are told to a collector of traces.
    fn traces(&self) -> bool {
        false
    }
    /// Tells a part of the trace of an export.
    fn note_span(&self, _span: Span) {}
    /// Starts a task beside the reconciles, and returns the function that ends it.
    fn spawn(&self, task: BoxFuture<'static, ()>) -> EndTask;
    /// Queues a reconcile of an export: a task beside it has news, or its turn has come.
    fn wake_export(&self, namespace: &str, name: &str);
    /// Queues a reconcile of a server.
    fn wake_server(&self, namespace: &str, name: &str);
    /// Queues a reconcile of a schedule.
    fn wake_schedule(&self, namespace: &str, name: &str);
}
