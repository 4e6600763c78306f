//! Throttling: when a server asks one export to wait, all exports that the server cannot tell from it
//! wait, too, and no others.
//!
//! Hosted FHIR services put hundreds of tenants on one host. A wait therefore belongs to the base URL and the
//! identity that were asked to wait, not to the host.

use std::collections::{HashMap, HashSet};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use kube::ResourceExt;
use serde::Deserialize;

use super::origin::Origin;
use crate::api::FhirServer;
use crate::core::outcome::MAX_BODY;
use crate::core::wire::{Answer, Method};

/// The wait after a 429 without `Retry-After`; it doubles each time that this happens again.
const FIRST: Duration = Duration::from_secs(10);
/// The longest wait after a 429 without `Retry-After`.
const LONGEST: Duration = Duration::from_secs(300);
/// The longest wait of a cancel, which reduces the server's load and has little time itself.
const CANCEL_WAIT: Duration = Duration::from_secs(30);

/// A wait that began further than this in the future shows that the clock was set back.
const SET_BACK: Duration = Duration::from_secs(60);

/// The client as a server sees it: one identity at one base URL. Requests to another origin than that of the
/// base URL, such as a host of files, are throttled separately.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Client {
    origin: Origin,
    base: String,
    /// The namespace that the Secrets of the identity belong to, and the settings that name the identity.
    identity: (String, String),
}

impl Client {
    /// The client that sends requests for `server` to `origin`.
    pub fn of(server: &FhirServer, origin: &Origin) -> Self {
        let (base, identity) = base_and_identity(server);
        Self { origin: origin.clone(), base, identity }
    }
}

/// What the requests for `server` have in common, whatever origin they go to.
fn base_and_identity(server: &FhirServer) -> (String, (String, String)) {
    let spec = &server.spec;
    // The settings hold names of Secrets and no secret values.
    let settings = serde_json::to_string(&(&spec.auth, &spec.headers, &spec.tls)).unwrap_or_default();
    (spec.url.trim_end_matches('/').to_owned(), (server.namespace().unwrap_or_default(), settings))
}

/// The clients that were asked to wait, and until when.
#[derive(Default)]
pub struct HeldBack(Mutex<HashMap<Client, Held>>);

struct Held {
    since: Timestamp,
    until: Timestamp,
    unnamed: u32,
}

impl HeldBack {
    /// When a request of `client` may go out; `None` if it may go out now.
    pub fn until(&self, client: &Client, method: Method, now: Timestamp) -> Option<Timestamp> {
        let all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        // After the clock was set back, an old wait would last longer by the same time.
        let held = all.get(client).filter(|held| held.since <= after(now, SET_BACK))?;
        let until = match method {
            Method::Get | Method::Post => held.until,
            Method::Delete => held.until.min(after(held.since, CANCEL_WAIT)),
        };
        (now < until).then_some(until)
    }

    /// How many origins currently receive no requests from at least one client.
    pub fn count(&self, now: Timestamp) -> usize {
        let all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let held = all.iter().filter(|(_, held)| now < held.until);
        held.map(|(client, _)| &client.origin).collect::<HashSet<_>>().len()
    }

    /// Whether requests for `server`, to any origin, have to wait.
    pub fn holds(&self, server: &FhirServer, now: Timestamp) -> bool {
        let (base, identity) = base_and_identity(server);
        let all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let mut held = all.iter().filter(|(_, held)| now < held.until);
        held.any(|(client, _)| client.base == base && client.identity == identity)
    }

