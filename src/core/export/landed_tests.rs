#![allow(clippy::needless_pass_by_value)] // they are given a json! each time

use serde_json::{Value, json};

use super::*;
use crate::api::CheckResult::{Failed, Passed, Unknown};
use crate::api::FhirServerSpec;
use crate::core::bulk::manifest::Pages;
use crate::core::export::type_counts::TypeCount;
use crate::core::landing::{FileForm, Issues, LandPlace, Sum, plan};
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
    Pages::read(None, value.to_string().as_bytes(), AT).unwrap().into_manifest()
}

fn land(manifest: &Manifest, lines: &[u64]) -> (LandPlan, Vec<Landed>) {
    let second = std::time::Duration::from_secs(1);
    let bounds = Bounds { min: second, max: second, max_retry_after: second };
    let place = LandPlace { container: "lake".into(), folder: "f".into() };
    let plan = plan(&spec(), manifest, &place, crate::api::Compression::None, bounds);
    let landed = lines.iter().map(|lines| Landed {
        sum: Sum { bytes: lines * 10, lines: *lines, sha256: "ab".repeat(32) },
        form: FileForm::Framed,
        issues: Issues::default(),
        words: Vec::new(),
    });
    (plan, landed.collect())
}

fn judged(manifest: &Manifest, lines: &[u64], types: Value, asked: &[(&str, TypeCount)]) -> Verdict {
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
    let sum = |sha: &str, bytes: u64| {
        json!({"fileSize": bytes,
        "extension": [{"url": "https://x/checksum", "valueString": format!("sha256:{sha}")}]})
    };
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
    let check = |asked: &[(&str, TypeCount)]| judged(&manifest, &[5], types.clone(), asked);
    for (asked, told) in [
        (vec![], false),
        (vec![("Observation", TypeCount::Untold)], false),
        (vec![("Observation", TypeCount::NotAsOf)], true),
        (vec![("Observation", TypeCount::ChangedSince)], true),
    ] {
        let verdict = check(&asked);
        assert_eq!(verdict.checks.requested_types, Unknown, "{asked:?}");
        let says = verdict.message.contains("no file of type Observation came; the server has some now");
        assert_eq!(says, told, "{asked:?} {}", verdict.message);
    }
    let empty = check(&[("Observation", TypeCount::None)]);
    assert_eq!((empty.checks.requested_types, empty.status), (Passed, ConditionStatus::True));
    let lost = check(&[("Observation", TypeCount::AtTransaction(1234))]);
    assert_eq!((lost.checks.requested_types, lost.reason), (Failed, Reason::TypesMissing));
    assert_eq!(
        lost.message,
        "no file of type Observation came, although the server counts 1,234 resources of it that had not changed \
         since the transaction time; check bulkData.listStyle of the FhirServer"
    );
}

#[test]
fn deleted_and_error_files_are_counted_and_verify_nothing_without_a_count() {
    let deleted = |members: Value| {
        let mut file = json!({"type": "Bundle", "url": "https://x.example/d"});
        file.as_object_mut().unwrap().extend(members.as_object().unwrap().clone());
        read(json!({"output": [], "deleted": [file]}))
    };
    let error = |count: u64| {
        let file =
            |name: &str| json!({"type": "Patient", "url": format!("https://x.example/{name}"), "count": 5});
        let error = json!({"type": "OperationOutcome", "url": "https://x.example/e", "count": count});
        read(json!({"output": [file("1")], "error": [error]}))
    };
    for (manifest, lines, counts, status) in [
        (deleted(json!({})), vec![5], Unknown, ConditionStatus::Unknown),
        (deleted(json!({"count": 5})), vec![5], Passed, ConditionStatus::True),
        (deleted(json!({"count": 6})), vec![5], Failed, ConditionStatus::False),
        (error(3), vec![5, 3], Passed, ConditionStatus::True),
        (error(4), vec![5, 3], Failed, ConditionStatus::False),
        (read(json!({"output": []})), vec![], Unknown, ConditionStatus::True),
    ] {
        let verdict = judged(&manifest, &lines, json!([]), &[]);
        assert_eq!((verdict.checks.counts, verdict.status), (counts, status), "{manifest:?}");
    }
}

#[test]
fn the_form_of_files_is_judged_without_a_word_of_the_server() {
    let file = |members: Value| {
        let mut file = json!({"type": "Patient", "url": "https://x.example/1"});
        file.as_object_mut().unwrap().extend(members.as_object().unwrap().clone());
        read(json!({"output": [file]}))
    };
    let formed = |manifest: &Manifest, form: FileForm| {
        let (plan, mut landed) = land(manifest, &[5]);
        landed[0].form = form;
        let request = serde_json::from_value(json!({"level": "System"})).unwrap();
        judge(manifest, &request, &plan, &landed, &TypeCounts::new())
    };
    let bytes = json!({"extension": [{"url": "https://x/file_length", "valueDecimal": 50}]});
    for (members, form, files, status, reason) in [
        (json!({"count": 5}), FileForm::Framed, Passed, ConditionStatus::True, Reason::CountsMatch),
        (json!({"count": 5}), FileForm::Unframed, Unknown, ConditionStatus::Unknown, Reason::PartlyChecked),
        (json!({}), FileForm::Unframed, Unknown, ConditionStatus::Unknown, Reason::PartlyChecked),
        // Its length is known.
        (bytes, FileForm::Unframed, Passed, ConditionStatus::True, Reason::CountsMatch),
        (json!({"count": 5}), FileForm::Cut, Failed, ConditionStatus::False, Reason::FileTruncated),
        (json!({"count": 5}), FileForm::OtherType, Failed, ConditionStatus::False, Reason::WrongType),
    ] {
        let verdict = formed(&file(members.clone()), form);
        let got = (verdict.checks.files, verdict.status, verdict.reason);
        assert_eq!(got, (files, status, reason), "{members} {form:?}");
        let named = verdict.message.contains("f/Patient-1.ndjson");
        assert_eq!(named, files != Passed, "{}", verdict.message);
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
