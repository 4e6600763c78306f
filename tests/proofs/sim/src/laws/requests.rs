//! The laws of requests to FHIR servers.

use fhir_export_operator::api::{Dialect, FhirServer};
use fhir_export_operator::core::export::is_terminal;
use fhir_export_operator::core::wire::{Answer, Method, Request};

use crate::fhir::{FILES, Fhir};
use crate::laws::{Acting, Law};
use crate::plan::{Ending, JobPlan, Kind, Pace};
use crate::state::State;
use crate::time::SECOND;

/// In a crowd, an export on a prompt server must be kicked off within this time of its creation, in
/// microseconds. Without a crowd it takes some tenths of a second.
const KICKED_OFF_WITHIN: i64 = SECOND;
/// In a crowd, a job on a prompt server must be polled within this time, in microseconds. Without a crowd it
/// is polled every ten seconds, give or take a tenth.
const ASKED_WITHIN: i64 = 12 * SECOND;

/// The scheme, host and port of a URL, as far as the simulation has them.
fn origin(url: &str) -> &str {
    let after = url.find("://").map_or(0, |at| at + 3);
    let end = url.get(after..).and_then(|rest| rest.find(['/', '?', '#'])).map_or(url.len(), |at| after + at);
    url.get(..end).unwrap_or(url)
}

impl State {
    /// Checks a request before it is sent.
    pub fn check_request(&mut self, process: usize, server: &FhirServer, request: &Request) {
        let acting = self.laws.acting.clone();
        let record = self.laws.records.get(&acting.uid);
        let whom = record.map_or_else(|| "a server".to_owned(), |record| record.name.clone());
        self.tell(30, || format!("{:?} {} for {whom}", request.method, request.url));
        let own = Fhir::server_of(&server.spec.url).map(Fhir::base).unwrap_or_default();
        if origin(&request.url) != origin(&own) {
            self.broken(
                Law::TokenStays,
                "a token goes to the server's origin only",
                format!("a request to {}", request.url),
            );
        }
        let Some(record) = self.laws.records.get(&acting.uid) else { return };
        let heard_by = record.heard_by;
        let stored = self.stored(&acting.uid).and_then(|export| export.status.clone());
        let Some(status) = stored else { return };
        let url = status.job.as_ref().and_then(|job| job.status_url.clone());
        if heard_by == Some(process) && url.is_none() {
            self.broken(
                Law::UrlNext,
                "the status URL is written before anything else",
                format!("{:?} {}", request.method, request.url),
            );
        }
        let Some(number) = self.fhir.job_of(&request.url) else { return };
        if request.prefer.is_some() {
            return;
        }
        // With a lagging cache, a process that has just started or taken over may poll once more.
        let followed =
            self.laws.records.get(&acting.uid).is_some_and(|record| record.followed.contains(&number));
        let late = request.method == Method::Get && (is_terminal(&status) || followed);
        if !late && url.as_deref().and_then(|url| self.fhir.job_of(url)) != Some(number) {
            self.broken(
                Law::UrlNext,
                "the status URL is written before it is used",
                format!("{:?} {}", request.method, request.url),
            );
        }
        if request.method == Method::Delete {
            self.check_delete(server, number);
        }
    }

    fn check_delete(&mut self, server: &FhirServer, number: usize) {
        let uid = self.laws.acting.uid.clone();
        let Some(status) = self.stored(&uid).and_then(|export| export.status.clone()) else { return };
        let ours = self.fhir.jobs.get(number).is_some_and(|job| job.owner.as_deref() == Some(uid.as_str()));
        if !ours {
            self.broken(
                Law::OnlyOursCancelled,
                "a job that is not ours is never cancelled",
                format!("job {number}"),
            );
        }
        let Some(cancellation) = &status.cancellation else {
            // A finished job may be deleted, and a job that was given up and whose end is not known is cancelled.
            let unsettled =
                |url: &String| status.unsettled_jobs.iter().any(|job| job.status_url.as_ref() == Some(url));
            let given_up = is_terminal(&status)
                && status.job.as_ref().and_then(|job| job.status_url.as_ref()).is_some_and(unsettled);
            if server.spec.dialect == Dialect::Azure && !given_up {
                self.broken(
                    Law::CancelCounted,
                    "Azure discards the manifest of a finished job that is deleted",
                    format!("job {number}"),
                );
            }
            return;
        };
        let Some(record) = self.laws.records.get_mut(&uid) else { return };
        record.deletes += 1;
        let (sent, counted) = (record.deletes, cancellation.tries);
        if sent > counted {
            self.broken(
                Law::CancelCounted,
                "each try of a cancel is counted before it",
                format!("{sent} sent, {counted} counted"),
            );
        }
        if sent > 10 {
            self.broken(Law::DeletionEnds, "the tries of a cancel are bounded", format!("{sent} sent"));
        }
    }

