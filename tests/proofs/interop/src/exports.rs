//! The exports: their requests, and how each must end.

use std::time::{Duration, Instant};

use fhir_export_operator::api::{FhirExport, FhirExportStatus};
use kube::api::PostParams;
use kube::{Api, Client};
use serde_json::json;

use crate::objects::{NAMESPACE, REPEATING};
use crate::patients::{COHORT, OTHERS};
use crate::{Error, Result};
use stage::say;

const ALL_END_WITHIN: Duration = Duration::from_mins(5);
const LOOK_EVERY: Duration = Duration::from_millis(500);

/// An export.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Export {
    /// The name of the FhirServer.
    pub server: &'static str,
    /// System, Patient or Group.
    pub level: &'static str,
    /// The id of the group, with level Group.
    pub group: Option<&'static str>,
    /// The requested types. Empty for all types.
    pub types: &'static [&'static str],
}

impl Export {
    /// All exports.
    pub fn all() -> Vec<Self> {
        let one = |server, level, group, types| Self { server, level, group, types };
        let mut all = Vec::new();
        for server in ["hapi", "sekmet"] {
            all.extend([
                one(server, "System", None, [].as_slice()),
                one(server, "System", None, &["Patient", "Observation", "Organization"]),
                one(server, "Patient", None, &[]),
                one(server, "Patient", None, &["Condition", "Claim"]),
                one(server, "Group", Some(COHORT), &[]),
                one(server, "Group", Some(OTHERS), &["Patient", "Observation", "Encounter"]),
            ]);
        }
        all.push(one(REPEATING, "System", None, &["Patient", "Observation"]));
        all
    }

    /// The condition that the export must end with, and its reason if that matters. HAPI leaves out all types but
    /// the first if lists are repeated, which the operator must detect.
    pub fn must_be(&self) -> (&'static str, Option<&'static str>) {
        if self.server == REPEATING { ("Failed", Some("VerificationFailed")) } else { ("Complete", None) }
    }

    /// The name of the export's object.
    pub fn name(&self) -> String {
        let types = if self.types.is_empty() { "all" } else { "some" };
        format!("{}-{}-{types}", self.server, self.level.to_lowercase())
    }

    async fn create(&self, exports: &Api<FhirExport>) -> Result<()> {
        let types = (!self.types.is_empty()).then_some(self.types);
        let request = json!({ "level": self.level, "groupID": self.group, "types": types });
        let export: FhirExport = serde_json::from_value(json!({
            "apiVersion": "fhirexport.dev/v1alpha1",
            "kind": "FhirExport",
            "metadata": { "name": self.name() },
            "spec": { "serverRef": { "name": self.server }, "request": request },
        }))?;
        exports.create(&PostParams::default(), &export).await?;
        Ok(())
    }
}

/// An export that ended.
#[derive(Debug, Clone)]
pub struct Ended {
    /// The export.
    pub export: Export,
    /// The status of the export at its end.
    pub status: FhirExportStatus,
}

impl Ended {
    /// The condition that the export ended with, and its reason.
    pub fn end(&self) -> (&'static str, &str) {
        let holds = |wanted: &str| {
            let mut conditions = self.status.conditions.iter();
            conditions.find(|c| c.type_ == wanted && format!("{:?}", c.status) == "True")
        };
        for end in ["Complete", "Failed"] {
            if let Some(condition) = holds(end) {
                return (end, &condition.reason);
            }
        }
        ("Cancelled", "")
    }

    /// Whether the export ended as it must.
    pub fn is_as_it_must(&self) -> bool {
        let ((end, reason), (wanted, because)) = (self.end(), self.export.must_be());
        end == wanted && because.is_none_or(|because| because == reason)
    }

    /// The whole status as indented JSON, for people.
    pub fn told(&self) -> Result<String> {
        Ok(serde_json::to_string_pretty(&self.status)?)
    }
}

/// Starts all exports and waits for their ends.
pub async fn run(client: &Client, exports: &[Export]) -> Result<Vec<Ended>> {
    let api: Api<FhirExport> = Api::namespaced(client.clone(), NAMESPACE);
    let started = Instant::now();
    for export in exports {
        export.create(&api).await?;
    }
    let mut waiting = exports.to_vec();
    let mut ended = Vec::new();
    while !waiting.is_empty() {
        let mut left = Vec::new();
        for export in waiting {
            let object = api.get(&export.name()).await?;
            let Some(status) = object.status.clone().filter(|status| status.completion_time.is_some()) else {
                left.push((export, object));
                continue;
            };
            let end = Ended { export, status };
            let seconds = started.elapsed().as_secs_f64();
            say(&format!("    {seconds:>6.1} s  {}: {}", export.name(), end.end().1));
            ended.push(end);
        }
        if started.elapsed() > ALL_END_WITHIN
            && let Some((export, object)) = left.first()
        {
            let status = serde_json::to_string_pretty(&object.status)?;
            let name = export.name();
            return Err(Error::Operator(format!(
                "{name} did not end in five minutes; its status:\n{status}"
            )));
        }
        waiting = left.into_iter().map(|(export, _)| export).collect();
        tokio::time::sleep(LOOK_EVERY).await;
    }
    // In the order of `exports`.
    ended.sort_by_key(|end| exports.iter().position(|export| *export == end.export));
    Ok(ended)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)] // a test fails by panicking
mod tests {
    use super::*;

    fn ended(export: Export, condition: &str, reason: &str) -> Ended {
        let condition = json!({ "type": condition, "status": "True", "reason": reason, "message": "",
            "lastTransitionTime": "2026-01-01T00:00:00Z" });
        Ended { export, status: serde_json::from_value(json!({ "conditions": [condition] })).unwrap() }
    }

    #[test]
    fn each_export_has_a_name_of_its_own() {
        let all = Export::all();
        let names: std::collections::BTreeSet<String> = all.iter().map(Export::name).collect();
        assert_eq!(names.len(), all.len());
    }

    #[test]
    fn an_export_that_loses_types_must_fail_and_the_others_must_not() {
        for export in Export::all() {
            let repeating = export.server == REPEATING;
            assert_eq!(ended(export, "Complete", "Exported").is_as_it_must(), !repeating);
            assert_eq!(ended(export, "Failed", "VerificationFailed").is_as_it_must(), repeating);
            assert!(!ended(export, "Failed", "UnsupportedByServer").is_as_it_must());
        }
    }
}
