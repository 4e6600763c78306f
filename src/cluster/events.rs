//! Events about exports and schedules.

use k8s_openapi::api::core::v1::ObjectReference;
use kube::runtime::events::{Event, EventType, Recorder, Reporter};
use kube::{Client, Resource, ResourceExt};
use tracing::{debug, info, warn};

use super::NAME;
use super::call::{CallError, call};
use crate::core::effect::{Note, NoteType};

/// The API server refuses longer notes, in bytes.
const LONGEST: usize = 1024;

/// Publishes events. There is one for the process, since it folds repeated events by what it remembers: what is
/// repeated within six minutes is counted, and keeps its first note.
pub(super) struct Events(Recorder);

impl Events {
    pub(super) fn new(client: Client) -> Self {
        let instance = std::env::var("POD_NAME").ok().or_else(|| std::env::var("HOSTNAME").ok());
        Self(Recorder::new(client, Reporter { controller: NAME.into(), instance }))
    }

    /// `state` is that of the object, if it has one: for the log.
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
            // What is told of one folder would be folded into what was told of another.
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
            // The namespace is being deleted, or is gone: nobody will read events there.
            Err(CallError::Forbidden(words)) if words.contains("being terminated") => {
                debug!(reason, "no event in a namespace that is being deleted");
            }
            Err(CallError::NotFound) => debug!(reason, "no event: the namespace is gone"),
            Err(error) => warn!(kind, namespace, name, uid, reason, "{}", error.failure("publish an event")),
        }
    }
}

/// At most as many bytes as the API server takes, ending at a character.
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
