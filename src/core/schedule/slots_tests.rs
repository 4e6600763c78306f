#![allow(clippy::unwrap_used)]

use std::time::{Duration, Instant};

use jiff::civil::Date;

use super::*;

pub(super) const ZONES: [&str; 9] = [
    "UTC",
    "Europe/Berlin",
    "America/New_York",
    "Australia/Lord_Howe",
    "Africa/Casablanca",
    "Pacific/Apia",
    "Asia/Kathmandu",
    "America/Nuuk",
    "Africa/Cairo",
];

pub(super) fn slots(line: &str, zone: &str) -> Slots {
    Slots::parse(line, Some(zone)).unwrap_or_else(|problem| panic!("{problem}"))
}

pub(super) fn at(text: &str) -> Timestamp {
    text.parse().unwrap()
}

/// The slots after `from` and up to `to`, as the zone's clocks show them.
fn between(line: &str, zone: &str, from: &str, to: &str) -> Vec<String> {
    let (slots, to) = (slots(line, zone), at(to));
    let next = |last: &Timestamp| slots.next_after(*last).filter(|slot| *slot <= to);
    std::iter::successors(next(&at(from)), next)
        .map(|slot| slot.to_zoned(slots.zone.clone()).strftime("%m-%d %H:%M%:z").to_string())
        .collect()
}

#[track_caller]
fn shows(line: &str, zone: &str, from: &str, to: &str, want: &[&str]) {
    assert_eq!(between(line, zone, from, to), want, "{line} in {zone}");
}

#[test]
fn a_time_that_the_clocks_skip_comes_after_the_gap() {
    let berlin = ("2026-03-28T00:00:00Z", "2026-03-30T12:00:00Z");
    let want = ["03-28 02:30+01:00", "03-29 03:00+02:00", "03-30 02:30+02:00"];
    shows("30 2 * * *", "Europe/Berlin", berlin.0, berlin.1, &want);
    // Several slots in the gap become one, also together with a slot at its end.
    let want = ["03-29 03:00+02:00", "03-29 03:15+02:00", "03-29 03:30+02:00", "03-29 03:45+02:00"];
    shows("*/15 2-3 * * *", "Europe/Berlin", "2026-03-28T12:00:00Z", "2026-03-29T12:00:00Z", &want);
    // Only the days that the schedule names have slots.
    shows("30 2 29 3 *", "Europe/Berlin", berlin.0, berlin.1, &["03-29 03:00+02:00"]);
    shows("30 2 30 3 *", "Europe/Berlin", berlin.0, berlin.1, &["03-30 02:30+02:00"]);
    let want = ["03-08 03:00-04:00", "03-09 02:00-04:00"];
    shows("0 2 * * *", "America/New_York", "2026-03-07T12:00:00Z", "2026-03-09T12:00:00Z", &want);
    // Lord Howe changes its clocks by half an hour.
    let want = ["10-04 02:30+11:00", "10-05 02:10+11:00"];
    shows("10 2 * * *", "Australia/Lord_Howe", "2026-10-03T00:00:00Z", "2026-10-05T00:00:00Z", &want);
    // Gaps at midnight and across midnight.
    let want = ["04-24 01:00+03:00", "04-25 00:00+03:00"];
    shows("0 0 * * *", "Africa/Cairo", "2026-04-23T12:00:00Z", "2026-04-25T12:00:00Z", &want);
    let want = ["03-27 23:30-02:00", "03-29 00:00-01:00", "03-29 23:30-01:00"];
    shows("30 23 * * *", "America/Nuuk", "2026-03-27T12:00:00Z", "2026-03-30T12:00:00Z", &want);
}

#[test]
fn a_time_that_the_clocks_repeat_comes_once() {
    let want = ["10-24 02:30+02:00", "10-25 02:30+02:00", "10-26 02:30+01:00"];
    shows("30 2 * * *", "Europe/Berlin", "2026-10-23T12:00:00Z", "2026-10-26T12:00:00Z", &want);
    let want = ["10-25 02:00+02:00", "10-25 02:30+02:00", "10-25 03:00+01:00", "10-25 03:30+01:00"];
    shows("0,30 2,3 * * *", "Europe/Berlin", "2026-10-24T12:00:00Z", "2026-10-25T12:00:00Z", &want);
    // The search may also start within the repeated hour.
    shows("30 2 * * *", "Europe/Berlin", "2026-10-25T00:45:00Z", "2026-10-25T12:00:00Z", &[]);
    let want = ["11-01 01:30-04:00", "11-02 01:30-05:00"];
    shows("30 1 * * *", "America/New_York", "2026-10-31T12:00:00Z", "2026-11-02T12:00:00Z", &want);
    let want = ["04-05 01:45+11:00", "04-06 01:45+10:30"];
    shows("45 1 * * *", "Australia/Lord_Howe", "2026-04-04T00:00:00Z", "2026-04-06T00:00:00Z", &want);
}

