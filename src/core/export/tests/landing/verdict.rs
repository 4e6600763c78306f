//! How the landed files are judged, and what a run says about them.

use serde_json::json;

use super::super::said::body;
use super::ran;
use crate::api::CheckResult;
use crate::api::ConditionType::{Complete, Failed, Verified};

#[test]
fn what_is_wrong_with_what_landed_is_failed_and_stays() {
    let short = ran(json!({}), json!({}), |w| w.fake.spoil = |landed| landed[0].sum.lines -= 1);
    assert_eq!(
        (short.says(Failed).as_str(), short.says(Verified).as_str()),
        ("True/VerificationFailed", "False/CountMismatch")
    );
    assert!(short.fake.stored.is_empty(), "the manifest is the mark of completeness");
    assert!(short.fake.cleaned.is_empty(), "the server's files may have to be looked at");
    assert_eq!(short.status().output.unwrap().checks.unwrap().counts, CheckResult::Failed);
    let epic =
        ran(json!({"preset": "Epic"}), json!({}), |w| w.fake.spoil = |landed| landed[0].sum.lines -= 1);
    assert_eq!(epic.fake.cleaned.len(), 1, "it runs nothing else for this group before that");
    let kept = ran(json!({"finishedJobs": "Keep"}), json!({}), |_| {});
    assert!(kept.fake.cleaned.is_empty());
}

#[test]
fn a_file_that_is_cut_or_of_another_type_fails_the_run_and_one_without_a_mark_is_told() {
    use crate::core::landing::FileForm;
    let formed = |spoil: fn(&mut Vec<crate::core::landing::Landed>)| {
        ran(json!({}), json!({}), |w| w.fake.spoil = spoil)
    };
    let cut = formed(|landed| landed[1].form = FileForm::Cut);
    assert_eq!((cut.state().as_str(), cut.says(Verified).as_str()), ("Failed", "False/FileTruncated"));
    assert!(cut.fake.stored.is_empty(), "the manifest is the mark of completeness");
    let other = formed(|landed| landed[0].form = FileForm::OtherType);
    assert_eq!((other.state().as_str(), other.says(Verified).as_str()), ("Failed", "False/WrongType"));
    let open = formed(|landed| landed[1].form = FileForm::Unframed);
    assert_eq!((open.state().as_str(), open.says(Verified).as_str()), ("Complete", "Unknown/PartlyChecked"));
    assert!(open.message(Verified).contains("Patient-1.ndjson came to the end is not known"));
    assert_eq!(open.status().output.unwrap().checks.unwrap().files, CheckResult::Unknown);
}

#[test]
fn a_type_that_got_lost_is_found_by_asking() {
    let types = json!({"request": {"level": "System", "container": "lake",
        "types": ["Patient", "Observation", "Condition"]}});
    let lost = ran(json!({}), types.clone(), |w| w.fake.has.extend([("Condition", 9)]));
    assert_eq!(
        (lost.says(Failed).as_str(), lost.says(Verified).as_str()),
        ("True/VerificationFailed", "False/TypesMissing")
    );
    let none = ran(json!({}), types.clone(), |w| w.fake.has.extend([("Condition", 0)]));
    assert_eq!(none.state(), "Complete");
    assert_eq!(none.status().output.unwrap().checks.unwrap().requested_types, CheckResult::Passed);
    let made_since = ran(json!({}), types.clone(), |w| {
        w.fake.has.extend([("Condition", 9)]);
        w.fake.unchanged.extend([("Condition", 0)]);
    });
    assert_eq!((made_since.state().as_str(), made_since.fake.counted.len()), ("Complete", 2));
    assert!(made_since.message(Verified).contains("all of them changed since the transaction time"));
    let timeless = ran(json!({}), types.clone(), |w| {
        w.fake.has.extend([("Condition", 9)]);
        w.fake.timeless = true;
    });
    assert_eq!(timeless.state(), "Complete");
    for unknown in [made_since, timeless] {
        assert_eq!(unknown.status().output.unwrap().checks.unwrap().requested_types, CheckResult::Unknown);
    }
    let silent = ran(json!({}), types, |_| {});
    assert_eq!(silent.state(), "Complete");
    assert_eq!(silent.status().output.unwrap().checks.unwrap().requested_types, CheckResult::Unknown);
}

#[test]
fn error_files_are_told_by_their_errors() {
    let errors = json!({"transactionTime": "2026-01-01T00:00:00Z", "requiresAccessToken": false,
        "output": [{"type": "Patient", "url": "https://x/1", "count": 3}],
        "error": [{"type": "OperationOutcome", "url": "https://x/e"}]});
    let with = |errors_in_it: fn(&mut Vec<crate::core::landing::Landed>), policy: &str| {
        let reply = body(&errors.to_string());
        ran(json!({}), json!({"errorFilePolicy": policy}), move |w| {
            w.fake.polls.push_back(Ok(reply));
            w.fake.spoil = errors_in_it;
        })
    };
    let information = with(|landed| landed[1].words = vec!["_elements was ignored".into()], "Fail");
    assert_eq!(information.says(Complete), "True/Exported");
    assert!(information.message(Complete).ends_with("the server says: _elements was ignored"));
    let tolerated = with(|landed| landed[1].issues.errors = 2, "Tolerate");
    assert_eq!(tolerated.says(Complete), "True/CompletedWithErrors");
    assert_eq!(tolerated.status().output.unwrap().error_issues, Some(2));
    let refused = with(|landed| landed[1].issues.errors = 2, "Fail");
    assert_eq!(refused.says(Failed), "True/ServerReportedErrors");
}
