//! Volumes: which folder a server reaches, and that no server, container or link leads out of it.

use std::os::unix::fs::symlink;
use std::path::Path;
use std::sync::Arc;
#[cfg(target_os = "linux")]
use std::sync::atomic::AtomicBool;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use fhir_export_operator::api::{Compression, FhirServer};
use fhir_export_operator::core::landing::{Checkpoint, Content, FileForm, Issues, Marks, Tally};
use fhir_export_operator::core::ledger::{
    Expected, FolderPlan, StorageFailure, StorageFailureKind, VerifyPlan,
};
use fhir_export_operator::ports::tenure::Machine;
use fhir_export_operator::ports::{ObjectStore, Target, Tenure, Upload};
use fhir_export_operator::storage::StorageByType;
use jiff::Timestamp;
#[cfg(target_os = "linux")]
use rustix::fs::{CWD, RenameFlags};
use tempfile::TempDir;

use crate::lake::{by_type, by_type_within, volume, volume_server};

/// The folder of a run, as a key of its manifest names it.
const RUN: &str = "20261122T003003-1187";

/// The failure of each operation of the port, on one container of a server.
async fn failures(store: &StorageByType, server: &Arc<FhirServer>, container: &str) -> Vec<StorageFailure> {
    let target = Target::new(server, container);
    let key = format!("{RUN}/Patient-1.ndjson");
    let began = Timestamp::from_second(1_790_000_000).unwrap();
    let files = vec![Expected { blob: key.clone(), count: None }];
    let check = VerifyPlan { container: container.to_owned(), prefix: RUN.to_owned(), files, max_bytes: 99 };
    let deletion =
        FolderPlan { container: container.to_owned(), folder: RUN.to_owned(), manifest: None, at_most: 9 };
    let mut tally = Tally::default();
    tally.feed(b"{}\n");
    let marks =
        Marks { source: "s".into(), sum: tally.finish(), form: FileForm::Framed, issues: Issues::default() };
    let upload = store.begin(target, &key, Content::of_etag("s", "\"1\""), Compression::None);
    vec![
        store.probe(server, Some(container)).await.unwrap_err(),
        store.find_jobs(server, Some(container), began).await.unwrap_err(),
        store.count_files(target, Some("1187"), began).await.unwrap_err(),
        store.verify(server, &check, &|_| ()).await.unwrap_err(),
        store.store(target, &format!("{RUN}/manifest.json"), b"{}").await.unwrap_err(),
        store.read(target, &key, 99).await.unwrap_err(),
        store.read_through(target, &key, &mut |_| ()).await.unwrap_err(),
        store.ledger(target, RUN).await.unwrap_err(),
        store.make_container(target).await.unwrap_err(),
        store.resume(target, &key, Compression::None).await.err().unwrap(),
        store.delete_folder(server, &deletion).await.unwrap_err(),
        upload.commit(Bytes::from_static(b"{}\n"), &marks).await.unwrap_err(),
    ]
}

/// The paths below a directory, without what links lead to.
fn below(directory: &Path) -> Vec<String> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.symlink_metadata().unwrap().is_dir() {
            found.extend(below(&path));
        }
        found.push(path.display().to_string());
    }
    found.sort();
    found
}

#[tokio::test]
async fn what_another_namespace_was_granted_is_out_of_reach() {
    let directory = TempDir::new().unwrap();
    let store =
        by_type(directory.path(), &[("clinic", "lake"), ("research", "shared/a"), ("trial", "shared/b")]);
    let lake = volume(directory.path(), "lake");
    std::fs::create_dir_all(lake.join(format!("exports/{RUN}"))).unwrap();
    std::fs::write(lake.join(format!("exports/{RUN}/Patient-1.ndjson")), b"{}\n").unwrap();
    std::fs::create_dir_all(volume(directory.path(), "shared").join("b/exports")).unwrap();
    let before = below(directory.path());
    for (namespace, claim, path) in [
        ("research", "lake", None),
        ("research", "lake", Some("exports")),
        ("research", "shared", None),
        ("research", "shared", Some("b")),
        ("research", "shared", Some("ab")),
        ("clinic", "shared", Some("a")),
        ("elsewhere", "lake", None),
        ("elsewhere", "not-there", None),
    ] {
        let server = volume_server(namespace, claim, path);
        for failure in failures(&store, &server, "exports").await {
            assert_eq!(failure.kind, StorageFailureKind::NotGranted, "{}", failure.message);
            let named = failure.message.contains(namespace) && failure.message.contains(claim);
            assert!(named, "{}", failure.message);
        }
    }
    // The schema refuses these; the operator does not rely on it.
    for (claim, path) in
        [("shared", "a/../b"), ("shared", "a/.."), ("shared", "/"), ("../lake", "x"), ("..", "lake")]
    {
        let server = volume_server("research", claim, Some(path));
        for failure in failures(&store, &server, "exports").await {
            assert_eq!(failure.kind, StorageFailureKind::Permanent, "{claim} {path}: {}", failure.message);
        }
    }
    assert_eq!(below(directory.path()), before, "nothing was created or removed");
}

