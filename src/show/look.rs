//! What people are told of an object, and what is new about it.

use serde_json::Value;

use super::key::{Key, ObjectKind};
use crate::api::{Condition, ConditionType};
use crate::core::store_name::folder_url;

/// How an export ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum End {
    /// The data is complete. With where it lies and how much it is, as far as the status says so.
    Complete(String),
    /// It failed, with the cause and the next step.
    Failed(String),
    /// It was cancelled.
    Cancelled,
}

/// An object as people see it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Look {
    /// Kind, namespace and name.
    pub key: Key,
    /// The state of an export, in one word.
    pub state: Option<String>,
    /// The progress of an export, in a few words.
    pub progress: Option<String>,
    /// The progress of an export, in per cent.
    pub percent: Option<u64>,
    /// The server's id of the job.
    pub job: Option<String>,
    /// Whether an export has ended.
    pub ended: bool,
    /// Where the files are and how many.
    output: Option<String>,
    conditions: Vec<Condition>,
}

impl Look {
    /// Looks at an object. What cannot be read of its status is left out.
    pub fn at(key: &Key, object: &Value) -> Self {
        let text = |pointer: &str| object.pointer(pointer).and_then(Value::as_str).map(str::to_owned);
        let conditions = object.pointer("/status/conditions").cloned().unwrap_or_default();
        Self {
            key: key.clone(),
            state: text("/status/state"),
            progress: text("/status/job/progress/summary"),
            percent: object.pointer("/status/job/progress/percent").and_then(Value::as_u64),
            job: text("/status/job/id"),
            ended: key.kind == ObjectKind::Export && text("/status/completionTime").is_some(),
            output: output(object),
            conditions: serde_json::from_value(conditions).unwrap_or_default(),
        }
    }

    fn condition(&self, type_: ConditionType) -> Option<&Condition> {
        self.conditions.iter().find(|condition| condition.is(type_))
    }

    /// The state of an export, or whether a server or schedule is ready, in one word.
    pub fn word(&self) -> &str {
        match (self.key.kind, self.condition(ConditionType::Ready)) {
            (ObjectKind::Export, _) => self.state.as_deref().unwrap_or("Waiting"),
            (ObjectKind::Server | ObjectKind::Schedule, Some(ready)) if ready.is_true() => "Ready",
            (ObjectKind::Server | ObjectKind::Schedule, Some(not)) => &not.reason,
            (ObjectKind::Server | ObjectKind::Schedule, None) => "-",
        }
    }

    /// How an export ended, if it has.
    pub fn end(&self) -> Option<End> {
        if !self.ended {
            return None;
        }
        let complete = self.condition(ConditionType::Complete).filter(|condition| condition.is_true());
        if let Some(complete) = complete {
            return Some(End::Complete(self.output.clone().unwrap_or_else(|| complete.message.clone())));
        }
        if self.state.as_deref() == Some("Cancelled") {
            return Some(End::Cancelled);
        }
        let failed = self.condition(ConditionType::Failed);
        Some(End::Failed(failed.map(|condition| condition.message.clone()).unwrap_or_default()))
    }

    /// What is new since `before`, one line each: a state, with progress also that, and each condition whose status or
    /// reason changed.
    pub fn news(&self, before: Option<&Self>, with_progress: bool) -> Vec<String> {
        let mut lines = Vec::new();
        let progress = |look: &Self| look.progress.clone().filter(|_| with_progress);
        let (state, progress, before_progress) =
            (self.state.as_deref(), progress(self), before.and_then(progress));
        let was = before.and_then(|before| before.state.as_deref());
        if let Some(state) = state.filter(|_| (was, &before_progress) != (state, &progress)) {
            match progress.filter(|_| !self.ended) {
                Some(progress) => lines.push(format!("{state}, {progress}")),
                None if was != Some(state) => lines.push(state.to_owned()),
                None => {}
            }
        }
        for condition in &self.conditions {
            let told = before.and_then(|b| b.conditions.iter().find(|c| c.type_ == condition.type_));
            if told.is_none_or(|told| (told.status, &told.reason) != (condition.status, &condition.reason)) {
                let line = sentence(condition);
                // Conditions that have one cause say it once.
                if !lines.contains(&line) {
                    lines.push(line);
                }
            }
        }
        lines
    }
}