#[test]
fn every_hour_goes_as_time_passes() {
    let gap = ("2026-03-29T00:00:00Z", "2026-03-29T02:00:00Z");
    shows("0 * * * *", "Europe/Berlin", gap.0, gap.1, &["03-29 03:00+02:00", "03-29 04:00+02:00"]);
    let overlap = ("2026-10-24T23:00:00Z", "2026-10-25T02:00:00Z");
    let want = ["10-25 02:00+02:00", "10-25 02:00+01:00", "10-25 03:00+01:00"];
    shows("0 * * * *", "Europe/Berlin", overlap.0, overlap.1, &want);
    let want = ["10-25 02:20+02:00", "10-25 02:50+02:00", "10-25 02:20+01:00", "10-25 02:50+01:00"];
    shows("20-59/30 * * * *", "Europe/Berlin", "2026-10-25T00:00:00Z", "2026-10-25T02:00:00Z", &want);
    let want = [
        "04-05 01:30+11:00",
        "04-05 01:45+11:00",
        "04-05 01:30+10:30",
        "04-05 01:45+10:30",
        "04-05 02:00+10:30",
    ];
    shows("*/15 * * * *", "Australia/Lord_Howe", "2026-04-04T14:15:00Z", "2026-04-04T15:30:00Z", &want);
    // All hours in another notation, and every second hour, which names hours.
    let want = ["10-25 02:00+02:00", "10-25 02:00+01:00", "10-25 03:00+01:00"];
    shows("0 0-23 * * *", "Europe/Berlin", overlap.0, overlap.1, &want);
    shows("0 */2 * * *", "Europe/Berlin", overlap.0, overlap.1, &["10-25 02:00+02:00"]);
    shows(
        "0 */2 * * *",
        "Europe/Berlin",
        "2026-03-28T23:00:00Z",
        "2026-03-29T02:00:00Z",
        &["03-29 03:00+02:00", "03-29 04:00+02:00"],
    );
}

#[test]
fn a_day_that_a_zone_left_out_has_no_slots() {
    let apia = ("2011-12-29T09:59:00Z", "2012-01-01T00:00:00Z");
    let want = ["12-29 02:30-10:00", "12-31 02:30+14:00", "01-01 02:30+14:00"];
    shows("30 2 * * *", "Pacific/Apia", apia.0, apia.1, &want);
    shows(
        "0 0 * * *",
        "Pacific/Apia",
        "2011-12-30T00:00:00Z",
        apia.1,
        &["12-31 00:00+14:00", "01-01 00:00+14:00"],
    );
    shows("30 2 30 12 *", "Pacific/Apia", apia.0, apia.1, &[]);
    shows(
        "0 * * * *",
        "Pacific/Apia",
        "2011-12-30T08:30:00Z",
        "2011-12-30T11:00:00Z",
        &["12-29 23:00-10:00", "12-31 00:00+14:00", "12-31 01:00+14:00"],
    );
}

#[test]
fn zones_of_their_own() {
    let want = ["05-02 03:15+05:45", "05-03 03:15+05:45"];
    shows("15 3 * * *", "Asia/Kathmandu", "2026-05-01T12:00:00Z", "2026-05-03T12:00:00Z", &want);
    // Morocco's clocks go back for Ramadan.
    let want = ["03-19 02:30+01:00", "03-20 02:30+00:00"];
    let around = between("30 2 * * *", "Africa/Casablanca", "2023-03-18T12:00:00Z", "2023-03-20T12:00:00Z");
    assert_eq!(around, want);
    let want = ["04-22 02:30+00:00", "04-23 03:00+01:00", "04-24 02:30+01:00"];
    shows("30 2 * * *", "Africa/Casablanca", "2023-04-21T12:00:00Z", "2023-04-24T12:00:00Z", &want);
    // No zone means UTC.
    let slots = Slots::parse("0 2 * * *", None).unwrap();
    assert_eq!(slots.next_after(at("2026-10-25T00:00:00Z")), Some(at("2026-10-25T02:00:00Z")));
}

