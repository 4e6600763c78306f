//! `files`, `download` and `verify`, with the caller's own credentials.

use std::collections::BTreeMap;
use std::path::Path;

use bulk_fhir::{Options, Script, Shape};
use fhir_export_operator::api::FhirExport;
use serde_json::{Value, json};
use stage::Tool;

use super::{assert_said, call, plugin, told};
use crate::place::{Place, output};
use crate::site::{Site, shared};

/// An export with data, deletions and error files.
pub async fn landed(place: &Place) -> FhirExport {
    let manifest = Shape {
        issues: [("warning".to_owned(), 1)].into(),
        deleted: vec!["Patient/gone".into()],
        ..Shape::default()
    };
    place.fhir.script(Script::polls(1).manifest(manifest));
    place.landed("cohort", json!({})).await
}

/// The plugin with a SAS token of the caller, and the endpoint of the emulator.
async fn with_sas(site: &Site, arguments: &[&str], permissions: &str) -> Tool {
    let azurite = &shared().await.azurite;
    let sas = blobs::sas(azurite.account(), azurite.key(), permissions).unwrap();
    site.marks.lock().unwrap().add_secret("the caller's SAS token", &sas);
    let endpoint = Site::blob_endpoint().await;
    plugin(site, &[arguments, &["--endpoint", &endpoint]].concat()).env("AZURE_STORAGE_SAS_TOKEN", sas)
}

pub async fn succeeds(site: &Site, tool: Tool) -> String {
    let output = tool.run().await.unwrap();
    site.told(output.ok())
}

/// The visible files below a directory: contents by path.
pub fn files_in(directory: &Path, above: &str, files: &mut BTreeMap<String, Vec<u8>>) {
    for entry in std::fs::read_dir(directory).unwrap() {
        let entry = entry.unwrap();
        let name = entry.file_name().into_string().unwrap();
        if name.starts_with('.') {
            continue;
        }
        let path = format!("{above}{name}");
        if entry.file_type().unwrap().is_dir() {
            files_in(&entry.path(), &format!("{path}/"), files);
        } else {
            files.insert(path, std::fs::read(entry.path()).unwrap());
        }
    }
}

