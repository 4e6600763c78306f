//! A proxy before HAPI, which keeps no records that could be queried: forwards requests, and records those about jobs.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use test_server::{Answering, HttpReply, Served, Socket, WholeRequest};

use crate::Result;
use crate::plan::number_in;
use crate::record::{End, Job, last_of};

/// A running gateway, which ends when it is dropped.
#[derive(Debug)]
pub struct Gateway {
    seen: Arc<Seen>,
    socket: Socket,
}

#[derive(Debug)]
struct Seen {
    target: String,
    client: reqwest::Client,
    jobs: Mutex<BTreeMap<String, Job>>,
    kick_offs: Mutex<usize>,
}

impl Gateway {
    /// Starts a gateway to the server at this base URL.
    pub async fn start(target: &str) -> Result<Self> {
        let target = target.strip_suffix("/fhir").unwrap_or(target).to_owned();
        let client = reqwest::Client::builder().no_proxy().no_gzip().build()?;
        let seen = Arc::new(Seen { target, client, jobs: Mutex::default(), kick_offs: Mutex::default() });
        let socket = Socket::open(0, None, Arc::clone(&seen)).await?;
        Ok(Self { seen, socket })
    }

    /// The port on which the gateway listens.
    pub fn port(&self) -> u16 {
        self.socket.address.port()
    }

    /// The number of kick-offs so far.
    pub fn kick_offs(&self) -> usize {
        *self.seen.kick_offs.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The jobs so far, without their files.
    pub fn jobs(&self) -> Vec<Job> {
        self.seen.jobs.lock().unwrap_or_else(PoisonError::into_inner).values().cloned().collect()
    }
}

impl Answering for Seen {
    async fn answer(&self, request: WholeRequest) -> Served {
        match self.pass(request).await {
            Ok(reply) => reply.into(),
            Err(_) => Served::Close,
        }
    }
}

impl Seen {
    async fn pass(&self, request: WholeRequest) -> Result<HttpReply> {
        let (parts, body) = request.into_parts();
        let path = parts.uri.path_and_query().map(ToString::to_string).unwrap_or_default();
        let kicks_off = parts.uri.path().ends_with("/$export") || parts.uri.path().ends_with("/%24export");
        if kicks_off {
            *self.kick_offs.lock().unwrap_or_else(PoisonError::into_inner) += 1;
        }
        let mut headers = parts.headers;
        // The header `Host` stays, since HAPI builds its links from it. The client sets the length of the body itself.
        headers.remove("content-length");
        let sent = self.client.request(parts.method.clone(), format!("{}{path}", self.target));
        let answer = sent.headers(headers).body(body).send().await?;
        let status = answer.status().as_u16();
        let of_body = ["transfer-encoding", "content-length", "connection"];
        let headers: Vec<(String, String)> = answer
            .headers()
            .iter()
            .filter(|(name, _)| !of_body.contains(&name.as_str()))
            .map(|(name, value)| (name.to_string(), String::from_utf8_lossy(value.as_bytes()).into_owned()))
            .collect();
        let location = headers.iter().find(|(name, _)| name == "content-location").map(|(_, at)| at.as_str());
        if let Some(location) = location.filter(|_| kicks_off && status == 202) {
            self.made(location, &path);
        } else if path.contains("export-poll-status") {
            self.asked(&path, parts.method.as_str(), status);
        }
        Ok(HttpReply { status, headers, body: answer.bytes().await?.to_vec(), truncated: false })
    }

    fn made(&self, location: &str, kick_off: &str) {
        let id = last_of(location).to_owned();
        let job = Job {
            id: id.clone(),
            export: number_in(kick_off),
            made: jiff::Timestamp::now().as_millisecond(),
            end: End::Running,
            cancel_requests: 0,
            cancelled: false,
            container: None,
            files: Vec::new(),
        };
        self.jobs.lock().unwrap_or_else(PoisonError::into_inner).insert(id, job);
    }

    fn asked(&self, path: &str, method: &str, status: u16) {
        let mut jobs = self.jobs.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(job) = jobs.get_mut(last_of(path)) else { return };
        if method == "DELETE" {
            job.cancel_requests += 1;
            if status < 300 || status == 404 {
                job.cancelled = true;
                job.end = End::Gone;
            }
            return;
        }
        if job.end == End::Running {
            job.end = match status {
                200 => End::Completed,
                404 => End::Gone,
                400.. if status < 429 => End::Failed,
                _ => End::Running,
            };
        }
    }
}
