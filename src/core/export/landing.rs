//! The job of a Bulk Data server is done: its files are landed, and what landed is judged and told.

use std::sync::Arc;
use std::time::Duration;

use super::landed::{self, judge};
use super::turn::after;
use super::{Step, Turn, begin, cancel, clean_up, finish, kickoff, log, plan, record, stored};
use crate::api::{CancelReason, ConditionStatus, ConditionType, Progress, Reason};
use crate::core::effect::Effect;
use crate::core::landing::{
    self as files, LandFailure, LandFailureKind, LandPlan, LandProgress, Landing, Place,
};
use crate::core::ledger::{StorageFailure, StorageFailureKind};
use crate::core::manifest::Manifest;
use crate::core::poll::retry_delay;
use crate::core::wire::Reply;

/// How soon to look at a landing that goes on beside; its end wakes the run anyway.
const LOOK: Duration = Duration::from_secs(30);
/// One that takes longer is told.
const SOON: Duration = Duration::from_secs(5);
/// How often a landing is tried again that brings no file between.
const TRIES: u32 = 10;
/// How many fresh manifests in a row may bring no file.
const REFRESHES: u32 = 5;
/// The first delay between two tries; it doubles up to the longest.
const DELAY: Duration = Duration::from_secs(2);
const DELAY_MAX: Duration = Duration::from_secs(120);

/// The manifest is at hand, and nobody deletes the run.
pub(super) fn go_on(mut turn: Turn<'_>) -> Step {
    let (Some(manifest), Some(place)) = (turn.memory.manifest.clone(), place(&turn)) else {
        return turn.rest();
    };
    if turn.spec().cancel == Some(true) {
        tell_progress(&mut turn, true);
        return cancel::requested(turn);
    }
    if turn.status.cancellation.is_some() {
        return cancel::go_on(turn);
    }
    let deadline = turn.deadline();
    if deadline.is_some_and(|end| end <= turn.now) {
        tell_progress(&mut turn, true);
        cancel::begin(&mut turn, CancelReason::Deadline);
        return cancel::go_on(turn);
    }
    if let Some((reason, message)) = begin::held(&turn) {
        let at = format!("{message}; what has landed stays in {}/{}", place.container, place.folder);
        turn.set_true(ConditionType::Suspended, reason, &at);
        turn.state("Suspended");
        if turn.memory.land.began.take().is_some() {
            return turn.perform(Effect::StopLanding);
        }
        return turn.wait_until(&[deadline]);
    }
    if turn.is_true(ConditionType::Suspended) {
        turn.set_false(ConditionType::Suspended, Reason::Resumed, "no longer held");
    }
    if turn.memory.land.giving_up.is_some() {
        return give_up(turn);
    }
    if turn.memory.land.landed.is_none() {
        return land(turn, &manifest, &place);
    }
    match plan_of(&turn, &manifest, &place) {
        Some(to_land) => conclude(turn, &manifest, &to_land),
        None => turn.rest(),
    }
}

/// What is to land there.
fn plan_of(turn: &Turn<'_>, manifest: &Manifest, place: &Place) -> Option<LandPlan> {
    Some(files::plan(turn.server()?.spec(), manifest, place, turn.bounds()))
}

/// Where this attempt lands, if the operator lands it.
pub(super) fn place(turn: &Turn<'_>) -> Option<Place> {
    if !turn.lands() {
        return None;
    }
    let intent = turn.status.job.as_ref()?.intent_time;
    let container = plan::container(turn.server()?.spec(), &turn.spec().request);
    Some(Place::of(container, turn.export().metadata.uid.as_deref().unwrap_or_default(), intent))
}

fn land(mut turn: Turn<'_>, manifest: &Manifest, place: &Place) -> Step {
    let deadline = turn.deadline();
    // A landing that is done within seconds is not worth a write of its own.
    let long = turn.memory.land.failures > 0
        || turn.memory.land.refreshes > 0
        || turn.memory.land.began.is_some_and(|began| after(began, SOON) <= turn.now);
    // What is told was just looked at.
    if long && (turn.going_on || turn.memory.land.failures > 0) {
        turn.status.transaction_time = Some(manifest.transaction_time.clone());
        turn.state("Landing");
        tell_progress(&mut turn, false);
    }
    if let Some(due) = turn.memory.land.retry_at.filter(|due| *due > turn.now) {
        return turn.wait_until(&[Some(due), deadline]);
    }
    if turn.going_on {
        let look = turn.later(if long { LOOK } else { SOON });
        return turn.wait_until(&[Some(look), deadline]);
    }
    let Some(to_land) = plan_of(&turn, manifest, place) else { return turn.rest() };
    turn.memory.land.began.get_or_insert(turn.now);
    turn.perform(Effect::Land(Arc::new(to_land)))
}

