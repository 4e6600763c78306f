//! The patients and the groups of them.

use std::collections::BTreeSet;
use std::path::Path;

use serde_json::{Value, json};

use crate::{Error, Result};

/// The id of a group of patients.
pub const COHORT: &str = "cohort-42";
/// The id of another group. One patient is in both.
pub const OTHERS: &str = "cohort-7";

/// The types that other resources refer to, and that must therefore be loaded first.
const FIRST: [&str; 5] = ["Organization", "Location", "Practitioner", "PractitionerRole", "Patient"];

/// All that is loaded into the servers.
#[derive(Debug, Clone, Default)]
pub struct Patients {
    /// Every resource, in the order to load them in.
    pub resources: Vec<Value>,
}

impl Patients {
    /// Reads the resources that Synthea wrote to `folder`, and adds the groups.
    pub fn read(folder: &Path) -> Result<Self> {
        let mut resources = Vec::new();
        for entry in std::fs::read_dir(folder)? {
            for line in std::fs::read_to_string(entry?.path())?.lines() {
                resources.push(serde_json::from_str(line)?);
            }
        }
        Self::of(resources)
    }

    fn of(mut resources: Vec<Value>) -> Result<Self> {
        let rank = |kind: &str| FIRST.iter().position(|first| *first == kind).unwrap_or(FIRST.len());
        resources.sort_by_cached_key(|resource| (rank(kind(resource)), name(resource)));
        let mut patients = Self { resources };
        let ids: Vec<String> = patients.ids("Patient").map(str::to_owned).collect();
        let (Some(cohort), Some(others)) = (ids.get(..3), ids.get(2..4)) else {
            return Err(Error::Fhir(format!("{} patients are too few for two groups", ids.len())));
        };
        patients.resources.extend([group(COHORT, cohort), group(OTHERS, others)]);
        Ok(patients)
    }

    /// The ids of the resources of one type.
    pub fn ids(&self, wanted: &str) -> impl Iterator<Item = &str> {
        let of = move |resource: &&Value| kind(resource) == wanted;
        self.resources.iter().filter(of).filter_map(|resource| resource.get("id")?.as_str())
    }

    /// The types of the resources.
    pub fn types(&self) -> BTreeSet<&str> {
        self.resources.iter().map(kind).collect()
    }

    /// The ids of a group's members.
    pub fn members(&self, group: &str) -> Vec<&str> {
        let this = |resource: &&Value| name(resource) == format!("Group/{group}");
        let members = self.resources.iter().find(this).and_then(|group| group.get("member")?.as_array());
        let members = members.into_iter().flatten();
        members.filter_map(|member| member.pointer("/entity/reference")?.as_str()).map(last).collect()
    }
}

/// The type of a resource.
pub fn kind(resource: &Value) -> &str {
    resource.get("resourceType").and_then(Value::as_str).unwrap_or_default()
}

/// The type and id of a resource, such as `Patient/1`.
pub fn name(resource: &Value) -> String {
    let id = resource.get("id").and_then(Value::as_str).unwrap_or_default();
    format!("{}/{id}", kind(resource))
}

fn last(reference: &str) -> &str {
    reference.rsplit('/').next().unwrap_or(reference)
}

fn group(id: &str, patients: &[String]) -> Value {
    let member = |id: &String| json!({ "entity": { "reference": format!("Patient/{id}") } });
    let members: Vec<Value> = patients.iter().map(member).collect();
    json!({ "resourceType": "Group", "id": id, "type": "person", "actual": true, "member": members })
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::indexing_slicing)] // a test fails by panicking
mod tests {
    use super::*;

    fn resource(kind: &str, id: &str) -> Value {
        json!({ "resourceType": kind, "id": id })
    }

    #[test]
    fn what_is_referred_to_comes_first_and_groups_last() {
        let all = ["4", "3", "2", "1"].map(|id| resource("Patient", id));
        let others = [resource("Claim", "1"), resource("Organization", "1")];
        let patients = Patients::of(others.into_iter().chain(all).collect()).unwrap();
        let names: Vec<String> = patients.resources.iter().map(name).collect();
        assert_eq!(names[..3], ["Organization/1", "Patient/1", "Patient/2"]);
        assert_eq!(names[5..], ["Claim/1", "Group/cohort-42", "Group/cohort-7"]);
        assert_eq!(patients.members(COHORT), ["1", "2", "3"]);
        assert_eq!(patients.members(OTHERS), ["3", "4"]);
        assert_eq!(patients.types().len(), 4);
    }

    #[test]
    fn too_few_patients_are_refused() {
        assert!(Patients::of(vec![resource("Patient", "1")]).is_err());
    }
}
