//! Instants. Those of a FHIR server are kept verbatim and compared by their meaning.

use jiff::{SignedDuration, Timestamp};

/// The time that a server's text stands for. `None` if the text is not an instant.
pub(super) fn meaning(instant: &str) -> Option<Timestamp> {
    instant.parse().ok()
}

/// The time that is `seconds` later than `start`, at most the end of time.
pub(super) fn after(start: Timestamp, seconds: i64) -> Timestamp {
    start.checked_add(SignedDuration::from_secs(seconds)).unwrap_or(Timestamp::MAX)
}

/// The `since` of the next run: the covered instant, verbatim if `seconds` is 0, otherwise that many seconds
/// earlier. `None` if the text is not an instant.
pub(super) fn reach_back(covered: &str, seconds: i64) -> Option<String> {
    let at = meaning(covered)?;
    if seconds == 0 {
        return Some(if is_plain(covered) { covered.to_owned() } else { at.to_string() });
    }
    Some(at.checked_sub(SignedDuration::from_secs(seconds)).ok()?.to_string())
}

/// Whether the schema of a request's `since` admits the text verbatim: a date, `T`, a time, at most nine
/// digits of a fraction, and a zone.
fn is_plain(instant: &str) -> bool {
    let Some((date, rest)) = instant.split_once('T') else { return false };
    let zone = rest.find(['Z', '+', '-']).unwrap_or(rest.len());
    let (time, zone) = rest.split_at(zone);
    let (time, fraction) = time.split_once('.').map_or((time, "0"), |(time, fraction)| (time, fraction));
    let shaped = |text: &str, shape: &str| {
        text.len() == shape.len()
            && text
                .bytes()
                .zip(shape.bytes())
                .all(|(b, s)| if s == b'0' { b.is_ascii_digit() } else { b == s })
    };
    let digits = fraction.bytes().all(|b| b.is_ascii_digit());
    shaped(date, "0000-00-00")
        && shaped(time, "00:00:00")
        && digits
        && (1..=9).contains(&fraction.len())
        && (zone == "Z" || zone.get(1..).is_some_and(|zone| shaped(zone, "00:00")))
        && instant.len() <= 40
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn verbatim_or_earlier() {
        let azure = "2026-11-23T01:58:30.1141234+00:00";
        for (covered, seconds, since) in [
            (azure, 0, Some(azure)),
            ("2026-11-23T01:58:30Z", 0, Some("2026-11-23T01:58:30Z")),
            ("2026-11-23T01:58:30-05:00", 0, Some("2026-11-23T01:58:30-05:00")),
            (azure, 300, Some("2026-11-23T01:53:30.1141234Z")),
            ("2026-11-23T01:58:30+01:00", 1, Some("2026-11-23T00:58:29Z")),
            // The form is not one that a request accepts.
            ("2026-11-23t01:58:30z", 0, Some("2026-11-23T01:58:30Z")),
            ("2026-11-23T01:58+00:00", 0, Some("2026-11-23T01:58:00Z")),
            ("2026-11-23", 0, None),
            ("soon", 300, None),
        ] {
            assert_eq!(reach_back(covered, seconds).as_deref(), since, "{covered} {seconds}");
        }
    }
}
