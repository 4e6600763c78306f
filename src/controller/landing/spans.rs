//! The spans of a landing: one for the whole, and one for each of the first files.

use jiff::Timestamp;

use super::super::world::World;
use super::Obstacle;
use crate::core::landing::Landed;
use crate::core::trace::{Attribute, Outcome, SpanName, Trace, Value};
use crate::ports::Clock;

/// How many files of a landing get a span. The spans of a landing of very many files would help nobody.
const MAX_FILES: usize = 1000;

/// Tells the files of a landing to the trace of its export.
pub(super) struct FileSpans<'w, W> {
    world: &'w W,
    trace: Option<Trace>,
    left: usize,
}

impl<'w, W: World> FileSpans<'w, W> {
    /// `trace` is where the spans go; without it there are none.
    pub(super) fn new(world: &'w W, trace: Option<Trace>) -> Self {
        Self { world, trace, left: MAX_FILES }
    }

    /// Tells how the landing of a file ended that had begun then.
    pub(super) fn file(&mut self, index: usize, started: Timestamp, ended: Result<&Landed, &Obstacle>) {
        let Some(trace) = self.trace.as_ref().filter(|_| self.left > 0) else { return };
        self.left -= 1;
        let bytes = ended.ok().map(|landed| i64::try_from(landed.sum.bytes).unwrap_or(i64::MAX));
        let outcome =
            ended.map_or_else(|why| Outcome::Failed(why.reason.as_str().to_owned()), |_| Outcome::Done);
        let more = bytes.map(|bytes| (Attribute::Bytes, Value::Number(bytes)));
        let times = (started, self.world.clock().now());
        self.world.note_span(trace.span((SpanName::LandFile, index), times, outcome, more));
    }
}
