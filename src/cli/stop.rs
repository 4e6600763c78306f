//! Why a command ended early.

use std::error::Error;
use std::fmt;

/// One sentence: why a command ended without success, and what to do.
#[derive(Debug)]
pub struct Stop(String);

impl Stop {
    /// With this sentence.
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
