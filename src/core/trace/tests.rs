use serde_json::{Value as Json, json};

use super::*;
use crate::api::Reason;
use crate::core::effect::Observation;
use crate::core::wire::{Failure, FailureKind, Sent};

fn export(status: &Json) -> FhirExport {
    serde_json::from_value(json!({ "apiVersion": "fhirexport.dev/v1alpha1", "kind": "FhirExport",
        "metadata": { "name": "cohort-42", "namespace": "research", "uid": "0192f3c4-5d6e-7f80-9a0b-1c2d3e4f5061",
            "creationTimestamp": "2026-11-23T01:58:30Z" },
        "spec": { "serverRef": { "name": "clinic" }, "request": { "level": "System" } }, "status": status }))
    .unwrap()
}

fn complete() -> FhirExport {
    export(&json!({ "state": "Complete", "attempts": 2, "completionTime": "2026-11-23T02:41:07Z",
        "conditions": [{ "type": "Complete", "status": "True", "reason": "Exported", "message": "",
            "lastTransitionTime": "2026-11-23T02:41:07Z" }],
        "output": { "files": 3, "resources": 4800, "bytes": 123_456 } }))
}

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_second(1_795_399_110 + seconds).unwrap()
}

#[test]
fn an_export_is_one_span_from_its_creation_to_its_end() {
    let running = json!({ "state": "Running" });
    let running = export(&running).status;
    let span = ended(running.as_ref(), &complete()).unwrap();
    assert_eq!(
        span.trace.0,
        0x0192_f3c4_5d6e_7f80_9a0b_1c2d_3e4f_5061_u128.to_be_bytes(),
        "the uid of the export"
    );
    assert_eq!((span.name, span.parent, &span.outcome), (SpanName::Export, None, &Outcome::Done));
    assert_eq!(span.started.to_string(), "2026-11-23T01:58:30Z");
    assert_eq!(span.ended.to_string(), "2026-11-23T02:41:07Z");
    let word = |text: &str| Value::Word(text.to_owned());
    assert_eq!(
        span.attributes,
        [
            (Attribute::Namespace, word("research")),
            (Attribute::Export, word("cohort-42")),
            (Attribute::Server, word("clinic")),
            (Attribute::State, word("Complete")),
            (Attribute::Attempts, Value::Number(2)),
            (Attribute::Files, Value::Number(3)),
            (Attribute::Resources, Value::Number(4800)),
            (Attribute::Bytes, Value::Number(123_456)),
        ]
    );
    assert_eq!(ended(complete().status.as_ref(), &complete()), None, "it had ended already");
    assert_eq!(ended(None, &export(&json!({ "state": "Running" }))), None, "it goes on");
}

#[test]
fn an_export_that_fails_or_is_deleted_tells_the_reason() {
    let mut failed = complete();
    let status = failed.status.as_mut().unwrap();
    (status.state, status.reason) = (Some(RunState::Failed), Some("KickOffRejected".to_owned()));
    assert_eq!(ended(None, &failed).unwrap().outcome, Outcome::Failed("KickOffRejected".to_owned()));
    let gone = deleted(&export(&json!({ "state": "Running" })), at(9)).unwrap();
    assert_eq!((gone.outcome, gone.ended), (Outcome::Failed("Deleted".to_owned()), at(9)));
    assert_eq!(deleted(&complete(), at(9)), None, "it was told when it ended");
}

#[test]
fn parts_of_several_processes_make_one_tree() {
    let whole = ended(None, &complete()).unwrap();
    // Two processes know nothing of each other but the export.
    let (one, other) = (Trace::of(&complete()), Trace::of(&export(&json!({}))));
    let poll = one.span((SpanName::Poll, 0), (at(1), at(2)), Outcome::Done, None);
    let land = other.span((SpanName::Land, 0), (at(3), at(9)), Outcome::Done, None);
    let below = other.below(SpanName::Land, at(3));
    let file = |index| below.span((SpanName::LandFile, index), (at(4), at(5)), Outcome::Done, None);
    assert_eq!((poll.trace, land.trace, file(0).trace), (whole.trace, whole.trace, whole.trace));
    assert_eq!((poll.parent, land.parent, file(0).parent), (Some(whole.id), Some(whole.id), Some(land.id)));
    let ids = [whole.id, poll.id, land.id, file(0).id, file(1).id];
    for (place, id) in ids.iter().enumerate() {
        assert!(!ids.iter().skip(place + 1).any(|other| other == id), "{ids:?}");
    }
    // A clock that was set back does not make a span that ends before it begins.
    assert_eq!(one.span((SpanName::Poll, 0), (at(5), at(2)), Outcome::Done, None).ended, at(5));
}

#[test]
fn a_uid_that_is_none_of_the_cluster_gives_a_trace_of_its_own() {
    let of = |uid: &str| {
        let mut export = complete();
        export.metadata.uid = Some(uid.to_owned());
        Trace::of(&export).id
    };
    assert_ne!(of("local-1"), of("local-2"));
    for uid in ["", "00000000-0000-0000-0000-000000000000"] {
        assert_ne!(of(uid).0, [0; 16], "an id of zeros is invalid");
    }
}

#[test]
fn a_request_tells_its_status_code_or_why_there_is_none() {
    let failure =
        |kind, reason| Failure { sent: Sent::No, reason, message: "of patient 4711".to_owned(), kind };
    let unreachable = failure(FailureKind::Unreachable, Reason::TimedOut);
    assert_eq!(
        of_observation(&Observation::Poll(Err(unreachable.clone()))),
        (Outcome::Failed("TimedOut".to_owned()), None)
    );
    assert_eq!(
        of_observation(&Observation::Authorized(Err(unreachable))).0,
        Outcome::Failed("TimedOut".to_owned())
    );
    assert_eq!(of_observation(&Observation::Authorized(Ok(()))), (Outcome::Done, None));
}