    /// A server receives a kick-off.
    pub fn kicked_off(&mut self, request: &Request) -> Answer {
        let acting = self.laws.acting.clone();
        self.tally.kick_offs += 1;
        let now = (self.time.now, self.time.stamp());
        let server = Fhir::server_of(&request.url).unwrap_or(0);
        let status = self.stored(&acting.uid).and_then(|export| export.status.clone());
        let stored = status.as_ref().and_then(|status| status.job.as_ref()).map(|job| job.intent_time);
        let late = self.is_late(acting.process);
        let record = self.laws.records.get_mut(&acting.uid);
        let mut unsent = record.into_iter().flat_map(|r| r.intents.iter_mut().rev()).filter(|i| !i.sent);
        // Another process may have recorded later intents.
        let own = if late { unsent.find(|intent| intent.by.same_look(&acting)) } else { unsent.next() };
        let own = own.filter(|own| own.by.same_look(&acting) && (late || Some(own.time) == stored));
        let (intent, left) = own.map_or((None, now.0), |own| {
            own.sent = true;
            (Some(own.time), own.left.unwrap_or(now.0))
        });
        match intent {
            None => {
                self.broken(
                    Law::IntentFirst,
                    "a kick-off follows only its own intent",
                    format!("stored intent {stored:?}"),
                );
            }
            Some(time) if late => self.check_late_kick_off(&acting, time, left),
            Some(_) => self.check_doubled(now.0),
        }
        let made = self.laws.records.get(&acting.uid).map_or(now.0, |record| record.made);
        let rule = "an export is kicked off as if it were alone";
        if self.check_share(server, rule, now.0 - made, KICKED_OFF_WITHIN) {
            self.tally.kicked_off_after.push(now.0 - made);
        }
        let job = self.job_of_kick_off(&acting);
        if let Some(record) = self.laws.records.get_mut(&acting.uid) {
            record.kick_offs += 1;
        }
        let number = self.fhir.begin(server, Some(acting.uid.clone()), intent, job, request, now, left);
        self.laws.kicked.insert(acting.task, number);
        self.tell(31, || format!("job {} begins on s{server}", number + 7));
        self.fhir.accepted(number)
    }

    /// The plan of the job that is kicked off now.
    fn job_of_kick_off(&mut self, acting: &Acting) -> JobPlan {
        let record = self.laws.records.get(&acting.uid);
        let job = if let Some(schedule) = record.and_then(|record| record.schedule) {
            self.next_job(schedule)
        } else {
            let plan = acting.export.and_then(|number| self.plan.exports.get(number));
            let jobs = plan.map(|plan| plan.jobs.as_slice()).unwrap_or_default();
            let nth = record.map_or(0, |record| record.kick_offs);
            jobs.get(nth).or(jobs.last()).cloned()
        };
        job.unwrap_or(JobPlan { lasts: 60, ending: Ending::Files(Vec::new()) })
    }

    /// Records that a request is sent now.
    pub fn sends(&mut self, request: &Request) {
        if request.prefer.is_none() {
            return;
        }
        let (acting, now) = (self.laws.acting.clone(), self.time.now);
        self.check_other_kick_off(&acting);
        let Some(record) = self.laws.records.get_mut(&acting.uid) else { return };
        if let Some(intent) = record.intents.iter_mut().rev().find(|intent| intent.by.same_look(&acting)) {
            intent.left = Some(now);
            intent.heard = false;
        }
    }

    /// Records that the operator knows the outcome of a request, or that it is unknown.
    pub fn heard_of(&mut self, request: &Request) {
        let acting = self.laws.acting.clone();
        let record = self.laws.records.get_mut(&acting.uid).filter(|_| request.prefer.is_some());
        if let Some(intent) =
            record.and_then(|r| r.intents.iter_mut().rev().find(|i| i.by.same_look(&acting)))
        {
            intent.heard = true;
        }
    }

