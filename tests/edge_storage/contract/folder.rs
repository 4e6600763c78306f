//! Conditions that only a folder of the file system meets: links, a full disk, and a directory without write
//! permission.

use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;
use std::process::Command;

use fhir_export_operator::core::ledger::{FolderDeletion, FolderPlan, StorageFailureKind};
use fhir_export_operator::ports::{Committed, ObjectStore, Target};
use fhir_export_operator::storage::FolderStorage;
use tempfile::TempDir;
use url::Url;

use super::kit::{self, File};
use crate::lake::{self, by_key};

/// The environment variable that names a directory to the test in a process of its own.
const ROOT: &str = "STORAGE_CONTRACT_ROOT";

/// The names of everything below a directory, including hidden files.
fn below(root: &Path) -> Vec<String> {
    let mut names = Vec::new();
    for entry in std::fs::read_dir(root).unwrap() {
        let entry = entry.unwrap();
        names.push(entry.file_name().into_string().unwrap());
        if entry.file_type().unwrap().is_dir() {
            names.extend(below(&entry.path()));
        }
    }
    names
}

#[tokio::test]
async fn links_are_not_followed() {
    let (root, outside) = (TempDir::new().unwrap(), TempDir::new().unwrap());
    let server = lake::server(&Url::parse("https://folder.example").unwrap(), &by_key());
    let store = FolderStorage::new(root.path());
    let target = Target::new(&server, "lake");
    store.make_container(target).await.unwrap();
    std::fs::write(outside.path().join("secret.txt"), b"secret").unwrap();
    symlink(outside.path(), root.path().join("lake/f")).unwrap();
    symlink(outside.path(), root.path().join("linked")).unwrap();
    symlink(outside.path().join("secret.txt"), root.path().join("lake/secret.txt")).unwrap();

    for failure in [
        store.store(target, "f/manifest.json", b"{}").await.unwrap_err(),
        store.store(Target::new(&server, "linked"), "m.json", b"{}").await.unwrap_err(),
        store.read(target, "f/secret.txt", 99).await.unwrap_err(),
        store.read(target, "secret.txt", 99).await.unwrap_err(),
        store.ledger(target, "f").await.unwrap_err(),
    ] {
        assert_eq!(failure.kind, StorageFailureKind::Permanent, "{}", failure.message);
        assert!(failure.message.contains("link"), "{}", failure.message);
    }
    assert_eq!(below(outside.path()), ["secret.txt"]);
}

#[tokio::test]
async fn a_folder_that_is_deleted_leaves_nothing_behind() {
    let kit = kit::folder("lake").await;
    let outside = TempDir::new().unwrap();
    std::fs::write(outside.path().join("Patient-9.ndjson"), b"{}").unwrap();
    let folder = "20261122T003003-1187";
    let (landed, begun) = (
        File::new(&format!("{folder}/deleted/Bundle-1.ndjson"), "1", kit.part_size() + 9),
        File::new(&format!("{folder}/Patient-1.ndjson"), "1", 3 * kit.part_size()),
    );
    kit.land(&landed).await.unwrap();
    let mut upload = kit.store.begin(kit.target(), &begun.key, begun.content, begun.compression);
    begun.parts(&mut upload, 0, 2).await.unwrap();
    drop(upload);
    let plan =
        FolderPlan { container: "lake".to_owned(), folder: folder.to_owned(), manifest: None, at_most: 100 };
    let done = kit.store.delete_folder(&kit.server, &plan).await.unwrap();
    assert_eq!(done, FolderDeletion::Done { files: 1, others: 0 });
    assert_eq!(below(&kit.root().join("lake")), [""; 0], "no part, no mark, no directory");

    // A link is not a file of a run: it stays, and so does its target.
    std::fs::create_dir(kit.root().join("lake").join(folder)).unwrap();
    symlink(outside.path(), kit.root().join("lake").join(folder).join("error")).unwrap();
    kit.store.delete_folder(&kit.server, &plan).await.unwrap();
    assert_eq!(below(outside.path()), ["Patient-9.ndjson"]);
}

#[tokio::test]
async fn a_landed_file_leaves_nothing_but_its_marks() {
    let kit = kit::folder("lake").await;
    let file = File::new("f/Patient-1.ndjson", "2", 2 * kit.part_size() + 9);
    // These are the parts of a fetch that broke off.
    let other = File::new(&file.key, "1", 3 * kit.part_size());
    let mut upload = kit.store.begin(kit.target(), &other.key, other.content, other.compression);
    other.parts(&mut upload, 0, 2).await.unwrap();
    drop(upload);
    assert_eq!(kit.land(&file).await.unwrap(), (Committed::Now, 0));
    let mut left = below(&kit.root().join("lake"));
    left.sort();
    assert_eq!(left, [".Patient-1.ndjson.marks", ".uploads", "Patient-1.ndjson", "f"]);
}

