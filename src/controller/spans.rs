//! Tells what is done for an export to its trace. Without a collector of traces, nothing is told.

use jiff::Timestamp;

use super::world::World;
use crate::api::FhirExport;
use crate::core::effect::{Effect, Observation};
use crate::core::trace::{Attribute, Outcome, SpanName, Trace, Value, of_observation};
use crate::ports::Clock;

/// Work on an export whose end will be told.
pub(super) struct Begun {
    trace: Trace,
    name: SpanName,
    started: Timestamp,
}

impl Begun {
    /// An effect that is about to be performed; `None` if it is not told.
    pub(super) fn effect<W: World>(world: &W, export: &FhirExport, effect: &Effect) -> Option<Self> {
        Self::work(world, export, SpanName::of(effect)?)
    }

    /// Work that is about to begin; `None` if it is not told.
    pub(super) fn work<W: World>(world: &W, export: &FhirExport, name: SpanName) -> Option<Self> {
        let started = world.traces().then(|| world.clock().now())?;
        Some(Self { trace: Trace::of(export), name, started })
    }

    /// Where the parts of this work are told.
    pub(super) fn parts(&self) -> Trace {
        self.trace.below(self.name, self.started)
    }

    /// Tells what was observed.
    pub(super) fn observed<W: World>(self, world: &W, seen: &Observation) {
        let (outcome, status) = of_observation(seen);
        let status = status.map(|status| (Attribute::StatusCode, Value::Number(status.into())));
        self.ended(world, outcome, status);
    }

    /// Tells how the work ended.
    pub(super) fn ended<W: World>(
        self,
        world: &W,
        outcome: Outcome,
        more: impl IntoIterator<Item = (Attribute, Value)>,
    ) {
        let times = (self.started, world.clock().now());
        world.note_span(self.trace.span((self.name, 0), times, outcome, more));
    }
}
