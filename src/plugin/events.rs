//! The events of an export, as people read them.

use jiff::Timestamp;
use k8s_openapi::api::core::v1::Event;
use kube::api::ListParams;
use kube::{Api, ResourceExt as _};

use super::age::age;
use super::connection::Connected;
use crate::api::FhirExport;
use crate::cluster::{CallError, call};
use crate::show::{Line, ObjectKind};

/// One event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Told {
    /// When it last happened; `None` if the event does not say.
    pub time: Option<Timestamp>,
    /// Normal or Warning.
    pub type_: String,
    /// The reason, as one word.
    pub reason: String,
    /// What happened.
    pub note: String,
    /// How often it happened.
    pub count: i32,
}

impl Told {
    fn of(event: Event) -> Self {
        let series = event.series;
        let repeated =
            series.as_ref().and_then(|series| series.last_observed_time.as_ref()).map(|time| time.0);
        let time = repeated
            .or(event.last_timestamp.map(|time| time.0))
            .or(event.event_time.map(|time| time.0))
            .or(event.first_timestamp.map(|time| time.0));
        Self {
            time,
            type_: event.type_.unwrap_or_default(),
            reason: event.reason.unwrap_or_default(),
            note: event.message.unwrap_or_default(),
            count: series.and_then(|series| series.count).or(event.count).unwrap_or(1),
        }
    }

    /// The event in a line: its age, type, reason, what happened, and how often if more than once. Anybody who
    /// may create events can write the words.
    pub fn line(&self, now: Timestamp) -> Line {
        let age = self.time.map_or_else(|| "<unknown>".to_owned(), |time| age(time, now));
        let times = if self.count > 1 { format!(" ({} times)", self.count) } else { String::new() };
        Line::of(&format!("{age:<7} {:<8} {:<20} {}{times}", self.type_, self.reason, self.note))
    }
}

/// The events about an export, oldest first, without those about an earlier export of the same name. The error
/// completes "the events are not shown: …".
pub async fn about(cluster: &Connected, export: &FhirExport) -> Result<Vec<Told>, String> {
    let api: Api<Event> = Api::namespaced(cluster.client.clone(), &cluster.namespace);
    let which = ListParams::default().fields(&selector(export));
    let listed = call(|| api.list(&which)).await.map_err(|error| match error {
        CallError::Forbidden(_) => format!("you may not list events in namespace {}", cluster.namespace),
        CallError::Unreachable(why) => format!("the API server does not answer ({why})"),
        CallError::Refused(why) => why,
        CallError::NotFound | CallError::Conflict | CallError::AlreadyExists => "there are none".to_owned(),
    })?;
    let mut events: Vec<Told> = listed.items.into_iter().map(Told::of).collect();
    events.sort_by_key(|event| event.time);
    Ok(events)
}

/// The field selector for the events about an export.
fn selector(export: &FhirExport) -> String {
    let named =
        format!("involvedObject.kind={},involvedObject.name={}", ObjectKind::Export, export.name_any());
    match export.uid() {
        Some(uid) => format!("{named},involvedObject.uid={uid}"),
        None => named,
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_last_of_a_series_counts() {
        let event: Event = serde_json::from_value(json!({
            "metadata": {}, "involvedObject": {}, "type": "Warning", "reason": "Throttled", "message": "wait",
            "eventTime": "2026-11-23T01:00:00.000000Z",
            "series": { "count": 7, "lastObservedTime": "2026-11-23T02:00:00.000000Z" } }))
        .unwrap();
        let told = Told::of(event);
        let line = told.line("2026-11-23T02:03:00Z".parse().unwrap());
        assert_eq!(line.as_str(), "3m      Warning  Throttled            wait (7 times)");
    }

    #[test]
    fn what_others_write_is_no_escape_sequence() {
        let event: Event = serde_json::from_value(json!({
            "metadata": {}, "involvedObject": {}, "type": "Normal", "reason": "\u{1b}[2J", "message": "a\nb" }))
        .unwrap();
        let line = Told::of(event).line(Timestamp::UNIX_EPOCH);
        assert_eq!(line.as_str(), "<unknown> Normal   \u{fffd}[2J                 a\u{fffd}b");
    }

    #[test]
    fn an_earlier_export_of_the_name_is_another_one() {
        let export: FhirExport = serde_json::from_value(json!({
            "apiVersion": "fhirexport.dev/v1alpha1", "kind": "FhirExport",
            "metadata": { "name": "cohort", "namespace": "research", "uid": "7f1c" },
            "spec": { "serverRef": { "name": "clinic" }, "request": { "level": "System" } } }))
        .unwrap();
        let wanted = "involvedObject.kind=FhirExport,involvedObject.name=cohort,involvedObject.uid=7f1c";
        assert_eq!(selector(&export), wanted);
    }
}
