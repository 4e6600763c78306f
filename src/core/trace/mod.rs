//! The trace of an export: one span from its creation to its end, and below it one for each request, for the landing and
//! its files, and for the check of the files. Ids follow from the uid of the export, so that the spans of several
//! processes, one after another, make one trace.

mod outcome;
mod span;

use jiff::Timestamp;
use kube::ResourceExt;
use sha2::{Digest, Sha256};

use super::export::is_terminal;
use crate::api::{FhirExport, FhirExportStatus, RunState};
pub use outcome::{of_observation, of_store};
pub use span::{Attribute, Outcome, Span, SpanId, SpanName, TraceId, Value};

/// Where new spans go: below the span of an export, or below one of its parts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trace {
    id: TraceId,
    parent: SpanId,
    names: [(Attribute, Value); 2],
}

/// The export's own span is told by this instead of the time when it began.
const ROOT: Timestamp = Timestamp::UNIX_EPOCH;

impl Trace {
    /// The trace of an export.
    pub fn of(export: &FhirExport) -> Self {
        let id = trace_id(&export.uid().unwrap_or_default());
        let names = [
            (Attribute::Namespace, Value::Word(export.namespace().unwrap_or_default())),
            (Attribute::Export, Value::Word(export.name_any())),
        ];
        Self { parent: span_id(id, SpanName::Export, ROOT, 0), id, names }
    }

    /// The same trace, for the parts of the work that began then.
    #[must_use]
    pub fn below(&self, name: SpanName, started: Timestamp) -> Self {
        Self { parent: span_id(self.id, name, started, 0), ..self.clone() }
    }

    /// A span of this trace. `index` tells it from others with this name that began at the same time.
    pub fn span(
        &self,
        (name, index): (SpanName, usize),
        (started, ended): (Timestamp, Timestamp),
        outcome: Outcome,
        more: impl IntoIterator<Item = (Attribute, Value)>,
    ) -> Span {
        Span {
            trace: self.id,
            id: span_id(self.id, name, started, index),
            parent: Some(self.parent),
            name,
            started,
            ended: ended.max(started),
            outcome,
            attributes: self.names.iter().cloned().chain(more).collect(),
        }
    }
}

/// The span of an export that has just ended: `before` is its status before the last write. `None` if it goes on, or had
/// ended already.
pub fn ended(before: Option<&FhirExportStatus>, export: &FhirExport) -> Option<Span> {
    let status = export.status.as_ref().filter(|status| is_terminal(status))?;
    if before.is_some_and(is_terminal) {
        return None;
    }
    let outcome = match status.state {
        Some(RunState::Complete) => Outcome::Done,
        _ => Outcome::Failed(status.reason.clone().unwrap_or_else(|| "unknown".to_owned())),
    };
    Some(whole(export, status.completion_time, outcome))
}

/// The span of an export that was deleted before its end.
pub fn deleted(export: &FhirExport, now: Timestamp) -> Option<Span> {
    let goes_on = export.status.as_ref().is_none_or(|status| !is_terminal(status));
    goes_on.then(|| whole(export, Some(now), Outcome::Failed("Deleted".to_owned())))
}

fn whole(export: &FhirExport, end: Option<Timestamp>, outcome: Outcome) -> Span {
    let trace = Trace::of(export);
    let status = export.status.clone().unwrap_or_default();
    let output = status.output.as_ref();
    let created = export.metadata.creation_timestamp.as_ref().map(|time| time.0);
    let started = created.or(status.accepted_time).or(end).unwrap_or_default();
    let numbers = [
        (Attribute::Attempts, status.attempts.map(i64::from)),
        (Attribute::Files, output.and_then(|output| output.files)),
        (Attribute::Resources, output.and_then(|output| output.resources)),
        (Attribute::Bytes, output.and_then(|output| output.bytes)),
    ];
    let numbers = numbers.into_iter().filter_map(|(name, number)| Some((name, Value::Number(number?))));
    let server = (Attribute::Server, Value::Word(export.spec.server_ref.name.clone()));
    let state = status.state_word().map(|state| (Attribute::State, Value::Word(state.to_owned())));
    let more = [Some(server), state].into_iter().flatten().chain(numbers);
    let span = trace.span((SpanName::Export, 0), (started, end.unwrap_or(started)), outcome, more);
    Span { id: trace.parent, parent: None, ..span }
}

/// The uid as 16 bytes, or a hash of one that is no UUID.
fn trace_id(uid: &str) -> TraceId {
    let digits: String = uid.chars().filter(|c| *c != '-').collect();
    let number = Some(&digits).filter(|digits| digits.len() == 32);
    let number =
        number.and_then(|digits| u128::from_str_radix(digits, 16).ok()).filter(|number| *number != 0);
    TraceId(number.map_or_else(|| first(&Sha256::digest(uid)), u128::to_be_bytes))
}

fn span_id(trace: TraceId, name: SpanName, started: Timestamp, index: usize) -> SpanId {
    let mut hash = Sha256::new();
    hash.update(trace.0);
    hash.update(name.as_str());
    hash.update(started.as_nanosecond().to_be_bytes());
    hash.update((index as u64).to_be_bytes());
    SpanId(first(&hash.finalize()))
}

fn first<const N: usize>(bytes: &[u8]) -> [u8; N] {
    let mut first = [0; N];
    first.iter_mut().zip(bytes).for_each(|(to, from)| *to = *from);
    first
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests;
