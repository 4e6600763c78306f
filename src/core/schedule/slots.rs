//! The slots of a schedule: the instants that a cron line names in a time zone.
//!
//! The line is read as CronJob reads it. When the clocks change, a schedule that names hours has each of its
//! times once: a time that the clocks skip comes at the end of the gap, and a time that they repeat comes the
//! first time only. A schedule of every hour follows elapsed time: nothing comes in the gap, and the repeated
//! hour has its slots twice. A day that a zone left out has no slots.

use std::fmt;

use cronexpr::{Crontab, FallbackTimezoneOption, MakeTimestamp, ParseOptions};
use jiff::civil::{self, DateTime};
use jiff::tz::{AmbiguousOffset, TimeZone, TimeZoneDatabase};
use jiff::{SignedDuration, Timestamp, ToSpan};

/// The name of each field of a line, and the values that it may have.
const FIELDS: [(&str, &str); 5] = [
    ("minute", "0 to 59"),
    ("hour", "0 to 23"),
    ("day of month", "1 to 31"),
    ("month", "1 to 12 or JAN to DEC"),
    ("day of week", "0 (Sunday) to 6 or SUN to SAT"),
];
const DAY_OF_MONTH: usize = 2;
const DAY_OF_WEEK: usize = 4;

/// A readable cron line in a time zone, with at least one slot.
#[derive(Clone, Debug)]
pub struct Slots {
    clock: Clock,
    zone: TimeZone,
}

/// How the line is followed when the clocks change.
#[derive(Clone, Debug)]
enum Clock {
    /// By elapsed time: the line with its zone.
    Elapsed(Crontab),
    /// By the wall clock: the line in UTC, whose days have all their hours.
    Wall(Crontab),
}

/// Why a schedule has no slots; shown to users as a sentence with the next step.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SlotProblem {
    /// The line does not have five fields.
    Fields {
        /// The cron line.
        line: String,
        /// The number of fields.
        count: usize,
    },
    /// A field cannot be parsed.
    Field {
        /// The cron line.
        line: String,
        /// The index of the field, from 0.
        index: usize,
        /// The text of the field.
        text: String,
    },
    /// The line is an @-word that CronJob does not know, or one without fixed slots.
    Word {
        /// The cron line.
        line: String,
    },
    /// The line contains `TZ=` or `CRON_TZ=`.
    ZoneInside {
        /// The cron line.
        line: String,
    },
    /// The time zone is not in the IANA database.
    UnknownZone {
        /// The name of the time zone.
        name: String,
    },
    /// The line names a day that no year has.
    Never {
        /// The cron line.
        line: String,
    },
}

impl fmt::Display for SlotProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Fields { line, count } => write!(
                f,
                "the schedule {line:?} has {count} fields and needs five: minute, hour, day of month, month, day of \
                 week; \"0 2 * * *\" is each day at 02:00"
            ),
            Self::Field { line, index, text } => {
                let (name, values) = FIELDS.get(*index).copied().unwrap_or(("field", ""));
                write!(
                    f,
                    "the {name} {text:?} of the schedule {line:?} cannot be read: write {values}, or *, with lists \
                     (1,2), \
                     ranges (1-5) and steps (*/2)"
                )
            }
            Self::Word { line } => write!(
                f,
                "the schedule {line:?} is not known: use @hourly, @daily, @weekly, @monthly, @yearly or five fields, \
                 such as \"*/30 * * * *\" for every half hour"
            ),
            Self::ZoneInside { line } => {
                write!(f, "the schedule {line:?} names a time zone: take it out and set timeZone instead")
            }
            Self::UnknownZone { name } => write!(
                f,
                "the time zone {name:?} is not known: use a name of the IANA database, such as Europe/Berlin or UTC"
            ),
            Self::Never { line } => {
                write!(
                    f,
                    "the schedule {line:?} never occurs, as no year has that day: correct the day or the month"
                )
            }
        }
    }
}

impl std::error::Error for SlotProblem {}

