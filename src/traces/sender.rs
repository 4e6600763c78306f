//! The task that sends spans to the collector, in batches.

use std::sync::Arc;
use std::time::Duration;

use opentelemetry_otlp::SpanExporter;
use opentelemetry_sdk::trace::{SpanData, SpanExporter as _};
use tokio::sync::{mpsc, oneshot};
use tracing::{info, warn};

use super::convert::converted;
use crate::core::trace::Span;
use crate::metrics::Metrics;

/// How many spans go out with one request at most.
const BATCH: usize = 512;
/// How long one batch may take, tries of it included.
const TIMEOUT: Duration = Duration::from_secs(10);
/// How long the first span of a batch waits for others.
const GATHER: Duration = Duration::from_secs(1);

/// What the task is told.
#[derive(Debug)]
pub(super) enum Message {
    /// A span to send.
    Span(Box<Span>),
    /// Tell when everything before this message is sent or dropped.
    Flush(oneshot::Sender<()>),
}

/// Sends spans to one collector.
pub(super) struct Sender {
    exporter: SpanExporter,
    host: String,
    metrics: Arc<Metrics>,
    /// Whether the last batch was taken, so that an outage is logged once.
    takes: bool,
}

impl Sender {
    pub(super) fn new(exporter: SpanExporter, host: String, metrics: Arc<Metrics>) -> Self {
        Self { exporter, host, metrics, takes: true }
    }

    /// Sends what comes until all senders are gone.
    pub(super) async fn run(mut self, mut waiting: mpsc::Receiver<Message>) {
        while let Some(first) = waiting.recv().await {
            let (mut batch, mut asked) = (Vec::new(), None);
            let mut next = Some(first);
            let full = tokio::time::sleep(GATHER);
            tokio::pin!(full);
            while let Some(message) = next.take() {
                match message {
                    Message::Span(span) => batch.push(converted(*span)),
                    Message::Flush(tell) => {
                        asked = Some(tell);
                        break;
                    }
                }
                if batch.len() < BATCH {
                    tokio::select! {
                        biased;
                        message = waiting.recv() => next = message,
                        () = &mut full => {}
                    }
                }
            }
            self.send(batch).await;
            if let Some(tell) = asked {
                // Whoever asked may have stopped waiting.
                let _ = tell.send(());
            }
        }
    }

    async fn send(&mut self, batch: Vec<SpanData>) {
        if batch.is_empty() {
            return;
        }
        let spans = batch.len() as u64;
        let sent = tokio::time::timeout(TIMEOUT, self.exporter.export(batch)).await;
        let taken = sent.is_ok_and(|answer| answer.is_ok());
        if !taken {
            self.metrics.spans_dropped(spans);
        }
        let host = &self.host;
        if taken != std::mem::replace(&mut self.takes, taken) {
            if taken {
                info!("the trace collector {host} takes spans again");
            } else {
                warn!(
                    "the trace collector {host} does not take spans, and they are dropped: check --otlp-endpoint and \
                     the collector; exports go on"
                );
            }
        }
    }
}
