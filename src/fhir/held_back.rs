//! Throttling: a wait that a server requested from one export is observed by all exports on the same origin.
//!
//! Exports of other namespaces observe it for a few minutes only, so that whoever provokes a server into
//! requesting hours does not make others wait for hours.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use serde::Deserialize;

use super::origin::Origin;
use crate::core::outcome::MAX_BODY;
use crate::core::wire::{Answer, Method};

/// The wait after a 429 without `Retry-After`; it doubles each time that this repeats.
const FIRST: Duration = Duration::from_secs(10);
/// The longest wait after a 429 without `Retry-After`, and the longest that other namespaces observe.
const LONGEST: Duration = Duration::from_secs(300);
/// The longest wait of a cancel, which lightens the server's load and has little time itself.
const CANCEL_WAIT: Duration = Duration::from_secs(30);

/// A wait that began further than this in the future shows that the clock was set back.
const SET_BACK: Duration = Duration::from_secs(60);

/// Which origins are throttling which namespaces, and until when.
#[derive(Default)]
pub struct HeldBack(Mutex<HashMap<Origin, HashMap<String, Held>>>);

struct Held {
    since: Timestamp,
    until: Timestamp,
    unnamed: u32,
}

impl HeldBack {
    /// When a request for a `FhirServer` in `namespace` may go out; `None` if it may go out now.
    pub fn until(
        &self,
        origin: &Origin,
        namespace: &str,
        method: Method,
        now: Timestamp,
    ) -> Option<Timestamp> {
        let all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        // After the clock was set back, an old wait would last longer by as much.
        let asked = all.get(origin)?.iter().filter(|(_, held)| held.since <= after(now, SET_BACK));
        let until = asked.map(|(asked, held)| {
            let until =
                if asked == namespace { held.until } else { held.until.min(after(held.since, LONGEST)) };
            match method {
                Method::Get | Method::Post => until,
                Method::Delete => until.min(after(held.since, CANCEL_WAIT)),
            }
        });
        until.max().filter(|until| now < *until)
    }

    /// How many origins currently receive no requests from at least one namespace.
    pub fn count(&self, now: Timestamp) -> usize {
        let all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.values().filter(|asked| asked.values().any(|held| now < held.until)).count()
    }

    /// Records an answer to a `FhirServer` in `namespace`. Waits that it requests are observed up to `cap`.
    pub fn learn(&self, origin: &Origin, namespace: &str, answer: &Answer, cap: Duration, now: Timestamp) {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let before = all
            .get(origin)
            .and_then(|asked| asked.get(namespace))
            .filter(|held| held.since <= after(now, SET_BACK));
        let running = before.is_some_and(|held| now < held.until);
        let wait = match (answer.status, answer.retry_after) {
            (429 | 503, _) if is_failed_job(answer) => None,
            (429 | 503, Some(wait)) => Some((wait, 0)),
            (429, None) => {
                let unnamed = before.map_or(0, |held| held.unnamed);
                // Requests that were under way when the first of them was rejected count as one.
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
                let held = Held { since, until, unnamed };
                all.entry(origin.clone()).or_default().insert(namespace.to_owned(), held);
            }
            None if !running => {
                if let Some(asked) = all.get_mut(origin) {
                    asked.remove(namespace);
                }
            }
            None => {}
        }
        // An expired wait matters only for the doubling of the next one, and only for a while.
        let matters = |held: &Held| now < after(held.until, LONGEST);
        all.retain(|_, asked| {
            asked.retain(|_, held| matters(held));
            !asked.is_empty()
        });
    }
}

fn after(then: Timestamp, wait: Duration) -> Timestamp {
    then.checked_add(wait).unwrap_or(Timestamp::MAX)
}

