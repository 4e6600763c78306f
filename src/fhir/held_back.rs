//! Patience that one export was asked for, kept by all exports on the same origin.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use serde::Deserialize;

use super::origin::Origin;
use crate::core::wire::{Answer, Method};

/// The first wait after a 429 that names none; it doubles while that repeats.
const FIRST: Duration = Duration::from_secs(10);
/// The longest of those.
const LONGEST: Duration = Duration::from_secs(300);
/// A cancel waits no longer: it lightens the server's load, and its own time is short.
const CANCEL_WAIT: Duration = Duration::from_secs(30);

/// Less is no setting back of the clock.
const SET_BACK: Duration = Duration::from_secs(60);

/// Which origins asked for patience, and until when.
#[derive(Default)]
pub struct HeldBack(Mutex<HashMap<Origin, Held>>);

struct Held {
    since: Timestamp,
    until: Timestamp,
    unnamed: u32,
}

impl HeldBack {
    /// When a request may go out, if not now.
    pub fn until(&self, origin: &Origin, method: Method, now: Timestamp) -> Option<Timestamp> {
        let held = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        // A clock that was set back meanwhile would hold for as much longer.
        let held = held.get(origin).filter(|held| held.since <= after(now, SET_BACK))?;
        let until = match method {
            Method::Get | Method::Post => held.until,
            Method::Delete => held.until.min(after(held.since, CANCEL_WAIT)),
        };
        (now < until).then_some(until)
    }

    /// Learns from an answer. What it asks for is kept up to `cap`.
    pub fn learn(&self, origin: &Origin, answer: &Answer, cap: Duration, now: Timestamp) {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let before = all.get(origin).filter(|held| held.since <= after(now, SET_BACK));
        let running = before.is_some_and(|held| now < held.until);
        let wait = match (answer.status, answer.retry_after) {
            (429 | 503, _) if is_failed_job(answer) => None,
            (429 | 503, Some(wait)) => Some((wait, 0)),
            (429, None) => {
                let unnamed = before.map_or(0, |held| held.unnamed);
                // Requests that were under way when the first of them was refused count as one.
                let unnamed = if running { unnamed } else { unnamed.saturating_add(1) };
                let doublings = unnamed.saturating_sub(1).min(16);
                Some((FIRST.saturating_mul(1 << doublings).min(LONGEST), unnamed))
            }
            _ => None,
        };
        match wait {
            Some((wait, unnamed)) => {
                let until = after(now, wait.min(cap));
                let since = before.filter(|_| running).map_or(now, |held| held.since);
                let until = before.filter(|_| running).map_or(until, |held| held.until.max(until));
                all.insert(origin.clone(), Held { since, until, unnamed });
            }
            None if !running => {
                all.remove(origin);
            }
            None => {}
        }
    }
}

fn after(then: Timestamp, wait: Duration) -> Timestamp {
    then.checked_add(wait).unwrap_or(Timestamp::MAX)
}

