//! What is known after the runs that were loaded.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::run::{Run, identity};

/// What a run is to the runs before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// It has everything: nothing of before counts.
    Full,
    /// It has what changed.
    Incremental,
}

/// Resources by type and id, such as `Patient/1`.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct State {
    resources: BTreeMap<String, Value>,
}

impl State {
    /// Loads a run after those before it: resources take the place of what was known of them, and what was deleted
    /// goes, in this order.
    pub fn load(&mut self, mode: Mode, run: &Run) {
        if mode == Mode::Full {
            self.resources.clear();
        }
        let mut brought: BTreeMap<String, &Value> = BTreeMap::new();
        for resource in &run.output {
            let Some(name) = identity(resource) else { continue };
            // Patient and Group exports may have a resource twice; the newer one counts, else the first.
            let newer = brought.get(&name).is_none_or(|other| updated(resource) > updated(other));
            if newer {
                brought.insert(name, resource);
            }
        }
        self.resources.extend(brought.into_iter().map(|(name, resource)| (name, resource.clone())));
        for name in &run.deleted {
            self.resources.remove(name);
        }
    }

    /// The state of a server, or any other that is known as a whole.
    pub fn of(resources: impl IntoIterator<Item = Value>) -> Self {
        let named = resources.into_iter().filter_map(|resource| Some((identity(&resource)?, resource)));
        Self { resources: named.collect() }
    }

    /// All resources, by type and id.
    pub fn resources(&self) -> &BTreeMap<String, Value> {
        &self.resources
    }

    /// The `meta.versionId` of a resource.
    pub fn version(&self, name: &str) -> Option<&str> {
        version(self.resources.get(name)?)
    }
}

fn updated(resource: &Value) -> &str {
    resource.pointer("/meta/lastUpdated").and_then(Value::as_str).unwrap_or_default()
}

pub(crate) fn version(resource: &Value) -> Option<&str> {
    resource.pointer("/meta/versionId")?.as_str()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)] // a test fails by panicking
mod tests {
    use serde_json::json;

    use super::*;

    fn patient(id: &str, version: u32) -> Value {
        let updated = format!("2026-01-01T00:00:0{version}.000+00:00");
        json!({"resourceType": "Patient", "id": id, "meta": {"versionId": version.to_string(), "lastUpdated": updated}})
    }

    fn run(output: &[Value], deleted: &[&str]) -> Run {
        let deleted = deleted.iter().map(|name| (*name).to_owned()).collect();
        Run { output: output.to_vec(), deleted, transaction_time: None }
    }

    #[test]
    fn increments_change_add_and_delete_and_a_full_run_begins_anew() {
        let mut state = State::default();
        state.load(Mode::Full, &run(&[patient("a", 1), patient("b", 1), patient("c", 1)], &[]));
        state.load(
            Mode::Incremental,
            &run(&[patient("a", 2), patient("d", 1)], &["Patient/b", "Patient/never"]),
        );
        let names: Vec<&String> = state.resources().keys().collect();
        assert_eq!(names, ["Patient/a", "Patient/c", "Patient/d"]);
        assert_eq!(state.version("Patient/a"), Some("2"));
        // What was deleted can come back.
        state.load(Mode::Incremental, &run(&[patient("b", 3)], &[]));
        assert_eq!(state.version("Patient/b"), Some("3"));
        state.load(Mode::Full, &run(&[patient("c", 1)], &[]));
        assert_eq!(state, State::of([patient("c", 1)]));
    }

    #[test]
    fn of_doubles_in_one_run_the_newer_counts() {
        for order in [[patient("a", 2), patient("a", 1)], [patient("a", 1), patient("a", 2)]] {
            let mut state = State::default();
            state.load(Mode::Full, &run(&order, &[]));
            assert_eq!(state.version("Patient/a"), Some("2"));
        }
    }
}
