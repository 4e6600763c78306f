//! A FHIR server that costs next to nothing: it answers kick-offs and polls at once, and the kernel sends its files.

use std::fs::File;
use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use serde_json::{Value, json};

use crate::connection::{Connection, Head, serve};
use crate::shape::Shape;

/// When the server was first asked for something since the last [`Origin::begin`].
#[derive(Clone, Copy, Debug, Default)]
pub struct Asked {
    /// The kick-off.
    pub kick_off: Option<Instant>,
    /// The first file.
    pub file: Option<Instant>,
}

/// The server. It serves any shape, at a path with the name of the shape.
pub struct Origin {
    /// Where it listens.
    pub address: SocketAddr,
    asked: Arc<Mutex<Asked>>,
}

impl Origin {
    /// Starts a server whose files are the beginning of `made`.
    pub fn start(made: &Path) -> io::Result<Self> {
        let (made, asked) = (Arc::new(File::open(made)?), Arc::new(Mutex::new(Asked::default())));
        let noted = Arc::clone(&asked);
        let address = serve(move |connection, head| answer(connection, head, &made, &noted))?;
        Ok(Self { address, asked })
    }

    /// Forgets when it was asked.
    pub fn begin(&self) {
        *self.asked.lock().unwrap_or_else(PoisonError::into_inner) = Asked::default();
    }

    /// When it was asked.
    pub fn asked(&self) -> Asked {
        *self.asked.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn answer(to: &mut Connection, head: &Head, made: &File, asked: &Mutex<Asked>) -> io::Result<()> {
    let now = Instant::now();
    let host = head.field("host").unwrap_or_default();
    let path = head.second().split('?').next().unwrap_or_default();
    let words: Vec<&str> = path.split('/').skip(1).collect();
    let shape = words.first().and_then(|name| name.parse::<Shape>().ok());
    match (shape, words.get(1..).unwrap_or_default()) {
        (Some(shape), ["files", n]) => {
            asked.lock().unwrap_or_else(PoisonError::into_inner).file.get_or_insert(now);
            let length = shape.bytes(n.parse().unwrap_or_default());
            let head = format!(
                "HTTP/1.1 200 OK\r\nContent-Type: application/fhir+ndjson\r\nContent-Length: {length}\r\n\
                 ETag: \"{}-{n}\"\r\nAccept-Ranges: bytes\r\n\r\n",
                shape.name()
            );
            to.send(head.as_bytes(), true)?;
            to.send_file(made, length)
        }
        (Some(_), ["fhir", "status", _]) if head.first.starts_with("DELETE") => {
            send(to, 202, "", &Value::Null)
        }
        (Some(shape), ["fhir", "status", _]) => send(to, 200, "", &manifest(&shape, host)),
        (Some(_), ["fhir", "metadata"]) => send(to, 200, "", &capabilities()),
        (Some(shape), ["fhir", .., "$export"]) => {
            asked.lock().unwrap_or_else(PoisonError::into_inner).kick_off.get_or_insert(now);
            let at = format!("Content-Location: http://{host}/{}/fhir/status/1\r\n", shape.name());
            send(to, 202, &at, &Value::Null)
        }
        _ => send(to, 404, "", &Value::Null),
    }
}

fn send(to: &mut Connection, status: u16, fields: &str, body: &Value) -> io::Result<()> {
    let body = if body.is_null() { String::new() } else { body.to_string() };
    let head = format!(
        "HTTP/1.1 {status} .\r\nContent-Type: application/json\r\n{fields}Content-Length: {}\r\n\r\n",
        body.len()
    );
    to.send((head + &body).as_bytes(), false)
}

fn manifest(shape: &Shape, host: &str) -> Value {
    let url = |n: u64| format!("http://{host}/{}/files/{n}", shape.name());
    let output: Vec<Value> = (0..shape.files)
        .map(|n| json!({"type": "Observation", "url": url(n), "count": shape.lines(n)}))
        .collect();
    json!({"transactionTime": "2026-01-01T00:00:00Z", "request": format!("http://{host}/{}/fhir/$export", shape.name()),
        "requiresAccessToken": false, "output": output, "error": []})
}

fn capabilities() -> Value {
    json!({"resourceType": "CapabilityStatement", "status": "active", "date": "2026-01-01", "kind": "instance",
        "fhirVersion": "4.0.1", "format": ["json"], "software": {"name": "origin"},
        "rest": [{"mode": "server", "operation": [{"name": "export",
            "definition": "http://hl7.org/fhir/uv/bulkdata/OperationDefinition/export"}]}]})
}
