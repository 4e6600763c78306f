//! The progress of a job: while it runs, what the server reports, else what lies in the
//! container; then what has landed.

use jiff::Timestamp;

use super::ask;
use super::memory::Running;
use super::turn::Turn;
use crate::api::{Output, Progress};
use crate::core::effect::Effect;
use crate::core::landing::LandProgress;
use crate::core::ledger::{Seen, StorageFailure};
use crate::core::retry::after;
use crate::core::words;

/// The longest progress text of a server that the status keeps, in characters.
const MAX_PROGRESS: usize = 32;

/// Takes in the progress that the server reports. The status is written rarely, and when progress has grown
/// by ten percentage points.
pub(super) fn reported(turn: &mut Turn<'_>, memory: &mut Running, told: Option<&str>) {
    let Some(told) = told.map(words::clean).filter(|t| !t.is_empty()) else { return };
    let percent = told.split_once('%').and_then(|(before, _)| {
        let digits = before.rsplit(|c: char| !(c.is_ascii_digit() || c == '.')).next()?;
        digits.split('.').next()?.parse::<i32>().ok().filter(|p| (0..=100).contains(p))
    });
    let Some(job) = turn.status.job.as_mut() else { return };
    let old = job.progress.clone();
    let recently = memory.progress_at.is_some_and(|at| after(at, turn.tuning.progress_interval) > turn.now);
    let news = match (&old, percent) {
        (None, _) => true,
        (Some(old), Some(new)) => !recently && (new - old.percent.unwrap_or(0)).abs() >= 10,
        (Some(old), None) => !recently && old.summary.as_deref() != Some(told.as_str()),
    };
    if news {
        let summary = percent.map_or_else(|| told.chars().take(MAX_PROGRESS).collect(), |p| format!("{p}%"));
        job.progress = Some(Progress { summary: Some(summary), percent, files: None, bytes: None });
        memory.progress_at = Some(turn.now);
    }
}

/// The count of files in the container, if it is due and the server reports no progress itself.
pub(super) fn look(turn: &Turn<'_>, memory: &Running) -> Option<Effect> {
    let server = turn.server()?;
    server.blob_endpoint()?;
    let job = turn.status.job.as_ref()?;
    let told = job.progress.as_ref().is_some_and(|p| p.files.is_none());
    if told || turn.lands() || memory.polls == 0 {
        return None;
    }
    // The first look comes sooner, while there is nothing to show yet.
    let interval = if job.progress.is_none() {
        turn.tuning.progress_interval / 10
    } else {
        turn.tuning.progress_interval
    };
    if memory.progress_at.is_some_and(|at| after(at, interval) > turn.now) {
        return None;
    }
    let began = job.kick_off_time?;
    let id = job.id.clone()?;
    Some(match ask::container(turn) {
        Some(container) => Effect::CountFiles { container, job_id: Some(id), began },
        None => Effect::CountFiles { container: format!("export-{id}"), job_id: None, began },
    })
}

/// Takes in how many files were seen in the container. The status is written for the first one, and each
/// time the number has doubled.
pub(super) fn counted(turn: &mut Turn<'_>, memory: &mut Running, result: Result<Seen, StorageFailure>) {
    memory.progress_at = Some(turn.now);
    // A container that cannot be listed is reported at the end, by the condition Verified.
    let Ok(seen) = result else { return };
    let files = i64::try_from(seen.files).unwrap_or(i64::MAX);
    let container = ask::container(turn);
    let Some(job) = turn.status.job.as_mut() else { return };
    let before = job.progress.as_ref().and_then(|p| p.files).unwrap_or(0);
    if files == 0 || files < before.saturating_mul(2) {
        return;
    }
    job.progress = Some(Progress {
        summary: Some(if files == 1 { "1 file".to_owned() } else { format!("{files} files") }),
        percent: None,
        files: Some(files),
        bytes: Some(i64::try_from(seen.bytes).unwrap_or(i64::MAX)),
    });
    let container = container.or_else(|| job.id.as_ref().map(|id| format!("export-{id}")));
    turn.status.output = Some(Output { container, folder: seen.folder, ..Output::default() });
}

/// Writes how much has landed: the first time at once, then rarely and only after ten more percentage points,
/// and always if `last` is set. `told_at` is when progress was last written.
pub(super) fn landed(
    turn: &mut Turn<'_>,
    told_at: &mut Option<Timestamp>,
    progress: LandProgress,
    last: bool,
) {
    let LandProgress { files, of, bytes, .. } = progress;
    if of == 0 {
        return;
    }
    let number = |n: u64| i64::try_from(n).unwrap_or(i64::MAX);
    let percent = i32::try_from(files.saturating_mul(100) / of).unwrap_or(100);
    let recently = told_at.is_some_and(|at| after(at, turn.tuning.progress_interval) > turn.now);
    let Some(job) = turn.status.job.as_mut() else { return };
    let told = job.progress.as_ref().filter(|p| p.summary.as_ref().is_some_and(|s| s.contains(" of ")));
    let before = told.and_then(|p| p.percent);
    if !last && before.is_some_and(|before| recently || percent - before < 10) {
        return;
    }
    job.progress = Some(Progress {
        summary: Some(format!("{files} of {of} files")),
        percent: Some(percent),
        files: Some(number(files)),
        bytes: Some(number(bytes)),
    });
    *told_at = Some(turn.now);
}

/// Writes the final progress, which stays in the status: the number of files in the manifest.
pub(super) fn finished(turn: &mut Turn<'_>, files: usize) {
    let Some(job) = turn.status.job.as_mut() else { return };
    let progress = job.progress.get_or_insert_default();
    progress.percent = progress.percent.map(|_| 100);
    progress.files = i64::try_from(files).ok();
    progress.summary = Some(if files == 1 { "1 file".to_owned() } else { format!("{files} files") });
    progress.bytes = None;
}
