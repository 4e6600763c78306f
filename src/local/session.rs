//! The operator at work on the objects of a state file.

use std::path::Path;
use std::sync::Arc;

use kube::Client;
use tokio::sync::oneshot;

use super::api;
use super::container::Container;
use super::objects::Objects;
use super::secrets::Secrets;
use super::state::StateFile;
use crate::config::Config;
use crate::offline::Definitions;
use crate::operator::operate::operate;
use crate::operator::run::edges;
use crate::operator::signals::Signals;
use crate::ports::Tenure;
use crate::stop::Stop;
use crate::storage::FolderStorage;

/// The objects of the state file at `state`, which no other process works on while they live, and whether there was
/// such a file.
pub fn open(state: &Path) -> Result<(Arc<Objects>, bool), Stop> {
    let definitions = Definitions::load()
        .map_err(|e| Stop::because(format!("The definitions cannot be written as JSON: {e}.")))?;
    let (file, contents) = StateFile::open(state)?;
    let is_new = contents.resource_version == 0;
    Ok((Arc::new(Objects::new(file, contents, definitions)), is_new))
}

/// Runs the operator on what `objects` says it works on, until `watch` returns. Files land in `container`, or else in
/// the storage of each FhirServer. Then what is in flight is finished, unless there is another signal.
pub async fn work_until<T>(
    config: Config,
    objects: &Arc<Objects>,
    secrets: Secrets,
    container: Option<Container>,
    signals: &mut Signals,
    watch: impl AsyncFnOnce(&mut Signals) -> T,
) -> Result<T, Stop> {
    let client = api::client(objects.clone(), Arc::new(secrets));
    let (stop, stopping) = oneshot::channel::<()>();
    let stopped = async {
        // Both outcomes mean that the operator should stop.
        let _ = stopping.await;
    };
    let mut work = Box::pin(work(config, client, container, stopped));
    let seen = tokio::select! {
        done = &mut work => {
            done?;
            return Err(Stop::ended_by_itself("the operator"));
        }
        seen = watch(signals) => seen,
    };
    let _ = stop.send(());
    tokio::select! {
        done = work => done?,
        signal = signals.next() => return Err(Stop::because(format!(
            "Stopped at once by another {signal}; the same command goes on with what was in flight."
        ))),
    }
    Ok(seen)
}

async fn work(
    config: Config,
    client: Client,
    container: Option<Container>,
    stop: impl Future<Output = ()> + Send + 'static,
) -> Result<(), Stop> {
    let (wire, storage) = edges(&config, &client, Tenure::default())?;
    match container {
        Some(container) => {
            let folder = FolderStorage::new(container.root());
            operate(config, client, None, (wire, folder, None), stop).await
        }
        None => operate(config, client, None, (wire, storage, None), stop).await,
    }
}
