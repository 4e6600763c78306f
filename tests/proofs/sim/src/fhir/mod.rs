//! The FHIR servers: jobs that are kicked off, run, end and are asked for, in the way of each dialect.

mod azure;
mod bulk;
pub mod files;

use std::sync::Arc;

use bytes::Bytes;
use fhir_export_operator::api::Dialect;
use fhir_export_operator::core::wire::{Answer, Method, Request};
use jiff::Timestamp;
use serde_json::json;

use crate::container::{ENDPOINT, Lake};
use crate::plan::{Cancels, Ending, FilePlan, Flaw, JobPlan, Plan, ServerPlan};
use crate::time::SECOND;

/// What hostile servers say, and nobody may ever read in a status or an event.
pub const SENTINEL: &str = "SENTINEL";

/// Where signed links to files lead.
pub const FILES: &str = "https://files.example";

/// How a job stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum JobState {
    /// It runs, or has ended by itself.
    Alive,
    /// It was cancelled at that time, in the way of older builds.
    Cancelled(i64),
    /// The server knows it no more.
    Gone,
}

/// A job.
#[derive(Clone, Debug)]
#[allow(clippy::struct_excessive_bools)] // each is a fact of its own
pub struct Job {
    /// Its id, as a number.
    pub number: usize,
    /// The number of its server.
    pub server: usize,
    /// The uid of the export that it was kicked off for; absent for a stranger's.
    pub owner: Option<String>,
    /// The intent that it was kicked off on.
    pub intent: Option<Timestamp>,
    /// When its kick-off left the operator, in microseconds.
    pub left: i64,
    /// In microseconds.
    pub began: i64,
    /// When it ends by itself, in microseconds.
    pub ends: i64,
    /// When its status was last asked for, or it began, in microseconds.
    pub asked: i64,
    /// When it began, as its server shows it.
    pub stamp: Timestamp,
    /// How it ends.
    pub ending: Ending,
    /// How it stands.
    pub state: JobState,
    /// The kick-off's URL.
    pub request: String,
    /// The kick-off asked for `separate-export-status`.
    pub separate: bool,
    /// The answer with its status URL reached the operator.
    pub answered: bool,
    /// The operator heard of its end.
    pub observed: bool,
    /// A cancel of it was agreed to, or somebody else cancelled it.
    pub agreed: bool,
    /// The operator told the server to forget it.
    pub deleted: u32,
    written: bool,
    /// How often each file was opened.
    fetches: Vec<u32>,
    bodies: Vec<Vec<Bytes>>,
}

impl Job {
    /// As it stands in URLs.
    pub fn id(&self) -> String {
        (self.number + 7).to_string()
    }

    /// Its files, if it ends with any.
    pub fn files(&self) -> &[FilePlan] {
        match &self.ending {
            Ending::Files(files) => files,
            _ => &[],
        }
    }

    /// Whether the server still works on it.
    pub fn works(&self, now: i64) -> bool {
        self.state == JobState::Alive && self.ends > now
    }

    /// Whether it ended with files, which are still there.
    pub fn done(&self, now: i64) -> bool {
        self.state == JobState::Alive && self.ends <= now && matches!(self.ending, Ending::Files(_))
    }

    /// Container and folder of an Azure job.
    pub fn place(&self) -> (String, Option<String>) {
        let asked = self.request.split(['?', '&']).find_map(|part| part.strip_prefix("_container="));
        match asked {
            Some(container) => (
                container.to_owned(),
                Some(format!("{}-{}", self.stamp.strftime("%Y%m%dT%H%M%S"), self.id())),
            ),
            None => (format!("export-{}", self.id()), None),
        }
    }

    /// The name of a file that an Azure server writes.
    pub fn blob(&self, index: usize) -> String {
        let type_ = self.files().get(index).map_or("X", |file| file.type_);
        match self.place().1 {
            Some(folder) => format!("{folder}/{type_}-{}-{index}.ndjson", self.number),
            None => format!("{type_}-{}-{index}.ndjson", self.number),
        }
    }

