//! The mishaps of a schedule's thirty runs.

use std::collections::BTreeMap;

use bulk_fhir::{Breaks, Count, FileScript, Script, Shape};

/// A failure or disturbance of a run.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Mishap {
    None,
    /// The server's job fails.
    JobFails,
    /// The manifest states more resources than the file holds.
    WrongCount,
    /// The server reports resources that it could not export.
    ServerErrors,
    /// The answer to the kick-off is lost.
    AnswerLost,
    /// A download breaks off, twice.
    BreaksOff,
    /// A user cancels the run.
    Cancelled,
    /// A user deletes the run.
    Deleted,
    /// The operator is killed before it creates the run.
    KilledBefore,
    /// The operator is killed while the job runs.
    KilledInJob,
    /// The operator is killed while it lands files.
    KilledInLanding,
    /// A user requests a full run.
    Full,
}

impl Mishap {
    /// The mishap of the run of this number. Each mishap occurs at least once, and three failures occur in a row.
    pub fn of(run: usize) -> Self {
        match run {
            2 | 12 | 13 | 14 => Self::JobFails,
            4 => Self::WrongCount,
            5 | 26 => Self::KilledInJob,
            6 => Self::ServerErrors,
            8 => Self::BreaksOff,
            9 => Self::KilledBefore,
            11 => Self::Cancelled,
            15 | 24 => Self::KilledInLanding,
            17 => Self::Deleted,
            19 => Self::Full,
            21 => Self::AnswerLost,
            _ => Self::None,
        }
    }

    /// Whether the run becomes part of the chain despite the mishap.
    pub fn counts(self) -> bool {
        !matches!(
            self,
            Self::JobFails | Self::WrongCount | Self::ServerErrors | Self::Cancelled | Self::Deleted
        )
    }

    pub fn script(self) -> Script {
        let slow = FileScript { gzip: false, trickle: Some(60_000), ..FileScript::default() };
        match self {
            Self::JobFails => Script::fails(400, "invalid", "the job failed on purpose"),
            Self::WrongCount => {
                Script::polls(1).manifest(Shape { count: Count::Wrong(3), ..Shape::default() })
            }
            Self::ServerErrors => {
                let issues = BTreeMap::from([("error".to_owned(), 1)]);
                Script::polls(1).manifest(Shape { issues, ..Shape::default() })
            }
            Self::AnswerLost => Script::loses_answer(),
            Self::BreaksOff => Script::polls(1)
                .files(FileScript { cut: Some(Breaks::after(300, 2)), ..FileScript::default() }),
            Self::Cancelled | Self::Deleted => Script::stuck(),
            Self::KilledInJob => Script::polls(4),
            Self::KilledInLanding => Script::polls(0).files(slow),
            Self::None | Self::KilledBefore | Self::Full => Script::polls(1),
        }
    }
}
