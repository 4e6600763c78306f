//! The resources that the server holds, and which of them an export takes.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Read;
use std::sync::OnceLock;

use flate2::read::GzDecoder;
use jiff::Timestamp;
use serde_json::{Value, json};

use crate::Error;
use crate::failure::Failure;
use crate::parameters::{Level, Parameters, parse_moment};

/// When the checked-in patients are said to have been loaded; a test changes some to have newer ones.
pub const LOADED: &str = "2026-01-01T00:00:00Z";

static PATIENTS: &[u8] = include_bytes!("../../patients/patients.ndjson.gz");

/// The extension on a resource that was deleted and is exported all the same.
const DELETED: &str = "http://azurehealthcareapis.com/data-extensions/deleted-state";

#[derive(Debug, Clone)]
struct Version {
    updated: Timestamp,
    deleted: bool,
    resource: Value,
}

/// A resource as it is now.
#[derive(Debug, Clone, Copy)]
pub struct Latest<'a> {
    /// Resource type.
    pub kind: &'a str,
    /// Its id.
    pub id: &'a str,
    /// When it was last changed or deleted.
    pub updated: Timestamp,
    /// What it is; `None` if it was deleted.
    pub resource: Option<&'a Value>,
}

/// Resources with their versions, by type and id.
#[derive(Debug, Clone, Default)]
pub struct Patients {
    resources: BTreeMap<(String, String), Vec<Version>>,
    groups: BTreeMap<String, BTreeSet<String>>,
    /// The time of the newest change or transaction that was made with [`Patients::change`] and the like.
    clock: Timestamp,
}

impl Patients {
    /// The checked-in people, with the groups `all`, `cohort-42` (the first three) and `empty`.
    pub fn checked_in() -> Result<Self, Error> {
        // Read once a process, as a test program starts many servers.
        static READ: OnceLock<Patients> = OnceLock::new();
        if let Some(patients) = READ.get() {
            return Ok(patients.clone());
        }
        let mut text = String::new();
        GzDecoder::new(PATIENTS).read_to_string(&mut text)?;
        let loaded = parse_moment(LOADED).unwrap_or_default();
        let mut patients = Self::default();
        for line in text.lines() {
            let resource = serde_json::from_str(line).map_err(|e| Error::Patients(e.to_string()))?;
            patients.put(resource, loaded)?;
        }
        let ids = patients.ids("Patient");
        patients.set_group("cohort-42", ids.iter().take(3).cloned());
        patients.set_group("all", ids);
        patients.set_group("empty", []);
        Ok(READ.get_or_init(|| patients).clone())
    }

    /// Makes or changes a resource as of `updated`.
    pub fn put(&mut self, mut resource: Value, updated: Timestamp) -> Result<(), Error> {
        let text = |key: &str| resource.get(key).and_then(Value::as_str).map(str::to_owned);
        let (Some(kind), Some(id)) = (text("resourceType"), text("id")) else {
            return Err(Error::Patients("a resource needs resourceType and id".into()));
        };
        let versions = self.resources.entry((kind, id)).or_default();
        stamp(&mut resource, updated, versions.len() + 1);
        versions.push(Version { updated, deleted: false, resource });
        Ok(())
    }

    /// Deletes a resource as of `at`: it stays, marked, for exports with `_deleted`.
    pub fn delete(&mut self, kind: &str, id: &str, at: Timestamp) {
        let Some(versions) = self.resources.get_mut(&(kind.to_owned(), id.to_owned())) else { return };
        let mut resource = json!({ "resourceType": kind, "id": id });
        stamp(&mut resource, at, versions.len() + 1);
        if let Some(meta) = resource.get_mut("meta").and_then(Value::as_object_mut) {
            meta.insert("extension".into(), json!([{ "url": DELETED, "valueString": "soft-deleted" }]));
        }
        versions.push(Version { updated: at, deleted: true, resource });
    }

    /// Makes or changes a resource now, after all transaction times that were told.
    pub fn change(&mut self, resource: Value) -> Result<(), Error> {
        let now = self.next_moment();
        self.put(resource, now)
    }

