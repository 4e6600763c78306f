#![allow(clippy::unwrap_used)]

use serde_json::{Value, json};

use super::*;

const ENDPOINT: &str = "https://acct.blob.example";

/// A manifest of data files with these counts in container `lake`.
fn manifest(counts: &[Option<u64>]) -> Manifest {
    let file = |(n, count): (usize, &Option<u64>)| {
        let mut file = json!({"type": "Patient", "url": format!("{ENDPOINT}/lake/f/{n}.ndjson")});
        if let Some(count) = count {
            file["count"] = (*count).into();
        }
        file
    };
    parsed(&counts.iter().enumerate().map(file).collect())
}

fn parsed(output: &Value) -> Manifest {
    let body = json!({"transactionTime": "2026-11-23T00:00:00Z", "output": output});
    Manifest::parse(&body.to_string().into()).unwrap()
}

fn there(bytes: u64, lines: Option<u64>) -> Checked {
    Checked { bytes: Some(bytes), lines }
}

const MISSING: Checked = Checked { bytes: None, lines: None };

#[test]
fn verdicts() {
    use CheckResult::{Failed, Passed, Unknown};
    let rows = [
        (vec![Some(2)], vec![there(9, Some(2))], Reason::CountsMatch, Passed, Passed, "the file is"),
        (
            vec![Some(2), Some(0)],
            vec![there(9, Some(2)), there(0, Some(0))],
            Reason::CountsMatch,
            Passed,
            Passed,
            "all 2 files",
        ),
        (
            vec![Some(2), Some(1)],
            vec![there(9, Some(2)), MISSING],
            Reason::FileMissing,
            Failed,
            Unknown,
            "1 of 2 files are not in the container: f/1.ndjson",
        ),
        (vec![Some(1); 5], vec![MISSING; 5], Reason::FileMissing, Failed, Unknown, "and 2 more"),
        (
            vec![Some(2), Some(1)],
            vec![there(9, Some(2))],
            Reason::FileMissing,
            Failed,
            Unknown,
            "1 of 2 files are not in the container",
        ),
        (
            vec![Some(2), Some(1)],
            vec![there(9, Some(3)), there(9, Some(0))],
            Reason::CountMismatch,
            Passed,
            Failed,
            "f/0.ndjson holds 3 lines, the manifest says 2 (and 1 more)",
        ),
        (
            vec![Some(2), Some(1)],
            vec![there(9, Some(2)), there(9, None)],
            Reason::PartlyChecked,
            Passed,
            Unknown,
            "verifyMaxBytes",
        ),
        (
            vec![Some(2), None],
            vec![there(9, Some(2)), there(9, Some(1))],
            Reason::PartlyChecked,
            Passed,
            Unknown,
            "does not count",
        ),
    ];
    for (counts, checked, reason, files, numbers, words) in rows {
        let manifest = manifest(&counts);
        let addresses = addresses(&manifest, Some(ENDPOINT)).unwrap();
        let verdict = judge(&manifest, &addresses, &checked);
        assert_eq!(
            (verdict.reason, verdict.checks.files, verdict.checks.counts),
            (reason, files, numbers),
            "{verdict:?}"
        );
        let wanted = match reason {
            Reason::CountsMatch => ConditionStatus::True,
            Reason::PartlyChecked => ConditionStatus::Unknown,
            _ => ConditionStatus::False,
        };
        assert!(verdict.status == wanted && verdict.message.contains(words), "{verdict:?}");
        assert_eq!(
            verdict.bytes,
            Some(checked.iter().map(|c| i64::try_from(c.bytes.unwrap_or(0)).unwrap()).sum())
        );
    }
}

#[test]
fn a_huge_file_does_not_overflow() {
    let manifest = manifest(&[Some(u64::MAX), Some(u64::MAX)]);
    let addresses = addresses(&manifest, Some(ENDPOINT)).unwrap();
    let checked = [there(u64::MAX, Some(u64::MAX)), there(u64::MAX, None)];
    assert_eq!(judge(&manifest, &addresses, &checked).bytes, Some(i64::MAX));
}

#[test]
fn what_is_listed() {
    let file = |url: &str| json!({"type": "Patient", "url": format!("{ENDPOINT}/{url}"), "count": 1});
    for (urls, container, prefix) in [
        (vec!["lake/f/1", "lake/f/2"], "lake", "f/"),
        (vec!["lake/f/1", "lake/g/2"], "lake", ""),
        (vec!["lake/1"], "lake", ""),
        (vec!["lake/f/1", "lake/f/g/2"], "lake", "f/"),
    ] {
        let manifest = parsed(&urls.iter().map(|u| file(u)).collect());
        let plan = plan(&manifest, &addresses(&manifest, Some(ENDPOINT)).unwrap(), 9).unwrap();
        assert_eq!(
            (plan.container.as_str(), plan.prefix.as_str(), plan.max_bytes, plan.files.len()),
            (container, prefix, 9, urls.len())
        );
    }
    let two = parsed(&json!([file("lake/f/1"), file("pond/f/1")]));
    assert_eq!(plan(&two, &addresses(&two, Some(ENDPOINT)).unwrap(), 9), None);
    assert_eq!(
        addresses(&parsed(&json!([{"url": "https://b.example/lake/1?sig=x"}])), Some(ENDPOINT)),
        Err("https://b.example".into())
    );
}

#[test]
fn types_that_were_asked_for() {
    let types = |names: &[&str]| names.iter().map(|n| (*n).to_owned()).collect::<Vec<_>>();
    let manifest = manifest(&[Some(1)]);
    assert_eq!(requested_types(&manifest, None), CheckResult::Unknown);
    assert_eq!(requested_types(&manifest, Some(&[])), CheckResult::Unknown);
    assert_eq!(requested_types(&manifest, Some(&types(&["Patient"]))), CheckResult::Passed);
    assert_eq!(requested_types(&manifest, Some(&types(&["Patient", "Group"]))), CheckResult::Unknown);
}
