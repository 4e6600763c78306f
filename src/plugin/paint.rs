//! Colours for states, on terminals only.

use std::io::IsTerminal as _;

use anstyle::{AnsiColor, Style};

use crate::api::RunState;
use crate::show::Line;

/// Whether text has colours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Paint {
    /// Text for programs and files.
    Plain,
    /// Text for a terminal.
    Colours,
}

/// What a word tells, which decides its colour.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tone {
    /// Nothing in particular.
    Neutral,
    /// Success.
    Good,
    /// Work goes on.
    Busy,
    /// Somebody may have to act.
    Held,
    /// Failure.
    Bad,
    /// A heading.
    Heading,
}

impl Paint {
    /// Colours if standard output is a terminal, unless NO_COLOR is set or the terminal is a dumb one.
    pub fn of_stdout() -> Self {
        let set = |name| std::env::var_os(name).is_some_and(|value| !value.is_empty());
        let dumb = std::env::var_os("TERM").is_some_and(|terminal| terminal == "dumb");
        if std::io::stdout().is_terminal() && !set("NO_COLOR") && !dumb { Self::Colours } else { Self::Plain }
    }

    /// `text` in the colour of `tone`.
    pub fn tint(self, tone: Tone, text: &str) -> Line {
        match self {
            Self::Plain => Line::of(text),
            Self::Colours => Line::styled(text, tone.style()),
        }
    }
}

impl Tone {
    /// The tone of the state of an export.
    pub const fn of_state(state: RunState) -> Self {
        match state {
            RunState::Complete => Self::Good,
            RunState::Failed => Self::Bad,
            RunState::Starting | RunState::Running | RunState::Landing | RunState::Verifying => Self::Busy,
            RunState::Waiting | RunState::Uncertain | RunState::Suspended | RunState::Cancelling => {
                Self::Held
            }
            RunState::Queued | RunState::Cancelled | RunState::Unknown => Self::Neutral,
        }
    }

    const fn style(self) -> Style {
        match self {
            Self::Neutral => Style::new(),
            Self::Good => AnsiColor::Green.on_default(),
            Self::Busy => AnsiColor::Cyan.on_default(),
            Self::Held => AnsiColor::Yellow.on_default(),
            Self::Bad => AnsiColor::Red.on_default(),
            Self::Heading => Style::new().bold(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_terminal_gets_escape_sequences() {
        assert_eq!(Paint::Plain.tint(Tone::Bad, "Failed").as_str(), "Failed");
        assert_eq!(Paint::Colours.tint(Tone::Bad, "Failed").as_str(), "\u{1b}[31mFailed\u{1b}[0m");
        assert_eq!(Paint::Colours.tint(Tone::Neutral, "-").as_str(), "-");
    }
}