    /// Deletes a resource now, likewise; whether it was there.
    pub fn remove(&mut self, kind: &str, id: &str) -> bool {
        let there = self.get(kind, id).is_some();
        if there {
            let now = self.next_moment();
            self.delete(kind, id, now);
        }
        there
    }

    /// The transaction time of an export that takes its resources now: changes before it are earlier and those after it
    /// later, though times have milliseconds only.
    pub fn transaction_time(&mut self) -> Timestamp {
        self.next_moment()
    }

    /// Rounded up, and never the same one twice.
    fn next_moment(&mut self) -> Timestamp {
        let now = Timestamp::now().as_millisecond() + 1;
        let next = now.max(self.clock.as_millisecond() + 1);
        self.clock = Timestamp::from_millisecond(next).unwrap_or(self.clock);
        self.clock
    }

    /// Sets the patients of a group.
    pub fn set_group(&mut self, id: &str, patients: impl IntoIterator<Item = String>) {
        self.groups.insert(id.to_owned(), patients.into_iter().collect());
    }

    /// The ids of a type that are not deleted, in order.
    pub fn ids(&self, kind: &str) -> Vec<String> {
        let living =
            self.resources.iter().filter(|(_, versions)| versions.last().is_some_and(|v| !v.deleted));
        living.filter(|((found, _), _)| found == kind).map(|((_, id), _)| id.clone()).collect()
    }

    /// The latest version of a resource.
    pub fn get(&self, kind: &str, id: &str) -> Option<&Value> {
        let latest = self.resources.get(&(kind.to_owned(), id.to_owned()))?.last()?;
        (!latest.deleted).then_some(&latest.resource)
    }

    /// All resources as they are now, by type and id; of deleted ones there is only the id.
    pub fn latest(&self) -> impl Iterator<Item = Latest<'_>> {
        self.resources.iter().filter_map(|((kind, id), versions)| {
            let version = versions.last()?;
            let resource = (!version.deleted).then_some(&version.resource);
            Some(Latest { kind, id, updated: version.updated, resource })
        })
    }

    /// The patients of a group.
    pub fn group(&self, id: &str) -> Option<&BTreeSet<String>> {
        self.groups.get(id)
    }

    /// The types of which there are resources.
    pub fn types(&self) -> BTreeSet<String> {
        self.resources.keys().map(|(kind, _)| kind.clone()).collect()
    }

    /// What an export takes, by type.
    pub(crate) fn select(
        &self,
        level: Level,
        group: Option<&str>,
        asked: &Parameters,
        created: Timestamp,
    ) -> Result<BTreeMap<String, Vec<Value>>, Failure> {
        if let Some(name) = asked.types.iter().find(|name| !looks_like_type(name)) {
            return Err(Failure::UnknownType { name: name.clone() });
        }
        let members = match (level, group) {
            (Level::Group, Some(id)) => {
                Some(self.groups.get(id).ok_or_else(|| Failure::GroupNotFound { id: id.to_owned() })?)
            }
            _ => None,
        };
        // `_since` and the filters of Patient narrow the people first: newer data of an unchanged person is lost.
        let people: BTreeSet<&str> = self
            .resources
            .iter()
            .filter(|((kind, id), _)| kind == "Patient" && members.is_none_or(|members| members.contains(id)))
            .filter(|(_, versions)| versions.iter().any(|v| wanted(v, "Patient", level, asked, created)))
            .map(|((_, id), _)| id.as_str())
            .collect();
        let mut selected: BTreeMap<String, Vec<Value>> = BTreeMap::new();
        for ((kind, id), versions) in &self.resources {
            if !asked.types.is_empty() && !asked.types.contains(kind) {
                continue;
            }
            let Some(latest) = versions.last() else { continue };
            let owner = if kind == "Patient" { Some(id.as_str()) } else { owner(&latest.resource) };
            if level != Level::System && !owner.is_some_and(|owner| people.contains(owner)) {
                continue;
            }
            let older = if asked.history { 0 } else { versions.len() - 1 };
            for version in versions.iter().skip(older).filter(|v| wanted(v, kind, level, asked, created)) {
                selected.entry(kind.clone()).or_default().push(version.resource.clone());
            }
        }
        Ok(selected)
    }
}

