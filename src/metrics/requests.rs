//! Metrics of the requests to FHIR servers.

use std::time::Duration;

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::Registry;

use super::{Histograms, Labels, Operation};

#[derive(Debug)]
pub(super) struct Requests {
    answered: Family<Labels<2>, Counter>,
    seconds: Histograms<1>,
    throttled: Family<Labels<1>, Counter>,
    held_back: Family<Labels<1>, Counter>,
    origins: Gauge,
    poll_wait: Histogram,
}

/// The classes of status codes; `none` stands for no answer.
const CLASSES: [&str; 5] = ["2xx", "3xx", "4xx", "5xx", "none"];

impl Requests {
    pub(super) fn register(r: &mut Registry) -> Self {
        let seconds: Histograms<1> =
            Family::new_with_constructor(|| Histogram::new(exponential_buckets(0.01, 3.0, 9)));
        let all = Self {
            answered: Family::default(),
            seconds,
            throttled: Family::default(),
            held_back: Family::default(),
            origins: Gauge::default(),
            // From a tenth of a second to two hours.
            poll_wait: Histogram::new(exponential_buckets(0.1, 3.0, 12)),
        };
        r.register("http_requests", "Requests to FHIR servers, by class of answer", all.answered.clone());
        r.register(
            "http_request_duration_seconds",
            "Duration of requests to FHIR servers",
            all.seconds.clone(),
        );
        r.register("http_throttled", "Answers with status 429 or 503", all.throttled.clone());
        r.register(
            "http_held_back",
            "Requests that were not sent because the server was throttling",
            all.held_back.clone(),
        );
        r.register("throttled_origins", "Origins that are currently throttling", all.origins.clone());
        r.register("poll_wait_seconds", "Waits before the next poll of a job", all.poll_wait.clone());
        for operation in Operation::ALL {
            let op = ("op", operation.as_str());
            for class in CLASSES {
                drop(all.answered.get_or_create(&[op, ("code_class", class)]));
            }
            drop(all.seconds.get_or_create(&[op]));
            drop(all.throttled.get_or_create(&[op]));
            drop(all.held_back.get_or_create(&[op]));
        }
        all
    }

    pub(super) fn requested(&self, operation: Operation, status: Option<u16>, took: Duration) {
        let class = match status.map(|code| code / 100) {
            Some(1 | 2) => "2xx",
            Some(3) => "3xx",
            Some(4) => "4xx",
            Some(_) => "5xx",
            None => "none",
        };
        let op = ("op", operation.as_str());
        self.answered.get_or_create(&[op, ("code_class", class)]).inc();
        self.seconds.get_or_create(&[op]).observe(took.as_secs_f64());
        if matches!(status, Some(429 | 503)) {
            self.throttled.get_or_create(&[op]).inc();
        }
    }

    pub(super) fn held_back(&self, operation: Operation) {
        self.held_back.get_or_create(&[("op", operation.as_str())]).inc();
    }

    pub(super) fn throttled_origins(&self, count: usize) {
        self.origins.set(i64::try_from(count).unwrap_or(i64::MAX));
    }

    pub(super) fn poll_in(&self, wait: Duration) {
        self.poll_wait.observe(wait.as_secs_f64());
    }
}

#[cfg(test)]
mod tests {
    use prometheus_client::encoding::text::encode;

    use super::*;

    #[test]
    fn requests_are_told_apart_by_class_and_patience_is_counted() {
        let mut registry = Registry::default();
        let requests = Requests::register(&mut registry);
        for status in [Some(202), Some(200), Some(429), Some(503), None] {
            requests.requested(Operation::Poll, status, Duration::from_millis(5));
        }
        requests.held_back(Operation::Poll);
        requests.throttled_origins(2);
        requests.poll_in(Duration::from_secs(5));
        let mut text = String::new();
        assert!(encode(&mut text, &registry).is_ok());
        for line in [
            r#"http_requests_total{op="poll",code_class="2xx"} 2"#,
            r#"http_requests_total{op="poll",code_class="4xx"} 1"#,
            r#"http_requests_total{op="poll",code_class="5xx"} 1"#,
            r#"http_requests_total{op="poll",code_class="none"} 1"#,
            r#"http_requests_total{op="cancel",code_class="5xx"} 0"#,
            r#"http_throttled_total{op="poll"} 2"#,
            r#"http_held_back_total{op="poll"} 1"#,
            "throttled_origins 2",
            "poll_wait_seconds_sum 5.0",
        ] {
            assert!(text.lines().any(|l| l == line), "{line} is not in\n{text}");
        }
    }
}
