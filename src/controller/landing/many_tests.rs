//! A landing of 100,000 small files has no more tasks, open files and uploads at once than it reads files at once.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use futures::future::BoxFuture;
use jiff::Timestamp;
use secrecy::SecretString;
use serde_json::json;

use super::*;
use crate::api::{
    FhirExport, FhirExportSchedule, FhirExportScheduleStatus, FhirExportStatus, FhirServerStatus, KeyRef,
};
use crate::controller::runs::Runs;
use crate::core::effect::Note;
use crate::core::landing::{Checkpoint, Claims, Content, FileForm, Issues, LedgerEntry, Sum};
use crate::core::ledger::{Checked, FolderDeletion, FolderPlan, JobFolder, Seen, VerifyPlan};
use crate::core::poll::Bounds;
use crate::core::tuning::Tuning;
use crate::core::wire::{Failure, FileHead, FileRequest, Reply, Request};
use crate::ports::{
    Cluster, ClusterFailure, Committed, Creation, EndTask, FileAnswer, JobKey, Stores, SystemClock,
    SystemRandomness, Upload, Wire,
};

const FILES: usize = 100_000;
const PARALLEL: usize = 8;
const NAME: &str = "controller::landing::many::a_hundred_thousand_files_take_turns";

/// How many of something exist now, and how many existed at most.
#[derive(Default)]
struct Live {
    now: AtomicUsize,
    most: AtomicUsize,
}

struct Alive<'a>(&'a Live);

impl Live {
    fn begins(&self) -> Alive<'_> {
        self.most.fetch_max(self.now.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
        Alive(self)
    }
}

impl Drop for Alive<'_> {
    fn drop(&mut self) {
        self.0.now.fetch_sub(1, Ordering::SeqCst);
    }
}

/// A world with one server, whose files all hold the same line, and with a store that keeps only marks.
#[derive(Default)]
struct Small {
    runs: Runs,
    tuning: Tuning,
    tasks: Arc<Live>,
    spawned: AtomicUsize,
    stored: Arc<Mutex<BTreeMap<String, Marks>>>,
}

const LINE: &[u8] = b"{\"resourceType\":\"Patient\",\"id\":\"1\"}\n";

impl World for Small {
    type Cluster = Self;
    type Wire = Self;
    type Objects = Self;
    type Clock = SystemClock;
    type Randomness = SystemRandomness;
    type Stores = Self;

    fn cluster(&self) -> &Self {
        self
    }
    fn wire(&self) -> &Self {
        self
    }
    fn objects(&self) -> &Self {
        self
    }
    fn clock(&self) -> &SystemClock {
        &SystemClock
    }
    fn randomness(&self) -> &SystemRandomness {
        &SystemRandomness
    }
    fn stores(&self) -> &Self {
        self
    }
    fn tuning(&self) -> &Tuning {
        &self.tuning
    }
    fn runs(&self) -> &Runs {
        &self.runs
    }
    fn note_landed(&self, _: u64, _: u64) {}
    fn spawn(&self, task: BoxFuture<'static, ()>) -> EndTask {
        self.spawned.fetch_add(1, Ordering::SeqCst);
        let live = Arc::clone(&self.tasks);
        let task = tokio::spawn(async move {
            let _alive = live.begins();
            task.await;
        });
        Box::new(move || task.abort())
    }
    fn wake_export(&self, _: &str, _: &str) {}
    fn wake_server(&self, _: &str, _: &str) {}
    fn wake_schedule(&self, _: &str, _: &str) {}
}

impl Wire for Small {
    async fn authorize(&self, _: &Arc<FhirServer>) -> Result<(), Failure> {
        Ok(())
    }
    async fn send(&self, _: &Arc<FhirServer>, _: &Request) -> Reply {
        std::future::pending().await
    }
    async fn open(&self, _: &Arc<FhirServer>, _: &FileRequest) -> Result<FileAnswer, Failure> {
        // Lets other tasks run, as a network would.
        tokio::task::yield_now().await;
        let head = FileHead { framed: true, ..FileHead::default() };
        Ok(FileAnswer::Opened(head, futures::stream::iter([Ok(Bytes::from_static(LINE))]).boxed()))
    }
    async fn secret(&self, _: &str, _: &KeyRef) -> Result<SecretString, Failure> {
        std::future::pending().await
    }
}

/// An upload of one file.
struct Uploading(String, Arc<Mutex<BTreeMap<String, Marks>>>);

