//! Names of the folders and containers that jobs write to.

use jiff::civil::{Date, DateTime};
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};

/// Prefix of the containers that are created for a single job or run.
pub(crate) const OWN_CONTAINER: &str = "export-";

/// Name of the manifest that the operator stores in a run's folder.
pub(crate) const MANIFEST: &str = "manifest.json";

/// The file that lists all members of a group, in the folder of the export that found them.
pub(crate) const MEMBERS_FILE: &str = "members.txt";

/// The file that lists the members who joined the group, beside [`MEMBERS_FILE`].
pub(crate) const NEWCOMERS_FILE: &str = "newcomers.txt";

/// How far the clocks of the server and of the operator may differ.
const SKEW: SignedDuration = SignedDuration::from_hours(1);
const STAMP: &str = "%Y%m%dT%H%M%S";
const STAMP_LEN: usize = "yyyyMMddTHHmmss".len();

/// Parses a folder name `<yyyyMMddTHHmmss>-<job id>`, whose time is UTC.
pub(crate) fn parse(name: &str) -> Option<(Timestamp, &str)> {
    let (stamp, rest) = name.split_at_checked(STAMP_LEN)?;
    let id = rest.strip_prefix('-').filter(|id| is_job_id(id))?;
    if !stamp.bytes().all(|byte| byte.is_ascii_digit() || byte == b'T') {
        return None;
    }
    let began = DateTime::strptime(STAMP, stamp).ok()?.to_zoned(TimeZone::UTC).ok()?;
    Some((began.timestamp(), id))
}

/// Whether `id` looks like a job id: today a decimal number or a GUID; anything similar is accepted.
pub(crate) fn is_job_id(id: &str) -> bool {
    (1..=64).contains(&id.len()) && id.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
}

/// Whether a run may have written a file of this name in its folder. Files of other names belong to somebody else.
pub(crate) fn is_of_a_run(below: &str) -> bool {
    [MANIFEST, MEMBERS_FILE, NEWCOMERS_FILE].contains(&below)
        || is_assignment(below)
        || below.ends_with(".ndjson")
        || below.ends_with(".ndjson.gz")
}

/// Name of the file that tells the pods of a landing what to land; `sha256` is that of its content.
pub(crate) fn assignment(sha256: &str) -> String {
    format!("landing-{sha256}.json")
}

fn is_assignment(below: &str) -> bool {
    let sum = below.strip_prefix("landing-").and_then(|rest| rest.strip_suffix(".json"));
    sum.is_some_and(|sum| sum.len() == 64 && sum.bytes().all(|b| b.is_ascii_hexdigit()))
}

/// Whether `name` can be the name of a blob container.
pub(crate) fn is_container(name: &str) -> bool {
    (3..=63).contains(&name.len()) && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
}

/// Prefixes of the folders of jobs that began between two instants, one per day.
pub(crate) fn day_prefixes(from: Timestamp, to: Timestamp, at_most: usize) -> Vec<String> {
    let day = |at: Timestamp| -> Date { at.to_zoned(TimeZone::UTC).date() };
    let last = day(to.checked_add(SKEW).unwrap_or(to));
    let days =
        std::iter::successors(Some(day(from.checked_sub(SKEW).unwrap_or(from))), |d| d.tomorrow().ok());
    days.take_while(|day| *day <= last).take(at_most).map(|day| day.strftime("%Y%m%d").to_string()).collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn names_of_job_folders() {
        let at = |text: &str| text.parse::<Timestamp>().unwrap();
        let guid = "1f0c7d9a-3c1e-4b5e-9a53-0d8f0a1b2c3d";
        assert_eq!(parse("20261124T020501-42"), Some((at("2026-11-24T02:05:01Z"), "42")));
        assert_eq!(parse(&format!("20261124T020501-{guid}")), Some((at("2026-11-24T02:05:01Z"), guid)));
        let long = format!("20261124T020501-{}", "1".repeat(65));
        for name in [
            "",
            "42",
            "20261124T020501",
            "20261124T020501-",
            "20261124T020501_42",
            "20261324T020501-42",
            "20261124T250501-42",
            "20261124 020501-42",
            "20261124T020501-a/b",
            "20261124T020501-a b",
            "+0261124T020501-1",
            "ääääääääääääääää-1",
            &long,
        ] {
            assert_eq!(parse(name), None, "{name}");
        }
    }

    #[test]
    fn files_of_a_run_and_names_of_containers() {
        for name in [
            "Patient-1.ndjson",
            "Patient-1.ndjson.gz",
            "deleted/Bundle-1.ndjson",
            "log.ndjson",
            "manifest.json",
            "members.txt",
            "newcomers.txt",
        ] {
            assert!(is_of_a_run(name), "{name}");
        }
        for name in
            ["", "_SUCCESS", "Patient.parquet", "a/manifest.json", "manifest.json.bak", "x.ndjson.tmp"]
        {
            assert!(!is_of_a_run(name), "{name}");
        }
        for (name, valid) in [
            ("lake", true),
            ("export-7", true),
            ("", false),
            ("a", false),
            ("a/b", false),
            ("..", false),
            ("$root", false),
        ] {
            assert_eq!(is_container(name), valid, "{name}");
        }
    }

    #[test]
    fn days_to_look_at() {
        let days = |from: &str, to: &str| day_prefixes(from.parse().unwrap(), to.parse().unwrap(), 3);
        assert_eq!(days("2026-11-24T12:00:00Z", "2026-11-24T13:00:00Z"), ["20261124"]);
        assert_eq!(days("2026-11-24T00:30:00Z", "2026-11-24T13:00:00Z"), ["20261123", "20261124"]);
        assert_eq!(days("2026-12-31T12:00:00Z", "2026-12-31T23:30:00Z"), ["20261231", "20270101"]);
        assert_eq!(
            days("2026-01-01T12:00:00Z", "2026-12-31T23:30:00Z"),
            ["20260101", "20260102", "20260103"]
        );
        assert_eq!(days("2026-01-03T12:00:00Z", "2026-01-01T12:00:00Z"), [""; 0]);
    }
}