/// Whether the answer tells of a failed export, whatever its status: Azure's FHIR service gives the status of
/// what stopped the job (403, 413, 429, ...), and its outcome is of code `processing` and begins with fixed
/// words. (GetExportRequestHandler of microsoft/fhir-server.)
pub fn is_failed_job(answer: &Answer) -> bool {
    #[derive(Deserialize)]
    struct Outcome {
        #[serde(default)]
        issue: Vec<Issue>,
    }
    #[derive(Deserialize)]
    struct Issue {
        #[serde(default)]
        code: String,
        #[serde(default)]
        diagnostics: String,
    }
    serde_json::from_slice::<Outcome>(&answer.body).is_ok_and(|outcome| {
        outcome.issue.iter().any(|issue| {
            issue.code == "processing" && issue.diagnostics.starts_with("export operation failed for reason:")
        })
    })
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    const CAP: Duration = Duration::from_secs(7200);

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(1_800_000_000 + second).unwrap()
    }

    fn answer(status: u16, seconds: Option<u64>) -> Answer {
        Answer { status, retry_after: seconds.map(Duration::from_secs), ..Answer::default() }
    }

    fn origin() -> Origin {
        Origin::parse("https://a.example").unwrap()
    }

    #[test]
    fn what_the_server_asks_for_is_kept_up_to_the_cap() {
        for (asked, held) in [(30, 30), (7200, 7200), (90_000, 7200)] {
            for status in [429, 503] {
                let all = HeldBack::default();
                all.learn(&origin(), &answer(status, Some(asked)), CAP, at(0));
                assert_eq!(all.until(&origin(), Method::Get, at(0)), Some(at(held)));
                assert_eq!(all.until(&origin(), Method::Get, at(held)), None);
                assert_eq!(all.until(&Origin::parse("https://b.example").unwrap(), Method::Get, at(0)), None);
            }
        }
    }

    #[test]
    fn a_cancel_waits_thirty_seconds_at_most() {
        let all = HeldBack::default();
        all.learn(&origin(), &answer(429, Some(600)), CAP, at(0));
        assert_eq!(all.until(&origin(), Method::Delete, at(10)), Some(at(30)));
        all.learn(&origin(), &answer(429, Some(600)), CAP, at(20));
        assert_eq!(all.until(&origin(), Method::Delete, at(29)), Some(at(30)), "not put off by others");
        assert_eq!(all.until(&origin(), Method::Delete, at(30)), None);
        assert_eq!(all.until(&origin(), Method::Get, at(30)), Some(at(620)));
    }

    #[test]
    fn waits_that_nobody_named_double_up_to_five_minutes() {
        let all = HeldBack::default();
        let mut now = 0;
        for wait in [10, 20, 40, 80, 160, 300, 300] {
            all.learn(&origin(), &answer(429, None), CAP, at(now));
            all.learn(&origin(), &answer(429, None), CAP, at(now));
            assert_eq!(all.until(&origin(), Method::Get, at(now)), Some(at(now + wait)));
            now += wait;
        }
        all.learn(&origin(), &answer(202, None), CAP, at(now));
        all.learn(&origin(), &answer(429, None), CAP, at(now));
        assert_eq!(all.until(&origin(), Method::Get, at(now)), Some(at(now + 10)));
    }

    #[test]
    fn an_answer_that_was_under_way_lifts_no_wait() {
        let all = HeldBack::default();
        all.learn(&origin(), &answer(429, Some(60)), CAP, at(0));
        all.learn(&origin(), &answer(202, None), CAP, at(1));
        all.learn(&origin(), &answer(429, Some(5)), CAP, at(2));
        assert_eq!(all.until(&origin(), Method::Get, at(3)), Some(at(60)));
    }

    #[test]
    fn a_clock_that_is_set_back_holds_nobody_for_longer() {
        let all = HeldBack::default();
        all.learn(&origin(), &answer(429, Some(60)), CAP, at(3600));
        assert_eq!(all.until(&origin(), Method::Get, at(3590)), Some(at(3660)), "a moment is nothing");
        assert_eq!(all.until(&origin(), Method::Get, at(0)), None);
        all.learn(&origin(), &answer(429, Some(60)), CAP, at(0));
        assert_eq!(all.until(&origin(), Method::Get, at(0)), Some(at(60)));
    }

    #[test]
    fn only_throttling_holds_back() {
        let failed = br#"{"resourceType":"OperationOutcome","issue":[{"severity":"error","code":"processing",
            "diagnostics":"export operation failed for reason: The request rate is too large"}]}"#;
        let throttled =
            br#"{"resourceType":"OperationOutcome","issue":[{"severity":"error","code":"throttled",
            "diagnostics":"The maximum number of concurrent API calls on this instance was reached."}]}"#;
        for (status, retry_after, body, held) in [
            (429, None, failed.to_vec(), false),
            (429, Some(9), failed.to_vec(), false),
            (429, None, throttled.to_vec(), true),
            (429, None, b"<html>".to_vec(), true),
            (503, None, vec![], false),
            (500, Some(9), vec![], false),
            (202, Some(9), vec![], false),
        ] {
            let all = HeldBack::default();
            all.learn(&origin(), &Answer { body, ..answer(status, retry_after) }, CAP, at(0));
            assert_eq!(all.until(&origin(), Method::Get, at(0)).is_some(), held, "{status} {retry_after:?}");
        }
    }
}
