//! The connection to the API server.

use std::error::Error;
use std::path::PathBuf;
use std::time::Duration;

use axum::http::HeaderValue;
use axum::http::header::USER_AGENT;

use kube::config::{InferConfigError, KubeConfigOptions, Kubeconfig, KubeconfigError};
use kube::{Client, Config};
use tracing::info;

use crate::stop::Stop;

/// The settings for the connection to the API server: from the kubeconfig if there is one, else from the pod's
/// `ServiceAccount`.
pub async fn settings() -> Result<Config, Stop> {
    // The error's source describes the kubeconfig; the other half, that this is not a pod, adds nothing.
    let settings = infer().await.map_err(|e| e.source().map_or_else(|| no_cluster(&e), no_cluster))?;
    info!(api_server = %settings.cluster_url, "using this cluster");
    Ok(settings)
}

/// How long the API server may be silent on a connection that waits for it. A list that gets no answer, or a
/// watch whose connection broke silently, ends after this time and begins anew. This is longer than
/// [`super::watch::PERIOD`], within which a healthy watch always hears from the API server.
const SILENCE: Duration = Duration::from_secs(130);

/// A client with these settings.
pub fn client(settings: Config) -> Result<Client, Stop> {
    client_within(settings, SILENCE)
}

/// A client that gives up a request when the API server is silent for `silence`.
pub fn client_within(mut settings: Config, silence: Duration) -> Result<Client, Stop> {
    settings.read_timeout = Some(silence);
    // A pooled connection was silent before it is used again, and that time does not count.
    settings.reset_reader_on_write = true;
    Client::try_from(settings).map_err(|e| no_cluster(&e))
}

/// A client of the cluster, and the namespace of the current context.
pub async fn client_and_namespace() -> Result<(Client, String), Stop> {
    let settings = settings().await?;
    let namespace = settings.default_namespace.clone();
    Ok((client(settings)?, namespace))
}

/// Which cluster a person means.
#[derive(Clone, Debug, Default)]
pub struct Choice {
    /// The kubeconfig; `None` for KUBECONFIG, `~/.kube/config` or the pod's ServiceAccount.
    pub kubeconfig: Option<PathBuf>,
    /// The context in it; `None` for the current one.
    pub context: Option<String>,
}

/// A client of the cluster that a person means, and the namespace of the context. `agent` is its `User-Agent`.
pub async fn chosen(choice: &Choice, agent: &'static str) -> Result<(Client, String), Stop> {
    let settings = if choice.kubeconfig.is_none() && choice.context.is_none() {
        Config::infer().await.map_err(|e| e.source().map_or_else(|| no_cluster(&e), no_cluster))?
    } else {
        named(choice).await.map_err(|e| no_cluster(&e))?
    };
    let namespace = settings.default_namespace.clone();
    Ok((client(with_agent(settings, agent))?, namespace))
}

async fn named(choice: &Choice) -> Result<Config, KubeconfigError> {
    let options = KubeConfigOptions { context: choice.context.clone(), ..KubeConfigOptions::default() };
    match &choice.kubeconfig {
        Some(file) => Config::from_custom_kubeconfig(Kubeconfig::read_from(file)?, &options).await,
        None => Config::from_kubeconfig(&options).await,
    }
}

/// Finds the settings, with kube's own retries off, because they can last for minutes; each call here retries within
/// its own time limit.
async fn infer() -> Result<Config, InferConfigError> {
    let agent = concat!("fhir-export-operator/", env!("CARGO_PKG_VERSION"));
    Ok(with_agent(Config::infer().await?, agent))
}

fn with_agent(mut settings: Config, agent: &'static str) -> Config {
    settings.default_retry = false;
    settings.connect_timeout = Some(Duration::from_secs(5));
    // The API server's audit log records this header.
    settings.headers.push((USER_AGENT, HeaderValue::from_static(agent)));
    settings
}

fn no_cluster(error: &dyn Error) -> Stop {
    let text = error.to_string();
    // The parser's message goes on to show the text. Its first line says what is wrong, and where.
    let cause = text.lines().next().unwrap_or_default().trim_end_matches([':', '.', ' ']);
    Stop::because(format!(
        "No cluster to work on: {cause}; set KUBECONFIG to a kubeconfig, or run in a pod with a ServiceAccount."
    ))
}
