//! Spans in the form of OpenTelemetry.

use std::time::SystemTime;

use jiff::Timestamp;
use opentelemetry::trace::{
    SpanContext, SpanId as OtelSpanId, SpanKind, Status, TraceFlags, TraceId as OtelTraceId, TraceState,
};
use opentelemetry::{InstrumentationScope, KeyValue};
use opentelemetry_sdk::trace::{SpanData, SpanEvents, SpanLinks};

use crate::core::trace::{Attribute, Outcome, Span, SpanId, Value};

/// The attribute that says why a span failed.
const ERROR: &str = "error.type";

/// A span in the form of OpenTelemetry.
pub(super) fn converted(span: Span) -> SpanData {
    let Span { trace, id, parent, name, started, ended, outcome, attributes } = span;
    let mut attributes: Vec<KeyValue> = attributes.into_iter().map(attribute).collect();
    let status = match outcome {
        Outcome::Done => Status::Ok,
        Outcome::Failed(why) => {
            attributes.push(KeyValue::new(ERROR, why.clone()));
            Status::error(why)
        }
    };
    SpanData {
        span_context: SpanContext::new(
            OtelTraceId::from_bytes(trace.0),
            otel(id),
            TraceFlags::SAMPLED,
            false,
            TraceState::NONE,
        ),
        parent_span_id: parent.map_or(OtelSpanId::INVALID, otel),
        parent_span_is_remote: false,
        span_kind: if name.is_request() { SpanKind::Client } else { SpanKind::Internal },
        name: name.as_str().into(),
        start_time: time(started),
        end_time: time(ended),
        attributes,
        dropped_attributes_count: 0,
        events: SpanEvents::default(),
        links: SpanLinks::default(),
        status,
        instrumentation_scope: InstrumentationScope::builder(env!("CARGO_PKG_NAME")).build(),
    }
}

fn otel(id: SpanId) -> OtelSpanId {
    OtelSpanId::from_bytes(id.0)
}

fn time(at: Timestamp) -> SystemTime {
    at.into()
}

fn attribute((name, value): (Attribute, Value)) -> KeyValue {
    match value {
        Value::Word(word) => KeyValue::new(name.as_str(), word),
        Value::Number(number) => KeyValue::new(name.as_str(), number),
    }
}