#[tokio::test]
async fn the_upload_of_a_process_that_lives_is_not_taken_over() {
    let kit = kit::folder("lake").await;
    let file = File::new("f/Patient-1.ndjson", "1", 2 * kit.part_size() + 9);
    let mut upload = kit.store.begin(kit.target(), &file.key, file.content, file.compression);
    file.parts(&mut upload, 0, 1).await.unwrap();
    assert_eq!(kit.begin_or_resume(&file).await.unwrap().1, 0);
    drop(upload);
    assert_eq!(kit.begin_or_resume(&file).await.unwrap().1, kit.part_size());
}

/// Lands a file where there is no room for it. Runs in a process with a limit on the size of files.
#[tokio::test]
async fn in_a_full_store() {
    let Some(root) = std::env::var_os(ROOT) else { return };
    let server = lake::server(&Url::parse("https://folder.example").unwrap(), &by_key());
    let kit = kit::folder_at(Path::new(&root), server, "lake").await;
    for size in [kit.part_size(), 64 << 10, 200 << 10] {
        let file = File::new(&format!("{size}/Patient-1.ndjson"), "1", size);
        match kit.land(&file).await {
            Ok(landed) => {
                assert!(size < 100 << 10, "{landed:?}");
                kit.assert_landed(&file, "it fits").await;
            }
            Err(failure) => {
                assert_eq!((failure.kind, size > 100 << 10), (StorageFailureKind::Full, true));
                assert!(failure.message.contains("make room"), "{}", failure.message);
                assert_eq!(kit.content(&file.key).await, None, "nothing is half there");
            }
        }
    }
    let large = kit.store.store(kit.target(), "f/large.json", &vec![b'x'; 200 << 10]).await.unwrap_err();
    assert_eq!(large.kind, StorageFailureKind::Full);
    println!("it was full");
}

#[tokio::test]
async fn a_full_store_says_so_and_goes_on_when_there_is_room() {
    let root = TempDir::new().unwrap();
    // The limit is 128 blocks, of 512 or 1024 bytes depending on the shell. Without the trap, the signal SIGXFSZ would
    // end the process.
    let script =
        "trap '' XFSZ; ulimit -f 128; exec \"$0\" --exact contract::folder::in_a_full_store --nocapture";
    let output = Command::new("sh")
        .args(["-c", script])
        .arg(std::env::current_exe().unwrap())
        .env(ROOT, root.path())
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && said.contains("it was full"), "{said}");

    let server = lake::server(&Url::parse("https://folder.example").unwrap(), &by_key());
    let kit = kit::folder_at(root.path(), server, "lake").await;
    let file = File::new(&format!("{}/Patient-1.ndjson", 200 << 10), "1", 200 << 10);
    let (committed, from) = kit.land(&file).await.unwrap();
    assert!(committed == Committed::Now && from > 0, "it went on after {from} bytes");
    kit.assert_landed(&file, "now it fits").await;
}

/// Since root may write everywhere, a thread of this program runs as another user.
#[test]
fn a_store_that_may_not_be_written_to_says_so() {
    let root = TempDir::new().unwrap();
    let lake = root.path().join("lake");
    std::fs::create_dir(&lake).unwrap();
    std::fs::write(lake.join("there.txt"), b"there").unwrap();
    std::fs::set_permissions(root.path(), std::fs::Permissions::from_mode(0o755)).unwrap();
    std::fs::set_permissions(&lake, std::fs::Permissions::from_mode(0o555)).unwrap();
    let path = root.path().to_owned();
    let as_somebody = std::thread::spawn(move || {
        if rustix::process::geteuid().is_root() {
            let nobody = rustix::process::Uid::from_raw(65_534);
            rustix::thread::set_thread_res_uid(nobody, nobody, nobody).unwrap();
        }
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let server = lake::server(&Url::parse("https://folder.example").unwrap(), &by_key());
            let store = FolderStorage::new(&path);
            let target = Target::new(&server, "lake");
            let failure = store.store(target, "manifest.json", b"{}").await.unwrap_err();
            assert_eq!(failure.kind, StorageFailureKind::Denied);
            assert!(failure.message.contains("give its user or group the right"), "{}", failure.message);
            assert_eq!(store.read(target, "there.txt", 9).await.unwrap().as_deref(), Some(&b"there"[..]));
        });
    });
    as_somebody.join().unwrap();
    assert_eq!(below(&lake), ["there.txt"]);
}
