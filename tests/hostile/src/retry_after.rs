//! `Retry-After`, `x-ms-retry-after-ms` and `Date`.

use std::time::Duration;

use fhir_export_operator::core::poll::{Bounds, asked, delay};
use jiff::Timestamp;

/// Three lines: `Retry-After`, `x-ms-retry-after-ms`, `Date`. A wait is a second at least, and never longer than the
/// `FhirServer` allows, nor shorter than its own bound.
pub fn retry_after(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let mut lines = text.split('\n').map(|line| Some(line).filter(|line| !line.is_empty()));
    let (seconds_or_date, millis, date) = (lines.next(), lines.next(), lines.next());
    let now = Timestamp::from_second(1_800_000_000).expect("a time");
    let asked = asked(millis.flatten(), seconds_or_date.flatten(), date.flatten(), now);
    assert!(asked.is_none_or(|wait| wait >= Duration::from_secs(1)), "{asked:?}");
    let second = Duration::from_secs(1);
    for (max, max_retry_after) in [(300, 7200), (1, 1), (86_400, 86_400)] {
        let bounds =
            Bounds { min: second * 10, max: second * max, max_retry_after: second * max_retry_after };
        for tries in [0, 1, 7, u32::MAX] {
            for jitter in [0.0, 0.5, 1.0] {
                let wait = delay(&bounds, tries, asked, jitter).as_secs_f64();
                let most = if asked.is_some() { bounds.max_retry_after } else { bounds.max.max(bounds.min) };
                assert!(wait <= most.as_secs_f64() * 1.1 + 0.001, "{wait} of {most:?}");
                let least = bounds.min.min(bounds.max_retry_after).as_secs_f64();
                assert!(wait >= least * 0.9 - 0.001, "{wait} of {least}");
            }
        }
    }
}
