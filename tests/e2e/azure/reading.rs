//! Output for people: the columns in each state, the description of a run that ended, the events and the log.

use azure_fhir::{Life, Script};
use serde_json::json;

use crate::site::{Site, condition, shared};

async fn kubectl(site: &Site, line: &str) -> String {
    let args = line.split_whitespace().chain(["-n", site.namespace.as_str()]);
    let tool = shared().await.kubernetes.kubectl(args).await.unwrap();
    tool.run().await.unwrap().ok().unwrap()
}

/// The columns of one export as `kubectl get` shows them, except its age.
async fn row(site: &Site, name: &str) -> Vec<String> {
    let table = kubectl(site, &format!("get fexp {name}")).await;
    let (head, row) = table.split_once('\n').unwrap();
    let starts: Vec<usize> = ["NAME", "SERVER", "LEVEL", "STATE", "REASON", "PROGRESS", "RESOURCES", "AGE"]
        .iter()
        .map(|c| head.find(c).unwrap())
        .collect();
    starts.windows(2).map(|w| row.get(w[0]..w[1]).unwrap().trim().to_owned()).collect()
}

#[tokio::test]
async fn the_columns_tell_each_state() {
    let site = Site::start("columns").await;
    site.apply_server(json!({"limits": {"maxConcurrentExports": 1}})).await;
    let request = |container: &str| json!({"level": "System", "container": container});
    site.export("waits", request("columns"), json!({"serverRef": {"name": "nobody"}})).await;
    site.until_condition("waits", "Reconciling", "True", "ServerNotFound").await;
    assert_eq!(row(&site, "waits").await, ["waits", "nobody", "System", "Waiting", "ServerNotFound", "", ""]);

    site.fhir.script(Script { file_interval_ms: 1, ..Script::stuck() }.container("columns-runs"));
    site.export("runs", request("columns-runs"), json!({})).await;
    let object = site
        .until("runs", "showing files", |o| {
            o.status.as_ref().and_then(|s| s.job.as_ref()?.progress.as_ref()?.files).is_some()
        })
        .await;
    let shown = row(&site, "runs").await;
    assert_eq!(shown[..5], ["runs", "clinic", "System", "Running", "KickedOff"]);
    assert!(shown[5].contains(" file") && shown[6].is_empty(), "{shown:?}");

    site.export("queues", request("columns"), json!({})).await;
    let queued = site.until_condition("queues", "Reconciling", "True", "Queued").await;
    assert_eq!(row(&site, "queues").await, ["queues", "clinic", "System", "Queued", "Queued", "", ""]);
    let why = condition(&queued, "Reconciling").unwrap().2;
    let server = format!("waits for one of the 1 places of FhirServer {}/clinic", site.namespace);
    assert!(why.starts_with(&server), "{why}");

    site.export("holds", request("columns"), json!({"suspend": true})).await;
    let held = site.until_condition("holds", "Suspended", "True", "Suspended").await;
    assert_eq!(row(&site, "holds").await, ["holds", "clinic", "System", "Suspended", "Suspended", "", ""]);
    assert_eq!(condition(&held, "Suspended").unwrap().2, "held by spec.suspend; set it to false to go on");

    site.fhir
        .rescript(&object.status.unwrap().job.unwrap().id.unwrap(), |script| script.life = Life::Polls(0));
    let output = site.complete("runs").await.status.unwrap().output.unwrap();
    let (files, resources) =
        (format!("{} files", output.files.unwrap()), output.resources.unwrap().to_string());
    assert_eq!(
        row(&site, "runs").await,
        ["runs", "clinic", "System", "Complete", "Exported", &files, &resources]
    );

    site.change("holds", json!({"cancel": true})).await;
    site.failed("holds", "Cancelled").await;
    assert_eq!(row(&site, "holds").await, ["holds", "clinic", "System", "Cancelled", "Cancelled", "", ""]);
}

