//! A pod of a landing: lands its share of the files of one run, and asks the API server for nothing.
//!
//! Uses: config, controller, core, credentials, operator, ports, serve, stop.

use std::path::Path;
use std::sync::Arc;

use kube::Client;

use crate::config::Config;
use crate::controller::landing::land;
use crate::core::landing::{ASSIGNMENT_LIMIT, Assignment, Exit, LandPlan, LandState};
use crate::core::manifest::sha256_hex;
use crate::credentials::HandedSource;
use crate::operator::live::{Live, alone};
use crate::operator::run::edges_with;
use crate::operator::signals::Signals;
use crate::ports::{ObjectStore, Panicked, Target, Tenure, Wire};
use crate::serve::logs;
use crate::stop::Stop;

/// Lands the share of the pod `index` of the assignment in `directory`, until it is done, cannot go on, or SIGTERM
/// comes. What has landed, and the parts that are stored of a file, stay for the next pod.
///
/// # Errors
///
/// Fails if the assignment cannot be read.
pub async fn run(directory: &Path, index: usize, mut config: Config) -> Result<Exit, Stop> {
    logs::begin(config.log_format, &config.log_filter);
    let mut signals = Signals::listen()?;
    let file = directory.join("assignment.json");
    let cannot =
        |why: String| Stop::because(format!("The assignment {} cannot be read: {why}.", file.display()));
    let content = std::fs::read(&file).map_err(|error| cannot(error.to_string()))?;
    let assignment: Assignment =
        serde_json::from_slice(&content).map_err(|error| cannot(error.to_string()))?;
    let authorities = directory.join("ca.pem");
    if std::fs::metadata(&authorities).is_ok_and(|file| file.len() > 0) {
        config.extra_ca = Some(authorities);
    }
    let credentials = Arc::new(HandedSource::new(directory.join("credentials.json")));
    let (wire, storage) = edges_with(&config, credentials, Tenure::default())?;
    // Nothing listens there: a pod of a landing has no API server.
    let client = Client::new(axum::Router::new(), "default");
    let world = Arc::new(alone(client, wire, storage, config.tuning.clone()));
    let landed = tokio::select! {
        exit = land_share(&world, assignment, index) => exit,
        signal = signals.next() => {
            tracing::info!("{signal}: what has landed stays, another pod goes on");
            Ok(Exit::Passing)
        }
    };
    world.beside.end().await;
    landed
}

async fn land_share<W, C>(world: &Arc<Live<W, C>>, assignment: Assignment, index: usize) -> Result<Exit, Stop>
where
    W: Wire + 'static,
    C: ObjectStore + 'static,
{
    let Assignment { server, container, plan: key, sha256, pods } = assignment;
    let server = Arc::new(server);
    let read = world.container.read(Target::new(&server, &container), &key, ASSIGNMENT_LIMIT).await;
    let plan = match read {
        Ok(Some(body)) if sha256_hex(&body) == sha256 => serde_json::from_slice::<LandPlan>(&body).ok(),
        Ok(_) => None,
        Err(failure) => {
            tracing::error!("the plan cannot be read: {}", failure.message);
            return Ok(Exit::Passing);
        }
    };
    let Some(plan) = plan else {
        return Err(Stop::because(format!("{container}/{key} is not the plan that the operator wrote.")));
    };
    if index >= pods {
        // The Job of this pod is an older one, which had more of them.
        tracing::error!(index, pods, "the assignment has no share for this pod");
        return Ok(Exit::Passing);
    }
    let share = Arc::new(plan.share(index, pods));
    tracing::info!(index, pods, files = share.files.len(), "the pod lands its share");
    let state = match land(world, &server, &share, None, &|_| ()).await {
        Ok(state) => state,
        Err(Panicked) => return Ok(Exit::Passing),
    };
    match &state {
        LandState::Done(landed) => tracing::info!(files = landed.len(), "the share has landed"),
        LandState::Running(_) => {}
        LandState::Failed(failure) => tracing::error!("the share has not landed: {}", failure.message),
    }
    Ok(Exit::of(&state))
}