impl Upload for Uploading {
    fn part_size(&self, _: u64) -> Option<usize> {
        Some(4 << 20)
    }
    async fn part(&mut self, _: Bytes, _: &Checkpoint) -> Result<(), StorageFailure> {
        Ok(())
    }
    async fn settle(&mut self) -> Result<(), StorageFailure> {
        Ok(())
    }
    fn stored(&self) -> u64 {
        0
    }
    async fn commit(self, _: Bytes, marks: &Marks) -> Result<Committed, StorageFailure> {
        tokio::task::yield_now().await;
        self.1.lock().unwrap().insert(self.0, marks.clone());
        Ok(Committed::Now)
    }
}

impl ObjectStore for Small {
    type Upload = Uploading;

    async fn probe(&self, _: &Arc<FhirServer>, _: Option<&str>) -> Result<(), StorageFailure> {
        Ok(())
    }
    async fn find_jobs(
        &self,
        _: &Arc<FhirServer>,
        _: Option<&str>,
        _: Timestamp,
    ) -> Result<Vec<JobFolder>, StorageFailure> {
        Ok(Vec::new())
    }
    async fn count_files(
        &self,
        _: Target<'_>,
        _: Option<&str>,
        _: Timestamp,
    ) -> Result<Seen, StorageFailure> {
        Ok(Seen::default())
    }
    async fn verify(
        &self,
        _: &Arc<FhirServer>,
        _: &VerifyPlan,
        _: &(dyn Fn(u64) + Send + Sync),
    ) -> Result<Vec<Checked>, StorageFailure> {
        Ok(Vec::new())
    }
    async fn store(&self, _: Target<'_>, _: &str, _: &[u8]) -> Result<String, StorageFailure> {
        Ok(String::new())
    }
    async fn read(&self, _: Target<'_>, _: &str, _: usize) -> Result<Option<Vec<u8>>, StorageFailure> {
        Ok(None)
    }
    async fn read_through(
        &self,
        _: Target<'_>,
        _: &str,
        _: &mut (dyn FnMut(&[u8]) + Send),
    ) -> Result<bool, StorageFailure> {
        Ok(false)
    }
    async fn ledger(&self, _: Target<'_>, _: &str) -> Result<Ledger, StorageFailure> {
        let stored = self.stored.lock().unwrap();
        let entry =
            |(blob, marks): (&String, &Marks)| LedgerEntry { blob: blob.clone(), marks: Some(marks.clone()) };
        Ok(Ledger { landed: stored.iter().map(entry).collect(), begun: Vec::new() })
    }
    async fn make_container(&self, _: Target<'_>) -> Result<(), StorageFailure> {
        Ok(())
    }
    fn begin(&self, _: Target<'_>, key: &str, _: Content, _: Compression) -> Uploading {
        Uploading(key.to_owned(), Arc::clone(&self.stored))
    }
    async fn resume(
        &self,
        _: Target<'_>,
        _: &str,
        _: Compression,
    ) -> Result<Option<(Uploading, Checkpoint)>, StorageFailure> {
        Ok(None)
    }
    async fn delete_folder(
        &self,
        _: &Arc<FhirServer>,
        _: &FolderPlan,
    ) -> Result<FolderDeletion, StorageFailure> {
        std::future::pending().await
    }
}

impl Cluster for Small {
    async fn write_export_status(
        &self,
        _: &FhirExport,
        _: &FhirExportStatus,
    ) -> Result<FhirExport, ClusterFailure> {
        std::future::pending().await
    }
    async fn write_server_status(
        &self,
        _: &FhirServer,
        _: &FhirServerStatus,
    ) -> Result<FhirServer, ClusterFailure> {
        std::future::pending().await
    }
    async fn set_export_finalizer(&self, _: &FhirExport, _: bool) -> Result<FhirExport, ClusterFailure> {
        std::future::pending().await
    }
    async fn set_server_finalizer(&self, _: &FhirServer, _: bool) -> Result<FhirServer, ClusterFailure> {
        std::future::pending().await
    }
    async fn write_schedule_status(
        &self,
        _: &FhirExportSchedule,
        _: &FhirExportScheduleStatus,
    ) -> Result<FhirExportSchedule, ClusterFailure> {
        std::future::pending().await
    }
    async fn create_export(&self, _: &FhirExport) -> Result<Creation, ClusterFailure> {
        std::future::pending().await
    }
    async fn read_export(&self, _: &str, _: &str) -> Result<Option<FhirExport>, ClusterFailure> {
        std::future::pending().await
    }
    async fn delete_export(&self, _: &FhirExport) -> Result<(), ClusterFailure> {
        std::future::pending().await
    }
    async fn publish(&self, _: &FhirExport, _: &Note) {}
    async fn publish_of_schedule(&self, _: &FhirExportSchedule, _: &Note) {}
    async fn namespace_labels(&self, _: &str) -> Result<BTreeMap<String, String>, ClusterFailure> {
        std::future::pending().await
    }
}