    /// Every content that a file ever had.
    pub fn bodies(&mut self, index: usize) -> &[Bytes] {
        self.body(index, 0);
        self.bodies.get(index).map(Vec::as_slice).unwrap_or_default()
    }

    /// A file's content in this version.
    fn body(&mut self, index: usize, version: u32) -> Bytes {
        let number = self.number;
        let Some(plan) = self.files().get(index).cloned() else { return Bytes::new() };
        if self.bodies.len() <= index {
            self.bodies.resize(index + 1, Vec::new());
        }
        let Some(bodies) = self.bodies.get_mut(index) else { return Bytes::new() };
        while bodies.len() <= version as usize {
            bodies.push(files::content(number, index, bodies.len(), &plan));
        }
        bodies.get(version as usize).cloned().unwrap_or_default()
    }
}

/// The servers.
#[derive(Debug)]
pub struct Fhir {
    plan: Arc<Plan>,
    /// All jobs that ever were.
    pub jobs: Vec<Job>,
    /// Tokens that were given out before do not count any more, by server, in microseconds.
    pub tokens_since: Vec<i64>,
}

/// A plain answer.
pub fn answer(status: u16) -> Answer {
    Answer { status, ..Answer::default() }
}

/// An OperationOutcome.
pub fn outcome(status: u16, code: &str, text: &str) -> Answer {
    let body = json!({"resourceType": "OperationOutcome",
        "issue": [{"severity": "error", "code": code, "diagnostics": text}]});
    let content_type = Some("application/fhir+json".to_owned());
    Answer { body: body.to_string().into(), content_type, ..answer(status) }
}

/// A gateway's page.
pub fn page(status: u16) -> Answer {
    let body = format!("<html>Patient/{SENTINEL}-1 https://x.example/y?sig={SENTINEL}</html>").into();
    Answer { body, content_type: Some("text/html".into()), ..answer(status) }
}

fn unknown() -> Answer {
    outcome(404, "not-found", &format!("The requested job was not found. Patient/{SENTINEL}-1"))
}

impl Fhir {
    /// Those of the plan.
    pub fn new(plan: &Arc<Plan>) -> Self {
        Self { plan: Arc::clone(plan), jobs: Vec::new(), tokens_since: vec![0; plan.servers.len()] }
    }

    /// A server's plan.
    pub fn server(&self, number: usize) -> Option<&ServerPlan> {
        self.plan.servers.get(number)
    }

    /// Where a server is.
    pub fn base(number: usize) -> String {
        format!("https://s{number}.example/fhir")
    }

    /// The server of a URL.
    pub fn server_of(url: &str) -> Option<usize> {
        url.strip_prefix("https://s")?.split('.').next()?.parse().ok()
    }

    /// The job of a status URL.
    pub fn job_of(&self, url: &str) -> Option<usize> {
        let server = Self::server_of(url)?;
        let bare = url.split('?').next()?;
        let (_, id) = bare.rsplit_once("/_operations/export/").or_else(|| bare.rsplit_once("/jobs/"))?;
        let number = id.parse::<usize>().ok()?.checked_sub(7)?;
        self.jobs.get(number).filter(|job| job.server == server).map(|job| job.number)
    }

    /// A job begins.
    #[allow(clippy::too_many_arguments)] // it is all that is known of one
    pub fn begin(
        &mut self,
        server: usize,
        owner: Option<String>,
        intent: Option<Timestamp>,
        plan: JobPlan,
        request: &Request,
        now: (i64, Timestamp),
        left: i64,
    ) -> usize {
        let number = self.jobs.len();
        let prefer = request.prefer.unwrap_or_default();
        let separate = self.server(server).is_some_and(|s| s.separate) && prefer.contains("separate");
        self.jobs.push(Job {
            number,
            server,
            owner,
            intent,
            left,
            began: now.0,
            asked: now.0,
            ends: now.0 + plan.lasts * SECOND,
            stamp: now.1,
            ending: plan.ending,
            state: JobState::Alive,
            request: request.url.clone(),
            separate,
            answered: false,
            observed: false,
            agreed: false,
            deleted: 0,
            written: false,
            fetches: Vec::new(),
            bodies: Vec::new(),
        });
        number
    }

