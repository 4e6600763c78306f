//! Deleting the folder of a run.

use fhir_export_operator::core::ledger::{FolderDeletion, FolderPlan, StorageFailureKind};
use fhir_export_operator::core::manifest::sha256_hex;
use fhir_export_operator::ports::ObjectStore;

use super::kit::{File, Kit};

const FOLDER: &str = "20261122T003003-1187";
const MANIFEST: &[u8] = b"{\"output\":[]}";

pub async fn with_its_proof<S: ObjectStore>(kit: &Kit<S>) {
    let part = kit.part_size();
    for name in ["Patient-1.ndjson", "deleted/Bundle-1.ndjson", "error/OperationOutcome-1.ndjson"] {
        kit.land(&File::new(&format!("{FOLDER}/{name}"), "1", part + 9)).await.unwrap();
    }
    kit.store.store(kit.target(), &format!("{FOLDER}/manifest.json"), MANIFEST).await.unwrap();
    let neighbour = File::new(&format!("{FOLDER}8/Patient-1.ndjson"), "1", 9);
    kit.land(&neighbour).await.unwrap();

    let plan = |manifest: Option<&[u8]>, at_most| FolderPlan {
        container: kit.container.clone(),
        folder: FOLDER.to_owned(),
        manifest: manifest.map(|body| sha256_hex(body)[..16].to_owned()),
        at_most,
    };
    let delete = async |plan: FolderPlan| kit.store.delete_folder(&kit.server, &plan).await;
    for wrong in [plan(Some(b"another"), 9), plan(None, 9)] {
        assert_eq!(delete(wrong).await.unwrap(), FolderDeletion::Changed);
    }
    for wrong in ["..", "f", "20261122T003003-../x", ""] {
        let wrong = FolderPlan { folder: wrong.to_owned(), ..plan(Some(MANIFEST), 9) };
        assert_eq!(delete(wrong).await.unwrap_err().kind, StorageFailureKind::Permanent);
    }
    let ledger = kit.store.ledger(kit.target(), FOLDER).await.unwrap();
    assert_eq!(ledger.landed.len(), 4, "nothing was deleted so far");

    assert_eq!(delete(plan(Some(MANIFEST), 2)).await.unwrap(), FolderDeletion::Going { files: 2 });
    let manifest = format!("{FOLDER}/manifest.json");
    assert!(kit.store.read(kit.target(), &manifest, 99).await.unwrap().is_some(), "it goes last");
    let done = delete(plan(Some(MANIFEST), 2)).await.unwrap();
    assert_eq!(done, FolderDeletion::Done { files: 2, others: 0 });
    // The deletion is repeated, as after a lost answer.
    let done = delete(plan(Some(MANIFEST), 2)).await.unwrap();
    assert_eq!(done, FolderDeletion::Done { files: 0, others: 0 });
    assert_eq!(kit.store.ledger(kit.target(), FOLDER).await.unwrap().landed, []);
    kit.assert_landed(&neighbour, "the neighbour").await;
}