#[test]
fn each_day_of_a_year_has_one_slot() {
    for zone in ZONES {
        for line in
            ["0 0 * * *", "30 0 * * *", "30 1 * * *", "10 2 * * *", "30 2 * * *", "0 3 * * *", "30 23 * * *"]
        {
            let slots = slots(line, zone);
            let tz = slots.zone.clone();
            let hour = line.split_whitespace().nth(1).unwrap().parse::<i8>().unwrap();
            let minute = line.split_whitespace().next().unwrap().parse::<i8>().unwrap();
            for year in if zone == "Pacific/Apia" { [2011, 2012] } else { [2023, 2024] } {
                let mut last = slots.last_at_or_before(
                    tz.to_timestamp(civil::date(year, 1, 1).at(0, 0, 0, 0))
                        .unwrap()
                        .checked_sub(1.second())
                        .unwrap(),
                    Timestamp::UNIX_EPOCH,
                );
                let mut day = civil::date(year, 1, 1);
                while day.year() == year {
                    let slot = slots.next_after(last.unwrap()).unwrap();
                    let left_out = (zone, day) == ("Pacific/Apia", civil::date(2011, 12, 30));
                    if !left_out {
                        // A slot is the time at which a clock first shows the time or has passed it.
                        assert!(
                            tz.to_datetime(slot) >= day.at(hour, minute, 0, 0),
                            "{line} {zone} {day} {slot}"
                        );
                        let before = tz.to_datetime(slot.checked_sub(1.nanosecond()).unwrap());
                        assert!(before < day.at(hour, minute, 0, 0), "{line} {zone} {day} {slot}");
                        last = Some(slot);
                    }
                    day = day.tomorrow().unwrap();
                }
            }
        }
    }
}

#[test]
fn leap_days_and_days_that_few_months_have() {
    let slots = slots("0 2 29 2 *", "Europe/Berlin");
    let days: Vec<Date> =
        std::iter::successors(slots.next_after(at("2026-01-01T00:00:00Z")), |s| slots.next_after(*s))
            .map(|slot| slots.zone.to_datetime(slot).date())
            .take(3)
            .collect();
    assert_eq!(days, [civil::date(2028, 2, 29), civil::date(2032, 2, 29), civil::date(2036, 2, 29)]);
    // 2100 is no leap year.
    let next = slots.next_after(at("2096-03-01T00:00:00Z")).unwrap();
    assert_eq!(slots.zone.to_datetime(next).date(), civil::date(2104, 2, 29));
    let last = slots.last_at_or_before(at("2104-02-28T00:00:00Z"), at("2001-01-01T00:00:00Z")).unwrap();
    assert_eq!(slots.zone.to_datetime(last).date(), civil::date(2096, 2, 29));
    let want = ["01-31 00:00+00:00", "03-31 00:00+00:00", "05-31 00:00+00:00"];
    shows("0 0 31 * *", "UTC", "2026-01-01T00:00:00Z", "2026-06-01T00:00:00Z", &want);
}

#[test]
fn days_of_month_and_week_are_united_as_cronjob_does() {
    let june = |line| -> Vec<String> {
        let days = between(line, "UTC", "2026-05-31T12:00:00Z", "2026-06-30T12:00:00Z");
        days.iter().map(|slot| slot[3..5].to_owned()).collect()
    };
    // 1 June 2026 is a Monday.
    assert_eq!(june("0 0 13 * FRI"), ["05", "12", "13", "19", "26"]);
    assert_eq!(june("0 0 * * FRI"), ["05", "12", "19", "26"]);
    assert_eq!(june("0 0 ? * 5"), ["05", "12", "19", "26"]);
    assert_eq!(june("0 0 13 * ?"), ["13"]);
    assert_eq!(june("0 0 */10 * MON"), ["01", "08", "11", "15", "21", "22", "29"]);
    assert_eq!(
        june("0 0 10 * */3"),
        ["03", "06", "07", "10", "13", "14", "17", "20", "21", "24", "27", "28"]
    );
    assert_eq!(june("0 0 13,* * fri"), ["05", "12", "19", "26"]);
    assert_eq!(june("0 0 25/2 * *"), ["25", "27", "29"]);
    assert_eq!(june("0 0 * * 5/1"), ["05", "06", "12", "13", "19", "20", "26", "27"]);
    assert_eq!(june("0 0 * jun Sun"), ["07", "14", "21", "28"]);
    assert_eq!(june("0 0 * 6 7"), ["07", "14", "21", "28"]);
    assert_eq!(june("0 0 * 6 sun-mon"), ["01", "07", "08", "14", "15", "21", "22", "28", "29"]);
}

#[test]
fn words_of_cronjob() {
    for (word, line) in [
        ("@hourly", "0 * * * *"),
        ("@daily", "0 0 * * *"),
        ("@midnight", "0 0 * * *"),
        ("@weekly", "0 0 * * SUN"),
        ("@monthly", "0 0 1 * *"),
        ("@yearly", "0 0 1 1 *"),
        ("@annually", "0 0 1 JAN *"),
    ] {
        let (from, to) = (at("2026-01-01T00:00:00Z"), at("2027-01-01T00:00:00Z"));
        let year = |line: &str| -> Vec<Timestamp> {
            let slots = slots(line, "Europe/Berlin");
            let next = |last: &Timestamp| slots.next_after(*last).filter(|slot| *slot <= to);
            std::iter::successors(next(&from), next).collect()
        };
        let (short, long) = (year(word), year(line));
        assert!(!short.is_empty() && short == long, "{word}");
    }
}

