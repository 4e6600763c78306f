//! The work of a landing with the least that it takes: download, SHA-256, lines, and one request or blocks with the
//! sums as metadata. Threads, blocking sockets, no checkpoints, no checks, no retries: what this machine can do.
//! With `--client`, tasks and the operator's HTTP client take the place of threads and sockets: what this machine can
//! do with that client.

use std::fmt::Write;
use std::io::{Error, Result};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};

use aws_lc_rs::digest::{Context, SHA256};
use clap::Args;

use crate::client;
use crate::connection::Connection;
use crate::shape::{Shape, hex};

/// A file up to this length in bytes is stored with one request; a longer one in blocks of this length.
pub const BLOCK: u64 = 4 << 20;
/// How many bytes are hashed and passed on at once.
const SIP: u64 = 256 << 10;

/// Does the work of a landing in the plainest way
#[derive(Clone, Debug, Args)]
pub struct Plain {
    /// What to land
    #[arg(long)]
    pub shape: Shape,
    /// The server of the files
    #[arg(long)]
    pub origin: SocketAddr,
    /// The storage account
    #[arg(long)]
    pub sink: SocketAddr,
    /// The container, which exists
    #[arg(long)]
    pub container: String,
    /// How many files to land at once
    #[arg(long, default_value_t = 4)]
    pub threads: usize,
    /// Use the operator's HTTP client, for files that are stored with one request each
    #[arg(long)]
    pub client: bool,
}

impl Plain {
    /// The arguments with which this program does this work.
    pub fn args(&self) -> Vec<String> {
        let Self { shape, origin, sink, container, threads, client } = self;
        let mut args = vec![
            "plain".to_owned(),
            format!("--shape={}", shape.name()),
            format!("--origin={origin}"),
            format!("--sink={sink}"),
            format!("--container={container}"),
            format!("--threads={threads}"),
        ];
        args.extend(client.then(|| "--client".to_owned()));
        args
    }

    /// Lands all files.
    pub fn run(&self) -> Result<()> {
        if self.client {
            return client::run(self);
        }
        let next = AtomicU64::new(0);
        std::thread::scope(|scope| {
            let threads: Vec<_> = (0..self.threads).map(|_| scope.spawn(|| self.land(&next))).collect();
            threads.into_iter().try_for_each(|thread| {
                thread.join().unwrap_or_else(|_| Err(Error::other("a thread panicked")))
            })
        })
    }

    fn land(&self, next: &AtomicU64) -> Result<()> {
        let (mut from, mut to) = (Connection::dial(self.origin)?, Connection::dial(self.sink)?);
        let mut memory = vec![0; usize::try_from(BLOCK).unwrap_or_default()];
        loop {
            let n = next.fetch_add(1, Ordering::Relaxed);
            if n >= self.shape.files {
                return Ok(());
            }
            let get =
                format!("GET /{}/files/{n} HTTP/1.1\r\nHost: {}\r\n\r\n", self.shape.name(), self.origin);
            from.send(get.as_bytes(), false)?;
            let length = from.head()?.map_or(0, |head| head.length());
            if length <= BLOCK {
                let body = memory.get_mut(..usize::try_from(length).unwrap_or_default()).unwrap_or_default();
                from.read(body)?;
                let mut sums = Sums::default();
                sums.add(body);
                self.put(&mut to, n, "", &(sums.marks() + "x-ms-blob-type: BlockBlob\r\n"), length)?;
                to.send(body, false)?;
                answered(&mut to)?;
            } else {
                self.blocks(&mut from, &mut to, n, length, &mut memory)?;
            }
        }
    }

    fn blocks(
        &self,
        from: &mut Connection,
        to: &mut Connection,
        n: u64,
        length: u64,
        memory: &mut [u8],
    ) -> Result<()> {
        let (mut sums, mut at, mut list) = (Sums::default(), 0, "<BlockList>".to_owned());
        while at < length {
            let mut left = BLOCK.min(length - at);
            at += left;
            let id = format!("{at:016}");
            self.put(to, n, &format!("comp=block&blockid={id}"), "", left)?;
            list.extend(["<Latest>", id.as_str(), "</Latest>"]);
            while left > 0 {
                let sip =
                    memory.get_mut(..usize::try_from(left.min(SIP)).unwrap_or_default()).unwrap_or_default();
                from.read(sip)?;
                sums.add(sip);
                to.send(sip, false)?;
                left -= sip.len() as u64;
            }
            answered(to)?;
        }
        list += "</BlockList>";
        self.put(to, n, "comp=blocklist", &sums.marks(), list.len() as u64)?;
        to.send(list.as_bytes(), false)?;
        answered(to)
    }

    fn put(&self, to: &mut Connection, n: u64, query: &str, fields: &str, length: u64) -> Result<()> {
        let head = format!(
            "PUT /account/{}/{n}.ndjson?{query} HTTP/1.1\r\nHost: {}\r\nx-ms-version: 2023-11-03\r\n{fields}\
             Content-Length: {length}\r\n\r\n",
            self.container, self.sink
        );
        to.send(head.as_bytes(), true)
    }
}

fn answered(by: &mut Connection) -> Result<()> {
    let head = by.head()?.ok_or_else(|| Error::other("the account ended the connection"))?;
    by.skip(head.length())?;
    if head.second() == "201" { Ok(()) } else { Err(Error::other(head.first)) }
}

pub struct Sums {
    hash: Context,
    lines: usize,
    bytes: usize,
}

impl Default for Sums {
    fn default() -> Self {
        Self { hash: Context::new(&SHA256), lines: 0, bytes: 0 }
    }
}

impl Sums {
    /// Counts and hashes the next bytes.
    pub fn add(&mut self, piece: &[u8]) {
        self.hash.update(piece);
        self.lines += memchr::memchr_iter(b'\n', piece).count();
        self.bytes += piece.len();
    }

    /// The sums as metadata: names and values of fields.
    pub fn metadata(self) -> [(&'static str, String); 3] {
        [
            ("x-ms-meta-fhirexport_sha256", hex(self.hash.finish().as_ref())),
            ("x-ms-meta-fhirexport_lines", self.lines.to_string()),
            ("x-ms-meta-fhirexport_bytes", self.bytes.to_string()),
        ]
    }

    /// The sums as fields of a request.
    fn marks(self) -> String {
        let mut fields = "If-None-Match: *\r\n".to_owned();
        for (name, value) in self.metadata() {
            // Writing to a string never fails.
            let _ = write!(fields, "{name}: {value}\r\n");
        }
        fields
    }
}
