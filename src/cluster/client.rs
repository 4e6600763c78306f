//! How the API server is reached.

use std::time::Duration;

use axum::http::HeaderValue;
use axum::http::header::USER_AGENT;

use kube::Config;
use kube::config::InferConfigError;

/// Of the kubeconfig, if there is one, else of the pod's `ServiceAccount`.
///
/// kube's own retries are off: they can go on for minutes, and each call here has its own, within a time-out.
pub async fn client_settings() -> Result<Config, InferConfigError> {
    let mut settings = Config::infer().await?;
    settings.default_retry = false;
    settings.connect_timeout = Some(Duration::from_secs(5));
    // The API server's audit log and its priority and fairness tell clients apart by this.
    let agent = HeaderValue::from_static(concat!("fhir-export-operator/", env!("CARGO_PKG_VERSION")));
    settings.headers.push((USER_AGENT, agent));
    Ok(settings)
}