#[tokio::test]
async fn from_a_storage_account_with_a_sas_token() {
    let place = Place::start("kubectl-files", Options::default(), json!({})).await;
    let export = landed(&place).await;
    let folder = output(&export).folder.unwrap();
    let stored = place.blobs(&export).await;
    let directory = place.site.folder.path().join("lake");
    let to = directory.to_str().unwrap().to_owned();

    let listed =
        succeeds(&place.site, with_sas(&place.site, &["files", "cohort", "-o", "json"], "rl").await).await;
    let listed: Vec<Value> = serde_json::from_str(&listed).unwrap();
    assert_eq!(listed.len() + 1, stored.len());
    let urls =
        succeeds(&place.site, with_sas(&place.site, &["files", "cohort", "-o", "url"], "rl").await).await;
    assert!(urls.lines().all(|url| url.contains(&folder) && !url.contains("sig=")), "{urls}");

    let fetched =
        succeeds(&place.site, with_sas(&place.site, &["download", "cohort", &to], "rl").await).await;
    assert!(fetched.contains(&format!("{} files in {to} as the manifest says", listed.len())), "{fetched}");
    let mut there = BTreeMap::new();
    files_in(&directory, "", &mut there);
    assert_eq!(there, stored);
    // The same command goes on where an earlier one was interrupted.
    let lost = there.keys().find(|name| name.starts_with("Patient")).unwrap();
    std::fs::remove_file(directory.join(lost)).unwrap();
    std::fs::write(directory.join(format!(".{lost}.part")), "half of another file").unwrap();
    let again = succeeds(&place.site, with_sas(&place.site, &["download", "cohort", &to], "rl").await).await;
    assert!(again.contains(&format!("{} of them there already", listed.len() - 1)), "{again}");
    let mut there = BTreeMap::new();
    files_in(&directory, "", &mut there);
    assert_eq!(there, stored);
    std::fs::write(directory.join("Patient-1.ndjson"), "{}\n").unwrap();
    let taken = with_sas(&place.site, &["download", "cohort", &to], "rl").await.run().await.unwrap();
    assert_said(&taken, 1, "Patient-1.ndjson is there already and is not the file of this export");

    let verified = succeeds(&place.site, with_sas(&place.site, &["verify", "cohort"], "rl").await).await;
    assert!(verified.contains("as the manifest says"), "{verified}");
    let container = blobs::container(&shared().await.azurite, &place.container()).await.unwrap();
    blobs::put(&container, &format!("{folder}/Patient-1.ndjson"), b"{\"resourceType\":\"Patient\"}\n")
        .await
        .unwrap();
    let changed = with_sas(&place.site, &["verify", "cohort"], "rl").await.run().await.unwrap();
    assert_eq!(changed.code, 3, "{changed:?}");
    assert!(changed.stdout.contains("wrong: Patient-1.ndjson: it has 27 bytes instead of "), "{changed:?}");
    let fresh = place.site.folder.path().join("fresh");
    let refused = with_sas(&place.site, &["download", "cohort", fresh.to_str().unwrap()], "rl")
        .await
        .run()
        .await
        .unwrap();
    assert_said(&refused, 3, "Patient-1.ndjson is not as the manifest says (it has 27 bytes instead of ");
    assert!(!fresh.join("Patient-1.ndjson").exists() && !fresh.join("manifest.json").exists());

    let blind = with_sas(&place.site, &["verify", "cohort"], "w").await.run().await.unwrap();
    assert_said(&blind, 1, "error: The files cannot be read: ");
    blobs::put(&container, &format!("{folder}/manifest.json"), b"{}").await.unwrap();
    let forged = with_sas(&place.site, &["verify", "cohort"], "rl").await.run().await.unwrap();
    assert_eq!(forged.code, 3, "{forged:?}");
    assert!(forged.stdout.contains("is not the one that the operator stored"), "{forged:?}");
    for command in [&["files", "cohort"][..], &["download", "cohort", &to]] {
        let forged = with_sas(&place.site, command, "rl").await.run().await.unwrap();
        assert_said(&forged, 3, "is not the one that the operator stored");
    }
    container.delete(None).await.unwrap();
    let gone = with_sas(&place.site, &["verify", "cohort"], "rl").await.run().await.unwrap();
    assert_eq!(gone.code, 3, "{gone:?}");
    assert!(gone.stdout.contains(&format!("The container {} is gone", place.container())), "{gone:?}");
}

#[tokio::test]
async fn no_credential_goes_to_an_endpoint_that_only_the_cluster_names() {
    let place = Place::start("kubectl-leak", Options::default(), json!({})).await;
    landed(&place).await;
    let sas = "sig=somebody-s-own-4711";
    let refused =
        plugin(&place.site, &["files", "cohort"]).env("AZURE_STORAGE_SAS_TOKEN", sas).run().await.unwrap();
    assert_said(&refused, 1, "which is no blob endpoint of Azure: name the endpoint with --endpoint");
    let endpoint = Site::blob_endpoint().await;
    // A login that does not work is told with its next step. It is one that asks no tool of this machine.
    let nobody = plugin(&place.site, &["files", "cohort", "--endpoint", &endpoint])
        .env("AZURE_TENANT_ID", "00000000-0000-0000-0000-000000000000")
        .env("AZURE_CLIENT_ID", "00000000-0000-0000-0000-000000000000")
        .env("AZURE_FEDERATED_TOKEN_FILE", "/nowhere/token");
    let nobody = nobody.run().await.unwrap();
    assert_said(&nobody, 1, "error: You are not logged in to Azure (");
    assert_said(&nobody, 1, "run az login, or set AZURE_STORAGE_SAS_TOKEN");
}

