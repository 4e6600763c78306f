//! The files of Bulk Data servers, and what is the matter with them on their way.

use bytes::{Bytes, BytesMut};
use fhir_export_operator::core::wire::{Answer, FileHead, Resume};

use super::{Fhir, JobState, SENTINEL, outcome, page};
use crate::plan::{FilePlan, Flaw};
use crate::time::SECOND;

/// Of a big file, in bytes: three blocks.
const BIG: usize = (2 << 20) + 4321;

/// What a file holds in one of its versions.
pub fn content(job: usize, index: usize, version: usize, plan: &FilePlan) -> Bytes {
    let mut body = BytesMut::new();
    let severity = if version.is_multiple_of(2) { "information" } else { "error" };
    for line in 0..plan.lines {
        let text = if plan.type_ == "error" {
            format!(
                r#"{{"resourceType":"OperationOutcome","issue":[{{"severity":"{severity}","code":"informational","diagnostics":"line {line} of Patient/{SENTINEL}-{job}"}}]}}"#
            )
        } else {
            format!(r#"{{"resourceType":"{}","id":"{job}-{index}-{version}-{line}"}}"#, plan.type_)
        };
        body.extend_from_slice(text.as_bytes());
        if plan.big && line == 0 {
            // Blanks at the end of a line are no line.
            body.resize(BIG, b' ');
        }
        body.extend_from_slice(b"\n");
    }
    body.freeze()
}

/// What comes of opening a file.
pub enum Opened {
    /// It is not given.
    Refused(Answer),
    /// It is: the head, the rest of the body, and how much of it comes before it breaks off.
    Given(FileHead, Bytes, Option<usize>),
}

impl Fhir {
    /// A file is opened. `token` is whether one came along.
    pub fn open(&mut self, url: &str, resume: Option<&Resume>, token: bool, now: i64) -> Opened {
        let refused = |status: u16| Opened::Refused(outcome(status, "expired", "no such file for you"));
        let (bare, query) = url.split_once('?').unwrap_or((url, ""));
        let mut parts = bare.rsplit('/');
        let mut part = || parts.next().and_then(|part| part.parse::<usize>().ok());
        let (Some(index), Some(id), Some(server)) = (part(), part(), part()) else { return refused(404) };
        let Some(plan) = self.server(server).cloned() else { return refused(404) };
        let Some(job) = id.checked_sub(7).and_then(|number| self.jobs.get_mut(number)) else {
            return refused(404);
        };
        if job.state == JobState::Gone || job.ends > now {
            return refused(404);
        }
        let until = query.split('&').find_map(|part| part.strip_prefix("se="));
        match until.and_then(|until| until.parse::<i64>().ok()) {
            // Storage refuses a link that is signed and has a token beside it.
            Some(_) if token => return refused(400),
            Some(until) if now / SECOND > until => return refused(403),
            None if plan.token && !token => return refused(401),
            _ => {}
        }
        let Some(file) = job.files().get(index).cloned() else { return refused(404) };
        if job.fetches.len() <= index {
            job.fetches.resize(index + 1, 0);
        }
        let nth = job.fetches.get_mut(index).map_or(0, |n| {
            *n += 1;
            *n - 1
        });
        let version = u32::from(file.flaw == Flaw::Changes && nth > 0);
        let whole = job.body(index, version);
        let etag = plan.ranges.then(|| format!("\"{version}\""));
        // If-Range: other bytes are given whole.
        let offset = resume
            .filter(|resume| {
                plan.ranges && resume.etag.as_ref().is_none_or(|asked| Some(asked) == etag.as_ref())
            })
            .and_then(|resume| usize::try_from(resume.offset).ok())
            .unwrap_or(0);
        // A range must begin before the end.
        if offset > 0 && offset >= whole.len() {
            return refused(416);
        }
        let rest = whole.slice(offset..);
        let head = FileHead {
            offset: offset as u64,
            etag,
            resumable: plan.ranges,
            resumable_as_it_is: plan.ranges,
            framed: true,
            content_type: Some("application/fhir+ndjson".to_owned()),
        };
        match file.flaw {
            Flaw::Refused(times, status) if nth < times => refused(status),
            Flaw::Missing => refused(404),
            // It changes while it is being read.
            Flaw::Changes if nth == 0 => {
                let upto = rest.len() * 2 / 3;
                Opened::Given(head, rest, Some(upto))
            }
            Flaw::Breaks(times) if nth < times => {
                let upto = rest.len() * 2 / 3;
                Opened::Given(head, rest, Some(upto))
            }
            Flaw::BreaksAtEnd if nth == 0 => {
                let upto = rest.len();
                Opened::Given(head, rest, Some(upto))
            }
            Flaw::Short(times) if nth < times => {
                let upto = rest.len() / 2;
                Opened::Given(head, rest.slice(..upto), None)
            }
            Flaw::Page(times) if nth < times => {
                let body = Bytes::from(page(200).body);
                Opened::Given(
                    FileHead { content_type: Some("text/html".into()), ..FileHead::default() },
                    body,
                    None,
                )
            }
            _ => Opened::Given(head, rest, None),
        }
    }
}