/// Whether the answer reports a failed export, whatever its status. Azure's FHIR service answers with the
/// status of the error that stopped the job (403, 413, 429, …); the OperationOutcome then has an issue of
/// code `processing` whose text begins with fixed words (GetExportRequestHandler of microsoft/fhir-server;
/// docs/azure-behaviour.md, "Failed jobs").
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
    let short = answer.body.len() <= MAX_BODY;
    short.then(|| serde_json::from_slice::<Outcome>(&answer.body)).and_then(Result::ok).is_some_and(
        |outcome| {
            outcome.issue.iter().any(|issue| {
                issue.code == "processing"
                    && issue.diagnostics.starts_with("export operation failed for reason:")
            })
        },
    )
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
                all.learn(&origin(), "ns", &answer(status, Some(asked)), CAP, at(0));
                assert_eq!(all.until(&origin(), "ns", Method::Get, at(0)), Some(at(held)));
                assert_eq!(all.until(&origin(), "ns", Method::Get, at(held)), None);
                assert_eq!(
                    all.until(&Origin::parse("https://b.example").unwrap(), "ns", Method::Get, at(0)),
                    None
                );
            }
        }
    }

    #[test]
    fn other_namespaces_wait_for_minutes_at_most() {
        let all = HeldBack::default();
        let until = |namespace: &str, second| all.until(&origin(), namespace, Method::Get, at(second));
        all.learn(&origin(), "evil", &answer(429, Some(7200)), Duration::from_secs(86_400), at(0));
        assert_eq!((until("evil", 1), until("ns", 1)), (Some(at(7200)), Some(at(300))));
        // Requested again in the meantime, it is still the same wait.
        all.learn(&origin(), "evil", &answer(429, Some(7200)), CAP, at(200));
        assert_eq!((until("evil", 300), until("ns", 300)), (Some(at(7400)), None));
        // An answer to one namespace says nothing about what another was asked to wait.
        all.learn(&origin(), "ns", &answer(200, None), CAP, at(301));
        assert_eq!((until("evil", 302), until("ns", 302)), (Some(at(7400)), None));
        all.learn(&origin(), "ns", &answer(429, Some(600)), CAP, at(400));
        assert_eq!((until("ns", 401), until("evil", 401)), (Some(at(1000)), Some(at(7400))));
        // A wait that ended long ago is dropped.
        all.learn(&Origin::parse("https://b.example").unwrap(), "ns", &answer(200, None), CAP, at(100_000));
        assert!(all.0.lock().unwrap().is_empty());
    }

    #[test]
    fn a_cancel_waits_thirty_seconds_at_most() {
        let all = HeldBack::default();
        all.learn(&origin(), "ns", &answer(429, Some(600)), CAP, at(0));
        assert_eq!(all.until(&origin(), "ns", Method::Delete, at(10)), Some(at(30)));
        all.learn(&origin(), "ns", &answer(429, Some(600)), CAP, at(20));
        assert_eq!(all.until(&origin(), "ns", Method::Delete, at(29)), Some(at(30)), "not put off by others");
        assert_eq!(all.until(&origin(), "ns", Method::Delete, at(30)), None);
        assert_eq!(all.until(&origin(), "ns", Method::Get, at(30)), Some(at(620)));
    }

    #[test]
    fn waits_that_nobody_named_double_up_to_five_minutes() {
        let all = HeldBack::default();
        let mut now = 0;
        for wait in [10, 20, 40, 80, 160, 300, 300] {
            all.learn(&origin(), "ns", &answer(429, None), CAP, at(now));
            all.learn(&origin(), "ns", &answer(429, None), CAP, at(now));
            assert_eq!(all.until(&origin(), "ns", Method::Get, at(now)), Some(at(now + wait)));
            now += wait;
        }
        all.learn(&origin(), "ns", &answer(202, None), CAP, at(now));
        all.learn(&origin(), "ns", &answer(429, None), CAP, at(now));
        assert_eq!(all.until(&origin(), "ns", Method::Get, at(now)), Some(at(now + 10)));
    }

    #[test]
    fn an_answer_that_was_under_way_lifts_no_wait() {
        let all = HeldBack::default();
        all.learn(&origin(), "ns", &answer(429, Some(60)), CAP, at(0));
        all.learn(&origin(), "ns", &answer(202, None), CAP, at(1));
        all.learn(&origin(), "ns", &answer(429, Some(5)), CAP, at(2));
        assert_eq!(all.until(&origin(), "ns", Method::Get, at(3)), Some(at(60)));
        assert_eq!((all.count(at(59)), all.count(at(60))), (1, 0));
    }

    #[test]
    fn a_clock_that_is_set_back_holds_nobody_for_longer() {
        let all = HeldBack::default();
        all.learn(&origin(), "ns", &answer(429, Some(60)), CAP, at(3600));
        assert_eq!(all.until(&origin(), "ns", Method::Get, at(3590)), Some(at(3660)), "a moment is nothing");
        assert_eq!(all.until(&origin(), "ns", Method::Get, at(0)), None);
        all.learn(&origin(), "ns", &answer(429, Some(60)), CAP, at(0));
        assert_eq!(all.until(&origin(), "ns", Method::Get, at(0)), Some(at(60)));
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
            all.learn(&origin(), "ns", &Answer { body, ..answer(status, retry_after) }, CAP, at(0));
            assert_eq!(
                all.until(&origin(), "ns", Method::Get, at(0)).is_some(),
                held,
                "{status} {retry_after:?}"
            );
        }
    }
}