impl Stores for Small {
    fn server(&self, _: &str, _: &str) -> Option<Arc<FhirServer>> {
        None
    }
    fn exports_of(&self, _: &str, _: &str) -> Vec<Arc<FhirExport>> {
        Vec::new()
    }
    fn exports_with(&self, _: &JobKey) -> Vec<Arc<FhirExport>> {
        Vec::new()
    }
    fn export(&self, _: &str, _: &str) -> Option<Arc<FhirExport>> {
        None
    }
    fn exports(&self) -> Vec<Arc<FhirExport>> {
        Vec::new()
    }
    fn children_of(&self, _: &str) -> Vec<Arc<FhirExport>> {
        Vec::new()
    }
    fn schedules(&self) -> Vec<Arc<FhirExportSchedule>> {
        Vec::new()
    }
}

fn plan() -> Arc<LandPlan> {
    let second = Duration::from_secs(1);
    let file = |number: usize| LandFile {
        kind: FileKind::Output,
        url: format!(
            "https://fhir.hospital-north.example.org/files/{number}.ndjson?signature=0123456789abcdef"
        ),
        blob: format!("20261124T020304-0123abcd/Patient-{number}.ndjson"),
        source: format!("{number:064x}"),
        claims: Claims::default(),
    };
    Arc::new(LandPlan {
        container: "lake".to_owned(),
        folder: "20261124T020304-0123abcd".to_owned(),
        compression: Compression::None,
        files: (0..FILES).map(file).collect(),
        last: Vec::new(),
        parallel: PARALLEL,
        typed: true,
        with_token: true,
        bounds: Bounds { min: second, max: second, max_retry_after: second },
    })
}

/// A memory field of this process, in KiB.
fn memory(field: &str) -> u64 {
    stage::memory(std::process::id(), field).unwrap() / 1024
}

/// Runs the test in a process of its own, this program with only that test, because the figures are those of
/// the whole process.
#[tokio::test]
async fn a_hundred_thousand_files_take_turns() {
    if !stage::runs_alone(NAME).unwrap() {
        return;
    }
    let server = json!({ "metadata": { "name": "clinic", "namespace": "ns", "uid": "s" },
        "spec": { "url": "https://x.example.org", "dialect": "BulkData", "auth": { "type": "None" } } });
    let server: Arc<FhirServer> = Arc::new(serde_json::from_value(server).unwrap());
    let (world, plan) = (Arc::new(Small::default()), plan());
    let marks = |file: &LandFile| {
        let sum = Sum { bytes: LINE.len() as u64, lines: 1, sha256: "0".repeat(64) };
        Marks { source: file.source.clone(), sum, form: FileForm::default(), issues: Issues::default() }
    };
    *world.stored.lock().unwrap() = plan.files.iter().map(|file| (file.blob.clone(), marks(file))).collect();
    let before = memory("VmRSS");
    let landed = landed(&world, &server, &plan).await;
    assert_eq!((landed.len(), world.spawned.load(Ordering::SeqCst)), (FILES, 0), "nothing is fetched again");
    drop(landed);
    let found = memory("VmHWM").saturating_sub(before) / 1024;

    world.stored.lock().unwrap().clear();
    let landed = self::landed(&world, &server, &plan).await;
    assert!(landed.len() == FILES && landed.iter().all(|file| file.sum.bytes == LINE.len() as u64));
    let most = world.tasks.most.load(Ordering::SeqCst);
    assert!((2..=PARALLEL).contains(&most), "{most} tasks at once");
    let fetched = memory("VmHWM").saturating_sub(before) / 1024;
    eprintln!("{found} MiB at the most where all files lie there, {fetched} MiB where none does");
    assert!(found < 64 && fetched < 64, "{found} and {fetched} MiB");
}

/// Lands a plan whose files meet no obstacle.
async fn landed(world: &Arc<Small>, server: &Arc<FhirServer>, plan: &Arc<LandPlan>) -> Arc<Vec<Landed>> {
    match land(world, server, plan, None, &|_| ()).await.unwrap() {
        LandState::Done(landed) => landed,
        other => panic!("it did not land: {other:?}"),
    }
}
