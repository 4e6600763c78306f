//! What the records show: each finding is one sentence. Pure, so that each figure can be shown to find what it counts.

mod files;
mod jobs;
mod runs;

use std::collections::BTreeMap;

use crate::record::Records;

/// What must all be none.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Findings {
    /// Jobs that were started and whose end nobody was told.
    pub lost: Vec<String>,
    /// Jobs that run at the end without anybody having been told.
    pub leaked: Vec<String>,
    /// Kick-offs while an earlier job might run, without having been told.
    pub doubled: Vec<String>,
    /// Files of complete exports that are not in the container as they were served.
    pub missing: Vec<String>,
    /// Files of complete exports that are in the container twice.
    pub twice: Vec<String>,
    /// Deletions that did not end.
    pub undeleted: Vec<String>,
    /// Secrets, tokens and patients where they must not be.
    pub seen: Vec<String>,
    /// Everything else that must never be.
    pub broken: Vec<String>,
}

impl Findings {
    /// All kinds, with what they are called in the table.
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

    /// Whether there are none.
    pub fn none(&self) -> bool {
        self.kinds().iter().all(|(_, found)| found.is_empty())
    }
}

/// Looks at everything.
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

/// The exports by what became of them.
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
