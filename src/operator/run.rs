//! How the program starts and ends.

use std::sync::Arc;
use std::time::Duration;

use kube::Client;
use tracing::info;

use super::operate::operate;
use super::signals::Signals;
use crate::cluster::lead::{Election, LeaseKey};
use crate::cluster::{self, KubeCredentials, KubeLandingPods, root_cause};
use crate::config::{Config, LeaseName};
use crate::core::landing::PodTemplate;
use crate::core::manifest::sha256_hex;
use crate::core::reach::Reach;
use crate::credentials::{CredentialSource, EntraSettings, Identities};
use crate::fhir::{FhirWire, WireSettings};
use crate::ports::{LandingPods, Tenure};
use crate::serve::logs;
use crate::stop::Stop;
use crate::storage::{self, BlobStorage, FolderStorage, S3Storage, StorageByType};

/// Runs the operator until SIGTERM or SIGINT. It then finishes what is in flight; a second signal ends it at
/// once.
pub fn run_blocking(config: Config) -> Result<(), Stop> {
    logs::begin(config.log_format, &config.log_filter);
    block_on(run(config))
}

/// Does `work` in a runtime of its own.
pub fn block_on<T>(work: impl Future<Output = Result<T, Stop>>) -> Result<T, Stop> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|e| Stop::because(format!("The program cannot start its threads: {e}.")))?;
    let done = runtime.block_on(work);
    // A name lookup in progress must not delay the exit.
    runtime.shutdown_timeout(Duration::from_secs(1));
    done
}

/// Runs the operator like [`run_blocking`], in the caller's runtime and without setting up logs.
pub async fn run(config: Config) -> Result<(), Stop> {
    let mut signals = Signals::listen()?;
    let settings = cluster::settings().await?;
    let client = cluster::client(settings.clone())?;
    let election = config.leader_elect.then(|| election(&config, settings)).transpose()?;
    let tenure = election.as_ref().map(|election| election.tenure.clone()).unwrap_or_default();
    let pods = landing_pods(&config, &client, tenure.clone())?;
    let (wire, container) = edges(&config, &client, tenure)?;
    let (stop, stopping) = tokio::sync::oneshot::channel::<()>();
    let work = operate(config, client, election, (wire, container, pods), async {
        // Both outcomes mean that the operator should stop.
        let _ = stopping.await;
    });
    let twice = async {
        let name = signals.next().await;
        info!("{name}: finishing what is in flight");
        let _ = stop.send(());
        signals.next().await
    };
    tokio::select! {
        done = work => done,
        name = twice => Err(Stop::because(format!(
            "Stopped at once by a second {name}; what was in flight continues at the next start."
        ))),
    }
}

/// The clients for FHIR servers and storage, with credentials from the API server of `client`.
pub fn edges(config: &Config, client: &Client, tenure: Tenure) -> Result<(FhirWire, StorageByType), Stop> {
    edges_with(config, Arc::new(KubeCredentials::new(client.clone())), tenure)
}

/// The PEM bundles of additional certificate authorities.
fn extra_ca(config: &Config) -> Result<Vec<String>, Stop> {
    Ok(match &config.extra_ca {
        Some(file) => vec![std::fs::read_to_string(file).map_err(|e| {
            Stop::because(format!("The file {} of --extra-ca cannot be read: {e}.", file.display()))
        })?],
        None => Vec::new(),
    })
}

/// The clients for FHIR servers and storage, with these credentials.
pub fn edges_with(
    config: &Config,
    credentials: Arc<dyn CredentialSource>,
    tenure: Tenure,
) -> Result<(FhirWire, StorageByType), Stop> {
    let extra_ca = extra_ca(config)?;
    let settings = EntraSettings {
        authority_host: config.entra_authority_host.clone(),
        extra_ca: extra_ca.clone(),
        allowed_audiences: config.entra_audiences.clone(),
        own_identity_namespaces: config.own_identity_namespaces.clone(),
    };
    let unusable = |e: reqwest::Error| {
        Stop::because(format!("The certificate authorities cannot be used: {}.", root_cause(&e)))
    };
    let reach = Reach::named(config.refused_networks.clone());
    let tokens = settings.http_client().map_err(unusable)?;
    let blobs = storage::http_client(&extra_ca, &reach).map_err(unusable)?;
    let identities = Arc::new(Identities::new(credentials, settings, tokens));
    let blobs = BlobStorage::within(tenure.clone(), identities.clone(), blobs, config.storage_hosts.clone())
        .reaching(reach.clone());
    let grants = config.volume_grants.clone();
    let volumes = FolderStorage::of_volumes(tenure.clone(), &config.volumes, grants);
    let client = storage::s3_client(&extra_ca, &reach).map_err(unusable)?;
    let hosts = config.storage_hosts.clone();
    let s3 = S3Storage::new(tenure.clone(), identities.clone(), client, hosts, reach.clone());
    let container = StorageByType::new(blobs, volumes, s3);
    let (max_downloads, max_request_timeout) = (config.max_downloads, Some(config.max_request_timeout));
    let settings = WireSettings { extra_ca, max_downloads, max_request_timeout, reach };
    Ok((FhirWire::new(identities, settings).within(tenure), container))
}

/// The pods that land files, if a namespace for them is designated.
fn landing_pods(
    config: &Config,
    client: &Client,
    tenure: Tenure,
) -> Result<Option<Arc<dyn LandingPods>>, Stop> {
    let Some(jobs) = &config.landing_jobs else { return Ok(None) };
    let lease = &config.lease;
    let operator = format!("{}/{}", lease.namespace.as_deref().unwrap_or_default(), lease.name);
    let watched: Vec<&str> = config.watch_namespaces.iter().map(String::as_str).collect();
    let operator = sha256_hex(format!("{operator} {}", watched.join(",")).as_bytes());
    let template = PodTemplate {
        namespace: jobs.namespace.clone(),
        image: jobs.image.clone(),
        flags: jobs.flags.clone(),
        volumes: config.volumes.display().to_string(),
        operator: operator.chars().take(16).collect(),
    };
    let credentials = Arc::new(KubeCredentials::new(client.clone()));
    let authorities = extra_ca(config)?.concat();
    let own = config.own_identity_namespaces.clone();
    let pods = KubeLandingPods::new(client.clone(), credentials, template, authorities, own).within(tenure);
    Ok(Some(Arc::new(pods)))
}

/// The leader election. The Lease is in the operator's own namespace unless another one is configured.
fn election(config: &Config, settings: kube::Config) -> Result<Election, Stop> {
    let LeaseName { namespace, name } = config.lease.clone();
    let namespace = namespace.unwrap_or_else(|| settings.default_namespace.clone());
    let tenure = Tenure::none();
    tenure.guard().map_err(|e| Stop::because(format!("The program cannot start its threads: {e}.")))?;
    Ok(Election { settings, lease: LeaseKey { namespace, name }, tenure })
}
