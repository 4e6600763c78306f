//! A collector of traces: it takes what the operator sends by OTLP, and keeps it where the search for secrets and
//! patients' ids finds it.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::trace::v1::Span;
use prost::Message;
use test_server::{Answering, HttpReply, Served, Socket, WholeRequest};

/// A collector of traces.
pub struct Collector {
    socket: Socket,
    taken: Arc<Taken>,
}

struct Taken {
    /// What was received, byte by byte, also of requests that were refused.
    file: PathBuf,
    spans: Mutex<Vec<Span>>,
    hangs: AtomicBool,
}

impl Answering for Taken {
    async fn answer(&self, request: WholeRequest) -> Served {
        let mut file = std::fs::OpenOptions::new().create(true).append(true).open(&self.file).unwrap();
        file.write_all(format!("{:?}\n", request.headers()).as_bytes()).unwrap();
        file.write_all(request.body()).unwrap();
        if self.hangs.load(Ordering::Relaxed) {
            return Served::Hang;
        }
        assert_eq!(request.uri().path(), "/v1/traces");
        let told = ExportTraceServiceRequest::decode(request.body().as_slice()).unwrap();
        let scopes = told.resource_spans.into_iter().flat_map(|resource| resource.scope_spans);
        self.spans.lock().unwrap().extend(scopes.flat_map(|scope| scope.spans));
        HttpReply::empty(200).header("Content-Type", "application/x-protobuf").into()
    }
}

impl Collector {
    /// Opens a collector that keeps what it receives in `folder`.
    pub async fn open(folder: &Path) -> Self {
        let file = folder.join("collector.log");
        let taken = Taken { file, spans: Mutex::default(), hangs: AtomicBool::new(false) };
        let taken = Arc::new(taken);
        Self { socket: Socket::open(0, None, Arc::clone(&taken)).await.unwrap(), taken }
    }

    /// The address of the collector.
    pub fn url(&self) -> String {
        format!("http://{}", self.socket.address)
    }

    /// Answers no request any more.
    pub fn hang(&self) {
        self.taken.hangs.store(true, Ordering::Relaxed);
    }

    /// The spans that came so far.
    pub fn spans(&self) -> Vec<Span> {
        self.taken.spans.lock().unwrap().clone()
    }
}
