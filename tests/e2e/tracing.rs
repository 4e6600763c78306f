//! Traces of exports, as a collector receives them.

use std::collections::BTreeSet;

use bulk_fhir::{FileScript, Options, Script};
use fhir_export_operator::api::FhirExport;
use kube::ResourceExt;
use opentelemetry_proto::tonic::common::v1::any_value::Value as Any;
use opentelemetry_proto::tonic::trace::v1::Span;
use opentelemetry_proto::tonic::trace::v1::status::StatusCode;
use serde_json::json;
use stage::wait_for;

use crate::place::Place;
use crate::site::PATIENCE;

/// The spans of a place, once that of the whole export is among them.
async fn trace(place: &Place) -> Vec<Span> {
    let collector = place.site.collector.as_ref().unwrap();
    let ended = wait_for("the span of the export", PATIENCE, || async {
        let spans = collector.spans();
        let names: Vec<String> = spans.iter().map(|span| span.name.clone()).collect();
        if names.iter().any(|name| name == "FhirExport") { Ok(spans) } else { Err(format!("{names:?}")) }
    });
    place.site.told(ended.await)
}

fn named<'s>(spans: &'s [Span], name: &str) -> Vec<&'s Span> {
    spans.iter().filter(|span| span.name == name).collect()
}

fn number(span: &Span, key: &str) -> Option<i64> {
    let value = span.attributes.iter().find(|attribute| attribute.key == key)?.value.as_ref()?;
    match value.value.as_ref()? {
        Any::IntValue(number) => Some(*number),
        other => panic!("{key} is no number: {other:?}"),
    }
}

/// Asserts that the spans are one trace: that of the export, with one root and no span without a parent in it. Returns
/// the root.
fn assert_one_trace<'s>(spans: &'s [Span], export: &FhirExport) -> &'s Span {
    let uid = export.uid().unwrap().replace('-', "");
    let ids: BTreeSet<&[u8]> = spans.iter().map(|span| span.span_id.as_slice()).collect();
    assert_eq!(ids.len(), spans.len(), "each span has an id of its own");
    let roots = named(spans, "FhirExport");
    assert_eq!(roots.len(), 1, "{roots:?}");
    for span in spans {
        assert_eq!(fhir_export_operator::core::manifest::hex(&span.trace_id), uid);
        let parent = span.parent_span_id.as_slice();
        assert!(span.name == "FhirExport" && parent.is_empty() || ids.contains(parent), "{span:?}");
        assert!(span.start_time_unix_nano <= span.end_time_unix_nano, "{span:?}");
    }
    let created = export.creation_timestamp().unwrap().0.as_nanosecond();
    assert_eq!(i128::from(roots[0].start_time_unix_nano), created);
    roots[0]
}

#[tokio::test]
async fn an_export_is_one_trace_from_apply_to_complete() {
    let place = Place::start("trace", Options::default(), json!({})).await;
    let (object, job) = place.lands(Script::polls(2)).await;
    let spans = trace(&place).await;
    let root = assert_one_trace(&spans, &object);
    assert_eq!(root.status.as_ref().unwrap().code(), StatusCode::Ok);
    assert_eq!(number(root, "fhirexport.files"), i64::try_from(job.files.len()).ok());
    let kick_offs = named(&spans, "kick-off");
    assert_eq!(kick_offs.len(), 1);
    assert_eq!(number(kick_offs[0], "http.response.status_code"), Some(202));
    assert!(named(&spans, "poll").len() >= 3, "{spans:?}");
    let land = named(&spans, "land");
    let files = named(&spans, "land file");
    assert_eq!((land.len(), files.len()), (1, job.files.len()));
    for file in &files {
        assert_eq!(file.parent_span_id, land[0].span_id);
    }
    let bytes: i64 = files.iter().filter_map(|file| number(file, "fhirexport.bytes")).sum();
    assert_eq!(number(root, "fhirexport.bytes"), Some(bytes));
    for name in ["kick-off", "poll", "land", "store manifest"] {
        for span in named(&spans, name) {
            assert_eq!(span.parent_span_id, root.span_id, "{name}");
        }
    }
}

#[tokio::test]
async fn two_processes_make_one_trace() {
    let mut place = Place::start("trace-killed", Options::default(), json!({})).await;
    let slow = FileScript { trickle: Some(100_000), gzip: false, ..FileScript::default() };
    place.fhir.script(Script::polls(0).made("Observation", 1, 400_000).files(slow));
    place.export("run", json!({}), json!({})).await;
    place.until_sent(0, 100_000).await;
    let collector = place.site.collector.as_ref().unwrap();
    let told = wait_for("the kick-off to be told", PATIENCE, || async {
        let spans = collector.spans();
        if named(&spans, "kick-off").is_empty() { Err(format!("{} spans", spans.len())) } else { Ok(()) }
    });
    place.site.told(told.await);
    place.site.kill_operator().await;
    place.site.start_operator().await;
    let object = place.site.complete("run").await;
    let spans = trace(&place).await;
    assert_one_trace(&spans, &object);
    assert_eq!((named(&spans, "kick-off").len(), named(&spans, "land").len()), (1, 1));
}

#[tokio::test]
async fn an_export_that_fails_tells_its_reason() {
    let place = Place::start("trace-failed", Options::default(), json!({})).await;
    place.export("run", json!({"level": "Group", "groupID": "nobody"}), json!({})).await;
    let object = place.site.until_condition("run", "Failed", "True", "KickOffRejected").await;
    let spans = trace(&place).await;
    let root = assert_one_trace(&spans, &object);
    let status = root.status.as_ref().unwrap();
    assert_eq!((status.code(), status.message.as_str()), (StatusCode::Error, "KickOffRejected"));
}

#[tokio::test]
async fn a_collector_that_does_not_answer_holds_up_no_export() {
    let place = Place::start("trace-hangs", Options::default(), json!({})).await;
    place.site.collector.as_ref().unwrap().hang();
    let (object, _) = place.lands(Script::polls(1)).await;
    // The batch is given up after ten seconds, and said so once.
    let lost = wait_for("the loss to be logged", PATIENCE, || async {
        let log = std::fs::read_to_string(place.site.operator.as_ref().unwrap().log()).unwrap();
        if log.contains("does not take spans, and they are dropped") { Ok(()) } else { Err(log) }
    });
    place.site.told(lost.await);
    let took = object.status.unwrap().completion_time.unwrap();
    let began = object.metadata.creation_timestamp.unwrap().0;
    assert!(took.duration_since(began).as_secs() < 10, "it did not wait for the collector");
}
