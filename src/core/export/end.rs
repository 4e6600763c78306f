//! The end of every run: complete or failed. After it the status never changes again.

use super::landed::ErrorReport;
use super::memory::Ended;
use super::phase::Phase;
use super::summary::{counted, place, took};
use super::turn::Turn;
use crate::api::{ConditionType, ErrorFilePolicy, Reason, StoredManifest};
use crate::core::condition::whole_seconds;
use crate::core::effect::NoteType;
use crate::core::manifest::Manifest;

/// What is known at the end besides the manifest.
pub(super) struct Ending {
    /// Where the manifest was to be stored in the container; `None` if it had no place there.
    pub(super) manifest_path: Option<String>,
    /// The SHA-256 of the stored manifest in hexadecimal, or why it was not stored; `None` if no store was tried.
    pub(super) stored: Option<Result<String, String>>,
    /// Why the log was not stored; `None` if it was stored, or not wanted.
    pub(super) unstored_log: Option<String>,
    /// What the server's error files report.
    pub(super) errors: ErrorReport,
}

/// Ends the run with complete data. The run fails nevertheless if the server reports errors and
/// `errorFilePolicy` is `Fail`.
pub(super) fn complete(turn: &mut Turn<'_>, manifest: &Manifest, ending: &Ending) -> Phase {
    if let Some(Ok(sha256)) = ending.stored.clone()
        && let Some(path) = ending.manifest_path.clone()
        && let Some(output) = turn.status.output.as_mut()
    {
        output.manifest = Some(StoredManifest { path, sha256 });
    }
    let errors = ending.errors.errors.as_ref();
    if let Some(errors) = errors.filter(|_| turn.spec().error_file_policy == Some(ErrorFilePolicy::Fail)) {
        let message = format!("{errors}, and errorFilePolicy is Fail");
        return fail(turn, Reason::ServerReportedErrors, &message);
    }
    let empty = manifest.output.is_empty();
    let what = what_came(turn, manifest, ending);
    let place = turn.status.output.as_ref().and_then(place);
    let at = place.filter(|_| !empty).map(|p| format!(" in {p}")).unwrap_or_default();
    let mut message = format!("{what}{at}");
    let reason = if let Some(errors) = errors {
        message = format!("{message}; {errors}");
        Reason::CompletedWithErrors
    } else {
        Reason::Exported
    };
    if let Some(words) = &ending.errors.words {
        message = format!("{message}; the server says: {words}");
    }
    if let Some(Err(why)) = &ending.stored {
        message = format!("{message}; the manifest was not stored beside the data ({why})");
    }
    if let Some(why) = &ending.unstored_log {
        message = format!("{message}; log.ndjson was not stored beside the data ({why})");
    }
    turn.set_true(ConditionType::Complete, reason, &message);
    let started = turn.status.start_time.filter(|_| !empty);
    let took = started.map(|start| format!(" in {}", took(turn.now, start))).unwrap_or_default();
    let odd = errors.is_some() || empty && !nothing_new(turn, manifest);
    let type_ = if odd { NoteType::Warning } else { NoteType::Normal };
    let reported = errors.map(|errors| format!("; {errors}")).unwrap_or_default();
    turn.note(type_, reason, "Finish", &format!("{what}{took}{reported}"));
    ended(turn)
}

/// Whether the export asked for changes, and there were none.
fn nothing_new(turn: &Turn<'_>, manifest: &Manifest) -> bool {
    manifest.output.is_empty() && turn.spec().request.since.is_some()
}

/// How much data the export produced, in words.
fn what_came(turn: &Turn<'_>, manifest: &Manifest, ending: &Ending) -> String {
    let types = manifest.by_type().len() as u64;
    let resources = turn.status.output.as_ref().and_then(|o| u64::try_from(o.resources?).ok());
    match resources {
        _ if manifest.output.is_empty() && ending.errors.errors.is_some() => "no data came".to_owned(),
        _ if nothing_new(turn, manifest) => "nothing changed since then, so there are no files".to_owned(),
        _ if manifest.output.is_empty() => {
            "no resources matched, so there are no files; check the request if that is a surprise".to_owned()
        }
        Some(resources) => format!("{} of {}", counted(resources, "resource"), counted(types, "type")),
        None => {
            format!("{} of {}", counted(manifest.output.len() as u64, "file"), counted(types, "type"))
        }
    }
}

/// Ends the run without success.
pub(super) fn fail(turn: &mut Turn<'_>, reason: Reason, message: &str) -> Phase {
    turn.set_true(ConditionType::Failed, reason, message);
    // The user who asked for the cancel got it: nothing is stalled, and no tool shows the object as degraded.
    if reason == Reason::Cancelled {
        turn.remove(ConditionType::Stalled);
    } else {
        turn.set_true(ConditionType::Stalled, reason, message);
    }
    let type_ = if reason == Reason::Cancelled { NoteType::Normal } else { NoteType::Warning };
    turn.note(type_, reason, "Finish", message);
    ended(turn)
}

fn ended(turn: &mut Turn<'_>) -> Phase {
    turn.set_false(ConditionType::Reconciling, Reason::Finished, "the run has ended");
    if turn.is_true(ConditionType::Suspended) {
        turn.set_false(ConditionType::Suspended, Reason::Finished, "the run has ended");
    }
    turn.status.completion_time = Some(whole_seconds(turn.now));
    turn.status.next_attempt_time = None;
    Phase::Ended(Ended::default())
}
