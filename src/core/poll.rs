//! How long to wait before the next poll or try.

use serde::{Deserialize, Serialize};
use std::time::Duration;

use jiff::Timestamp;
use jiff::fmt::rfc2822::DateTimeParser;

/// The factor by which the operator's own back-off grows with each try.
const GROWTH: f64 = 1.5;

/// The shortest wait that a server can request.
const SHORTEST: Duration = Duration::from_secs(1);

/// What a numeric `Retry-After` is cut to, in seconds: about 136 years, so that sums with it do not overflow.
const VERY_LONG: u64 = u32::MAX as u64;

/// How long the server asks to wait, from its headers: `x-ms-retry-after-ms`, which is more precise, or
/// `Retry-After`. The latter is a number of seconds, or a date that is compared with the server's own clock
/// (`Date`) if that is known.
pub fn asked(
    millis: Option<&str>,
    seconds_or_date: Option<&str>,
    date: Option<&str>,
    now: Timestamp,
) -> Option<Duration> {
    if let Some(millis) = millis.and_then(|ms| ms.parse().ok()) {
        return Some(Duration::from_millis(millis).max(SHORTEST));
    }
    let value = seconds_or_date.map(str::trim).filter(|value| !value.is_empty())?;
    let http_date = |value: &str| DateTimeParser::new().parse_timestamp(value).ok();
    let then = if value.bytes().all(|b| b.is_ascii_digit()) {
        let number: u64 = value.parse().unwrap_or(u64::MAX);
        match instant(number) {
            Some(then) => then,
            None => return Some(Duration::from_secs(number.min(VERY_LONG)).max(SHORTEST)),
        }
    } else {
        http_date(value)?
    };
    let now = date.and_then(http_date).unwrap_or(now);
    Some(Duration::try_from(then.duration_since(now)).unwrap_or_default().max(SHORTEST))
}

/// The instant that a numeric `Retry-After` stands for, if it is too large for a number of seconds to wait. Some
/// servers send the instant in seconds or milliseconds since 1970 (docs/servers.md, "SMART reference server").
fn instant(number: u64) -> Option<Timestamp> {
    let number = i64::try_from(number).ok()?;
    match number {
        1_000_000_000..100_000_000_000 => Timestamp::from_second(number).ok(),
        100_000_000_000..100_000_000_000_000 => Timestamp::from_millisecond(number).ok(),
        _ => None,
    }
}

/// The bounds of waits, already limited by the operator's own settings.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Bounds {
    /// The shortest wait.
    pub min: Duration,
    /// The longest wait that the operator chooses by itself.
    pub max: Duration,
    /// The longest wait that the server may request.
    pub max_retry_after: Duration,
}

/// How long to wait before try number `tries` (from 0). A wait that the server requests wins, within its own
/// bound. `jitter` is between 0 and 1.
pub fn delay(bounds: &Bounds, tries: u32, asked: Option<Duration>, jitter: f64) -> Duration {
    if let Some(asked) = asked {
        let floor = bounds.min.min(bounds.max_retry_after);
        // A little later than requested, so that callers who were told the same time do not all come at once.
        return asked.clamp(floor, bounds.max_retry_after).mul_f64(1.0 + jitter * 0.05);
    }
    let exponent = i32::try_from(tries.min(64)).unwrap_or(64);
    let grown = bounds.min.as_secs_f64() * GROWTH.powi(exponent);
    let wait = grown.min(bounds.max.as_secs_f64()).max(bounds.min.as_secs_f64());
    Duration::from_secs_f64(wait).mul_f64(0.9 + jitter * 0.2)
}

/// How long to wait before the next poll of a job whose server requests no wait. `polls` is the number of
/// polls so far. The first waits are short, 1, 2, 4 s and so on up to the shortest wait of `bounds`, so that
/// a short job is noticed soon after it ends. `jitter` is between 0 and 1.
pub fn early_delay(bounds: &Bounds, polls: u32, jitter: f64) -> Duration {
    let early = |polls: u32| SHORTEST.saturating_mul(1 << polls.min(16));
    if early(polls) < bounds.min {
        return early(polls).mul_f64(0.9 + jitter * 0.2);
    }
    let early_ones = (0..polls).find(|polls| early(*polls) >= bounds.min).unwrap_or(polls);
    delay(bounds, polls - early_ones, None, jitter)
}

/// How long to wait after failed attempt number `attempts` (from 1): the wait doubles each time, and varies
/// by up to a tenth. `jitter` is between 0 and 1.
pub fn retry_delay(base: Duration, max: Duration, attempts: i32, jitter: f64) -> Duration {
    let doublings = u32::try_from(attempts.saturating_sub(1)).unwrap_or(0).min(20);
    base.saturating_mul(1_u32 << doublings).min(max).mul_f64(0.9 + jitter * 0.2)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const BOUNDS: Bounds = Bounds {
        min: Duration::from_secs(10),
        max: Duration::from_secs(300),
        max_retry_after: Duration::from_secs(7200),
    };

    proptest! {
        #[test]
        fn stays_within_bounds(
            tries in any::<u32>(),
            asked in proptest::option::of(0_u64..1_000_000),
            jitter in 0.0..1.0_f64,
        ) {
            let asked = asked.map(Duration::from_secs);
            let wait = delay(&BOUNDS, tries, asked, jitter);
            prop_assert!(wait >= Duration::from_secs(9));
            let most = if asked.is_some() { 7200.0 * 1.05 } else { 300.0 * 1.1 };
            prop_assert!(wait.as_secs_f64() <= most + 0.001);
        }

        #[test]
        fn what_the_server_asks_is_respected(asked in 10_u64..7200, jitter in 0.0..1.0_f64) {
            let asked = Duration::from_secs(asked);
            prop_assert!(delay(&BOUNDS, 0, Some(asked), jitter) >= asked);
        }

        #[test]
        fn retries_are_bounded(attempts in any::<i32>(), jitter in 0.0..1.0_f64) {
            let wait = retry_delay(Duration::from_secs(30), Duration::from_secs(600), attempts, jitter);
            prop_assert!(wait >= Duration::from_secs(27) && wait <= Duration::from_secs(660));
        }
    }

    #[test]
    fn the_first_polls_come_soon() {
        let waits = |bounds: &Bounds| -> Vec<u64> {
            (0..9).map(|polls| early_delay(bounds, polls, 0.5).as_secs()).collect()
        };
        assert_eq!(waits(&BOUNDS), [1, 2, 4, 8, 10, 15, 22, 33, 50]);
        let second = Duration::from_secs(1);
        assert_eq!(waits(&Bounds { min: second, ..BOUNDS }), [1, 1, 2, 3, 5, 7, 11, 17, 25]);
        let hour = Duration::from_secs(3600);
        let rare = Bounds { min: hour, max: hour, ..BOUNDS };
        assert_eq!(early_delay(&rare, 11, 0.5).as_secs(), 2048);
        assert_eq!(early_delay(&rare, u32::MAX, 0.5), hour);
        assert_eq!(early_delay(&BOUNDS, 0, 0.0), Duration::from_millis(900));
    }

    #[test]
    fn grows() {
        let waits: Vec<u64> = (0..12).map(|n| delay(&BOUNDS, n, None, 0.5).as_secs()).collect();
        assert_eq!(waits, [10, 15, 22, 33, 50, 75, 113, 170, 256, 300, 300, 300]);
        let retries: Vec<u64> = (1..7)
            .map(|n| retry_delay(Duration::from_secs(30), Duration::from_secs(600), n, 0.5).as_secs())
            .collect();
        assert_eq!(retries, [30, 60, 120, 240, 480, 600]);
    }
}
