//! The error of a command.

use std::error::Error;
use std::fmt;

/// Why a command failed and what to do about it, as one sentence.
#[derive(Debug)]
pub struct Stop(String);

impl Stop {
    /// An error with this sentence.
    pub fn because(sentence: impl Into<String>) -> Self {
        Self(sentence.into())
    }
}

impl fmt::Display for Stop {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Error for Stop {}