fn stamp(resource: &mut Value, updated: Timestamp, version: usize) {
    let Some(object) = resource.as_object_mut() else { return };
    let meta = object.entry("meta").or_insert_with(|| json!({}));
    if let Some(meta) = meta.as_object_mut() {
        meta.insert("versionId".into(), json!(version.to_string()));
        meta.insert(
            "lastUpdated".into(),
            json!(format!("{}+00:00", updated.strftime("%Y-%m-%dT%H:%M:%S%.3f"))),
        );
    }
}

/// The patient in whose compartment a resource is.
pub fn owner(resource: &Value) -> Option<&str> {
    let reference =
        resource.get("subject").or_else(|| resource.get("patient"))?.get("reference")?.as_str()?;
    reference.strip_prefix("Patient/")
}

fn wanted(version: &Version, kind: &str, level: Level, asked: &Parameters, created: Timestamp) -> bool {
    let till = asked.till.unwrap_or(created);
    // Exclusive on the system level, so that one run's end can be the next one's start; inclusive on the others.
    let in_time = if level == Level::System && asked.filters.is_empty() {
        version.updated < till
    } else {
        version.updated <= till
    };
    let mut filters =
        asked.filters.iter().filter(|f| f.kind == kind && asked.types.contains(&f.kind)).peekable();
    in_time
        && asked.since.is_none_or(|since| version.updated >= since)
        && (!version.deleted || asked.deleted)
        && (filters.peek().is_none() || filters.any(|filter| filter.finds(&version.resource)))
}

/// Good enough for a server with few types: a name that could be one.
fn looks_like_type(name: &str) -> bool {
    name.starts_with(|c: char| c.is_ascii_uppercase())
        && name.chars().all(|c| c.is_ascii_alphabetic())
        && !name.starts_with("Unknown")
}

#[cfg(test)]
#[allow(clippy::unwrap_used)] // a test fails by panicking
mod tests {
    use replay::{Change, Changes, Journal, Mode, Run, State};

    use super::*;

    /// What a job that was made at a time and runs now writes.
    fn run(patients: &Patients, since: Option<Timestamp>, created: Timestamp) -> Run {
        let asked = Parameters { since, deleted: true, ..Parameters::default() };
        let selected = patients.select(Level::System, None, &asked, created).unwrap();
        let files = selected.into_iter().map(|(kind, resources)| {
            let lines: String = resources.iter().flat_map(|r| [r.to_string(), "\n".to_owned()]).collect();
            (format!("{kind}-1-1.ndjson"), lines.into_bytes())
        });
        Run::of(&files.collect()).unwrap()
    }

    #[test]
    fn runs_that_build_on_each_other_have_all_that_changed_before_and_during_them() {
        let mut patients = Patients::default();
        let mut journal = Journal::default();
        let mut changes = Changes::new(3, true);
        let mut state = State::default();
        let mut since = None;
        let mut change = |patients: &mut Patients, many: usize| {
            for change in changes.by_ref().take(many) {
                match change {
                    Change::Put(resource) => {
                        let said =
                            |what: &str| resource.get(what).and_then(Value::as_str).unwrap().to_owned();
                        let (kind, id) = (said("resourceType"), said("id"));
                        patients.change(resource).unwrap();
                        journal.put(patients.get(&kind, &id).unwrap());
                    }
                    Change::Delete { kind, id } => {
                        assert!(patients.remove(&kind, &id));
                        journal.deleted(&format!("{kind}/{id}"));
                    }
                }
            }
        };
        for number in 0..30 {
            change(&mut patients, 20);
            let created = patients.transaction_time();
            // The service reads while its data change: what changed meanwhile is not in this run.
            change(&mut patients, if number == 29 { 0 } else { 7 });
            let mode = if since.is_none() { Mode::Full } else { Mode::Incremental };
            state.load(mode, &run(&patients, since, created));
            since = Some(created);
        }
        let told = journal.compare(&state, &State::of(patients.latest().filter_map(|l| l.resource.cloned())));
        assert!(told.none() && told.made == 30 * 20 + 29 * 7, "{told:?}");
    }
}
