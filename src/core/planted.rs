//! Faults that can be planted on purpose, to show that the simulation finds them: a check that has never
//! failed proves nothing. The compiler sees every switch, so refactorings keep them.
//!
//! Only the cargo feature `planted` makes them work. Without it [`planted`] is the constant `false`, and the
//! compiler removes every fault from the program; with it `src/main.rs` does not compile.
//! them is left in the program; with it `src/main.rs` does not compile.

#[cfg(feature = "planted")]
use std::sync::atomic::{AtomicUsize, Ordering};

/// A fault that the sources hold behind a switch. Each breaks an invariant of ARCHITECTURE.md.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The job is polled before its status URL is written.
    StatusUrlLate,
    /// After a restart the job is no longer followed.
    ForgetToResume,
    /// A DELETE is sent without being counted first.
    CancelUncounted,
    /// A job that the server no longer knows counts as done.
    GoneIsSuccess,
    /// The kick-off does not wait until its intent is written.
    KickOffBeforeIntent,
    /// A deleted export loses its finalizer as soon as its cancel has begun.
    FinalizerEarly,
    /// The status of a run that has ended follows its generation.
    TerminalChanges,
    /// The check of the files overlooks one that is missing.
    CompleteDespiteMissing,
    /// The token goes to the origins of files, too.
    TokenElsewhere,
    /// A conflict while a status is written counts as success.
    ConflictIgnored,
    /// The time in which a replica may act is counted from the end of the renewal instead of its start.
    DeadlineFromTheAnswer,
    /// A replica goes on after its time is over, as if no other replica could lead by then.
    ActsAfterItsTime,
    /// The wait for a Lease to expire does not start again when the Lease is renewed.
    TakenAlthoughRenewed,
    /// Requests to all servers wait in one line.
    OneLine,
    /// A landing gives up its attempt after ten failures in a row.
    GivesUpEarly,
    /// A landing writes to the place that the `FhirServer` names now, not to the one in the intent.
    PinnedPlace,
    /// A run of a schedule is created before the status records it.
    SlotAfterRun,
    /// A run of a schedule is deleted before the status holds its result.
    AbsorbAfterDelete,
    /// A run that is complete although the server reports errors moves the chain.
    ChainDespiteErrors,
}

impl Fault {
    /// All faults.
    pub const ALL: [Self; 19] = [
        Self::StatusUrlLate,
        Self::ForgetToResume,
        Self::CancelUncounted,
        Self::GoneIsSuccess,
        Self::KickOffBeforeIntent,
        Self::FinalizerEarly,
        Self::TerminalChanges,
        Self::CompleteDespiteMissing,
        Self::TokenElsewhere,
        Self::ConflictIgnored,
        Self::DeadlineFromTheAnswer,
        Self::ActsAfterItsTime,
        Self::TakenAlthoughRenewed,
        Self::OneLine,
        Self::GivesUpEarly,
        Self::PinnedPlace,
        Self::SlotAfterRun,
        Self::AbsorbAfterDelete,
        Self::ChainDespiteErrors,
    ];

    /// The name by which the fault is planted and reported.
    pub const fn name(self) -> &'static str {
        match self {
            Self::StatusUrlLate => "status-url-late",
            Self::ForgetToResume => "forget-to-resume",
            Self::CancelUncounted => "cancel-uncounted",
            Self::GoneIsSuccess => "gone-is-success",
            Self::KickOffBeforeIntent => "kick-off-before-intent",
            Self::FinalizerEarly => "finalizer-early",
            Self::TerminalChanges => "terminal-changes",
            Self::CompleteDespiteMissing => "complete-despite-missing",
            Self::TokenElsewhere => "token-elsewhere",
            Self::ConflictIgnored => "conflict-ignored",
            Self::DeadlineFromTheAnswer => "deadline-from-the-answer",
            Self::ActsAfterItsTime => "acts-after-its-time",
            Self::TakenAlthoughRenewed => "taken-although-renewed",
            Self::OneLine => "one-line",
            Self::GivesUpEarly => "gives-up-early",
            Self::PinnedPlace => "pinned-place",
            Self::SlotAfterRun => "slot-after-run",
            Self::AbsorbAfterDelete => "absorb-after-delete",
            Self::ChainDespiteErrors => "chain-despite-errors",
        }
    }

    /// The invariant of ARCHITECTURE.md that the fault breaks, by name.
    pub const fn breaks(self) -> &'static str {
        match self {
            Self::StatusUrlLate => "url-next",
            Self::ForgetToResume => "liveness",
            Self::CancelUncounted => "cancel-counted",
            Self::GoneIsSuccess | Self::CompleteDespiteMissing => "complete-means-checked",
            Self::KickOffBeforeIntent | Self::ConflictIgnored => "intent-first",
            Self::FinalizerEarly => "deletion-ends",
            Self::TerminalChanges => "terminal-absorbs",
            Self::TokenElsewhere => "token-stays",
            Self::DeadlineFromTheAnswer | Self::ActsAfterItsTime | Self::TakenAlthoughRenewed => {
                "lease-before-act"
            }
            Self::OneLine => "fair-share",
            Self::GivesUpEarly => "patient-landing",
            Self::PinnedPlace => "place-pinned",
            Self::SlotAfterRun => "slot-before-run",
            Self::AbsorbAfterDelete => "absorb-before-delete",
            Self::ChainDespiteErrors => "chain-moves-with-pending",
        }
    }
}

/// Whether faults can be planted in this build. True only in the program that shows that the simulation finds them.
pub const CAN_PLANT: bool = cfg!(feature = "planted");

/// Whether `fault` is planted: never, in a build without the feature `planted`.
#[cfg(not(feature = "planted"))]
#[inline]
pub const fn planted(_fault: Fault) -> bool {
    false
}

/// One more than the position in [`Fault::ALL`] of the fault that is planted; 0 if none is.
#[cfg(feature = "planted")]
static PLANTED: AtomicUsize = AtomicUsize::new(0);

/// Whether `fault` is planted now.
#[cfg(feature = "planted")]
#[inline]
pub fn planted(fault: Fault) -> bool {
    PLANTED.load(Ordering::Relaxed) == fault as usize + 1
}

/// Plants `fault` in the whole process, in place of any earlier one; `None` plants nothing.
#[cfg(feature = "planted")]
pub fn plant(fault: Option<Fault>) {
    PLANTED.store(fault.map_or(0, |fault| fault as usize + 1), Ordering::SeqCst);
}
