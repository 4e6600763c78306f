//! How far a job is, as long as it runs: what the server says, else what lies in the container.

use super::turn::after;
use super::{Turn, plan};
use crate::api::{Output, Progress};
use crate::core::effect::Effect;
use crate::core::ledger::{Seen, StorageFailure};
use crate::core::words;

/// A server's own words about progress are cut to this, in characters.
const MAX_PROGRESS: usize = 32;

/// The server's own words about progress: written for ten points, and rarely.
pub(super) fn told(turn: &mut Turn<'_>, told: Option<&str>) {
    let Some(told) = told.map(words::clean).filter(|t| !t.is_empty()) else { return };
    let percent = told.split_once('%').and_then(|(before, _)| {
        let digits = before.rsplit(|c: char| !(c.is_ascii_digit() || c == '.')).next()?;
        digits.split('.').next()?.parse::<i32>().ok().filter(|p| (0..=100).contains(p))
    });
    let Some(job) = turn.status.job.as_mut() else { return };
    let old = job.progress.clone();
    let recently =
        turn.memory.progress_at.is_some_and(|at| after(at, turn.tuning.progress_interval) > turn.now);
    let news = match (&old, percent) {
        (None, _) => true,
        (Some(old), Some(new)) => !recently && (new - old.percent.unwrap_or(0)).abs() >= 10,
        (Some(old), None) => !recently && old.summary.as_deref() != Some(told.as_str()),
    };
    if news {
        let summary = percent.map_or_else(|| told.chars().take(MAX_PROGRESS).collect(), |p| format!("{p}%"));
        job.progress = Some(Progress { summary: Some(summary), percent, files: None, bytes: None });
        turn.memory.progress_at = Some(turn.now);
    }
}

/// Where the server says nothing, the container does.
pub(super) fn look(turn: &Turn<'_>) -> Option<Effect> {
    let server = turn.server()?;
    server.blob_endpoint()?;
    let job = turn.status.job.as_ref()?;
    let told = job.progress.as_ref().is_some_and(|p| p.files.is_none());
    if told || turn.lands() || turn.memory.polls == 0 {
        return None;
    }
    // Sooner while there is nothing to show yet.
    let interval = if job.progress.is_none() {
        turn.tuning.progress_interval / 10
    } else {
        turn.tuning.progress_interval
    };
    if turn.memory.progress_at.is_some_and(|at| after(at, interval) > turn.now) {
        return None;
    }
    let began = job.kick_off_time?;
    let id = job.id.clone()?;
    Some(match plan::container(server.spec(), &turn.spec().request) {
        Some(container) => Effect::CountFiles { container, job_id: Some(id), began },
        None => Effect::CountFiles { container: format!("export-{id}"), job_id: None, began },
    })
}

/// Files seen so far: written at first sight, then each time they have doubled.
pub(super) fn counted(turn: &mut Turn<'_>, result: Result<Seen, StorageFailure>) {
    turn.memory.progress_at = Some(turn.now);
    // A container that cannot be listed is told at the end, by Verified.
    let Ok(seen) = result else { return };
    let files = i64::try_from(seen.files).unwrap_or(i64::MAX);
    let container = turn.server().and_then(|s| plan::container(s.spec(), &turn.spec().request));
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