impl Slots {
    /// Parses a line of CronJob's five fields, or one of its @-words, in a time zone of the IANA database
    /// (UTC by default). Refuses lines that cannot be parsed and those that never occur.
    pub fn parse(schedule: &str, time_zone: Option<&str>) -> Result<Self, SlotProblem> {
        let line = schedule.trim();
        if line.starts_with("TZ=") || line.starts_with("CRON_TZ=") {
            return Err(SlotProblem::ZoneInside { line: line.into() });
        }
        let zone = zone(time_zone.unwrap_or("UTC"))?;
        let fields = fields(line)?;
        let wall = crontab(&fields, &TimeZone::UTC).map_err(|_| unreadable(line, &fields))?;
        // The search starts from a fixed day in the past, so that the answer depends only on the line.
        if next_on_wall(&wall, civil::date(2000, 1, 1).at(0, 0, 0, 0)).is_none() {
            return Err(SlotProblem::Never { line: line.into() });
        }
        let clock = match crontab(&fields, &zone) {
            Ok(elapsed) if every_hour(&fields) => Clock::Elapsed(elapsed),
            _ => Clock::Wall(wall),
        };
        Ok(Self { clock, zone })
    }

    /// The first slot after an instant; `None` at the end of time.
    pub fn next_after(&self, after: Timestamp) -> Option<Timestamp> {
        match &self.clock {
            Clock::Elapsed(crontab) => next(crontab, after),
            Clock::Wall(crontab) => {
                let mut wall = self.zone.to_datetime(after);
                loop {
                    wall = next_on_wall(crontab, wall)?;
                    // A slot that is not later than `after` came before the clocks were put back.
                    if let Some(slot) = self.instant(wall).filter(|slot| *slot > after) {
                        return Some(slot);
                    }
                }
            }
        }
    }

    /// The newest slot after `not_before` and not after `now`.
    pub fn last_at_or_before(&self, now: Timestamp, not_before: Timestamp) -> Option<Timestamp> {
        let mut newest = self.next_after(not_before).filter(|slot| *slot <= now)?;
        // Usually this is the only one.
        if self.next_after(newest).is_none_or(|slot| slot > now) {
            return Some(newest);
        }
        // No slot lies between `none_after` and `now`. Halving the time between takes few steps for any length of it.
        let mut none_after = now;
        while none_after.duration_since(newest) > SignedDuration::from_secs(1) {
            let middle = newest.checked_add(none_after.duration_since(newest) / 2).ok()?;
            match self.next_after(middle).filter(|slot| *slot <= now) {
                Some(slot) => newest = slot,
                None => none_after = middle,
            }
        }
        Some(newest)
    }

    /// When a wall clock first shows this time, or has passed it; `None` if the zone left out the whole day.
    fn instant(&self, wall: DateTime) -> Option<Timestamp> {
        let ambiguous = self.zone.to_ambiguous_timestamp(wall);
        let AmbiguousOffset::Gap { .. } = ambiguous.offset() else {
            return ambiguous.earlier().ok();
        };
        // With the offset that applies before the gap, a time within the gap lies after the end of it.
        let gap = self
            .zone
            .preceding(ambiguous.later().ok()?.checked_add(1.nanosecond()).ok()?)
            .next()?
            .timestamp();
        let next_day = wall.date().tomorrow().ok()?.at(0, 0, 0, 0);
        let day = wall.date().at(0, 0, 0, 0);
        let before = self.zone.to_datetime(gap.checked_sub(1.nanosecond()).ok()?);
        let whole_day = before < day && self.zone.to_datetime(gap) >= next_day;
        (!whole_day).then_some(gap)
    }
}

fn zone(name: &str) -> Result<TimeZone, SlotProblem> {
    // A machine's own database has further names, such as localtime, and jiff has a zone named unknown.
    let known = TimeZoneDatabase::bundled().get(name).is_ok_and(|zone| !zone.is_unknown());
    let zone = TimeZone::get(name).ok().filter(|_| known);
    zone.ok_or_else(|| SlotProblem::UnknownZone { name: name.into() })
}

/// The five fields, translated so that cronexpr reads in them what CronJob would.
fn fields(line: &str) -> Result<[String; 5], SlotProblem> {
    let line_of = |word: &str| match word {
        "@yearly" | "@annually" => Some("0 0 1 1 *"),
        "@monthly" => Some("0 0 1 * *"),
        "@weekly" => Some("0 0 * * 0"),
        "@daily" | "@midnight" => Some("0 0 * * *"),
        "@hourly" => Some("0 * * * *"),
        _ => None,
    };
    let plain = if line.starts_with('@') {
        line_of(line).ok_or_else(|| SlotProblem::Word { line: line.into() })?
    } else {
        line
    };
    let parts: Vec<&str> = plain.split_whitespace().collect();
    let Ok::<[&str; 5], _>(fields) = parts.as_slice().try_into() else {
        return Err(SlotProblem::Fields { line: line.into(), count: parts.len() });
    };
    for (index, text) in fields.iter().enumerate() {
        // Extensions of cronexpr that CronJob lacks: the last day, the nearest weekday, the nth weekday.
        let extended = match index {
            DAY_OF_MONTH => text.contains(|c: char| c.is_alphabetic()),
            DAY_OF_WEEK => text.contains('#') || text.contains(['l', 'L']),
            _ => false,
        };
        if extended {
            return Err(SlotProblem::Field { line: line.into(), index, text: (*text).into() });
        }
    }
    let [minute, hour, day, month, weekday] = fields;
    Ok([
        minute.replace('?', "*"),
        hour.replace('?', "*"),
        days(day, "1", "31"),
        month.replace('?', "*"),
        days(weekday, "0", "6"),
    ])
}

