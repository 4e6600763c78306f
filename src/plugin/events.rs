//! The events of an object, as people read them.

use jiff::Timestamp;
use k8s_openapi::api::core::v1::Event;
use kube::Api;
use kube::api::ListParams;

use super::age::age;
use super::connection::Connected;
use crate::cluster::{CallError, call};
use crate::show::ObjectKind;

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

    /// The event in a line: its age, type, reason, how often it happened if more than once, and what happened.
    pub fn line(&self, now: Timestamp) -> String {
        let age = self.time.map_or_else(|| "<unknown>".to_owned(), |time| age(time, now));
        let times = if self.count > 1 { format!(" ({} times)", self.count) } else { String::new() };
        format!("{age:<7} {:<8} {:<20} {}{times}", self.type_, self.reason, self.note)
    }
}

/// The events about an object, oldest first. The error completes "the events are not shown: …".
pub async fn about(cluster: &Connected, kind: ObjectKind, name: &str) -> Result<Vec<Told>, String> {
    let api: Api<Event> = Api::namespaced(cluster.client.clone(), &cluster.namespace);
    let which =
        ListParams::default().fields(&format!("involvedObject.kind={kind},involvedObject.name={name}"));
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
        assert_eq!(line, "3m      Warning  Throttled            wait (7 times)");
    }
}
