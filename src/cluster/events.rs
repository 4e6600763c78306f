//! Kubernetes events about exports and schedules.

use k8s_openapi::api::core::v1::ObjectReference;
use kube::runtime::events::{Event, EventType, Recorder, Reporter};
use kube::{Client, Resource, ResourceExt};
use tracing::{debug, info, warn};

use super::NAME;
use super::call::{CallError, call};
use crate::core::effect::{Note, NoteType};

/// The longest note that the API server accepts, in bytes.
const LONGEST: usize = 1024;

/// Publishes events. There is one per process, because it remembers what it published: an event that repeats
/// within six minutes is counted, and keeps its first note.
pub(super) struct Events(Recorder);

impl Events {
    pub(super) fn new(client: Client) -> Self {
        let instance = std::env::var("POD_NAME").ok().or_else(|| std::env::var("HOSTNAME").ok());
        Self(Recorder::new(client, Reporter { controller: NAME.into(), instance }))
    }

    /// Publishes and logs an event about an object. `state` is the object's state for the log, if it has one.
    pub(super) async fn publish<K: Resource<DynamicType = ()>>(
        &self,
        about: &K,
        state: Option<&str>,
        note: &Note,
    ) {
        let event = Event {
            type_: match note.type_ {
                NoteType::Normal => EventType::Normal,
                NoteType::Warning => EventType::Warning,
            },
            reason: note.reason.to_string(),
            note: Some(cut(&note.message)),
            action: note.action.into(),
            // Without this, an event about one folder would be folded into one about another.
            secondary: note.folder.as_ref().map(|folder| ObjectReference {
                kind: Some("Folder".into()),
                name: Some(folder.clone()),
                ..ObjectReference::default()
            }),
        };
        let kind = K::kind(&());
        let (kind, namespace, name, uid) = (&*kind, about.namespace(), about.name_any(), about.uid());
        let reason = note.reason.as_str();
        match note.type_ {
            NoteType::Normal => info!(kind, namespace, name, uid, state, reason, "{}", note.message),
            NoteType::Warning => warn!(kind, namespace, name, uid, state, reason, "{}", note.message),
        }
        let reference = about.object_ref(&());
        match call(|| self.0.publish(&event, &reference)).await {
            Ok(()) => {}
            // The namespace is being deleted or is gone, so nobody will read events in it.
            Err(CallError::Forbidden(words)) if words.contains("being terminated") => {
                debug!(reason, "no event, since the namespace is being deleted");
            }
            Err(CallError::NotFound) => debug!(reason, "no event: the namespace is gone"),
            Err(error) => warn!(kind, namespace, name, uid, reason, "{}", error.failure("publish an event")),
        }
    }
}

/// Cuts a message to the length that the API server accepts, at a character boundary.
fn cut(message: &str) -> String {
    if message.len() <= LONGEST {
        return message.to_string();
    }
    let end = message.floor_char_boundary(LONGEST - '…'.len_utf8());
    format!("{}…", message.get(..end).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_messages_are_cut_at_a_character() {
        assert_eq!(cut("short"), "short");
        assert_eq!(cut(&"x".repeat(1024)).len(), 1024);
        let long = cut(&"ä".repeat(1000));
        assert!(long.len() <= 1024 && long.ends_with("ä…"));
    }
}
