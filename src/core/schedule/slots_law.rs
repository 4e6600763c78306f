//! Properties of the times of a schedule, for random lines, zones and instants.

#![allow(clippy::unwrap_used)]

use std::collections::BTreeSet;

use jiff::civil::Date;
use proptest::prelude::*;

use super::tests::{ZONES, at, slots};
use super::*;

fn words(words: &'static [&'static str]) -> impl Strategy<Value = String> {
    proptest::sample::select(words).prop_map(str::to_owned)
}

prop_compose! {
    /// Random lines that have slots.
    fn any_line()(
        minute in prop_oneof!["[0-9]", "[0-5][0-9]", words(&["*", "*/15", "0-40/20"])],
        hour in prop_oneof!["[0-9]", "1[0-9]", words(&["*", "*/2", "1-3", "0-23"])],
        day in prop_oneof![4 => words(&["*"]), 1 => "[1-9]", 1 => words(&["*/7", "31"])],
        month in prop_oneof![4 => words(&["*"]), 1 => words(&["3,10"])],
        weekday in prop_oneof![4 => words(&["*"]), 1 => "[0-7]", 1 => words(&["MON-FRI", "*/2"])],
    ) -> String {
        format!("{minute} {hour} {day} {month} {weekday}")
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]

    /// Later instants have later slots, and searching backwards finds what searching forwards found.
    #[test]
    fn looking_on_and_looking_back_agree(
        line in any_line(),
        zone in proptest::sample::select(&ZONES[..]),
        from in 1_290_000_000_i64..1_800_000_000,
        ahead in 0_i64..40_000_000,
    ) {
        let slots = slots(&line, zone);
        let from = Timestamp::from_second(from).unwrap();
        let first = slots.next_after(from).unwrap();
        prop_assert!(first > from);
        prop_assert_eq!(slots.next_after(first.checked_sub(1.nanosecond()).unwrap()), Some(first));
        prop_assert_eq!(slots.last_at_or_before(first, from), Some(first));
        prop_assert_eq!(slots.last_at_or_before(first.checked_sub(1.nanosecond()).unwrap(), from), None);
        prop_assert_eq!(slots.last_at_or_before(from, from), None);

        let now = from.checked_add(SignedDuration::from_secs(ahead)).unwrap();
        prop_assert!(slots.next_after(now).unwrap() >= first);
        if let Some(last) = slots.last_at_or_before(now, from) {
            prop_assert!(from < last && last <= now);
            prop_assert!(slots.next_after(last).unwrap() > now);
        } else {
            prop_assert!(first > now);
        }
    }

    /// Compares the slots around a change of the clocks with a search minute by minute: a time of the day
    /// comes when a clock first shows or passes it, a time of the hour whenever a clock shows it.
    #[test]
    fn minute_by_minute_there_is_no_other(
        zone in proptest::sample::select(&ZONES[..]),
        change in 0_usize..40,
        minute in 0_i8..60,
        hour in proptest::option::weighted(0.7, 0_i8..24),
    ) {
        let line = format!("{minute} {} * * *", hour.map_or("*".into(), |hour| hour.to_string()));
        let slots = slots(&line, zone);
        // Zone files end in 2038 with an entry that is not a change.
        let (start, end) = (at("2009-01-01T00:00:00Z"), at("2037-01-01T00:00:00Z"));
        let changes: Vec<Timestamp> =
            slots.zone.following(start).map(|c| c.timestamp()).take_while(|change| *change < end).take(40).collect();
        let change = changes.get(change).or(changes.first()).copied().unwrap_or(start);
        let shown: Vec<(Timestamp, DateTime)> = (-3 * 24 * 60..=3 * 24 * 60)
            .map(|minutes| change.checked_add(SignedDuration::from_mins(minutes)).unwrap())
            .map(|now| (now, slots.zone.to_datetime(now)))
            .collect();
        let want: BTreeSet<Timestamp> = if let Some(hour) = hour {
            let days: BTreeSet<Date> = shown.iter().map(|(_, shown)| shown.date()).collect();
            // The latest time that the clocks showed so far: it never decreases, so it can be searched by halves.
            let latest: Vec<DateTime> = shown
                .iter()
                .scan(DateTime::MIN, |latest, (_, shown)| {
                    *latest = (*latest).max(*shown);
                    Some(*latest)
                })
                .collect();
            let first = |day: Date| latest.partition_point(|shown| *shown < day.at(hour, minute, 0, 0));
            days.into_iter().filter_map(|day| shown.get(first(day))).map(|(now, _)| *now).collect()
        } else {
            shown.iter().filter(|(_, shown)| shown.minute() == minute).map(|(now, _)| *now).collect()
        };
        // The ends are left out, because a day there is seen only in part.
        let (from, to) = (change.checked_sub(48.hours()).unwrap(), change.checked_add(48.hours()).unwrap());
        let next = |last: &Timestamp| slots.next_after(*last).filter(|slot| *slot <= to);
        let found: Vec<Timestamp> = std::iter::successors(next(&from), next).collect();
        let want: Vec<Timestamp> = want.into_iter().filter(|slot| from < *slot && *slot <= to).collect();
        prop_assert!(!want.is_empty());
        prop_assert_eq!(found, want, "{} in {}", line, zone);
    }

    /// Whatever people write, it is accepted or refused without a panic.
    #[test]
    fn nothing_that_is_written_breaks_it(line in "[-@*/?,#LWH0-9A-Z \
        ]{0,24}|\\PC{0,40}", zone in "[A-Za-z/+0-9-]{0,12}") {
        for zone in [None, Some(zone.as_str())] {
            match Slots::parse(&line, zone) {
                Ok(slots) => prop_assert!(slots.next_after(Timestamp::UNIX_EPOCH).is_some()),
                Err(problem) => prop_assert!(problem.to_string().contains(": ")),
            }
        }
    }
}