#[tokio::test]
async fn a_volume_that_is_not_mounted_gets_no_file() {
    let directory = TempDir::new().unwrap();
    let store = by_type(directory.path(), &[("clinic", "lake")]);
    let server = volume_server("clinic", "lake", Some("inner"));
    for failure in failures(&store, &server, "exports").await {
        assert_eq!(failure.kind, StorageFailureKind::NotMounted, "{}", failure.message);
        assert!(failure.message.contains("mount it (volumes in the chart)"), "{}", failure.message);
    }
    // The directory without the volume: what is left when the mount is gone.
    std::fs::create_dir(directory.path().join("lake")).unwrap();
    for failure in failures(&store, &server, "exports").await {
        assert_eq!(failure.kind, StorageFailureKind::NotMounted, "{}", failure.message);
    }
    assert_eq!(below(directory.path()), [directory.path().join("lake").display().to_string()]);
    // Mounted, it lacks only the folder, which the operator makes.
    std::fs::write(directory.path().join("lake/.fhir-export-volume"), b"").unwrap();
    let missing = store.probe(&server, None).await.unwrap_err();
    assert_eq!(missing.kind, StorageFailureKind::NotFound, "{}", missing.message);
    let target = Target::new(&server, "exports");
    store.make_container(target).await.unwrap();
    store.store(target, &format!("{RUN}/manifest.json"), b"{}").await.unwrap();
    store.probe(&server, Some("exports")).await.unwrap();
    assert!(directory.path().join(format!("lake/inner/exports/{RUN}/manifest.json")).is_file());
}

/// Who has the volume mounted elsewhere can put links there.
#[tokio::test]
async fn links_in_a_volume_lead_nowhere() {
    let (directory, outside) = (TempDir::new().unwrap(), TempDir::new().unwrap());
    let store = by_type(directory.path(), &[("clinic", "lake"), ("research", "linked"), ("trial", "deep/x")]);
    let lake = volume(directory.path(), "lake");
    std::fs::create_dir_all(outside.path().join(format!("exports/{RUN}"))).unwrap();
    std::fs::write(outside.path().join(".fhir-export-volume"), b"").unwrap();
    std::fs::write(outside.path().join(format!("exports/{RUN}/Patient-1.ndjson")), b"theirs\n").unwrap();
    let theirs = below(outside.path());
    // The mount point, a folder on the way, the container, and the folder of the run.
    symlink(outside.path(), directory.path().join("linked")).unwrap();
    symlink(outside.path(), volume(directory.path(), "deep").join("x")).unwrap();
    symlink(outside.path().join("exports"), lake.join("exports")).unwrap();
    std::fs::create_dir(lake.join("inner")).unwrap();
    symlink(outside.path().join("exports").join(RUN), lake.join("inner").join(RUN)).unwrap();
    for (namespace, claim, path, container) in [
        ("research", "linked", None, "exports"),
        ("trial", "deep", Some("x"), "exports"),
        ("clinic", "lake", None, "exports"),
    ] {
        let server = volume_server(namespace, claim, path);
        for failure in failures(&store, &server, container).await {
            assert_eq!(failure.kind, StorageFailureKind::Permanent, "{claim}: {}", failure.message);
        }
    }
    let server = volume_server("clinic", "lake", None);
    let target = Target::new(&server, "inner");
    for failure in [
        store.ledger(target, RUN).await.unwrap_err(),
        store.read(target, &format!("{RUN}/Patient-1.ndjson"), 99).await.unwrap_err(),
        store.store(target, &format!("{RUN}/manifest.json"), b"{}").await.unwrap_err(),
        store.resume(target, &format!("{RUN}/Patient-1.ndjson"), Compression::None).await.err().unwrap(),
    ] {
        assert_eq!(failure.kind, StorageFailureKind::Permanent, "{}", failure.message);
    }
    assert_eq!(below(outside.path()), theirs);
}