    /// Records an answer to `client`. Waits that it requests are observed up to `cap`.
    pub fn learn(&self, client: &Client, answer: &Answer, cap: Duration, now: Timestamp) {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let before = all.get(client).filter(|held| held.since <= after(now, SET_BACK));
        let running = before.is_some_and(|held| now < held.until);
        let wait = match (answer.status, answer.retry_after) {
            (429 | 503, _) if is_failed_job(answer) => None,
            (429 | 503, Some(wait)) => Some((wait, 0)),
            (429, None) => {
                let unnamed = before.map_or(0, |held| held.unnamed);
                // Requests that were in flight when the first of them was rejected count as one.
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
                all.insert(client.clone(), Held { since, until, unnamed });
            }
            None if !running => drop(all.remove(client)),
            None => {}
        }
        // An expired wait only affects the doubling of the next one, and only for a while.
        all.retain(|_, held| now < after(held.until, LONGEST));
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
    struct Report {
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
    short.then(|| serde_json::from_slice::<Report>(&answer.body)).and_then(Result::ok).is_some_and(
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

    /// A `FhirServer` of this namespace and base URL, with a token from this Secret.
    fn server(namespace: &str, url: &str, secret: &str) -> FhirServer {
        serde_json::from_value(serde_json::json!({
            "metadata": { "name": "clinic", "namespace": namespace },
            "spec": {
                "url": url,
                "dialect": "BulkData",
                "auth": { "type": "BearerToken", "bearerToken": { "secretRef": { "name": secret, "key": "token" } } },
            },
        }))
        .unwrap()
    }

    fn client_at(origin: &str) -> Client {
        Client::of(&server("ns", "https://a.example/fhir", "key"), &Origin::parse(origin).unwrap())
    }

    fn client() -> Client {
        client_at("https://a.example")
    }

    #[test]
    fn what_the_server_asks_for_is_kept_up_to_the_cap() {
        for (asked, held) in [(30, 30), (7200, 7200), (90_000, 7200)] {
            for status in [429, 503] {
                let all = HeldBack::default();
                all.learn(&client(), &answer(status, Some(asked)), CAP, at(0));
                assert_eq!(all.until(&client(), Method::Get, at(0)), Some(at(held)));
                assert_eq!(all.until(&client(), Method::Get, at(held)), None);
                assert_eq!(all.until(&client_at("https://files.example"), Method::Get, at(0)), None);
            }
        }
    }

    #[test]
    fn nobody_waits_for_what_another_tenant_of_the_host_was_asked() {
        let all = HeldBack::default();
        let host = Origin::parse("https://hosted.example").unwrap();
        let of = |namespace, url, secret| Client::of(&server(namespace, url, secret), &host);
        let throttled = of("ns", "https://hosted.example/tenant-1/fhir", "key");
        all.learn(&throttled, &answer(429, Some(7200)), CAP, at(0));
        let until = |client: &Client| all.until(client, Method::Get, at(1));
        assert_eq!(until(&throttled), Some(at(7200)));
        assert_eq!(until(&of("ns", "https://hosted.example/tenant-1/fhir/", "key")), Some(at(7200)));
        for other in [
            of("ns", "https://hosted.example/tenant-2/fhir", "key"),
            of("ns", "https://hosted.example/tenant-1/fhir", "other-key"),
            of("other-ns", "https://hosted.example/tenant-1/fhir", "key"),
        ] {
            assert_eq!(until(&other), None, "{other:?}");
        }
        assert_eq!(all.count(at(1)), 1);
        // An answer to one client says nothing about what another was asked to wait.
        all.learn(&of("ns", "https://hosted.example/tenant-2/fhir", "key"), &answer(200, None), CAP, at(2));
        assert_eq!(until(&throttled), Some(at(7200)));
        // A wait that ended long ago is dropped.
        all.learn(&client(), &answer(200, None), CAP, at(100_000));
        assert!(all.0.lock().unwrap().is_empty());
    }

    #[test]
    fn a_cancel_waits_thirty_seconds_at_most() {
        let all = HeldBack::default();
        all.learn(&client(), &answer(429, Some(600)), CAP, at(0));
        assert_eq!(all.until(&client(), Method::Delete, at(10)), Some(at(30)));
        all.learn(&client(), &answer(429, Some(600)), CAP, at(20));
        assert_eq!(all.until(&client(), Method::Delete, at(29)), Some(at(30)), "not put off by others");
        assert_eq!(all.until(&client(), Method::Delete, at(30)), None);
        assert_eq!(all.until(&client(), Method::Get, at(30)), Some(at(620)));
    }

    #[test]
    fn waits_that_nobody_named_double_up_to_five_minutes() {
        let all = HeldBack::default();
        let mut now = 0;
        for wait in [10, 20, 40, 80, 160, 300, 300] {
            all.learn(&client(), &answer(429, None), CAP, at(now));
            all.learn(&client(), &answer(429, None), CAP, at(now));
            assert_eq!(all.until(&client(), Method::Get, at(now)), Some(at(now + wait)));
            now += wait;
        }
        all.learn(&client(), &answer(202, None), CAP, at(now));
        all.learn(&client(), &answer(429, None), CAP, at(now));
        assert_eq!(all.until(&client(), Method::Get, at(now)), Some(at(now + 10)));
    }

    #[test]
    fn an_answer_that_was_under_way_lifts_no_wait() {
        let all = HeldBack::default();
        all.learn(&client(), &answer(429, Some(60)), CAP, at(0));
        all.learn(&client(), &answer(202, None), CAP, at(1));
        all.learn(&client(), &answer(429, Some(5)), CAP, at(2));
        assert_eq!(all.until(&client(), Method::Get, at(3)), Some(at(60)));
        assert_eq!((all.count(at(59)), all.count(at(60))), (1, 0));
    }

    #[test]
    fn a_clock_that_is_set_back_holds_nobody_for_longer() {
        let all = HeldBack::default();
        all.learn(&client(), &answer(429, Some(60)), CAP, at(3600));
        assert_eq!(all.until(&client(), Method::Get, at(3590)), Some(at(3660)), "a moment is nothing");
        assert_eq!(all.until(&client(), Method::Get, at(0)), None);
        all.learn(&client(), &answer(429, Some(60)), CAP, at(0));
        assert_eq!(all.until(&client(), Method::Get, at(0)), Some(at(60)));
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
            all.learn(&client(), &Answer { body: body.into(), ..answer(status, retry_after) }, CAP, at(0));
            assert_eq!(all.until(&client(), Method::Get, at(0)).is_some(), held, "{status} {retry_after:?}");
        }
    }
}