#[tokio::test]
async fn kubectl_describe_of_a_run_that_went_well_tells_the_story() {
    let mut site = Site::start("story").await;
    // The FHIR version is known after the probe.
    super::servers::until(&site, "clinic", "Ready", "True", "ProbeSucceeded").await;
    let request = json!({"level": "Group", "groupID": "cohort-42", "container": "story"});
    site.export("cohort-42", request, json!({})).await;
    let status = site.complete("cohort-42").await.status.unwrap();
    let (job, output) = (status.job.unwrap(), status.output.unwrap());
    let wide = kubectl(&site, "get fexp cohort-42 -o wide").await;
    for part in ["CONTAINER", "FOLDER", "story", output.folder.as_deref().unwrap(), "TRANSACTION"] {
        assert!(wide.contains(part), "{part} is not in {wide}");
    }
    let server = format!(
        "FhirServer {}/clinic allows this export (FHIR 4.0.1); a Group export may hold",
        site.namespace
    );
    let place = format!(" types in story/{}\n", output.folder.unwrap());
    let accepted = format!("the server accepted the export as job {}\n", job.id.unwrap());
    let checked =
        format!("all {} files are in the container, their lines match the manifest\n", output.files.unwrap());
    let told = kubectl(&site, "describe fexp cohort-42").await;
    for part in [
        server.as_str(),
        &place,
        &accepted,
        &checked,
        "CountsMatch",
        "Exported",
        "Normal  KickedOff",
        "Type:       Patient",
    ] {
        assert!(told.contains(part), "{part:?} is not in {told}");
    }
    assert!(!told.contains("Message:               \n"), "{told}");

    let told = kubectl(&site, "describe fserver clinic").await;
    for part in [
        "Microsoft FHIR Server",
        "the server asks for no credentials",
        "the storage account can be listed",
        "ProbeSucceeded",
    ] {
        assert!(told.contains(part), "{part:?} is not in {told}");
    }
    let mut operator = site.operator.take().unwrap();
    operator.sigterm().unwrap();
    operator.wait_at_most(crate::site::PATIENCE).await.unwrap();
    let log = std::fs::read_to_string(operator.log()).unwrap();
    for part in [accepted.trim(), "the operator is ready"] {
        assert!(log.contains(part), "{part:?} is not in {log}");
    }
    assert!(!log.contains("sig="), "{log}");
}

#[tokio::test]
async fn an_end_without_files_is_no_riddle() {
    let site = Site::start("riddle").await;
    let request = json!({"level": "System", "types": ["Patent"], "container": "riddle"});
    site.export("none", request, json!({})).await;
    let object = site.complete("none").await;
    let wanted = "no resources matched, so there are no files; check the request if that is a surprise";
    assert_eq!(condition(&object, "Complete").unwrap().2, wanted);
    let result = stage::wait_until("the event", crate::site::PATIENCE, || async {
        site.events("none").await.iter().any(|(reason, note)| reason == "Exported" && note == wanted)
    })
    .await;
    site.told(result);
}

/// While the operator retries a check, the run says why. After a repair the run ends.
#[tokio::test]
async fn a_check_that_cannot_be_made_yet_says_why() {
    let mut site = Site::without_server("check", azure_fhir::Options::default()).await;
    site.secret("other", json!({"key": "no+base64=key"}), true).await;
    let reference = json!({"storage": {"azureBlob": {"auth": {"secretRef": {"name": "other"}}}}});
    site.apply_server(reference).await;
    site.start_operator().await;
    site.export("check", json!({"level": "System", "container": "check"}), json!({})).await;
    let object = site.until_condition("check", "Verified", "Unknown", "NoStorageAccess").await;
    let message = condition(&object, "Verified").unwrap().2;
    let secret = format!(
        "the files are not checked yet: key key of Secret {}/other holds no account key",
        site.namespace
    );
    assert!(message.starts_with(&secret), "{message}");
    site.secret("other", json!({"key": shared().await.azurite.key()}), true).await;
    let object = site.complete("check").await;
    assert_eq!(condition(&object, "Verified").unwrap().1, "CountsMatch");
}
