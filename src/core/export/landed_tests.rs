#![allow(clippy::needless_pass_by_value)] // they are given a json! each time

use serde_json::{Value, json};

use super::*;
use crate::api::CheckResult::{Failed, Passed, Unknown};
use crate::core::bulk::manifest::Pages;
use crate::core::landing::{Issues, Place, Sum, plan};
use crate::core::poll::Bounds;

const AT: &str = "https://x.example/status/1";

fn spec() -> FhirServerSpec {
    serde_json::from_value(
        json!({"url": "https://x.example", "dialect": "BulkData", "auth": {"type": "None"}}),
    )
    .unwrap()
}

fn read(members: Value) -> Manifest {
    let mut value = json!({"transactionTime": "2026-01-01T00:00:00Z", "requiresAccessToken": false});
    value.as_object_mut().unwrap().extend(members.as_object().unwrap().clone());
    Pages::read(None, value.to_string().as_bytes(), AT).unwrap().manifest
}

fn land(manifest: &Manifest, lines: &[u64]) -> (LandPlan, Vec<Landed>) {
    let second = std::time::Duration::from_secs(1);
    let bounds = Bounds { min: second, max: second, max_retry_after: second };
    let place = Place { container: "lake".into(), folder: "f".into() };
    let plan = plan(&spec(), manifest, &place, crate::api::Compression::None, bounds);
    let landed = lines.iter().map(|lines| Landed {
        sum: Sum { bytes: lines * 10, lines: *lines, sha256: "ab".repeat(32) },
        issues: Issues::default(),
        words: Vec::new(),
    });
    (plan, landed.collect())
}

fn judged(manifest: &Manifest, lines: &[u64], types: Value, asked: &[(&str, Option<u64>)]) -> Verdict {
    let (plan, landed) = land(manifest, lines);
    let request: ExportRequest = serde_json::from_value(json!({"level": "System", "types": types})).unwrap();
    let asked = asked.iter().map(|(t, n)| ((*t).to_owned(), *n)).collect();
    judge(manifest, &request, &plan, &landed, &asked)
}

#[test]
fn what_a_verdict_needs() {
    let file = |members: Value| {
        let mut file = json!({"type": "Patient", "url": "https://x.example/1"});
        file.as_object_mut().unwrap().extend(members.as_object().unwrap().clone());
        read(json!({"output": [file]}))
    };
    let sum = |sha: &str, bytes: u64| json!({"fileSize": bytes, "extension": [{"url": "https://x/checksum", "valueString": format!("sha256:{sha}")}]});
    let (right, wrong) = ("ab".repeat(32), "cd".repeat(32));
    for (manifest, counts, checksums, status, reason) in [
        (file(json!({"count": 5})), Passed, Unknown, ConditionStatus::True, Reason::CountsMatch),
        (file(json!({"count": 6})), Failed, Unknown, ConditionStatus::False, Reason::CountMismatch),
        (file(json!({})), Unknown, Unknown, ConditionStatus::Unknown, Reason::PartlyChecked),
        (file(sum(&right, 50)), Unknown, Passed, ConditionStatus::True, Reason::CountsMatch),
        (file(sum(&wrong, 50)), Unknown, Failed, ConditionStatus::False, Reason::ChecksumMismatch),
        (file(sum(&right, 51)), Unknown, Failed, ConditionStatus::False, Reason::ChecksumMismatch),
        (
            file(json!({"fileSize": 50, "count": 5})),
            Passed,
            Passed,
            ConditionStatus::True,
            Reason::CountsMatch,
        ),
    ] {
        let verdict = judged(&manifest, &[5], json!([]), &[]);
        assert_eq!(
            (verdict.checks.counts, verdict.checks.checksums, verdict.status, verdict.reason),
            (counts, checksums, status, reason),
            "{manifest:?}"
        );
        assert_eq!((verdict.checks.files, verdict.bytes), (Passed, Some(50)));
    }
    let none = judged(&read(json!({"output": []})), &[], json!([]), &[]);
    assert_eq!((none.status, none.checks.files), (ConditionStatus::True, Passed));
    let lost = judged(&file(json!({"count": 5})), &[], json!([]), &[]);
    assert_eq!((lost.status, lost.reason), (ConditionStatus::False, Reason::FileMissing));
}

