//! The connection to the API server.

use std::time::Duration;

use axum::http::HeaderValue;
use axum::http::header::USER_AGENT;

use kube::Config;
use kube::config::InferConfigError;

/// The settings of the client: from the kubeconfig if there is one, else from the pod's `ServiceAccount`.
///
/// kube's own retries are off, because they can last for minutes; each call here retries within its own time
/// limit.
pub async fn client_settings() -> Result<Config, InferConfigError> {
    let mut settings = Config::infer().await?;
    settings.default_retry = false;
    settings.connect_timeout = Some(Duration::from_secs(5));
    // The API server's audit log records this header.
    let agent = HeaderValue::from_static(concat!("fhir-export-operator/", env!("CARGO_PKG_VERSION")));
    settings.headers.push((USER_AGENT, agent));
    Ok(settings)
}
