//! What was changed on the server, and what is known of it.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::run::identity;
use crate::state::{State, version};

/// The changes that were made on a server, in order.
#[derive(Debug, Clone, Default)]
pub struct Journal {
    made: usize,
    /// The last change of each resource, with how many were made to it: its version, or that it was deleted.
    last: BTreeMap<String, (usize, Option<String>)>,
}

/// How what is known differs from what the server has.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Differences {
    /// Changes that were made.
    pub made: usize,
    /// Of those, the changes of resources that are known as their last change left them.
    pub landed: usize,
    /// What the server has and is not known, or is known in another version.
    pub missing: Vec<String>,
    /// What is known and the server does not have.
    pub kept: Vec<String>,
}

impl Journal {
    /// A resource was made or changed, and is now this.
    pub fn put(&mut self, resource: &Value) {
        if let Some(name) = identity(resource) {
            self.note(name, version(resource).map(str::to_owned));
        }
    }

    /// A resource was deleted: type and id, such as `Patient/1`.
    pub fn deleted(&mut self, name: &str) {
        self.note(name.to_owned(), None);
    }

    fn note(&mut self, name: String, version: Option<String>) {
        self.made += 1;
        let (changes, last) = self.last.entry(name).or_default();
        *changes += 1;
        *last = version;
    }

    /// How many changes were made.
    pub fn made(&self) -> usize {
        self.made
    }

    /// Compares what is known with what the server has.
    pub fn compare(&self, known: &State, server: &State) -> Differences {
        let landed = self.last.iter().filter(|(name, (_, last))| match last {
            Some(last) => known.version(name) == Some(last),
            None => !known.resources().contains_key(*name),
        });
        let landed = landed.map(|(_, (changes, _))| changes).sum();
        let missing = server.resources().iter().filter(|(name, resource)| {
            // Whole, not by version: what a server says of a version may be wrong.
            known.resources().get(*name) != Some(resource)
        });
        let kept = known.resources().keys().filter(|name| !server.resources().contains_key(*name));
        Differences {
            made: self.made,
            landed,
            missing: missing.map(|(name, _)| name.clone()).collect(),
            kept: kept.cloned().collect(),
        }
    }
}

impl Differences {
    /// Whether what is known is exactly what the server has.
    pub fn none(&self) -> bool {
        self.made == self.landed && self.missing.is_empty() && self.kept.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn patient(id: &str, version: &str) -> Value {
        json!({"resourceType": "Patient", "id": id, "meta": {"versionId": version}})
    }

    #[test]
    fn each_kind_of_difference_is_told() {
        let mut journal = Journal::default();
        for version in ["1", "2", "3"] {
            journal.put(&patient("changed", version));
        }
        journal.put(&patient("new", "1"));
        journal.put(&patient("gone", "1"));
        journal.deleted("Patient/gone");
        let server = State::of([patient("changed", "3"), patient("new", "1"), patient("old", "1")]);
        assert!(journal.compare(&server, &server).none());

        let known = State::of([patient("changed", "2"), patient("gone", "1"), patient("old", "1")]);
        let told = journal.compare(&known, &server);
        assert_eq!((told.made, told.landed), (6, 0));
        assert_eq!(told.missing, ["Patient/changed", "Patient/new"]);
        assert_eq!(told.kept, ["Patient/gone"]);
        assert!(!told.none());
        // A resource that nobody changed counts as well.
        let known = State::of([patient("changed", "3"), patient("new", "1")]);
        let told = journal.compare(&known, &server);
        assert_eq!((told.landed, told.missing), (6, vec!["Patient/old".to_owned()]));
    }
}
