//! The audit of the records. Each finding is one sentence. The audit is pure, so that tests can show that each figure
//! finds what it counts.

mod files;
mod jobs;
mod runs;

use std::collections::BTreeMap;

use crate::record::Records;

/// The findings, which must all be empty.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Findings {
    /// Jobs that were started, and whose end no status or event reports.
    pub lost: Vec<String>,
    /// Jobs that still run at the end, and that no status or event reports.
    pub leaked: Vec<String>,
    /// Kick-offs while an earlier job might run, which no status or event reports.
    pub doubled: Vec<String>,
    /// Files of complete exports that are not in the container as the server served them.
    pub missing: Vec<String>,
    /// Files of complete exports that are in the container twice.
    pub twice: Vec<String>,
    /// Deletions that did not end.
    pub undeleted: Vec<String>,
    /// Secrets, tokens and patients' ids where they must not be.
    pub seen: Vec<String>,
    /// Violations of other rules.
    pub broken: Vec<String>,
}

impl Findings {
    /// All kinds of findings, with their names in the table.
    pub fn kinds(&self) -> [(&'static str, &[String]); 8] {
        [
            ("jobs lost", &self.lost),
            ("jobs leaked (running at the end, not told)", &self.leaked),
            ("kick-offs doubled without being told", &self.doubled),
            ("files missing or different", &self.missing),
            ("files doubled", &self.twice),
            ("deletions that did not end", &self.undeleted),
            ("secrets, tokens or patients seen", &self.seen),
            ("invariants broken", &self.broken),
        ]
    }

    /// Whether there are no findings.
    pub fn none(&self) -> bool {
        self.kinds().iter().all(|(_, found)| found.is_empty())
    }
}

/// Audits the records.
pub fn audit(records: &Records) -> Findings {
    let mut findings = Findings { seen: records.seen.clone(), ..Findings::default() };
    findings.broken.extend(records.trouble.iter().cloned());
    let left = records.namespaces_left.iter();
    findings.undeleted.extend(left.map(|name| format!("the namespace {name} is still being deleted")));
    jobs::look(records, &mut findings);
    runs::look(records, &mut findings);
    files::look(records, &mut findings);
    findings
}

/// The number of exports by their end.
pub fn fates(records: &Records) -> BTreeMap<String, usize> {
    let mut fates = BTreeMap::new();
    for export in &records.exports {
        let fate = match export.end() {
            _ if !export.there => "deleted".to_owned(),
            Some((type_, reason)) => format!("{type_}: {reason}"),
            None => "not ended".to_owned(),
        };
        *fates.entry(fate).or_insert(0) += 1;
    }
    fates
}

#[cfg(test)]
mod tests;
