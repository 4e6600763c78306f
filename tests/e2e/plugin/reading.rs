//! `list`, `describe`, `watch` and `wait`.

use bulk_fhir::{Options, Script};
use serde_json::{Value, json};
use stage::{Process, ProcessOptions, Terminal};

use super::{assert_said, call, plugin, start, told};
use crate::place::Place;
use crate::site::{PATIENCE, shared};

#[tokio::test]
async fn an_export_from_the_first_look_to_the_last() {
    let place = Place::start("kubectl", Options::default(), json!({})).await;
    let nothing = call(&place.site, &["list"]).await;
    assert_said(&nothing, 0, &format!("No exports found in namespace {}.", place.site.namespace));

    place.fhir.script(Script::stuck());
    place.export("stuck", json!({"types": ["Patient"]}), json!({})).await;
    place.site.until("stuck", "running", |o| o.status.as_ref().is_some_and(|s| s.job.is_some())).await;
    let timeout = call(&place.site, &["wait", "stuck", "--timeout", "1s"]).await;
    assert_said(
        &timeout,
        4,
        "the time is over: the export goes on; look again with kubectl fhirexport watch stuck",
    );
    let mut watch = start(&place.site, &["watch", "stuck"]);
    watch.wait_for_log("Running", PATIENCE).await.unwrap();
    watch.sigint().unwrap();
    assert_eq!(watch.wait_at_most(PATIENCE).await.unwrap(), Some(130));
    assert!(watch.log_end().contains("interrupted: the export goes on"), "{}", watch.log_end());
    let story = told(&place.site, &["describe", "stuck"]).await;
    assert!(story.contains("To do       Follow it with kubectl fhirexport watch stuck"), "{story}");
    let mut watch = start(&place.site, &["watch", "stuck", "--timeout=1h"]);
    watch.wait_for_log("Running", PATIENCE).await.unwrap();
    place.site.delete("stuck").await;
    assert_eq!(watch.wait_at_most(PATIENCE).await.unwrap(), Some(3), "{}", watch.log_end());
    place.site.gone("stuck").await;

    place.export("cohort", json!({}), json!({})).await;
    let watched = call(&place.site, &["watch", "cohort"]).await;
    assert_said(&watched, 0, "Complete");
    assert!(watched.stdout.starts_with("fhirexport.fhirexport.dev/cohort complete: "), "{watched:?}");
    assert!(watched.stdout.contains(&format!("/{}/", place.container())), "{watched:?}");
    let waited = told(&place.site, &["wait", "cohort"]).await;
    assert_eq!(waited, watched.stdout, "an export that has ended is not waited for");

    let table = told(&place.site, &["list"]).await;
    assert!(table.starts_with("NAME     SERVER   LEVEL    STATE      REASON"), "{table}");
    assert!(table.contains("cohort   clinic   System   Complete"), "{table}");
    assert!(!table.contains('\u{1b}'), "no colours outside a terminal");
    let all = told(&place.site, &["list", "-A", "-o", "wide", "--server", "clinic"]).await;
    assert!(all.starts_with("NAMESPACE") && all.contains(&place.container()), "{all}");
    let list: Value = serde_json::from_str(&told(&place.site, &["list", "-o", "json"]).await).unwrap();
    assert_eq!(list["items"][0]["status"]["state"], "Complete");
    assert_eq!(list["items"][0]["metadata"].get("managedFields"), None);
    assert_eq!(told(&place.site, &["list", "-o", "name"]).await, "fhirexport.fhirexport.dev/cohort\n");
    assert!(told(&place.site, &["list", "--server", "other", "-o", "name"]).await.is_empty());

    let story = told(&place.site, &["describe", "cohort"]).await;
    for part in [
        "State       Complete",
        "All data on the server clinic (",
        "Created at ",
        " resources (",
        "Passed: files",
        "KickedOff",
    ] {
        assert!(story.contains(part), "{part}: {story}");
    }
}

