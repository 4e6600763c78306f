//! The FHIR server: what it answers to kick-offs, polls, cancels, searches and clean-ups.

use jiff::{SignedDuration, Timestamp};
use serde_json::json;

use super::super::said::{answer, body, listed, manifest, outcome, unknown};
use super::{Cancels, Ending, Fake, FakeJob, KickOff, State};
use crate::core::wire::{Answer, Failure, Reply, Request, Sent};

impl Fake {
    pub(in super::super) fn authorize(&mut self, reach: bool) -> Result<(), Failure> {
        if let Some(failure) = self.authorizations.pop_front() {
            return Err(failure);
        }
        match self.kick_offs.front() {
            Some(KickOff::Reply(Err(failure))) if reach && failure.sent == Sent::No => {
                let failure = failure.clone();
                self.kick_offs.pop_front();
                self.out_of_reach += 1;
                Err(failure)
            }
            _ => Ok(()),
        }
    }

    pub(in super::super) fn kick_off(&mut self, request: &Request, now: Timestamp) -> Reply {
        self.sent.push(request.clone());
        let script = self.kick_offs.pop_front().unwrap_or(KickOff::Accept);
        if let KickOff::Reply(reply) = script {
            return reply;
        }
        let id = (self.jobs.len() + 7).to_string();
        let usual = Ending::Files(vec![("Observation", 20), ("Patient", 5)]);
        self.jobs.push(FakeJob {
            id: id.clone(),
            began: now,
            ends: now + SignedDuration::from_secs(self.lasts),
            ending: self.endings.pop_front().unwrap_or(usual),
            state: State::Alive,
            request: request.url.clone(),
        });
        let location = match script {
            KickOff::AcceptAt(location) => location.map(|l| l.replace("{id}", &id)),
            KickOff::MadeAndLost(failure) => return Err(failure),
            _ => Some(format!("https://clinic.example/_operations/export/{id}")),
        };
        Ok(Answer { content_location: location, ..answer(202) })
    }

    fn job(&mut self, url: &str) -> Option<&mut FakeJob> {
        let id = url.rsplit_once("/_operations/export/")?.1.split('?').next()?.to_owned();
        self.jobs.iter_mut().find(|job| job.id == id && job.state != State::Gone)
    }

    fn deny(&mut self, url: &str, over: bool) {
        if let Some(id) = self.job(url).filter(|_| over).map(|job| job.id.clone()) {
            self.denied.insert(id);
        }
    }

    pub(in super::super) fn poll(&mut self, request: &Request, now: Timestamp) -> Reply {
        self.sent.push(request.clone());
        if let Some(reply) = self.polls.pop_front() {
            let bulk = self.bulk;
            let over = |a: &Answer| {
                use crate::core::answer::{StatusAnswer as A, status};
                let meaning = if bulk { crate::core::bulk::answer::status(a, false) } else { status(a) };
                matches!(meaning, A::Done | A::JobFailed(_) | A::Gone(_))
            };
            self.deny(&request.url, reply.as_ref().is_ok_and(over));
            return reply;
        }
        let Some(job) = self.job(&request.url) else { return Ok(unknown()) };
        let job = job.clone();
        Ok(match (&job.state, &job.ending) {
            (State::Cancelled(at), _) if now < *at + SignedDuration::from_secs(30) => answer(202),
            (State::Cancelled(_), _) => manifest(&job.request, &json!([])),
            _ if now < job.ends => answer(202),
            (_, Ending::Answer(answer)) => answer.clone(),
            (_, Ending::Files(files)) => manifest(&job.request, &listed(&job, files)),
        })
    }

    pub(in super::super) fn delete(&mut self, request: &Request, now: Timestamp) -> Reply {
        let scripted = self.deletes.pop_front();
        // The server has not seen a request that provably never left.
        if !matches!(&scripted, Some(Err(failure)) if failure.sent == Sent::No) {
            self.sent.push(request.clone());
        }
        if let Some(reply) = scripted {
            use crate::core::answer::{CancelAnswer, cancel};
            let over = reply.as_ref().is_ok_and(|a| cancel(a) == CancelAnswer::Settled);
            self.deny(&request.url, over);
            return reply;
        }
        let cancels = self.cancels;
        if let Cancels::Never(status) = cancels {
            return Ok(answer(status));
        }
        let Some(job) = self.job(&request.url) else { return Ok(unknown()) };
        let finished = now >= job.ends || matches!(job.state, State::Cancelled(_));
        Ok(match cancels {
            Cancels::Y2022 if finished => outcome(500, "exception", "x"),
            Cancels::Y2025 if finished => {
                outcome(409, "conflict", "Bulk update operation has already completed")
            }
            Cancels::Y2022 | Cancels::Y2025 => {
                job.state = State::Cancelled(now);
                answer(202)
            }
            Cancels::Slow => {
                let id = job.id.clone();
                self.agreed.insert(id);
                answer(202)
            }
            _ => {
                job.state = State::Gone;
                answer(202)
            }
        })
    }

    pub(in super::super) fn count_type(&mut self, type_: &str, request: &Request) -> Answer {
        self.counted.push(request.url.clone());
        let timed = request.url.contains("_lastUpdated=le") && !self.timeless;
        let Some(all) = self.has.get(type_) else { return answer(403) };
        let total = if timed { self.unchanged.get(type_).unwrap_or(all) } else { all };
        let searched = if timed { "x?_lastUpdated=le2026" } else { "x" };
        let link = json!([{"relation": "self", "url": searched}]);
        body(
            &json!({"resourceType": "Bundle", "type": "searchset", "total": total, "link": link}).to_string(),
        )
    }

    pub(in super::super) fn clean_up(&mut self, request: &Request) -> Reply {
        self.cleaned.push(request.url.clone());
        if let Some(reply) = self.clean_ups.pop_front() {
            return reply;
        }
        if let Some(job) = self.job(&request.url) {
            job.state = State::Gone;
        }
        Ok(answer(202))
    }
}
