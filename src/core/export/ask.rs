//! Questions that several phases ask about the facts of a turn.

use super::turn::Turn;
use crate::api::{Compression, Destination, Dialect, Reason};
use crate::core::answer::{self, StatusAnswer};
use crate::core::bulk;
use crate::core::landing::LandPlace;
use crate::core::planted::{Fault, planted};
use crate::core::requests;
use crate::core::wire::Answer;

/// Whether `spec.suspend` holds the run, before or after its start: the reason and one sentence.
pub(super) fn held(turn: &Turn<'_>) -> Option<(Reason, String)> {
    if turn.spec().suspend == Some(true) {
        return Some((Reason::Suspended, "held by spec.suspend; set it to false to go on".to_owned()));
    }
    let server = turn.server().filter(|s| s.spec().suspend == Some(true))?;
    let message = format!("held by spec.suspend of FhirServer {}; ask its owner", server.name());
    Some((Reason::ServerSuspended, message))
}

/// Whether the server that the job runs on is gone from the cluster, or is another one now: the reason and one
/// sentence.
pub(super) fn server_lost(turn: &Turn<'_>) -> Option<(Reason, String)> {
    let (namespace, name) = turn.server_name();
    match (turn.server(), &turn.status.server) {
        (None, _) => Some((
            Reason::ServerNotFound,
            format!(
                "FhirServer {namespace}/{name} is gone while its job runs; restore it, and the export goes on"
            ),
        )),
        (Some(server), Some(ours)) if server.spec().url != ours.url => Some((
            Reason::ServerChanged,
            format!(
                "FhirServer {namespace}/{name} has another url than the one that the job runs on; restore it"
            ),
        )),
        _ => None,
    }
}

/// What the answer to a status request means, in the dialect of the server.
pub(super) fn status_answer(turn: &Turn<'_>, answer: &Answer) -> StatusAnswer {
    if turn.lands() {
        let separate = turn.status.job.as_ref().is_some_and(|job| job.separate_status == Some(true));
        bulk::answer::status(answer, separate)
    } else {
        answer::status(answer)
    }
}

/// Where the files of the attempt that is about to start will go. The destination is written together with the
/// intent, and later changes of the FhirServer do not affect it.
pub(super) fn new_destination(turn: &Turn<'_>, intent: jiff::Timestamp) -> Option<Destination> {
    let server = turn.server()?;
    let container = requests::container(server.spec(), &turn.spec().request);
    Some(match server.spec().dialect {
        Dialect::Azure => Destination { container, ..Destination::default() },
        Dialect::BulkData => {
            let place = LandPlace::of(container, uid(turn), intent);
            Destination {
                container: Some(place.container),
                folder: Some(place.folder),
                endpoint: server.store_name(),
                compression: Some(server.compression()),
            }
        }
    })
}

fn uid<'a>(turn: &Turn<'a>) -> &'a str {
    turn.export().metadata.uid.as_deref().unwrap_or_default()
}

/// The destination that was written down when the job was started; `None` for a job of a
/// version that did not write one.
fn destination<'t>(turn: &'t Turn<'_>) -> Option<&'t Destination> {
    if planted(Fault::PinnedPlace) {
        return None;
    }
    turn.status.job.as_ref()?.destination.as_ref()
}

/// The container that the job was asked to write to; `None` where the server makes one of its own.
pub(super) fn container(turn: &Turn<'_>) -> Option<String> {
    match destination(turn) {
        Some(destination) => destination.container.clone(),
        None => requests::container(turn.server()?.spec(), &turn.spec().request),
    }
}

/// Container and folder that the job's files land in; `None` where the server writes the files itself.
pub(super) fn place(turn: &Turn<'_>) -> Option<LandPlace> {
    if !turn.lands() {
        return None;
    }
    if let Some(Destination { container: Some(container), folder: Some(folder), .. }) = destination(turn) {
        return Some(LandPlace { container: container.clone(), folder: folder.clone() });
    }
    let intent = turn.status.job.as_ref()?.intent_time;
    Some(LandPlace::of(container(turn), uid(turn), intent))
}

/// How the job's files are stored.
pub(super) fn compression(turn: &Turn<'_>) -> Compression {
    let pinned = destination(turn).and_then(|destination| destination.compression);
    pinned.or_else(|| Some(turn.server()?.compression())).unwrap_or(Compression::None)
}

/// The name of the store that the job's files land in.
pub(super) fn store_name(turn: &Turn<'_>) -> Option<String> {
    let pinned = destination(turn).and_then(|destination| destination.endpoint.clone());
    pinned.or_else(|| turn.server()?.store_name())
}

/// A sentence if the FhirServer now names another store than the one that the job's files land in.
/// Current credentials are never sent to an endpoint that only a status names.
pub(super) fn storage_moved(turn: &Turn<'_>) -> Option<String> {
    let pinned = destination(turn)?.endpoint.as_deref()?;
    let server = turn.server()?;
    let same = |now: &str| now.trim_end_matches('/') == pinned.trim_end_matches('/');
    if server.store_name().as_deref().is_some_and(same) {
        return None;
    }
    Some(format!(
        "the files land in {pinned}, and storage of FhirServer {} no longer names it; restore it, or cancel the export",
        server.name()
    ))
}
