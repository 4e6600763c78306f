//! Why a command ended early.
//!
//! Uses: nothing of its own crate.

use std::error::Error;
use std::fmt;

/// One sentence: why a command ended without success, and what to do.
#[derive(Debug)]
pub struct Stop(String);

impl Stop {
    /// Stops with this sentence, which names the cause and the next step.
    pub fn because(sentence: impl Into<String>) -> Self {
        Self(sentence.into())
    }

    /// A part of the operator that should run for ever has ended.
    pub fn ended_by_itself(part: &str) -> Self {
        Self(format!("The operator ends since {part} ended by itself; it must be started again."))
    }
}

impl fmt::Display for Stop {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Error for Stop {}
