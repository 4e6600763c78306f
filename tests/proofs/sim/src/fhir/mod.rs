//! The model of the FHIR servers: jobs are kicked off, run, end and are polled, as each dialect has it.

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

/// A word in what hostile servers say, which must never appear in a status or an event.
pub const SENTINEL: &str = "SENTINEL";

/// The origin that signed links to files lead to.
pub const FILES: &str = "https://files.example";

/// The state of a job at its server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum JobState {
    /// The job runs, or has ended by itself.
    Alive,
    /// The job was cancelled at this time, in microseconds, as older builds do it.
    Cancelled(i64),
    /// The server no longer knows the job.
    Gone,
}

/// A job of a server.
#[derive(Clone, Debug)]
#[allow(clippy::struct_excessive_bools)] // each is independent of the others
pub struct Job {
    /// The number of the job among all jobs, from which its id follows.
    pub number: usize,
    /// The number of its server.
    pub server: usize,
    /// The uid of the export that kicked the job off; absent for another client's job.
    pub owner: Option<String>,
    /// The intent of the job's kick-off.
    pub intent: Option<Timestamp>,
    /// When the kick-off left the operator, in microseconds.
    pub left: i64,
    /// When the job began, in microseconds.
    pub began: i64,
    /// When the job ends by itself, in microseconds.
    pub ends: i64,
    /// When the job was last polled, or else began, in microseconds.
    pub asked: i64,
    /// When the job began, as its server shows it.
    pub stamp: Timestamp,
    /// How the job ends.
    pub ending: Ending,
    /// The state of the job.
    pub state: JobState,
    /// The URL of the kick-off.
    pub request: String,
    /// Whether the kick-off asked for `separate-export-status`.
    pub separate: bool,
    /// Whether the answer with the status URL reached the operator.
    pub answered: bool,
    /// Whether the operator was told of the job's end.
    pub observed: bool,
    /// Whether the server agreed to cancel the job, or another client cancelled it.
    pub agreed: bool,
    /// How often the operator told the server to forget the job.
    pub deleted: u32,
    written: bool,
    /// How often each file was opened.
    fetches: Vec<u32>,
    bodies: Vec<Vec<Bytes>>,
}

impl Job {
    /// The id of the job, as it is in URLs.
    pub fn id(&self) -> String {
        (self.number + 7).to_string()
    }

    /// The files of the job, if it ends with any.
    pub fn files(&self) -> &[FilePlan] {
        match &self.ending {
            Ending::Files(files) => files,
            _ => &[],
        }
    }

    /// Whether the server still works on the job.
    pub fn works(&self, now: i64) -> bool {
        self.state == JobState::Alive && self.ends > now
    }

    /// Whether the job ended with files that are still there.
    pub fn done(&self, now: i64) -> bool {
        self.state == JobState::Alive && self.ends <= now && matches!(self.ending, Ending::Files(_))
    }

    /// The container and the folder of an Azure job.
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

    /// All contents that a file ever had.
    pub fn bodies(&mut self, index: usize) -> &[Bytes] {
        self.body(index, 0);
        self.bodies.get(index).map(Vec::as_slice).unwrap_or_default()
    }

    /// The content of a version of a file.
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

/// The state of all FHIR servers.
#[derive(Debug)]
pub struct Fhir {
    plan: Arc<Plan>,
    /// All jobs, including those that are gone.
    pub jobs: Vec<Job>,
    /// For each server, the time before which it issued no token that is still valid, in microseconds.
    pub tokens_since: Vec<i64>,
}

/// An answer with only a status code.
pub fn answer(status: u16) -> Answer {
    Answer { status, ..Answer::default() }
}

/// An answer with an OperationOutcome.
pub fn outcome(status: u16, code: &str, text: &str) -> Answer {
    let body = json!({"resourceType": "OperationOutcome",
        "issue": [{"severity": "error", "code": code, "diagnostics": text}]});
    let content_type = Some("application/fhir+json".to_owned());
    Answer { body: body.to_string().into(), content_type, ..answer(status) }
}

/// A gateway's error page.
pub fn page(status: u16) -> Answer {
    let body = format!("<html>Patient/{SENTINEL}-1 https://x.example/y?sig={SENTINEL}</html>").into();
    Answer { body, content_type: Some("text/html".into()), ..answer(status) }
}

fn unknown() -> Answer {
    outcome(404, "not-found", &format!("The requested job was not found. Patient/{SENTINEL}-1"))
}

impl Fhir {
    /// The servers of a plan, without jobs.
    pub fn new(plan: &Arc<Plan>) -> Self {
        Self { plan: Arc::clone(plan), jobs: Vec::new(), tokens_since: vec![0; plan.servers.len()] }
    }

    /// The plan of a server.
    pub fn server(&self, number: usize) -> Option<&ServerPlan> {
        self.plan.servers.get(number)
    }

    /// The base URL of a server.
    pub fn base(number: usize) -> String {
        format!("https://s{number}.example/fhir")
    }

    /// The number of the server of a URL.
    pub fn server_of(url: &str) -> Option<usize> {
        url.strip_prefix("https://s")?.split('.').next()?.parse().ok()
    }

    /// The number of the job of a status URL.
    pub fn job_of(&self, url: &str) -> Option<usize> {
        let server = Self::server_of(url)?;
        let bare = url.split('?').next()?;
        let (_, id) = bare.rsplit_once("/_operations/export/").or_else(|| bare.rsplit_once("/jobs/"))?;
        let number = id.parse::<usize>().ok()?.checked_sub(7)?;
        self.jobs.get(number).filter(|job| job.server == server).map(|job| job.number)
    }

    /// Begins a job.
    #[allow(clippy::too_many_arguments)] // a job is described by all of them
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

    /// The answer to a kick-off that began a job.
    pub fn accepted(&self, number: usize) -> Answer {
        let Some(job) = self.jobs.get(number) else { return answer(500) };
        Answer { content_location: Some(self.status_url(job)), separate_status: job.separate, ..answer(202) }
    }

    /// The status URL of a job.
    pub fn status_url(&self, job: &Job) -> String {
        let base = Self::base(job.server);
        match self.server(job.server).map(|s| s.dialect) {
            Some(Dialect::BulkData) => format!("{base}/jobs/{}", job.id()),
            _ => format!("{base}/_operations/export/{}", job.id()),
        }
    }

    /// Answers any request other than a kick-off.
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

    /// Writes the files that Azure servers have written by now.
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

    /// The URL of a blob.
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
