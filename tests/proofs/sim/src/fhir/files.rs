//! The files of Bulk Data servers, and the flaws of their transfers.

use bytes::{Bytes, BytesMut};
use fhir_export_operator::core::wire::{Answer, FileHead, Resume};

use super::{Fhir, JobState, SENTINEL, outcome, page};
use crate::plan::{FilePlan, Flaw};
use crate::time::SECOND;

/// The size of a big file, in bytes: three blocks.
const BIG: usize = (2 << 20) + 4321;

/// The content of one version of a file.
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
            // Blanks at the end of a line do not count as a line.
            body.resize(BIG, b' ');
        }
        body.extend_from_slice(b"\n");
    }
    body.freeze()
}

/// The answer to opening a file.
pub enum Opened {
    /// The server refuses the file.
    Refused(Answer),
    /// The server sends the file: the head, the rest of the body, and after how many bytes the body breaks off.
    Given(FileHead, Bytes, Option<usize>),
}

impl Fhir {
    /// Opens a file. `token` tells whether the request carries a token.
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
            // Storage refuses a signed link if the request also carries a token.
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
        // With If-Range, other bytes are sent from the beginning.
        let offset = resume
            .filter(|resume| {
                plan.ranges && resume.etag.as_ref().is_none_or(|asked| Some(asked) == etag.as_ref())
            })
            .and_then(|resume| usize::try_from(resume.offset).ok())
            .unwrap_or(0);
        // A range must begin before the end of the file.
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
            // The file changes while it is read.
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
                let body = page(200).body;
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
