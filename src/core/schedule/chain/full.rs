//! Why the next run of a chain must export everything.

use jiff::Timestamp;

use super::super::readiness::Ready;
use super::super::turn::Turn;
use crate::api::Reason;

/// Why the next run is full.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in super::super) enum FullDue {
    /// No full run has succeeded yet, and the spec names no `initialSince`.
    NoFullRunYet,
    /// The server or the request has changed since the chain began.
    RequestChanged,
    /// Somebody asked for a full run.
    Requested,
    /// The server's time is before what the chain already covers.
    TransactionTimeWentBack,
    /// The server does not export newcomers in full.
    NewcomersRefused,
    /// More patients joined the group than one kick-off can name.
    TooManyNewcomers,
    /// It is not known who joined the group.
    MembersUnknown,
    /// `incremental.fullSchedule` has a time since the chain began.
    Scheduled,
}

impl FullDue {
    const ALL: [Self; 8] = [
        Self::NoFullRunYet,
        Self::RequestChanged,
        Self::Requested,
        Self::TransactionTimeWentBack,
        Self::NewcomersRefused,
        Self::TooManyNewcomers,
        Self::MembersUnknown,
        Self::Scheduled,
    ];

    /// The reason in the status and in conditions that stands for this variant.
    pub(in super::super) fn reason(self) -> Reason {
        match self {
            Self::NoFullRunYet => Reason::NoFullRunYet,
            Self::RequestChanged => Reason::RequestChanged,
            Self::Requested => Reason::FullRequested,
            Self::TransactionTimeWentBack => Reason::TransactionTimeWentBack,
            Self::NewcomersRefused => Reason::NewcomersRefused,
            Self::TooManyNewcomers => Reason::TooManyNewcomers,
            Self::MembersUnknown => Reason::MembersUnknown,
            Self::Scheduled => Reason::FullScheduled,
        }
    }

    /// The variant that a reason in the status stands for. `None` for a reason that another
    /// version of the operator wrote.
    fn of(reason: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|due| due.reason().as_str() == reason)
    }

    /// Whether a full run stays due until one succeeds. Each decision finds the other reasons anew.
    fn stays(self, tracks_members: bool) -> bool {
        match self {
            Self::Requested | Self::TransactionTimeWentBack => true,
            Self::NewcomersRefused | Self::TooManyNewcomers | Self::MembersUnknown => tracks_members,
            Self::NoFullRunYet | Self::RequestChanged | Self::Scheduled => false,
        }
    }
}

/// Why a run for this time must be full. `None` if exporting the changes is enough.
pub(in super::super) fn full_due(turn: &Turn<'_>, ready: &Ready, slot: Timestamp) -> Option<FullDue> {
    let chain = turn.status.chain.as_ref();
    let initial = turn.spec().incremental.as_ref().is_some_and(|i| i.initial_since.is_some());
    let kept = chain
        .and_then(|chain| chain.full_due_reason.as_deref())
        .and_then(FullDue::of)
        .filter(|due| due.stays(ready.tracks));
    let Some(covered) = chain.filter(|chain| chain.covered_until.is_some()) else {
        return kept.or((!initial).then_some(FullDue::NoFullRunYet));
    };
    if covered.fingerprint.as_ref() != Some(&ready.fingerprint) {
        return Some(FullDue::RequestChanged);
    }
    let scheduled = covered.last_full_time.is_none_or(|last| ready.calendar.full_due(slot, last));
    let unknown = ready.tracks && covered.members.is_none();
    kept.or(scheduled.then_some(FullDue::Scheduled)).or(unknown.then_some(FullDue::MembersUnknown))
}

/// Requires a full run next, and until one succeeds.
pub(in super::super) fn require_full(turn: &mut Turn<'_>, due: FullDue) {
    turn.status.chain.get_or_insert_default().full_due_reason = Some(due.reason().to_string());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_status_gives_back_what_was_written_to_it() {
        for due in FullDue::ALL {
            assert_eq!(FullDue::of(due.reason().as_str()), Some(due));
        }
        assert_eq!(FullDue::of("FromAnotherVersion"), None);
    }
}