    /// The answer to a kick-off that made a job.
    pub fn accepted(&self, number: usize) -> Answer {
        let Some(job) = self.jobs.get(number) else { return answer(500) };
        Answer { content_location: Some(self.status_url(job)), separate_status: job.separate, ..answer(202) }
    }

    /// A job's status URL.
    pub fn status_url(&self, job: &Job) -> String {
        let base = Self::base(job.server);
        match self.server(job.server).map(|s| s.dialect) {
            Some(Dialect::BulkData) => format!("{base}/jobs/{}", job.id()),
            _ => format!("{base}/_operations/export/{}", job.id()),
        }
    }

    /// Anything but a kick-off.
    pub fn answer(&mut self, request: &Request, now: (i64, Timestamp)) -> Answer {
        let Some(server) = Self::server_of(&request.url) else { return page(404) };
        let Some(plan) = self.server(server).cloned() else { return page(404) };
        if request.url.ends_with("/metadata") {
            return metadata(&plan);
        }
        if request.url.contains("_summary=count") {
            let body = json!({"resourceType": "Bundle", "type": "searchset", "total": 0});
            return if plan.counts {
                Answer { body: body.to_string().into(), ..answer(200) }
            } else {
                answer(403)
            };
        }
        let Some(number) = self.job_of(&request.url) else { return unknown() };
        let Some(job) = self.jobs.get_mut(number) else { return unknown() };
        if job.ends <= now.0 && matches!(job.ending, Ending::Forgotten) {
            job.state = JobState::Gone;
        }
        match (request.method, plan.dialect) {
            (Method::Delete, Dialect::Azure) => azure::delete(job, &plan, now.0),
            (Method::Delete, Dialect::BulkData) => bulk::delete(job, &plan, now.0),
            (_, Dialect::Azure) => azure::status(job, now.0),
            (_, Dialect::BulkData) => bulk::status(job, &plan, &request.url, now.0),
        }
    }

    /// What Azure servers have written by now.
    pub fn write(&mut self, lake: &mut Lake, now: i64) {
        for number in 0..self.jobs.len() {
            let azure = |job: &Job| self.server(job.server).is_some_and(|s| s.dialect == Dialect::Azure);
            if !self.jobs.get(number).is_some_and(|job| !job.written && job.done(now) && azure(job)) {
                continue;
            }
            let Some(job) = self.jobs.get_mut(number) else { continue };
            job.written = true;
            let (container, _) = job.place();
            lake.make(&container);
            for index in 0..job.files().len() {
                if job.files().get(index).is_some_and(|file| file.flaw != Flaw::Missing) {
                    let body = job.body(index, 0);
                    lake.write(&container, &job.blob(index), body);
                }
            }
        }
    }

    /// The address of a blob.
    pub fn blob_url(container: &str, blob: &str) -> String {
        format!("{ENDPOINT}/{container}/{blob}")
    }
}

fn metadata(plan: &ServerPlan) -> Answer {
    let software = match plan.dialect {
        Dialect::Azure => "Microsoft FHIR Server",
        Dialect::BulkData if plan.cancels == Cancels::Keeps => "HAPI FHIR Server",
        Dialect::BulkData => "A FHIR Server",
    };
    let operation = if plan.version == 4 { "export-v4" } else { "export" };
    let canonical =
        format!("http://hl7.org/fhir/uv/bulkdata/CapabilityStatement/bulk-data|{}.0.0", plan.version);
    let body = json!({"resourceType": "CapabilityStatement", "fhirVersion": "4.0.1", "software": {"name": software},
        "instantiates": [canonical], "rest": [{"operation": [{"name": operation, "definition": "x"}]}]});
    Answer { body: body.to_string().into(), ..answer(200) }
}