/// The folder of a run and a link change places all the time: each operation ends within the volume, or fails.
#[cfg(target_os = "linux")]
#[tokio::test(flavor = "multi_thread")]
async fn links_that_come_and_go_lead_nowhere() {
    let (directory, outside) = (TempDir::new().unwrap(), TempDir::new().unwrap());
    let store = by_type(directory.path(), &[("clinic", "lake")]);
    let lake = volume(directory.path(), "lake");
    let server = volume_server("clinic", "lake", None);
    let target = Target::new(&server, "exports");
    store.make_container(target).await.unwrap();
    let run = lake.join("exports").join(RUN);
    let link = lake.join("link");
    std::fs::create_dir(&run).unwrap();
    symlink(outside.path(), &link).unwrap();
    let stop = AtomicBool::new(false);
    let (mut stored, mut failed) = (0, 0);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !stop.load(Ordering::Relaxed) {
                rustix::fs::renameat_with(CWD, &run, CWD, &link, RenameFlags::EXCHANGE).unwrap();
            }
        });
        let handle = tokio::runtime::Handle::current();
        tokio::task::block_in_place(|| {
            handle.block_on(async {
                for number in 0.. {
                    let key = format!("{RUN}/members-{number}.txt");
                    match store.store(target, &key, b"ours").await {
                        Ok(_) => stored += 1,
                        Err(_) => failed += 1,
                    }
                    let escaped = !below(outside.path()).is_empty();
                    if escaped || stored >= 50 && failed >= 50 {
                        break;
                    }
                }
            });
        });
        stop.store(true, Ordering::Relaxed);
    });
    assert_eq!(below(outside.path()), [""; 0], "{stored} stored, {failed} failed");
}

/// A machine whose processes do not end: whoever should end panics instead, and is counted.
#[derive(Clone, Debug, Default)]
struct Counting(Arc<AtomicUsize>);

impl Machine for Counting {
    fn steady(&self) -> Duration {
        Duration::from_secs(1)
    }

    fn end(&self, sentence: &str) -> ! {
        self.0.fetch_add(1, Ordering::Relaxed);
        panic!("{sentence}")
    }
}

/// Of two replicas with one volume, only the one with the Lease writes.
#[tokio::test]
async fn who_may_not_act_writes_nothing_to_a_volume() {
    let directory = TempDir::new().unwrap();
    let grants = [("clinic", "lake")];
    volume(directory.path(), "lake");
    let (leader, ended) = (by_type(directory.path(), &grants), Counting::default());
    let follower = by_type_within(Tenure::none_on(ended.clone()), directory.path(), &grants);
    let server = volume_server("clinic", "lake", None);
    let (target, key) = (Target::new(&server, "exports"), format!("{RUN}/Patient-1.ndjson"));
    leader.make_container(target).await.unwrap();
    leader.store(target, &format!("{RUN}/members.txt"), b"{}").await.unwrap();
    let content = Content::of_etag("s", "\"1\"");
    let mut tally = Tally::default();
    let mut begun = leader.begin(target, &key, content, Compression::None);
    let part = Bytes::from(vec![b'x'; begun.part_size(0).unwrap()]);
    tally.feed(&part);
    let after = Checkpoint::after(content, &tally).unwrap();
    begun.part(part.clone(), &after).await.unwrap();
    drop(begun);
    let before = below(directory.path());

    let marks =
        Marks { source: "s".into(), sum: tally.finish(), form: FileForm::Framed, issues: Issues::default() };
    let manifest = None;
    let deletion = FolderPlan { container: "exports".into(), folder: RUN.into(), manifest, at_most: 9 };
    let begin = || follower.begin(target, &key, content, Compression::None);
    let writes = [
        follower.store(target, &format!("{RUN}/manifest.json"), b"{}").await.err(),
        follower.make_container(Target::new(&server, "other")).await.err(),
        begin().part(part.clone(), &after).await.err(),
        begin().commit(part, &marks).await.err(),
        follower.resume(target, &key, Compression::None).await.err(),
        follower.delete_folder(&server, &deletion).await.err(),
    ];
    assert!(writes.iter().all(Option::is_some), "{writes:?}");
    assert_eq!(ended.0.load(Ordering::Relaxed), writes.len());
    assert_eq!(below(directory.path()), before, "nothing was written");
    // Who stands by may look.
    follower.probe(&server, Some("exports")).await.unwrap();
    assert_eq!(follower.ledger(target, RUN).await.unwrap().begun, [key]);
    assert_eq!(ended.0.load(Ordering::Relaxed), writes.len());
}