    /// Checks that no other job of this export runs.
    fn check_doubled(&mut self, now: i64) {
        let uid = self.laws.acting.uid.clone();
        let Some(record) = self.laws.records.get(&uid) else { return };
        let beside = self.fhir.jobs.iter().filter(|job| {
            job.owner.as_deref() == Some(uid.as_str())
                && job.works(now)
                && !job.agreed
                && !record.lists(job, &self.fhir.status_url(job))
        });
        let beside: Vec<(String, bool)> = beside.map(|job| (job.id(), job.answered)).collect();
        for (id, known) in beside {
            self.tally.doubled += 1;
            if known {
                self.broken(Law::OneJob, "no kick-off while a job is known to run", format!("job {id}"));
            } else {
                self.broken(Law::OneJob, "no second job without being told", format!("job {id}"));
            }
        }
    }

    /// `fair-share`: checks that while other tenants are in trouble, exports on a prompt server are not late.
    /// `took` and `most` are in microseconds. Returns whether the server is a prompt one in a crowd.
    fn check_share(&mut self, server: usize, rule: &'static str, took: i64, most: i64) -> bool {
        let prompt = self.fhir.server(server).is_some_and(|server| server.pace == Pace::Prompt);
        if self.plan.kind != Kind::Crowd || !prompt {
            return false;
        }
        if took > most {
            self.broken(Law::FairShare, rule, format!("after {} ms", took * 1000 / SECOND));
        }
        true
    }

    /// A server receives a request other than a kick-off.
    pub fn acted(&mut self, request: &Request) {
        if request.method == Method::Get
            && let Some(number) = self.fhir.job_of(&request.url)
        {
            let now = self.time.now;
            let Some(job) = self.fhir.jobs.get_mut(number) else { return };
            let (server, last) = (job.server, std::mem::replace(&mut job.asked, now));
            let rule = "a job is asked for as if it were alone";
            if self.check_share(server, rule, now - last, ASKED_WITHIN) {
                self.tally.asked_after.push(now - last);
            }
        }
        if request.method != Method::Delete {
            return;
        }
        if let Some(job) = self.fhir.job_of(&request.url).and_then(|number| self.fhir.jobs.get_mut(number)) {
            job.deleted += 1;
        }
    }

    /// Records that the operator receives a server's answer.
    pub fn heard(&mut self, process: usize, request: &Request, answer: &Answer) {
        self.tell(32, || {
            let separate = answer.export_status.map(|status| format!(" ({status})")).unwrap_or_default();
            format!("answer {}{separate} to {:?} {}", answer.status, request.method, request.url)
        });
        let acting = self.laws.acting.clone();
        if request.prefer.is_some() {
            let Some(location) = answer.content_location.as_ref().filter(|_| answer.status == 202) else {
                return;
            };
            let Some(number) = self.laws.kicked.get(&acting.task).copied() else { return };
            let azure =
                self.fhir.jobs.get(number).is_some_and(|job| {
                    self.fhir.server(job.server).is_some_and(|s| s.dialect == Dialect::Azure)
                });
            let usable = azure || location.starts_with('/') || origin(location) == origin(&request.url);
            if let Some(job) = self.fhir.jobs.get_mut(number).filter(|_| usable) {
                job.answered = true;
                if let Some(record) = self.laws.records.get_mut(&acting.uid) {
                    record.heard_by = Some(process);
                }
            }
            return;
        }
        let Some(job) = self.fhir.job_of(&request.url).and_then(|number| self.fhir.jobs.get_mut(number))
        else {
            return;
        };
        let status = answer.export_status.unwrap_or(answer.status);
        job.observed |= match request.method {
            // With 404 or 409 the job had already ended.
            Method::Delete => matches!(status, 404 | 409),
            // A 429 here is the failure of the job: throttling is a fault of the connection, and is handled
            // elsewhere.
            _ => !matches!(status, 202 | 401),
        };
    }

    /// Checks the request for a file.
    pub fn check_file(&mut self, server: &FhirServer, url: &str, token: bool) {
        let own = Fhir::server_of(&server.spec.url).map(Fhir::base).unwrap_or_default();
        let home = origin(url) == origin(&own);
        if token && !home {
            self.broken(
                Law::TokenStays,
                "a token goes to the server's origin only",
                format!("a token with {}", origin(url)),
            );
        }
        if !home && origin(url) != FILES {
            self.broken(
                Law::FilesFromNamedOrigins,
                "files come from allowed origins only",
                format!("a file of {}", origin(url)),
            );
        }
    }
}