/// Translates a field of days. If one of the two fields is `*`, only the other one counts; otherwise a day
/// needs to match only one of them. A step of `*` does not count as `*`.
fn days(field: &str, first: &str, last: &str) -> String {
    let items = field.split(',').map(|item| item.replace('?', "*"));
    let (all, some): (Vec<String>, Vec<String>) = items.partition(|item| item == "*" || item == "*/1");
    let spelt_out = some.into_iter().map(|item| match item.split_once('/') {
        Some(("*", step)) => format!("{first}-{last}/{step}"),
        Some((from, step)) if !from.contains('-') => format!("{from}-{last}/{step}"),
        _ => item,
    });
    // cronexpr treats a field as `*` if it begins with one.
    all.into_iter().chain(spelt_out).collect::<Vec<_>>().join(",")
}

fn crontab(fields: &[String; 5], zone: &TimeZone) -> Result<Crontab, cronexpr::Error> {
    let mut options = ParseOptions::default();
    options.fallback_timezone_option = FallbackTimezoneOption::UTC;
    let name = zone.iana_name().unwrap_or("UTC");
    cronexpr::parse_crontab_with(&format!("{} {name}", fields.join(" ")), options)
}

/// Names the field that cannot be parsed.
fn unreadable(line: &str, fields: &[String; 5]) -> SlotProblem {
    let alone = |index: usize| {
        let mut others: [String; 5] = std::array::from_fn(|_| "*".into());
        if let (Some(other), Some(field)) = (others.get_mut(index), fields.get(index)) {
            other.clone_from(field);
        }
        crontab(&others, &TimeZone::UTC).is_err()
    };
    let index = (0..fields.len()).find(|index| alone(*index)).unwrap_or_default();
    let text = line.split_whitespace().nth(index).unwrap_or_default();
    SlotProblem::Field { line: line.into(), index, text: text.into() }
}

/// Whether the line names every hour of a day.
fn every_hour(fields: &[String; 5]) -> bool {
    let [_, hour, ..] = fields;
    let hourly: [String; 5] = ["0".into(), hour.clone(), "*".into(), "*".into(), "*".into()];
    let midnight = civil::date(2000, 1, 1).at(0, 0, 0, 0);
    crontab(&hourly, &TimeZone::UTC).is_ok_and(|hourly| {
        let mut hours = (0..24).map(|hour| midnight.checked_add(hour.hours()).ok());
        hours.all(|hour| {
            hour.and_then(in_utc).is_some_and(|hour| hourly.matches(MakeTimestamp(hour)).unwrap_or(false))
        })
    })
}

/// The next time of a line that was parsed in UTC, as a wall clock shows it.
fn next_on_wall(crontab: &Crontab, after: DateTime) -> Option<DateTime> {
    next(crontab, in_utc(after)?).map(|slot| TimeZone::UTC.to_datetime(slot))
}

fn in_utc(wall: DateTime) -> Option<Timestamp> {
    TimeZone::UTC.to_timestamp(wall).ok()
}

/// The next time after an instant. One search covers four years, too few where a century year is not a leap year.
fn next(crontab: &Crontab, after: Timestamp) -> Option<Timestamp> {
    const FOUR_YEARS: SignedDuration = SignedDuration::from_hours(4 * 365 * 24);
    let later = after.checked_add(FOUR_YEARS).ok()?;
    // cronexpr would panic near the end of time.
    later.checked_add(FOUR_YEARS * 2).ok()?;
    let found = crontab.find_next(MakeTimestamp(after)).or_else(|_| crontab.find_next(MakeTimestamp(later)));
    found.ok().map(|slot| slot.timestamp())
}

#[cfg(test)]
#[path = "slots_tests.rs"]
mod tests;

#[cfg(test)]
#[path = "slots_law.rs"]
mod law;
