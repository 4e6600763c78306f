//! The texts that report the end of a run.

use crate::api::{Job, Output};

/// A number with its noun, such as `1,234 resources`.
pub fn counted(number: u64, noun: &str) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (n, digit) in digits.chars().enumerate() {
        if n > 0 && (digits.len() - n).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    format!("{text} {noun}{}", if number == 1 { "" } else { "s" })
}

/// A number of files in words, such as `1 file` or `12 files`.
pub(super) fn files_text(number: usize) -> String {
    counted(number as u64, "file")
}

/// How long a run took.
pub fn took(now: jiff::Timestamp, start: jiff::Timestamp) -> String {
    let seconds = now.duration_since(start).as_secs().max(0);
    match seconds {
        0..=119 => format!("{seconds} seconds"),
        120..=7199 => format!("{} minutes", seconds / 60),
        _ => format!("{} hours {} minutes", seconds / 3600, seconds % 3600 / 60),
    }
}

/// `container/folder`, or what is known of it.
pub(super) fn place(output: &Output) -> Option<String> {
    let container = output.container.as_ref()?;
    Some(output.folder.as_ref().map_or_else(|| container.clone(), |folder| format!("{container}/{folder}")))
}

/// One clause about what an unfinished job left in the container, as far as it was seen; empty if nothing was
/// seen. `lands` is whether the operator put it there.
pub(super) fn remaining(job: Option<&Job>, output: Option<&Output>, lands: bool) -> String {
    let files = job.and_then(|job| job.progress.as_ref()?.files).filter(|files| *files > 0);
    let Some((files, place)) = files.zip(output.and_then(place)) else { return String::new() };
    if lands {
        let files = files_text(usize::try_from(files).unwrap_or(0));
        format!("; {files} had landed in {place}: remove what is not wanted")
    } else {
        format!("; {files} or more files written before that remain in {place}")
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn words() {
        for (number, wanted) in [
            (0, "0 files"),
            (1, "1 file"),
            (999, "999 files"),
            (1000, "1,000 files"),
            (1_234_567, "1,234,567 files"),
        ] {
            assert_eq!(counted(number, "file"), wanted);
        }
        let start: jiff::Timestamp = "2026-11-23T02:00:00Z".parse().unwrap();
        for (seconds, wanted) in [
            (-5, "0 seconds"),
            (119, "119 seconds"),
            (120, "2 minutes"),
            (7199, "119 minutes"),
            (7260, "2 hours 1 minutes"),
        ] {
            assert_eq!(took(start + jiff::SignedDuration::from_secs(seconds), start), wanted);
        }
    }
}
