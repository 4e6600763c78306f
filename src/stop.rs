//! The error of a command.
//!
//! Uses: nothing of its own crate.

use std::error::Error;
use std::fmt;

/// Why a command failed and what to do about it, as one sentence.
#[derive(Debug)]
pub struct Stop(String);

impl Stop {
    /// An error with this sentence, which names the cause and the next step.
    pub fn because(sentence: impl Into<String>) -> Self {
        Self(sentence.into())
    }

    /// The error for a part of the operator that should run for ever and has ended.
    pub fn ended_by_itself(part: &str) -> Self {
        Self(format!("The operator stops because {part} ended unexpectedly; restart it."))
    }
}

impl fmt::Display for Stop {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Error for Stop {}
