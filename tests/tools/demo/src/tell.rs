//! What is said, and the facts that are checked while it is said.

use std::io::{IsTerminal, Write};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use crate::{Error, Result};

/// Where long sentences are broken.
const WIDTH: usize = 100;

/// Says things on stdout. It fails where nobody reads any more, so that the demonstration ends.
#[derive(Debug)]
pub struct Tell {
    started: Instant,
    bold: bool,
    chapter: AtomicUsize,
    facts: AtomicUsize,
}

impl Tell {
    /// Starts the clock.
    pub fn new() -> Self {
        let bold = std::io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none();
        Self { started: Instant::now(), bold, chapter: AtomicUsize::new(0), facts: AtomicUsize::new(0) }
    }

    /// A numbered heading.
    pub fn chapter(&self, title: &str) -> Result<()> {
        let number = self.chapter.fetch_add(1, Ordering::Relaxed) + 1;
        self.emphasized(&format!("\n{number}. {title}\n"))
    }

    /// A command as a person would type it.
    pub fn command(&self, command: &str) -> Result<()> {
        self.emphasized(&format!("$ {command}"))
    }

    /// A line as it is.
    pub fn say(&self, text: impl AsRef<str>) -> Result<()> {
        let written = writeln!(self.out(), "{}", text.as_ref());
        written.map_err(Error::Unheard)
    }

    /// What a command gave, or a file, as it is.
    pub fn verbatim(&self, text: &str) -> Result<()> {
        text.trim_end().lines().try_for_each(|line| self.say(format!("  {line}")))
    }

    /// A sentence after `head`, broken into lines that begin below its begin.
    pub fn broken(&self, head: &str, sentence: &str) -> Result<()> {
        let mut line = head.to_owned();
        let mut empty = true;
        for word in sentence.split(' ') {
            if !empty && line.len() + 1 + word.len() > WIDTH {
                self.say(&line)?;
                line = " ".repeat(head.len());
                empty = true;
            }
            if !empty {
                line.push(' ');
            }
            line.push_str(word);
            empty = false;
        }
        self.say(line)
    }

    /// A fact, where it holds; else the end of the demonstration.
    pub fn fact(&self, holds: bool, fact: impl AsRef<str>) -> Result<()> {
        let fact = fact.as_ref();
        if !holds {
            return Err(Error::NotSo(fact.to_owned()));
        }
        self.facts.fetch_add(1, Ordering::Relaxed);
        self.broken("  [ok] ", fact)
    }

    /// How many facts were checked.
    pub fn facts(&self) -> usize {
        self.facts.load(Ordering::Relaxed)
    }

    /// Since the start.
    pub fn elapsed(&self) -> Duration {
        self.started.elapsed()
    }

    fn emphasized(&self, text: &str) -> Result<()> {
        if self.bold { self.say(format!("\x1b[1m{text}\x1b[0m")) } else { self.say(text) }
    }

    #[allow(clippy::unused_self)] // whoever says something has a Tell
    fn out(&self) -> impl Write {
        std::io::stdout().lock()
    }
}

/// A number with its thousands apart: 1,048,576.
pub fn thousands(number: usize) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (n, digit) in digits.chars().enumerate() {
        if n > 0 && (digits.len() - n).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn thousands_are_apart() {
        for (number, text) in [(0, "0"), (999, "999"), (1000, "1,000"), (1_048_576, "1,048,576")] {
            assert_eq!(thousands(number), text);
        }
    }

    #[test]
    fn a_fact_that_does_not_hold_ends_it() {
        let tell = Tell::new();
        assert!(tell.fact(true, "it is so").is_ok());
        assert!(matches!(tell.fact(false, "it is so"), Err(Error::NotSo(_))));
        assert_eq!(tell.facts(), 1);
    }
}
