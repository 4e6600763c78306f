//! Ages and instants as kubectl shows them.

use jiff::Timestamp;

const MINUTE: i64 = 60;
const HOUR: i64 = 60 * MINUTE;
const DAY: i64 = 24 * HOUR;
const YEAR: i64 = 365 * DAY;

/// How long ago `then` was, in the words of kubectl: two units while that helps, such as `5m30s`, then one, such as
/// `3d`. An instant in the future has the age `0s`.
pub fn age(then: Timestamp, now: Timestamp) -> String {
    let seconds = now.duration_since(then).as_secs().max(0);
    let two = |whole: i64, unit: &str, part: i64, of: &str| {
        if part == 0 { format!("{whole}{unit}") } else { format!("{whole}{unit}{part}{of}") }
    };
    let (minutes, hours, days) = (seconds / MINUTE, seconds / HOUR, seconds / DAY);
    if seconds < 2 * MINUTE {
        format!("{seconds}s")
    } else if minutes < 10 {
        two(minutes, "m", seconds % MINUTE, "s")
    } else if hours < 3 {
        format!("{minutes}m")
    } else if hours < 8 {
        two(hours, "h", minutes % 60, "m")
    } else if hours < 48 {
        format!("{hours}h")
    } else if days < 8 {
        two(days, "d", hours % 24, "h")
    } else if days < 2 * 365 {
        format!("{days}d")
    } else {
        two(seconds / YEAR, "y", days % 365, "d")
    }
}

/// An instant with its age, such as `2026-11-23T02:41:07Z (5m30s ago)`.
pub fn instant(then: Timestamp, now: Timestamp) -> String {
    let whole = Timestamp::from_second(then.as_second()).unwrap_or(then);
    if then > now { whole.to_string() } else { format!("{whole} ({} ago)", age(then, now)) }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use jiff::SignedDuration;

    use super::*;

    #[test]
    fn ages_are_those_of_kubectl() {
        let now: Timestamp = "2026-11-23T02:00:00Z".parse().unwrap();
        for (seconds, wanted) in [
            (-5, "0s"),
            (0, "0s"),
            (119, "119s"),
            (120, "2m"),
            (330, "5m30s"),
            (600, "10m"),
            (3 * HOUR - 1, "179m"),
            (3 * HOUR + 300, "3h5m"),
            (8 * HOUR + 300, "8h"),
            (47 * HOUR, "47h"),
            (50 * HOUR, "2d2h"),
            (9 * DAY, "9d"),
            (2 * YEAR + DAY, "2y1d"),
        ] {
            assert_eq!(age(now - SignedDuration::from_secs(seconds), now), wanted, "{seconds}");
        }
    }

    #[test]
    fn an_instant_has_whole_seconds_and_no_age_before_it_has_come() {
        let now: Timestamp = "2026-11-23T02:00:00Z".parse().unwrap();
        let shown = |then: &str| instant(then.parse().unwrap(), now);
        assert_eq!(shown("2026-11-23T01:58:30.114Z"), "2026-11-23T01:58:30Z (89s ago)");
        assert_eq!(shown("2026-11-23T03:00:00Z"), "2026-11-23T03:00:00Z");
    }
}
