//! Prints the figures as a table.

use std::fmt::Write;

use crate::tally::{Tally, p99};

/// The lines of the table.
pub fn table(tally: &Tally, seconds: f64) -> String {
    let mut text = String::new();
    let mut row = |name: &str, value: String| {
        let _ = writeln!(text, "  {name:<34}{value:>15}");
    };
    row("seeds", number(tally.seeds));
    for (kind, (seeds, took)) in &tally.kinds {
        row(&format!("  {kind}"), number(*seeds));
        row("    seconds", format!("{:.1}", took.as_secs_f64()));
    }
    row("steps", number(tally.steps));
    row("exports", number(tally.exports));
    row("  made by schedules", number(tally.runs));
    row("schedules", number(tally.schedules));
    row("  deletions of old folders", number(tally.folders));
    row("with several replicas", number(tally.replicated));
    row("processes", number(tally.processes));
    row("  crashes", number(tally.crashes));
    row("  ended since their time was over", number(tally.lapsed));
    row("  gave the Lease back", number(tally.handovers));
    row("  were stopped and went on", number(tally.pauses));
    row("takeovers", number(tally.takeovers));
    row("kick-offs", number(tally.kick_offs));
    row("  late", number(tally.late));
    row("faults", number(tally.faults.values().sum()));
    for (kind, count) in &tally.faults {
        row(&format!("  {kind}"), number(*count));
    }
    row("ends", number(tally.ends.values().sum()));
    for (end, count) in &tally.ends {
        row(&format!("  {end}"), number(*count));
    }
    let ms = |times: &[i64]| format!("{} ms", p99(times) / 1000);
    row("p99 of kick-offs in a crowd", ms(&tally.kicked_off_after));
    row("p99 between polls in a crowd", ms(&tally.asked_after));
    row("jobs lost", number(tally.lost));
    row("jobs leaked", number(tally.leaked));
    row("kick-offs doubled without a word", number(tally.doubled));
    row("invariants broken", number(tally.broken));
    row("seconds", format!("{seconds:.1}"));
    text
}

/// A number with commas between the thousands.
fn number(n: u64) -> String {
    let digits = n.to_string();
    let mut text = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::number;

    #[test]
    fn thousands() {
        assert_eq!([0, 999, 1000, 1_234_567].map(number), ["0", "999", "1,000", "1,234,567"]);
    }
}
