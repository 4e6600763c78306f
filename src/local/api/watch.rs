//! The answer to a watch: one JSON document per line for each change, until the time is up.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Bytes;
use futures::stream::{self, Stream};
use serde_json::{Value, json};
use tokio::time::{Instant, timeout_at};

use crate::local::objects::{Change, ChangeType, Objects};
use crate::show::ObjectKind;

/// How long a watch lasts that does not say so, in seconds.
const LASTS: u64 = 300;

/// The changes after the version `from` as they happen, for `seconds`. A version whose successors are forgotten gets
/// the one event that makes a client list again.
pub fn lines(
    objects: Arc<Objects>,
    kind: ObjectKind,
    namespace: Option<String>,
    from: u64,
    seconds: Option<u64>,
) -> impl Stream<Item = Result<Bytes, Infallible>> {
    let until = Instant::now() + Duration::from_secs(seconds.unwrap_or(LASTS));
    let versions = objects.version();
    stream::unfold(Some((from, versions)), move |state| {
        let (objects, namespace) = (objects.clone(), namespace.clone());
        async move {
            let (mut from, mut versions) = state?;
            loop {
                versions.mark_unchanged();
                match objects.changes(kind, namespace.as_deref(), from) {
                    Err(refusal) => {
                        let event = json!({ "type": "ERROR", "object": refusal.status() });
                        return Some((Ok(line(&event)), None));
                    }
                    Ok((to, changes)) if changes.is_empty() => from = to,
                    Ok((to, changes)) => {
                        let lines = changes.iter().map(|change| line(&event(change)));
                        let lines = lines.fold(Vec::new(), |all, line| [all, line.to_vec()].concat());
                        return Some((Ok(lines.into()), Some((to, versions))));
                    }
                }
                // The end of the time or of the objects ends the watch; the client begins the next one.
                timeout_at(until, versions.changed()).await.ok()?.ok()?;
            }
        }
    })
}

fn event(change: &Change) -> Value {
    let type_ = match change.type_ {
        ChangeType::Added => "ADDED",
        ChangeType::Modified => "MODIFIED",
        ChangeType::Deleted => "DELETED",
    };
    json!({ "type": type_, "object": *change.object })
}

fn line(event: &Value) -> Bytes {
    format!("{event}\n").into()
}