/// Written at first sight, then rarely, and for ten points; at the end of a landing in any case.
fn tell_progress(turn: &mut Turn<'_>, last: bool) {
    let LandProgress { files, of, bytes } = turn.memory.land.progress;
    if of == 0 {
        return;
    }
    let number = |n: u64| i64::try_from(n).unwrap_or(i64::MAX);
    let percent = i32::try_from(files.saturating_mul(100) / of).unwrap_or(100);
    let recently =
        turn.memory.progress_at.is_some_and(|at| after(at, turn.tuning.progress_interval) > turn.now);
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
    turn.memory.progress_at = Some(turn.now);
}

/// How the landing stands.
pub(super) fn stands(turn: &mut Turn<'_>, state: Landing) {
    match state {
        Landing::Running(progress) => {
            turn.going_on = true;
            turn.memory.land.began.get_or_insert(turn.now);
            came_on(turn, progress);
        }
        Landing::Done(landed) => {
            turn.memory.land.began = None;
            turn.memory.land.landed = Some(landed);
            kickoff::answers(turn);
            goes_on(turn);
        }
        Landing::Failed(failure) => {
            turn.memory.land.began = None;
            came_on(turn, failure.progress);
            failed(turn, failure);
        }
    }
}

/// Files that landed show that what was in the way has passed. Those that an earlier try landed do not: each try counts
/// them anew, and one file that never comes must not be waited for without end.
fn came_on(turn: &mut Turn<'_>, progress: LandProgress) {
    if progress.files > turn.memory.land.progress.files {
        turn.memory.land.failures = 0;
        turn.memory.land.refreshes = 0;
        kickoff::answers(turn);
        goes_on(turn);
    } else if progress.files < turn.memory.land.progress.files {
        return;
    }
    turn.memory.land.progress = progress;
}

/// Nothing holds up the landing any more.
fn goes_on(turn: &mut Turn<'_>) {
    if turn.is_true(ConditionType::Reconciling) {
        turn.set_false(ConditionType::Reconciling, Reason::KickedOff, "the files land");
    }
}

fn failed(turn: &mut Turn<'_>, failure: LandFailure) {
    turn.memory.land.failures += 1;
    let tries = i32::try_from(turn.memory.land.failures).unwrap_or(i32::MAX);
    let own = retry_delay(DELAY, DELAY_MAX, tries, turn.jitter);
    let not_yet = format!("the files have not all landed yet: {}", failure.message);
    if failure.kind != LandFailureKind::Expired {
        turn.set_true(ConditionType::Reconciling, failure.reason, &not_yet);
    }
    match failure.kind {
        LandFailureKind::Expired => {
            turn.memory.land.refreshes += 1;
            if turn.memory.land.refreshes > REFRESHES {
                turn.memory.land.giving_up = Some((failure.reason, failure.message));
                return;
            }
            // A fresh manifest has fresh links; what has landed is known by its source.
            turn.memory.manifest = None;
            turn.memory.pages = None;
            turn.memory.next_poll = Some(turn.later(own.min(turn.bounds().max)));
        }
        LandFailureKind::Missing => {
            turn.set_false(ConditionType::ServerReachable, failure.reason, &not_yet);
            turn.memory.land.retry_at = Some(turn.later(turn.tuning.missing_retry));
        }
        LandFailureKind::Source if turn.memory.land.failures < TRIES => {
            turn.set_false(ConditionType::ServerReachable, failure.reason, &not_yet);
            turn.memory.land.retry_at = Some(turn.later(own));
        }
        LandFailureKind::Storage(StorageFailureKind::Transient { retry_after })
            if turn.memory.land.failures < TRIES =>
        {
            turn.set(ConditionType::Verified, ConditionStatus::Unknown, Reason::StorageUnreachable, &not_yet);
            turn.memory.land.retry_at = Some(turn.later(retry_after.unwrap_or(own).min(DELAY_MAX)));
        }
        // Somebody must give a role, a Secret or a container: the deadline bounds the wait.
        LandFailureKind::Storage(
            StorageFailureKind::Missing
            | StorageFailureKind::Denied
            | StorageFailureKind::HostNotAllowed
            | StorageFailureKind::NotConfigured
            | StorageFailureKind::NotFound
            | StorageFailureKind::Full
            | StorageFailureKind::ReadOnly,
        ) => {
            turn.set(ConditionType::Verified, ConditionStatus::Unknown, Reason::NoStorageAccess, &not_yet);
            turn.memory.land.retry_at = Some(turn.later(own.min(turn.tuning.missing_retry * 6)));
        }
        LandFailureKind::Source | LandFailureKind::Storage(_) | LandFailureKind::Permanent => {
            turn.memory.land.giving_up = Some((failure.reason, failure.message));
        }
    }
}

