//! Kubernetes events about exports and schedules. Tasks post them beside the reconciles, so that a slow
//! events API delays nothing.

use std::collections::VecDeque;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use k8s_openapi::api::core::v1::ObjectReference;
use kube::runtime::events::{Event, EventType, Recorder, Reporter};
use kube::{Client, Resource, ResourceExt};
use tokio::sync::watch;
use tokio::task::AbortHandle;
use tracing::{debug, info, warn};

use super::NAME;
use super::call::{CallError, call};
use crate::core::effect::{Note, NoteType};
use crate::metrics::Metrics;

/// The longest note that the API server accepts, in bytes.
const LONGEST: usize = 1024;
/// How many events are posted at once, each about another object.
const LANES: usize = 8;
/// How many events may wait in each lane. If there are more, the oldest is dropped.
const MOST_WAITING: usize = 512;

/// Publishes events. There is one per process, because it remembers what it published: an event that repeats
/// within six minutes is counted, and keeps its first note.
pub(super) struct Events {
    /// The events of one object are all in one lane, so that they are posted in order.
    lanes: Vec<Lane>,
}

/// Events that are posted one after the other.
struct Lane {
    waiting: Arc<Waiting>,
    /// The task that posts the events of the lane. It ends when the lane is dropped.
    posts: AbortHandle,
}

impl Drop for Lane {
    fn drop(&mut self) {
        self.posts.abort();
    }
}

/// An event that is to be posted.
struct Post {
    event: Event,
    about: ObjectReference,
}

/// The events of a lane that wait to be posted.
struct Waiting {
    posts: Mutex<VecDeque<Post>>,
    /// How many events are not posted yet: those that wait, and those that are on their way.
    open: watch::Sender<usize>,
    metrics: Arc<Metrics>,
}

impl Waiting {
    fn posts(&self) -> MutexGuard<'_, VecDeque<Post>> {
        self.posts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds an event. If too many wait, the oldest is dropped and counted.
    fn add(&self, post: Post) {
        let mut posts = self.posts();
        posts.push_back(post);
        if posts.len() > MOST_WAITING {
            posts.pop_front();
            self.metrics.event_dropped();
        } else {
            self.open.send_modify(|open| *open += 1);
        }
    }

    /// The next event, once there is one.
    async fn next(&self) -> Option<Post> {
        let mut changed = self.open.subscribe();
        loop {
            if let Some(next) = self.posts().pop_front() {
                return Some(next);
            }
            changed.changed().await.ok()?;
        }
    }
}

/// Posts the events of a lane one after the other, until the task is aborted.
async fn post_all(recorder: Recorder, waiting: Arc<Waiting>) {
    while let Some(post) = waiting.next().await {
        post_one(&recorder, &post).await;
        waiting.open.send_modify(|open| *open = open.saturating_sub(1));
    }
}

async fn post_one(recorder: &Recorder, Post { event, about }: &Post) {
    let reason = &event.reason;
    match call(|| recorder.publish(event, about)).await {
        Ok(()) => {}
        // The namespace is being deleted or is gone, so nobody will read events in it.
        Err(CallError::Forbidden(words)) if words.contains("being terminated") => {
            debug!(reason, "no event, since the namespace is being deleted");
        }
        Err(CallError::NotFound) => debug!(reason, "no event: the namespace is gone"),
        Err(error) => {
            let (kind, namespace, name, uid) = (&about.kind, &about.namespace, &about.name, &about.uid);
            warn!(kind, namespace, name, uid, reason, "{}", error.failure("publish an event"));
        }
    }
}

impl Events {
    /// Creates a publisher that posts with `client`, in tasks of the current runtime.
    pub(super) fn new(client: Client, metrics: &Arc<Metrics>) -> Self {
        let instance = std::env::var("POD_NAME").ok().or_else(|| std::env::var("HOSTNAME").ok());
        let recorder = Recorder::new(client, Reporter { controller: NAME.into(), instance });
        let lane = || {
            let (open, metrics) = (watch::Sender::new(0), Arc::clone(metrics));
            let waiting = Arc::new(Waiting { posts: Mutex::default(), open, metrics });
            let posts = tokio::spawn(post_all(recorder.clone(), Arc::clone(&waiting))).abort_handle();
            Lane { waiting, posts }
        };
        Self { lanes: std::iter::repeat_with(lane).take(LANES).collect() }
    }

    /// Logs an event about an object, and queues it for posting. `state` is the object's state for the log,
    /// if it has one.
    pub(super) fn publish<K: Resource<DynamicType = ()>>(&self, about: &K, state: Option<&str>, note: &Note) {
        let event = Event {
            type_: match note.type_ {
                NoteType::Normal => EventType::Normal,
                NoteType::Warning => EventType::Warning,
            },
            reason: note.reason.to_string(),
            note: Some(cut(&note.message)),
            action: note.action.into(),
            // Without this, events about two folders would count as repeats of one event.
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
        let mut hasher = DefaultHasher::new();
        uid.hash(&mut hasher);
        let lane = usize::try_from(hasher.finish() % LANES as u64).unwrap_or(0);
        if let Some(lane) = self.lanes.get(lane) {
            lane.waiting.add(Post { event, about: about.object_ref(&()) });
        }
    }

    /// Waits until every event is posted, dropped or given up.
    pub(super) async fn posted(&self) {
        for lane in &self.lanes {
            let mut open = lane.waiting.open.subscribe();
            // This fails only if the sender is gone, and the sender lives as long as the lane.
            let _ = open.wait_for(|open| *open == 0).await;
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
#[allow(clippy::unwrap_used)]
#[path = "events_tests.rs"]
mod tests;
