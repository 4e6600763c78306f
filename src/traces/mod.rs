//! The edge to a collector of traces: spans go out by OTLP over HTTP, in batches, beside all other work. A collector that
//! is slow or away holds nothing up: spans that find no room are dropped and counted.
//!
//! Uses: cluster, core, credentials, metrics, stop.

mod convert;
mod sender;

use std::path::Path;
use std::sync::Arc;

use opentelemetry_otlp::{SpanExporter, WithExportConfig, WithHttpConfig};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::SpanExporter as _;
use tokio::sync::{mpsc, oneshot};
use url::Url;

use crate::cluster::root_cause;
use crate::core::trace::Span;
use crate::credentials::transport::client_builder;
use crate::metrics::Metrics;
use crate::stop::Stop;
use sender::{Message, Sender};

/// How many spans wait for the collector at most.
const ROOM: usize = 4096;
/// The path at which a collector takes traces (OTLP/HTTP, section "OTLP/HTTP Request").
const PATH: &str = "v1/traces";
/// The name of the service in traces.
const SERVICE: &str = "fhir-export-operator";

/// The way to a collector of traces.
#[derive(Debug)]
pub struct Traces {
    room: mpsc::Sender<Message>,
    metrics: Arc<Metrics>,
}

impl Traces {
    /// Sends traces to the collector at `endpoint`, in a task of the caller's runtime. It trusts the authorities in the
    /// PEM file `extra_ca`, too. The environment variables of OpenTelemetry can name headers for the collector
    /// (`OTEL_EXPORTER_OTLP_HEADERS`).
    ///
    /// # Errors
    ///
    /// The file cannot be read, or the headers or the endpoint cannot be used.
    pub fn to(endpoint: &Url, extra_ca: Option<&Path>, metrics: Arc<Metrics>) -> Result<Self, Stop> {
        let extra_ca = match extra_ca {
            Some(file) => vec![std::fs::read_to_string(file).map_err(|e| {
                Stop::because(format!("The file {} of --extra-ca cannot be read: {e}.", file.display()))
            })?],
            None => Vec::new(),
        };
        let http = client_builder(&extra_ca, None).and_then(reqwest::ClientBuilder::build).map_err(|e| {
            Stop::because(format!("The certificate authorities cannot be used: {}.", root_cause(&e)))
        })?;
        let exporter = SpanExporter::builder()
            .with_http()
            .with_http_client(http)
            .with_endpoint(address(endpoint))
            .build();
        let mut exporter = exporter
            .map_err(|e| Stop::because(format!("The collector of --otlp-endpoint cannot be used: {e}.")))?;
        let version = opentelemetry::KeyValue::new("service.version", env!("CARGO_PKG_VERSION"));
        let resource = Resource::builder_empty().with_service_name(SERVICE).with_attribute(version).build();
        exporter.set_resource(&resource);
        let (room, waiting) = mpsc::channel(ROOM);
        let host = endpoint.host_str().unwrap_or_default().to_owned();
        tokio::spawn(Sender::new(exporter, host, metrics.clone()).run(waiting));
        Ok(Self { room, metrics })
    }

    /// Tells a span, at once. It is dropped and counted if too many wait already.
    pub fn tell(&self, span: Span) {
        if self.room.try_send(Message::Span(Box::new(span))).is_err() {
            self.metrics.spans_dropped(1);
        }
    }

    /// Completes when all spans that were told before are sent or dropped.
    pub async fn sent(&self) {
        let (tell, told) = oneshot::channel();
        if self.room.send(Message::Flush(tell)).await.is_ok() {
            // The sender is gone only if the runtime ends.
            let _ = told.await;
        }
    }
}

/// Where a collector takes traces: its address may name the path already.
fn address(endpoint: &Url) -> String {
    let text = endpoint.as_str().trim_end_matches('/');
    if text.ends_with(PATH) { text.to_owned() } else { format!("{text}/{PATH}") }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn traces_go_to_the_path_of_the_protocol() {
        for (endpoint, wanted) in [
            ("http://collector:4318", "http://collector:4318/v1/traces"),
            ("http://collector:4318/", "http://collector:4318/v1/traces"),
            ("https://gateway/otlp", "https://gateway/otlp/v1/traces"),
            ("https://gateway/otlp/v1/traces", "https://gateway/otlp/v1/traces"),
        ] {
            assert_eq!(address(&endpoint.parse().unwrap()), wanted);
        }
    }
}
