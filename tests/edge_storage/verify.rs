//! Checking files: present or missing, long or short, with all forms of line ends.

use std::sync::Mutex;

use fhir_export_operator::core::ledger::{Checked, Expected, StorageFailureKind, VerifyPlan};
use fhir_export_operator::ports::ObjectStore;

use crate::lake;

pub fn plan(container: &str, prefix: &str, names: &[&str], max_bytes: u64) -> VerifyPlan {
    let files = names.iter().map(|name| Expected { blob: format!("{prefix}{name}"), count: None }).collect();
    VerifyPlan { container: container.into(), prefix: prefix.into(), files, max_bytes }
}

fn checked(bytes: impl Into<Option<u64>>, lines: impl Into<Option<u64>>) -> Checked {
    Checked { bytes: bytes.into(), lines: lines.into() }
}

#[tokio::test]
async fn files_are_looked_at_and_counted_in_the_order_of_the_plan() {
    let (azurite, storage, server) = lake::ready().await;
    let container = lake::container(azurite, "verify").await;
    let folder = "20261124T020000-1/";
    let bodies: [(&str, &[u8], u64); 6] = [
        ("crlf.ndjson", b"{}\r\n{}\r\n\r\n", 2),
        ("empty.ndjson", b"", 0),
        ("no newline.ndjson", b"{}\n{}", 2),
        ("a+b%20c%.ndjson", b"{}\n", 1),
        ("sub/folder/ä#?.ndjson", b"\xEF\xBB\xBF{}\n", 1),
        ("blank.ndjson", b"\n \n\t\n", 0),
    ];
    for (name, body, _) in bodies {
        lake::put(&container, &format!("{folder}{name}"), body).await;
    }
    for n in 0..9 {
        lake::put(&container, &format!("{folder}other-{n}"), b"not in the plan").await;
    }
    let names: Vec<_> = ["not there.ndjson"].into_iter().chain(bodies.iter().map(|body| body.0)).collect();
    let told = Mutex::new(Vec::new());
    let plan = plan("verify", folder, &names, u64::MAX);
    let seen = storage.with_page(2).verify(&server, &plan, &|n| told.lock().unwrap().push(n)).await.unwrap();

    let expected = bodies.iter().map(|(_, body, lines)| checked(body.len() as u64, *lines));
    let expected: Vec<_> = [checked(None, None)].into_iter().chain(expected).collect();
    assert_eq!(seen, expected);
    // The empty file need not be read.
    assert_eq!(*told.lock().unwrap(), [2, 3, 4, 5, 6]);
}

#[tokio::test]
async fn no_more_is_read_than_permitted() {
    let (azurite, storage, server) = lake::ready().await;
    let container = lake::container(azurite, "budget").await;
    let line = b"0123456789\n";
    for (name, lines) in [("a", 10), ("b", 100), ("c", 20)] {
        lake::put(&container, name, &line.repeat(lines)).await;
    }
    let names = ["a", "b", "c"];
    let lines = async |max_bytes| -> Vec<Option<u64>> {
        let seen = storage.verify(&server, &plan("budget", "", &names, max_bytes), &|_| ()).await.unwrap();
        assert!(seen.iter().all(|file| file.bytes.is_some()));
        seen.into_iter().map(|file| file.lines).collect()
    };
    assert_eq!(lines(1430).await, [Some(10), Some(100), Some(20)]);
    assert_eq!(lines(1429).await, [Some(10), Some(100), None]);
    assert_eq!(lines(400).await, [Some(10), None, Some(20)]);
    assert_eq!(lines(0).await, [None, None, None]);
}

#[tokio::test]
async fn a_missing_container_is_said() {
    let (_, storage, server) = lake::ready().await;
    let failure = storage.verify(&server, &plan("no-such", "", &["a"], 1), &|_| ()).await.unwrap_err();
    assert_eq!(failure.kind, StorageFailureKind::NotFound);
}
