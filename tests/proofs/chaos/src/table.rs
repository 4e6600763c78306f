//! The table that the program prints at the end.

use std::collections::BTreeMap;

use crate::audit::{Findings, fates};
use crate::record::{Records, Store};

/// The figures of the table that do not come from the audit.
#[derive(Debug, Clone, Default)]
pub struct Figures {
    /// The seed of the plan.
    pub seed: u64,
    /// How often each kind of fault was injected.
    pub faults: BTreeMap<&'static str, usize>,
    /// The number of kick-offs that reached the servers.
    pub kick_offs: usize,
    /// The seconds from the first start to the collection of the records.
    pub seconds: u64,
}

/// The lines of the table.
pub fn table(figures: &Figures, records: &Records, findings: &Findings) -> Vec<String> {
    let mut lines = Vec::new();
    let mut line = |what: &str, value: usize| lines.push(format!("  {what:<46} {value:>6}"));
    line("exports", records.exports.len());
    for (fate, count) in fates(records) {
        line(&format!("  {fate}"), count);
    }
    let crashes = figures.faults.iter().filter(|(kind, _)| kind.starts_with("operator killed"));
    line("crashes", crashes.map(|(_, count)| count).sum());
    line("faults", figures.faults.values().sum());
    for (kind, count) in &figures.faults {
        line(&format!("  {kind}"), *count);
    }
    line("kick-offs", figures.kick_offs);
    line("jobs", records.jobs.len());
    line("jobs that may run unseen, told", told(records));
    line("files compared", records.blobs.len());
    for store in Store::ALL {
        line(
            &format!("  {}", store.place()),
            records.blobs.iter().filter(|blob| blob.store == store).count(),
        );
    }
    for (kind, found) in findings.kinds() {
        line(kind, found.len());
    }
    line("seconds", usize::try_from(figures.seconds).unwrap_or(usize::MAX));
    lines
}

fn told(records: &Records) -> usize {
    records.exports.iter().map(|export| export.status.unsettled_jobs.len()).sum()
}