#[tokio::test]
async fn from_a_volume_compressed() {
    let place =
        Place::on_a_volume("kubectl-volume", Options::default(), json!({"storage": {"compression": "Gzip"}}))
            .await;
    let export = landed(&place).await;
    let unmounted = call(&place.site, &["files", "cohort"]).await;
    assert_said(
        &unmounted,
        1,
        "error: The files lie on the volume lake/exports/fhir: run this where the volume is mounted",
    );
    let mounted = place.site.folder.path().join("volumes/lake");
    let volume = ["--volume", mounted.to_str().unwrap()];
    let table = told(&place.site, &[&["files", "cohort"], &volume[..]].concat()).await;
    assert!(table.starts_with("FILE") && table.contains("Patient-1.ndjson "), "{table}");
    assert!(table.contains("deleted/Bundle-1.ndjson "), "{table}");
    let verified = told(&place.site, &[&["verify", "cohort"], &volume[..]].concat()).await;
    assert!(verified.contains("as the manifest says"), "{verified}");

    let directory = place.site.folder.path().join("unpacked");
    let to = directory.to_str().unwrap();
    told(&place.site, &[&["download", "cohort", to], &volume[..]].concat()).await;
    let mut there = BTreeMap::new();
    files_in(&directory, "", &mut there);
    let served: u64 = place.fhir.expected(&place.last_job().id).iter().map(|file| file.lines).sum();
    let lines = there
        .iter()
        .filter(|(name, _)| name.ends_with(".ndjson"))
        .map(|(_, body)| body.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()).count() as u64);
    assert_eq!(lines.sum::<u64>(), served);

    let folder = mounted.join("exports/fhir").join(place.container()).join(output(&export).folder.unwrap());
    let mut damaged = std::fs::read(folder.join("Patient-1.ndjson.gz")).unwrap();
    let middle = damaged.len() / 2;
    damaged[middle] ^= 0xff;
    std::fs::write(folder.join("Patient-1.ndjson.gz"), damaged).unwrap();
    std::fs::remove_file(folder.join("deleted/Bundle-1.ndjson.gz")).unwrap();
    let wrong = call(&place.site, &[&["verify", "cohort"], &volume[..]].concat()).await;
    assert_eq!(wrong.code, 3, "{wrong:?}");
    assert!(wrong.stdout.contains("wrong: Patient-1.ndjson: "), "{wrong:?}");
    assert!(wrong.stdout.contains("wrong: deleted/Bundle-1.ndjson is missing"), "{wrong:?}");
}

/// Azure's FHIR service writes the files and counts, and states no checksums; the FhirServer names the account.
#[tokio::test]
async fn files_that_the_server_wrote() {
    let site = Site::start("kubectl-azure").await;
    site.export("whole", json!({"level": "System", "container": site.namespace}), json!({})).await;
    let export = site.complete("whole").await;
    let refused = plugin(&site, &["files", "whole"])
        .env("AZURE_STORAGE_SAS_TOKEN", "sig=4711-own")
        .run()
        .await
        .unwrap();
    assert_said(&refused, 1, "name the endpoint with --endpoint");
    let table = succeeds(&site, with_sas(&site, &["files", "whole"], "rl").await).await;
    assert!(table.contains("Patient-"), "{table}");
    let verified = succeeds(&site, with_sas(&site, &["verify", "whole"], "rl").await).await;
    assert!(
        verified.contains("as the manifest says") && verified.contains("has no checksums for "),
        "{verified}"
    );
    // Without checksums only a file that a download of this export brought counts as there.
    let directory = site.folder.path().join("whole");
    let to = directory.to_str().unwrap();
    succeeds(&site, with_sas(&site, &["download", "whole", to], "rl").await).await;
    let again = succeeds(&site, with_sas(&site, &["download", "whole", to], "rl").await).await;
    assert!(again.contains("of them there already"), "{again}");
    std::fs::remove_file(directory.join(".fhirexport-download.lock")).unwrap();
    let unknown = with_sas(&site, &["download", "whole", to], "rl").await.run().await.unwrap();
    assert_said(&unknown, 1, "the manifest has no checksum that shows whether it is of this export");
    std::fs::write(directory.join(".fhirexport-download.lock"), "0".repeat(64)).unwrap();
    let other = with_sas(&site, &["download", "whole", to], "rl").await.run().await.unwrap();
    assert_said(&other, 1, "holds the files of another export");

    let container = blobs::container(&shared().await.azurite, &site.namespace).await.unwrap();
    let folder = export.status.unwrap().output.unwrap().folder.unwrap();
    let names = blobs::names(&container, &folder).await.unwrap();
    let victim = names.iter().find(|name| name.contains("/Patient-")).unwrap();
    blobs::put(&container, victim, b"").await.unwrap();
    let short = with_sas(&site, &["verify", "whole"], "rl").await.run().await.unwrap();
    assert_eq!(short.code, 3, "{short:?}");
    let file = victim.rsplit('/').next().unwrap();
    assert!(short.stdout.contains(&format!("wrong: {file}: it holds 0 resources instead of ")), "{short:?}");
}
