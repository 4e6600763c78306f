//! The names of what the simulation checks.

use std::fmt;

/// A law that was broken, and which of its rules. Two breaks of one rule are the same finding.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BrokenLaw {
    /// The law.
    pub law: Law,
    /// What it says of the moment that was checked.
    pub rule: &'static str,
}

impl fmt::Display for BrokenLaw {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.law.name(), self.rule)
    }
}

/// What can be broken: invariants of ARCHITECTURE.md, under the names that they have there, and two failures that no
/// simulation survives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Law {
    /// The intent is written before its kick-off is sent.
    IntentFirst,
    /// The status URL is written before anything else is done with the job.
    UrlNext,
    /// One run has one job, and its owner is told of any other that may run.
    OneJob,
    /// A DELETE is counted in status before it is sent.
    CancelCounted,
    /// A job that is not proven to be the run's own is never cancelled.
    OnlyOursCancelled,
    /// A deletion comes to its end, and what it leaves behind was told.
    DeletionEnds,
    /// A status that is terminal does not change.
    TerminalAbsorbs,
    /// The same inputs at the same time write nothing.
    QuietWhenUnchanged,
    /// Tokens, secrets and patients stay where they belong.
    TokenStays,
    /// `Complete` means that nothing that was checked failed.
    CompleteMeansChecked,
    /// An outage costs a landing time, and neither the attempt nor a byte that is stored.
    PatientLanding,
    /// An attempt lands where its intent said.
    PlacePinned,
    /// What was landed consists of the parts of one fetch.
    PartsOfOneFetch,
    /// Files come from origins that the FhirServer names.
    FilesFromNamedOrigins,
    /// Where the manifest lies, all lies.
    ManifestLast,
    /// A run of a schedule is recorded before it is created, once, and told of.
    SlotBeforeRun,
    /// What incremental runs cover has no gap.
    ChainMovesWithPending,
    /// A run is taken into account before its object is deleted.
    AbsorbBeforeDelete,
    /// A folder is deleted only if it is of an old chain of the schedule that deletes it.
    FolderInLedger,
    /// Whoever does not hold the Lease does nothing.
    LeaseBeforeAct,
    /// What does not answer keeps waiting only those that ask it.
    FairShare,
    /// A status of which a part cannot be read is left alone.
    UnreadWaits,
    /// Runs and deletions end, and somebody leads, once nothing hinders them.
    Liveness,
    /// Statuses and events stay within the sizes that Kubernetes takes.
    StatusSmall,
    /// Not an invariant: the operator panicked.
    NoPanic,
    /// Not an invariant: the simulation cannot go on.
    Simulation,
}

impl Law {
    /// Those that are invariants of ARCHITECTURE.md.
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
