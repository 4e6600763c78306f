//! How a command ended, as exit codes.

use std::process::ExitCode;

use crate::show::Line;

/// How a command ended that could do what it was asked. A command that could not has exit code 1, and one whose command
/// line is invalid 2.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// It is done, the export is complete, or what was checked is in order.
    Done,
    /// The export ended without success, or what was checked is not in order.
    Unsuccessful,
    /// The time limit was reached before the end.
    TimedOut,
    /// Ctrl-C.
    Interrupted,
}

impl Exit {
    /// Tells on standard error what is not in order, as a sentence, and is the end of the command that found it.
    pub fn not_in_order(sentence: &str) -> Self {
        Line::error(sentence).tell();
        Self::Unsuccessful
    }

    /// The exit code.
    pub const fn code(self) -> u8 {
        match self {
            Self::Done => 0,
            Self::Unsuccessful => 3,
            Self::TimedOut => 4,
            Self::Interrupted => 130,
        }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit.code())
    }
}