/// A condition in a line. Its type and status are for programs, which read them in the status.
fn sentence(condition: &Condition) -> String {
    let Condition { reason, message, .. } = condition;
    if message.is_empty() { reason.clone() } else { format!("{reason}: {message}") }
}

/// Where the files of an export are, and how much they hold.
fn output(object: &Value) -> Option<String> {
    let output = object.pointer("/status/output")?;
    let number = |member: &str| output.get(member).and_then(Value::as_i64);
    let text = |member: &str| output.get(member).and_then(Value::as_str);
    let files = number("files")?;
    let resources = number("resources").map_or_else(String::new, |n| format!("{n} resources in "));
    let endpoint = object.pointer("/status/job/destination/endpoint").and_then(Value::as_str);
    let place =
        text("container").map(|container| format!(" in {}", folder_url(endpoint, container, text("folder"))));
    let files = if files == 1 { "1 file".to_owned() } else { format!("{files} files") };
    Some(format!("{resources}{files}{}", place.unwrap_or_default()))
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::indexing_slicing)]
mod tests {
    use serde_json::json;

    use super::*;

    fn look(status: &Value) -> Look {
        let key = Key { kind: ObjectKind::Export, namespace: "default".into(), name: "cohort".into() };
        Look::at(&key, &json!({ "status": status }))
    }

    fn condition(type_: &str, status: &str, message: &str) -> Value {
        json!({ "type": type_, "status": status, "reason": "Why", "message": message,
            "lastTransitionTime": "2026-01-01T00:00:00Z" })
    }

    #[test]
    fn only_what_is_new_is_told() {
        let first = look(&json!({ "state": "Running", "conditions": [condition("Accepted", "True", "")] }));
        assert_eq!(first.news(None, true), ["Running", "Why"]);
        assert!(first.news(Some(&first), true).is_empty());
        let second = look(&json!({ "state": "Landing", "job": { "progress": { "summary": "1 of 9 files" } },
            "conditions": [condition("Accepted", "True", "another wording")] }));
        assert_eq!(second.news(Some(&first), true), ["Landing, 1 of 9 files"]);
        let third = look(&json!({ "state": "Landing", "job": { "progress": { "summary": "2 of 9 files" } },
            "conditions": [condition("ServerReachable", "False", "no answer")] }));
        assert_eq!(third.news(Some(&second), true), ["Landing, 2 of 9 files", "Why: no answer"]);
    }

    #[test]
    fn an_end_is_what_the_conditions_say() {
        let ended = |endpoint: &str, state: &str, conditions: Value| {
            look(&json!({ "state": state, "completionTime": "2026-01-01T00:00:00Z", "conditions": conditions,
                "job": { "destination": { "endpoint": endpoint } },
                "output": { "container": "c", "folder": "f", "files": 2, "resources": 9 } }))
            .end()
            .unwrap()
        };
        let end = |state: &str, conditions: Value| ended("file:///lake", state, conditions);
        let complete = end("Complete", json!([condition("Complete", "True", "done")]));
        assert_eq!(complete, End::Complete("9 resources in 2 files in file:///lake/c/f".into()));
        let in_s3 = ended(
            "s3://clinic/a?endpoint=https://s3.example",
            "Complete",
            json!([condition("Complete", "True", "done")]),
        );
        assert_eq!(in_s3, End::Complete("9 resources in 2 files in s3://clinic/a/c/f".into()));
        let failed = end("Failed", json!([condition("Failed", "True", "no such Group; correct groupID")]));
        assert_eq!(failed, End::Failed("no such Group; correct groupID".into()));
        assert_eq!(end("Cancelled", json!([condition("Failed", "True", "cancelled")])), End::Cancelled);
        assert_eq!(look(&json!({ "state": "Running" })).end(), None);
    }
}
