//! Finding the folders of jobs and counting the files in them.

use fhir_export_operator::core::ledger::{JobFolder, Seen};
use fhir_export_operator::ports::{ObjectStore, Target};
use jiff::{SignedDuration, Timestamp};

use crate::lake;

fn at(text: &str) -> Timestamp {
    text.parse().unwrap()
}

fn stamp(at: Timestamp) -> String {
    at.strftime("%Y%m%dT%H%M%S").to_string()
}

#[tokio::test]
async fn folders_of_jobs_since_a_moment_whatever_else_is_there() {
    let (azurite, storage, server) = lake::ready().await;
    let container = lake::container(azurite, "find-jobs").await;
    let began = Timestamp::now() - SignedDuration::from_hours(30);
    let second = SignedDuration::from_secs(1);
    let guid = "1f0c7d9a-3c1e-4b5e-9a53-0d8f0a1b2c3d";
    let here = [
        format!("{}-7", stamp(began)),
        format!("{}-{guid}", stamp(began + second)),
        format!("{}-8", stamp(Timestamp::now())),
    ];
    let elsewhere = [
        format!("{}-6", stamp(began - second)),
        format!("{}-5", stamp(began - SignedDuration::from_hours(48))),
        stamp(began),
        "manifests".to_owned(),
    ];
    for folder in here.iter().chain(&elsewhere) {
        lake::put(&container, &format!("{folder}/Patient-1-1.ndjson"), b"{}\n").await;
        lake::put(&container, &format!("{folder}/deep/er-9/Patient-1-1.ndjson"), b"{}\n").await;
    }
    lake::put(&container, &format!("{}-9", stamp(began)), b"a blob, not a folder").await;

    // With two names per page, every list has several pages.
    let storage = storage.with_page(2);
    let found = storage.find_jobs(&server, Some("find-jobs"), began).await.unwrap();
    let names: Vec<_> = found.iter().map(|job| job.folder.clone().unwrap()).collect();
    assert_eq!(names, here);
    let ids: Vec<_> = found.iter().map(|job| job.job_id.as_str()).collect();
    assert_eq!(ids, ["7", guid, "8"]);
    assert_eq!(found[0].began.as_second(), began.as_second());

    lake::container(azurite, "find-jobs-empty").await;
    assert_eq!(storage.find_jobs(&server, Some("find-jobs-empty"), began).await.unwrap(), []);
}

#[tokio::test]
async fn containers_of_jobs() {
    let (azurite, storage, server) = lake::ready().await;
    let before = Timestamp::now();
    lake::container(azurite, "export-4711").await;
    lake::container(azurite, "exports-of-others").await;
    let found = storage.with_page(1).find_jobs(&server, None, before).await.unwrap();
    let mine: Vec<_> = found.into_iter().filter(|job| job.container.contains("4711")).collect();
    let began = mine[0].began;
    let expected = JobFolder { container: "export-4711".into(), folder: None, began, job_id: "4711".into() };
    assert_eq!(mine, [expected]);
    assert!(began.as_second() >= before.as_second() && began <= Timestamp::now());

    let (_, storage, _) = lake::ready().await;
    let later = Timestamp::now() + SignedDuration::from_hours(1);
    assert_eq!(storage.find_jobs(&server, None, later).await.unwrap(), []);
}

#[tokio::test]
async fn files_of_a_job_are_counted() {
    let (azurite, storage, server) = lake::ready().await;
    let storage = storage.with_page(3);
    let container = lake::container(azurite, "count").await;
    let began = at("2026-11-23T23:59:58Z");
    let nothing = Seen::default();
    assert_eq!(storage.count_files(Target::new(&server, "count"), Some("12"), began).await.unwrap(), nothing);
    assert_eq!(
        storage.count_files(Target::new(&server, "not-there"), Some("12"), began).await.unwrap(),
        nothing
    );
    assert_eq!(storage.count_files(Target::new(&server, "not-there"), None, began).await.unwrap(), nothing);

    // The server began the job after midnight, so the folder's name has the next day's date.
    let folder = "20261124T000003-12";
    for n in 0..7 {
        lake::put(&container, &format!("{folder}/Patient-5-{n}.ndjson"), b"{}\n").await;
    }
    lake::put(&container, &format!("{folder}/manifest.json"), b"{}").await;
    lake::put(&container, "20261124T000003-112/Patient-6-1.ndjson", b"{}\n").await;
    lake::put(&container, "Patient.ndjson", b"{\n").await;
    let seen = storage.count_files(Target::new(&server, "count"), Some("12"), began).await.unwrap();
    assert_eq!(seen, Seen { folder: Some(folder.into()), files: 7, bytes: 21 });
    let seen = storage.count_files(Target::new(&server, "count"), None, began).await.unwrap();
    assert_eq!(seen, Seen { folder: None, files: 9, bytes: 26 });
}
