//! The names of what the simulation checks.

use std::fmt;

/// A law that was broken, and by which rule. Two breaks of one rule are the same finding.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BrokenLaw {
    /// The law.
    pub law: Law,
    /// The rule of this law that was broken.
    pub rule: &'static str,
}

impl fmt::Display for BrokenLaw {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.law.name(), self.rule)
    }
}

/// What can be broken: the invariants of ARCHITECTURE.md under their names there, and two failures that end a
/// simulation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Law {
    /// The intent is written before its kick-off is sent.
    IntentFirst,
    /// The status URL is written before anything else is done with the job.
    UrlNext,
    /// One run has one job, and every other job that may run is reported.
    OneJob,
    /// A DELETE is counted in status before it is sent.
    CancelCounted,
    /// A job that is not proven to be the run's own is never cancelled.
    OnlyOursCancelled,
    /// A deletion ends, and what it leaves behind is reported.
    DeletionEnds,
    /// A terminal status does not change.
    TerminalAbsorbs,
    /// The same inputs at the same time write nothing.
    QuietWhenUnchanged,
    /// Tokens, secrets and patients stay where they belong.
    TokenStays,
    /// `Complete` means that no check failed.
    CompleteMeansChecked,
    /// An outage costs a landing time, but neither its attempt nor bytes that are stored.
    PatientLanding,
    /// An attempt lands where its intent says.
    PlacePinned,
    /// A landed file consists of the parts of one fetch.
    PartsOfOneFetch,
    /// Files come only from origins that the FhirServer names.
    FilesFromNamedOrigins,
    /// Where the manifest is, all files are.
    ManifestLast,
    /// A run of a schedule is recorded before it is created, is created once, and is reported.
    SlotBeforeRun,
    /// What incremental runs cover has no gap.
    ChainMovesWithPending,
    /// A schedule takes a run into account before it deletes the run's object.
    AbsorbBeforeDelete,
    /// A folder is deleted only if it belongs to an old chain of the schedule that deletes it.
    FolderInLedger,
    /// A process that does not hold the Lease does nothing.
    LeaseBeforeAct,
    /// A server that does not answer delays only its own exports.
    FairShare,
    /// The operator leaves an export alone while it cannot read a part of the status.
    UnreadWaits,
    /// Once nothing hinders them, runs and deletions end, and some replica leads.
    Liveness,
    /// Statuses and events stay within the sizes that Kubernetes accepts.
    StatusSmall,
    /// Not an invariant: the operator panicked.
    NoPanic,
    /// Not an invariant: the simulation cannot go on.
    Simulation,
}

impl Law {
    /// The laws that are invariants of ARCHITECTURE.md.
    pub const INVARIANTS: [Self; 24] = [
        Self::IntentFirst,
        Self::UrlNext,
        Self::OneJob,
        Self::CancelCounted,
        Self::OnlyOursCancelled,
        Self::DeletionEnds,
        Self::TerminalAbsorbs,
        Self::QuietWhenUnchanged,
        Self::TokenStays,
        Self::CompleteMeansChecked,
        Self::PatientLanding,
        Self::PlacePinned,
        Self::PartsOfOneFetch,
        Self::FilesFromNamedOrigins,
        Self::ManifestLast,
        Self::SlotBeforeRun,
        Self::ChainMovesWithPending,
        Self::AbsorbBeforeDelete,
        Self::FolderInLedger,
        Self::LeaseBeforeAct,
        Self::FairShare,
        Self::UnreadWaits,
        Self::Liveness,
        Self::StatusSmall,
    ];

    /// The name of the invariant in ARCHITECTURE.md.
    pub const fn name(self) -> &'static str {
        match self {
            Self::IntentFirst => "intent-first",
            Self::UrlNext => "url-next",
            Self::OneJob => "one-job",
            Self::CancelCounted => "cancel-counted",
            Self::OnlyOursCancelled => "only-ours-cancelled",
            Self::DeletionEnds => "deletion-ends",
            Self::TerminalAbsorbs => "terminal-absorbs",
            Self::QuietWhenUnchanged => "quiet-when-unchanged",
            Self::TokenStays => "token-stays",
            Self::CompleteMeansChecked => "complete-means-checked",
            Self::PatientLanding => "patient-landing",
            Self::PlacePinned => "place-pinned",
            Self::PartsOfOneFetch => "parts-of-one-fetch",
            Self::FilesFromNamedOrigins => "files-from-named-origins",
            Self::ManifestLast => "manifest-last",
            Self::SlotBeforeRun => "slot-before-run",
            Self::ChainMovesWithPending => "chain-moves-with-pending",
            Self::AbsorbBeforeDelete => "absorb-before-delete",
            Self::FolderInLedger => "folder-in-ledger",
            Self::LeaseBeforeAct => "lease-before-act",
            Self::FairShare => "fair-share",
            Self::UnreadWaits => "unread-waits",
            Self::Liveness => "liveness",
            Self::StatusSmall => "status-small",
            Self::NoPanic => "no-panic",
            Self::Simulation => "simulation",
        }
    }
}