#[test]
fn what_cannot_be_read_is_told_with_the_way_out() {
    let told = |line: &str, zone: &str| match Slots::parse(line, Some(zone)) {
        Ok(_) => format!("{line} {zone} was read"),
        Err(problem) => problem.to_string(),
    };
    for (line, zone, says) in [
        ("", "UTC", "has 0 fields and needs five"),
        ("0 2 * *", "UTC", "has 4 fields and needs five: minute, hour, day of month, month, day of week"),
        ("0 0 2 * * *", "UTC", "has 6 fields"),
        (
            "61 2 * * *",
            "UTC",
            "the minute \"61\" of the schedule \"61 2 * * *\" cannot be read: write 0 to 59",
        ),
        ("0 24 * * *", "UTC", "the hour \"24\""),
        ("0 2 0 * *", "UTC", "the day of month \"0\""),
        ("0 2 L * *", "UTC", "the day of month \"L\""),
        ("0 2 15W * *", "UTC", "the day of month \"15W\""),
        ("0 2 *,99 * *", "UTC", "the day of month \"*,99\""),
        ("0 2 ,* * *", "UTC", "the day of month \",*\""),
        ("0 2 /2 * *", "UTC", "the day of month \"/2\""),
        ("0 2 * 13 *", "UTC", "the month \"13\""),
        ("0 2 * * FRIDAY", "UTC", "the day of week \"FRIDAY\""),
        ("0 2 * * 8", "UTC", "the day of week \"8\""),
        ("0 2 * * 5L", "UTC", "the day of week \"5L\""),
        ("0 2 * * 5#2", "UTC", "the day of week \"5#2\""),
        ("H 2 * * *", "UTC", "the minute \"H\""),
        ("5-1 2 * * *", "UTC", "the minute \"5-1\""),
        ("*/0 2 * * *", "UTC", "the minute \"*/0\""),
        ("@every 5m", "UTC", "is not known: use @hourly"),
        ("@reboot", "UTC", "is not known: use @hourly"),
        ("TZ=Europe/Berlin 0 2 * * *", "UTC", "take it out and set timeZone instead"),
        ("CRON_TZ=Europe/Berlin 0 2 * * *", "UTC", "take it out and set timeZone instead"),
        ("0 2 * * * Europe/Berlin", "UTC", "has 6 fields"),
        (
            "0 2 * * *",
            "Europe/Bonn",
            "the time zone \"Europe/Bonn\" is not known: use a name of the IANA database",
        ),
        ("0 2 * * *", "", "the time zone \"\" is not known"),
        ("0 2 * * *", "Local", "the time zone \"Local\" is not known"),
        ("0 2 * * *", "localtime", "the time zone \"localtime\" is not known"),
        ("0 2 * * *", "posixrules", "the time zone \"posixrules\" is not known"),
        ("0 2 * * *", "Etc/Unknown", "the time zone \"Etc/Unknown\" is not known"),
        ("0 2 * * *", "+02:00", "the time zone \"+02:00\" is not known"),
        ("0 2 * * *", "CET-1CEST", "the time zone \"CET-1CEST\" is not known"),
        ("0 2 30 2 *", "UTC", "never occurs, as no year has that day: correct the day or the month"),
        ("0 2 31 4,6,9,11 *", "UTC", "never occurs"),
    ] {
        let told = told(line, zone);
        assert!(told.contains(says), "{line} {zone}: {told}");
    }
}

#[test]
fn far_away_slots_cost_little() {
    let began = Instant::now();
    for (line, zone) in
        [("0 2 29 2 *", "Europe/Berlin"), ("* * 29 2 *", "America/New_York"), ("* * * * *", "UTC")]
    {
        let slots = slots(line, zone);
        let now = at("2104-02-28T00:00:00Z");
        assert!(slots.next_after(at("2096-03-01T05:00:00Z")).is_some());
        assert!(slots.last_at_or_before(now, Timestamp::UNIX_EPOCH).is_some_and(|last| last <= now));
        // There is no slot after the end of time.
        assert_eq!(slots.next_after(Timestamp::MAX), None);
        assert_eq!(slots.last_at_or_before(Timestamp::MIN, Timestamp::MAX), None);
    }
    let took = began.elapsed();
    assert!(took < Duration::from_secs(60), "{took:?} in a build that is not optimised");
}
