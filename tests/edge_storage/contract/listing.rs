//! Listings: all committed objects, and nothing else.

use fhir_export_operator::core::ledger::{Checked, Expected, Seen, VerifyPlan};
use fhir_export_operator::ports::ObjectStore;
use jiff::Timestamp;

use super::kit::{File, Kit};

const FOLDER: &str = "20261122T003003-1187";
const OBJECTS: usize = 20_000;

pub async fn many<S: ObjectStore>(kit: &Kit<S>) {
    let keys: Vec<String> = (0..OBJECTS).map(|n| format!("{FOLDER}/Patient-{n:05}.ndjson")).collect();
    kit.put(&keys, b"{}\n").await;
    let ledger = kit.store.ledger(kit.target(), FOLDER).await.unwrap();
    assert!(ledger.landed.iter().map(|entry| &entry.blob).eq(&keys), "{} listed", ledger.landed.len());
    assert!(ledger.begun.is_empty());
    let began: Timestamp = "2026-11-22T00:30:03Z".parse().unwrap();
    let seen = kit.store.count_files(kit.target(), Some("1187"), began).await.unwrap();
    let (files, bytes) = (OBJECTS as u64, 3 * OBJECTS as u64);
    assert_eq!(seen, Seen { folder: Some(FOLDER.to_owned()), files, bytes });
    let jobs = kit.store.find_jobs(&kit.server, Some(&kit.container), began).await.unwrap();
    assert!(jobs.len() == 1 && jobs[0].job_id == "1187" && jobs[0].began == began);
}

pub async fn committed_only<S: ObjectStore>(kit: &Kit<S>) {
    let part = kit.part_size();
    let landed = File::new(&format!("{FOLDER}/Patient-1.ndjson"), "1", part + 9);
    let begun = File::new(&format!("{FOLDER}/Patient-2.ndjson"), "1", part + 9);
    kit.land(&landed).await.unwrap();
    let mut upload = kit.store.begin(kit.target(), &begun.key, begun.content, begun.compression);
    begun.parts(&mut upload, 0, 1).await.unwrap();
    kit.put(&[format!("{FOLDER}x/Patient-1.ndjson")], b"{}\n").await;

    let ledger = kit.store.ledger(kit.target(), FOLDER).await.unwrap();
    let keys: Vec<&str> = ledger.landed.iter().map(|entry| entry.blob.as_str()).collect();
    assert_eq!((keys, ledger.begun), (vec![landed.key.as_str()], vec![begun.key.clone()]));
    let plan = VerifyPlan {
        container: kit.container.clone(),
        prefix: format!("{FOLDER}/"),
        files: [&landed.key, &begun.key]
            .map(|key| Expected { blob: key.clone(), count: None })
            .into_iter()
            .collect(),
        max_bytes: u64::MAX,
    };
    let checked = kit.store.verify(&kit.server, &plan, &|_| ()).await.unwrap();
    let there = Checked { bytes: Some(landed.body.len() as u64), lines: Some(landed.marks().sum.lines) };
    assert_eq!(checked, [there, Checked { bytes: None, lines: None }]);
    let began: Timestamp = "2026-11-22T00:30:03Z".parse().unwrap();
    let seen = kit.store.count_files(kit.target(), Some("1187"), began).await.unwrap();
    assert_eq!(seen.files, 1);
    assert_eq!(kit.content(&begun.key).await, None);
}