#[tokio::test]
async fn a_failure_is_told_with_its_cause_and_its_code() {
    let place = Place::start("kubectl-failed", Options::default(), json!({})).await;
    place.fhir.script(Script::fails(422, "processing", "the disk is full"));
    place.export("broken", json!({}), json!({})).await;
    let waited = call(&place.site, &["wait", "broken"]).await;
    assert_eq!(waited.code, 3, "{waited:?}");
    assert!(waited.stdout.starts_with("fhirexport.fhirexport.dev/broken failed: "), "{waited:?}");
    assert!(waited.stdout.contains("the disk is full"), "{waited:?}");
    let table = told(&place.site, &["list"]).await;
    assert!(table.contains("Failed   ExportFailed"), "{table}");
    let story = told(&place.site, &["describe", "broken"]).await;
    assert!(story.contains("Why         ExportFailed: ") && story.contains("the disk is full"), "{story}");
    let files = call(&place.site, &["files", "broken"]).await;
    assert_said(&files, 1, "The export broken is Failed and has no complete set of files");
}

/// kubectl finds the plugin on the PATH, and passes flags on.
#[tokio::test]
async fn kubectl_finds_it() {
    let place = Place::start("kubectl-finds", Options::default(), json!({})).await;
    place.landed("cohort", json!({"types": ["Patient"]})).await;
    let folder = std::path::Path::new(super::PROGRAM).parent().unwrap();
    let path = std::env::join_paths(
        std::iter::once(folder.to_owned())
            .chain(std::env::split_paths(&std::env::var_os("PATH").unwrap_or_default())),
    );
    let arguments = ["fhirexport", "-n", &place.site.namespace, "list", "-o", "name"];
    let kubectl = shared().await.kubernetes.kubectl(arguments).await.unwrap();
    let listed = kubectl.env("PATH", path.unwrap()).run().await.unwrap();
    assert_eq!(place.site.told(listed.ok()), "fhirexport.fhirexport.dev/cohort\n");
    let help = plugin(&place.site, &["--help"]).run().await.unwrap().ok().unwrap();
    assert!(help.contains("Usage: kubectl fhirexport "), "{help}");
}

/// On a terminal there are bars while an export runs, and colours in the list.
#[tokio::test]
async fn bars_and_colours_are_for_terminals() {
    let place = Place::start("kubectl-terminal", Options::default(), json!({})).await;
    place.fhir.script(Script::stuck());
    place.export("stuck", json!({}), json!({})).await;
    place.site.until_condition("stuck", "Reconciling", "False", "KickedOff").await;
    let on = |terminal: &Terminal, arguments: &[&str]| {
        let options = ProcessOptions::new(super::PROGRAM, terminal.path())
            .args(arguments)
            .args(["-n", &place.site.namespace])
            .env("KUBECONFIG", &place.site.kubeconfig)
            .env("TERM", "xterm")
            .env_remove("NO_COLOR");
        options.stdout(terminal.path())
    };
    let screen = Terminal::open().unwrap();
    let mut list = Process::start(&on(&screen, &["list"])).unwrap();
    screen.until_shown("\u{1b}[36mRunning\u{1b}[0m", PATIENCE).await.unwrap();
    assert_eq!(list.wait_at_most(PATIENCE).await.unwrap(), Some(0));
    let screen = Terminal::open().unwrap();
    let mut plain = Process::start(&on(&screen, &["list"]).env("NO_COLOR", "1")).unwrap();
    screen.until_shown("Running", PATIENCE).await.unwrap();
    assert_eq!(plain.wait_at_most(PATIENCE).await.unwrap(), Some(0));
    assert!(!screen.text().contains('\u{1b}'), "{:?}", screen.text());
    let screen = Terminal::open().unwrap();
    let mut watch = Process::start(&on(&screen, &["watch", "stuck", "--timeout=1h"])).unwrap();
    // A bar is drawn anew in its line.
    screen.until_shown("\u{1b}[2K", PATIENCE).await.unwrap();
    place.site.change("stuck", json!({"cancel": true})).await;
    screen.until_shown("fhirexport.fhirexport.dev/stuck cancelled", PATIENCE).await.unwrap();
    assert_eq!(watch.wait_at_most(PATIENCE).await.unwrap(), Some(3));
}