#[test]
fn a_requested_type_without_a_file() {
    let manifest = read(json!({"output": [{"type": "Patient", "url": "https://x.example/1", "count": 5}]}));
    let types = json!(["Patient", "Observation"]);
    let check = |asked: &[(&str, Option<u64>)]| judged(&manifest, &[5], types.clone(), asked);
    assert_eq!(check(&[]).checks.requested_types, CheckResult::Unknown);
    assert_eq!(check(&[("Observation", None)]).checks.requested_types, CheckResult::Unknown);
    let empty = check(&[("Observation", Some(0))]);
    assert_eq!((empty.checks.requested_types, empty.status), (CheckResult::Passed, ConditionStatus::True));
    let lost = check(&[("Observation", Some(1234))]);
    assert_eq!((lost.checks.requested_types, lost.reason), (CheckResult::Failed, Reason::TypesMissing));
    assert_eq!(
        lost.message,
        "no file of type Observation came, although the server counts 1,234 resources of it; check \
         bulkData.listStyle of the FhirServer"
    );
}

#[test]
fn the_server_is_asked_only_where_its_answer_tells() {
    let manifest = read(json!({"output": []}));
    let ask =
        |request: Value| uncounted(&manifest, &serde_json::from_value(request).unwrap(), &BTreeMap::new());
    assert_eq!(ask(json!({"level": "System", "types": ["Patient"]})).as_deref(), Some("Patient"));
    for narrowed in [
        json!({"level": "System"}),
        json!({"level": "Patient", "types": ["Patient"]}),
        json!({"level": "System", "types": ["Patient"], "since": "2026-01-01T00:00:00Z"}),
        json!({"level": "System", "types": ["Patient"], "typeFilters": ["Patient?active=true"]}),
        json!({"level": "System", "types": ["Patient"], "parameters": [{"name": "x", "value": "y"}]}),
    ] {
        assert_eq!(ask(narrowed.clone()), None, "{narrowed}");
    }
    let many: Vec<String> = (0..50).map(|n| format!("T{n}")).collect();
    let asked = many.iter().take(MAX_ASKED).map(|t| (t.clone(), None)).collect();
    let request = serde_json::from_value(json!({"level": "System", "types": many})).unwrap();
    assert_eq!(uncounted(&manifest, &request, &asked), None);
    assert_eq!(count(&spec(), "Patient").url, "https://x.example/Patient?_summary=count");
    assert_eq!(total(br#"{"resourceType":"Bundle","total":7}"#), Some(7));
    for body in ["", "{}", r#"{"resourceType":"Patient","total":7}"#, r#"{"resourceType":"Bundle"}"#] {
        assert_eq!(total(body.as_bytes()), None, "{body}");
    }
}

#[test]
fn error_files_are_told_by_what_they_hold() {
    let error = json!({"url": "https://x.example/e"});
    let manifest = read(json!({"output": [], "error": [error.clone(), error]}));
    let (plan, mut landed) = land(&manifest, &[1, 2]);
    assert_eq!(error_report(&plan.files, &landed), ErrorReport::default());
    landed[0].issues.information = 3;
    landed[0].words = vec!["_elements was ignored".into()];
    let told_of_information = error_report(&plan.files, &landed);
    assert_eq!(
        (told_of_information.errors, told_of_information.words.as_deref()),
        (None, Some("_elements was ignored"))
    );
    landed[1].issues.errors = 2;
    let told = error_report(&plan.files, &landed);
    assert_eq!(
        told.errors.as_deref(),
        Some("the server reports 2 errors: read f/error/OperationOutcome-2.ndjson")
    );
}
