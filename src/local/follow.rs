//! Follows exports until they have ended or somebody interrupts.

use std::collections::BTreeSet;
use std::sync::Arc;

use serde_json::{Value, json};
use tokio::sync::oneshot;

use super::interrupt::{Choice, OnInterrupt, ask};
use super::objects::Objects;
use crate::operator::signals::{Interruption, Signals};
use crate::show::{End, Key, Look, ObjectKind, Show};

/// The exit code if every export is complete.
const ALL_COMPLETE: u8 = 0;
/// The exit code if an export ended without success.
const NOT_COMPLETE: u8 = 1;
/// The exit code after an interruption, as shells have it for SIGINT.
const INTERRUPTED: u8 = 130;

/// What has been said about the end.
enum Stage {
    /// Nothing.
    Working,
    /// Somebody is being asked.
    Asking(oneshot::Receiver<Choice>),
    /// The exports are being cancelled.
    Cancelling,
}

/// Follows the exports of a call.
pub struct Follow {
    objects: Arc<Objects>,
    /// The exports whose end is waited for.
    exports: BTreeSet<Key>,
    /// Whether there are schedules, with which there is no end.
    schedules: bool,
    on_interrupt: OnInterrupt,
    show: Show,
}

impl Follow {
    /// Follows what is named in `keys`, and what it creates.
    pub fn new(objects: Arc<Objects>, keys: &[Key], on_interrupt: OnInterrupt, show: Show) -> Self {
        let exports = keys.iter().filter(|key| key.kind == ObjectKind::Export).cloned().collect();
        let schedules = keys.iter().any(|key| key.kind == ObjectKind::Schedule);
        let mut follow = Self { objects, exports, schedules, on_interrupt, show };
        for object in follow.objects() {
            if let Some(key) = Key::of(&object) {
                follow.show.remember(Look::at(&key, &object));
            }
        }
        follow
    }

    /// Shows what happens until everything has ended or somebody interrupts. Returns true after an interruption.
    pub async fn until_the_end(&mut self, signals: &mut Signals) -> bool {
        let mut stage = Stage::Working;
        let mut versions = self.objects.version();
        loop {
            versions.mark_unchanged();
            self.look();
            if self.has_ended(&stage) {
                return matches!(stage, Stage::Cancelling);
            }
            let answered = async {
                match &mut stage {
                    Stage::Asking(told) => told.await.unwrap_or(Choice::Leave),
                    Stage::Working | Stage::Cancelling => std::future::pending().await,
                }
            };
            let choice = tokio::select! {
                // The objects live as long as this value.
                _ = versions.changed() => continue,
                choice = answered => {
                    self.show.resume();
                    choice
                }
                signal = signals.next() => {
                    let Some(choice) = self.decision(&stage, signal) else {
                        self.show.pause();
                        stage = Stage::Asking(ask());
                        continue;
                    };
                    choice
                }
            };
            match choice {
                Choice::Leave => return true,
                Choice::Cancel => {
                    self.cancel();
                    stage = Stage::Cancelling;
                }
            }
        }
    }

    /// What a signal decides; `None` if people have to be asked.
    fn decision(&self, stage: &Stage, signal: Interruption) -> Option<Choice> {
        match (stage, signal) {
            (Stage::Working, Interruption::Interrupt) => self.on_interrupt.decided(),
            (Stage::Working, Interruption::Terminate) | (Stage::Asking(_) | Stage::Cancelling, _) => {
                Some(Choice::Leave)
            }
        }
    }

    /// Tells what became of each export, and returns the exit code.
    pub fn conclude(mut self, interrupted: bool) -> u8 {
        self.look();
        self.show.finish();
        let (mut all_complete, mut any_stopped) = (true, false);
        for key in self.followed() {
            let Some(look) = self.show.last(&key) else { continue };
            let said = match look.end() {
                Some(End::Complete(output)) => format!("complete: {output}"),
                Some(End::Failed(why)) => {
                    all_complete = false;
                    format!("failed: {why}")
                }
                Some(End::Cancelled) => {
                    (all_complete, any_stopped) = (false, interrupted);
                    format!(
                        "cancelled; `local delete {}` makes room for another export of this name",
                        key.name
                    )
                }
                None => {
                    (all_complete, any_stopped) = (false, true);
                    let job = look.job.as_ref().map_or_else(String::new, |job| format!(" (job {job})"));
                    format!("left running{job}: the same command goes on with it")
                }
            };
            self.show.say(&format!("{} {}: {said}", key.kind, key.name));
        }
        match (interrupted && any_stopped, all_complete) {
            (true, _) => INTERRUPTED,
            (false, true) => ALL_COMPLETE,
            (false, false) => NOT_COMPLETE,
        }
    }

    /// The objects that were applied and those that they created.
    pub fn objects(&self) -> Vec<Value> {
        ObjectKind::ALL.into_iter().flat_map(|kind| self.objects.list(kind, None).1).collect()
    }

    fn look(&mut self) {
        for object in self.objects() {
            if let Some(key) = Key::of(&object) {
                self.show.update(Look::at(&key, &object));
            }
        }
    }

    /// The exports that were waited for, and those that schedules created.
    fn followed(&self) -> BTreeSet<Key> {
        let listed = self.objects.list(ObjectKind::Export, None).1;
        self.exports.iter().cloned().chain(listed.iter().filter_map(Key::of)).collect()
    }

    fn has_ended(&self, stage: &Stage) -> bool {
        let ended =
            |key: &Key| self.objects.get(key).is_err() || self.show.last(key).is_some_and(|look| look.ended);
        match stage {
            Stage::Working | Stage::Asking(_) => !self.schedules && self.exports.iter().all(ended),
            Stage::Cancelling => self.followed().iter().all(ended),
        }
    }

    /// Asks for the cancel of every export that has not ended, as its owner would with `cancel: true`.
    fn cancel(&self) {
        for key in self.followed() {
            if self.show.last(&key).is_some_and(|look| look.ended) {
                continue;
            }
            let cancelled = self.objects.update(&key, |mut export| {
                if let Some(spec) = export.get_mut("spec").and_then(Value::as_object_mut) {
                    spec.insert("cancel".into(), json!(true));
                }
                Ok(export)
            });
            match cancelled {
                Ok(_) => {
                    self.show.say(&format!("cancelling {}; another Ctrl-C does not wait for it", key.name));
                }
                Err(refusal) => self.show.say(&format!("{} cannot be cancelled: {refusal}", key.name)),
            }
        }
    }
}