/// This attempt cannot land: the server is told that the job is done with, then another attempt begins, or the run
/// ends.
fn give_up(mut turn: Turn<'_>) -> Step {
    if let Some(due) = clean_up::due(&mut turn, false) {
        return due.into_step(turn);
    }
    let Some((reason, message)) = turn.memory.land.giving_up.take() else { return turn.rest() };
    let earlier = turn.status.clone();
    turn.retire_job(reason);
    turn.status.output = None;
    kickoff::try_again(&mut turn, reason, &message);
    if super::is_terminal(&turn.status) {
        // The last attempt is not an earlier one: it stays where users look for it.
        turn.status.job = earlier.job;
        turn.status.output = earlier.output;
        turn.status.previous_jobs = earlier.previous_jobs;
        return finish::after_end(turn);
    }
    begin::go_on(turn)
}

/// All has landed.
fn conclude(mut turn: Turn<'_>, manifest: &Manifest, to_land: &LandPlan) -> Step {
    let landed = turn.memory.land.landed.clone().unwrap_or_default();
    let requested = turn.spec().request.clone();
    if let Some(type_) = landed::uncounted(manifest, &requested, &turn.memory.land.counted_types)
        && let Some(server) = turn.server()
    {
        let request = landed::count(server.spec(), &type_);
        return turn.perform(Effect::CountType { type_, request });
    }
    let verdict = judge(manifest, &requested, to_land, &landed, &turn.memory.land.counted_types);
    record::landed(&mut turn, manifest, to_land, &landed);
    record::apply(&mut turn, &verdict);
    if verdict.status == ConditionStatus::False {
        let message = format!("{}; keep the data apart and export anew", verdict.message);
        return finish::fail(turn, Reason::VerificationFailed, &message);
    }
    let log_wanted =
        turn.server().is_some_and(|s| s.spec().storage.as_ref().is_some_and(|s| s.export_log == Some(true)));
    if log_wanted && !turn.memory.land.logged {
        let body = log::ndjson(&turn, manifest, to_land, &landed);
        let path = format!("{}/log.ndjson", to_land.folder);
        return turn.perform(Effect::StoreLog {
            container: to_land.container.clone(),
            path,
            body: Arc::new(body),
        });
    }
    let path = format!("{}/manifest.json", to_land.folder);
    let body = stored::body(manifest, &turn, to_land, &landed);
    let due = turn.memory.land.retry_at.max(turn.memory.store_at).filter(|due| *due > turn.now);
    if turn.memory.stored.is_none() && due.is_some() {
        let deadline = turn.deadline();
        return turn.wait_until(&[due, deadline]);
    }
    if turn.memory.stored.is_none() {
        let container = to_land.container.clone();
        return turn.perform(Effect::StoreManifest { container, path, body: Arc::new(body) });
    }
    let told = landed::told(&to_land.files, &landed);
    finish::complete(turn, manifest, &finish::Ending { manifest_path: Some(path), errors: told })
}

/// What the server says to have of a type.
pub(super) fn type_counted(turn: &mut Turn<'_>, type_: String, reply: Reply) {
    let total =
        reply.ok().filter(|answer| answer.status == 200).and_then(|answer| landed::total(&answer.body));
    turn.memory.land.counted_types.insert(type_, total);
}

/// What came of storing the log: it never fails a run whose data is complete.
pub(super) fn logged(turn: &mut Turn<'_>, _: &Result<String, StorageFailure>) {
    turn.memory.land.logged = true;
}
