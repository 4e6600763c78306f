//! The answer to a poll of a finished job: its manifest, whole or in pages, or something else.

use std::sync::Arc;

use super::end;
use super::memory::{Checking, Landing, Running};
use super::phase::Phase;
use super::poll_failure::{GIVE_UP_AFTER, TELL_AFTER, reachable, refused};
use super::turn::Turn;
use crate::api::Reason;
use crate::core::answer::Refusal;
use crate::core::bulk::manifest::Pages;
use crate::core::landing::lists_a_file_twice;
use crate::core::manifest::Manifest;
use crate::core::wire::Answer;

/// The job is done: takes in its manifest, if it can be read.
pub(super) fn done(turn: &mut Turn<'_>, mut memory: Running, answer: &Answer) -> Phase {
    match manifest(turn, &mut memory, answer) {
        Ok(Some(manifest)) => {
            reachable(turn, &mut memory);
            if turn.lands() {
                let tries = memory.refresh.unwrap_or_default();
                Phase::Landing(Box::new(Landing::new(manifest, tries, memory.progress_at)))
            } else {
                Phase::Checking(Box::new(Checking::new(manifest, memory.owner)))
            }
        }
        Ok(None) => {
            reachable(turn, &mut memory);
            memory.poll.next_try = Some(turn.now);
            Phase::Running(memory)
        }
        Err(what) => unreadable(turn, memory, answer, what),
    }
}

fn unreadable(turn: &mut Turn<'_>, mut memory: Running, answer: &Answer, what: &str) -> Phase {
    memory.nonsense += 1;
    let message = format!(
        "the server says that the job is done, but answers with {what} where its manifest should be; check proxies \
         on the way"
    );
    if memory.nonsense >= GIVE_UP_AFTER {
        turn.leave_job("its manifest cannot be read");
        let message = if turn.lands() {
            format!("{message}, and tell the server's owner")
        } else {
            format!("{message}, and look into the container: the files may be there")
        };
        return end::fail(turn, Reason::InvalidManifest, &message);
    }
    let refusal = Refusal { reason: Reason::UnexpectedAnswer, message, retry_after: answer.retry_after };
    let at_once = memory.nonsense >= TELL_AFTER;
    refused(turn, &mut memory, &refusal, at_once);
    Phase::Running(memory)
}

/// The whole manifest, or `None` while further pages of it have to be fetched. The error says what the server
/// sent instead of a manifest.
fn manifest(
    turn: &Turn<'_>,
    memory: &mut Running,
    answer: &Answer,
) -> Result<Option<Manifest>, &'static str> {
    if answer.truncated {
        return Err("an answer that broke off, or that is longer than 16 MiB");
    }
    if !turn.lands() {
        return Manifest::parse(&answer.body).map(Some);
    }
    let so_far = memory.pages.take();
    let next = so_far.as_ref().and_then(|pages| pages.next.clone());
    let at = next.or_else(|| turn.status.job.as_ref()?.status_url.clone()).unwrap_or_default();
    let pages = Pages::read(so_far.as_deref(), &answer.body, &at)?;
    if pages.next.is_some() {
        memory.pages = Some(Arc::new(pages));
        return Ok(None);
    }
    let manifest = pages.into_manifest();
    if lists_a_file_twice(&manifest) {
        return Err("a manifest that lists a file twice");
    }
    Ok(Some(manifest))
}
