//! Counting lines takes little memory, however large the files are. The figures are those of the whole process, so the
//! test starts this program again with only this test, and measures there.

use azure_core::Bytes;
use azure_core::http::RequestContent;
use azure_storage_blob::models::BlockLookupList;
use fhir_export_operator::core::ledger::{Checked, Expected, VerifyPlan};
use fhir_export_operator::ports::ObjectStore;

use crate::lake;

const NAME: &str = "memory::files_of_64_mib_are_read_in_a_few";
const FILES: usize = 4;
const BLOCKS: u64 = 16;
const BLOCK: usize = 4 << 20;
const LINE: usize = 64;

/// A memory field of this process, in KiB.
fn memory(field: &str) -> u64 {
    stage::memory(std::process::id(), field).unwrap() / 1024
}

#[tokio::test]
async fn files_of_64_mib_are_read_in_a_few() {
    if !stage::runs_alone(NAME).unwrap() {
        return;
    }
    let (azurite, storage, server) = lake::ready().await;
    let container = lake::container(azurite, "memory").await;
    let block = Bytes::from([b"x".repeat(LINE - 1), vec![b'\n']].concat().repeat(BLOCK / LINE));
    let names: Vec<String> = (0..FILES).map(|n| format!("Patient-1-{n}.ndjson")).collect();
    for name in &names {
        let blob = container.blob_client(name).block_blob_client();
        let ids: Vec<Vec<u8>> = (0..BLOCKS).map(|n| format!("{n:04}").into_bytes()).collect();
        for id in &ids {
            let content = RequestContent::from(block.to_vec());
            blob.stage_block(id, BLOCK as u64, content, None).await.unwrap();
        }
        let list = BlockLookupList { latest: Some(ids), ..BlockLookupList::default() };
        blob.commit_block_list(list.try_into().unwrap(), None).await.unwrap();
    }
    drop(block);

    // Reset the peak (`VmHWM`).
    std::fs::write("/proc/self/clear_refs", "5").unwrap();
    let before = memory("VmRSS");
    let files = names.into_iter().map(|blob| Expected { blob, count: None }).collect();
    let plan =
        VerifyPlan { container: "memory".into(), prefix: "Patient".into(), files, max_bytes: u64::MAX };
    let started = std::time::Instant::now();
    let checked = storage.verify(&server, &plan, &|_| ()).await.unwrap();
    let took = started.elapsed();
    let bytes = BLOCKS * BLOCK as u64;
    assert_eq!(checked, vec![Checked { bytes: Some(bytes), lines: Some(bytes / LINE as u64) }; FILES]);
    let grown = memory("VmHWM").saturating_sub(before) / 1024;
    eprintln!(
        "{} MiB in {took:?}, {grown} MiB more memory at the most than {} MiB",
        (FILES as u64 * bytes) >> 20,
        before / 1024
    );
    assert!(grown < 24, "{grown} MiB more");
}
