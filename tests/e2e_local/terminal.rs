//! On a terminal there are bars, and Ctrl-C asks.

use std::path::Path;

use bulk_fhir::Script;
use stage::{Process, Terminal};

use crate::place::{PATIENCE, Place};

/// A world whose export runs on the server, followed on a terminal.
async fn running() -> (Place, Terminal, Process) {
    let place = Place::start().await;
    place.fhir.script(Script::stuck());
    let terminal = Terminal::open().unwrap();
    let arguments = ["local", "-f", "all.yaml", "--container", "lake"];
    let options = place.options(terminal.path(), &arguments).stdin(terminal.path());
    let process = Process::start(&options.stdout(Path::new("/dev/null"))).unwrap();
    place.until_running().await;
    (place, terminal, process)
}

#[tokio::test]
async fn ctrl_c_asks_and_cancels_the_job() {
    let (place, mut terminal, mut process) = running().await;
    terminal.until_shown("\u{1b}[", PATIENCE).await.unwrap();
    process.sigint().unwrap();
    terminal.until_shown("Cancel the jobs on the servers?", PATIENCE).await.unwrap();
    assert_eq!(place.fhir.jobs()[0].cancel_requests, 0);
    terminal.press("c\n").unwrap();
    let code = process.wait_at_most(PATIENCE).await.unwrap();
    assert_eq!(code, Some(130), "{}", terminal.text());
    assert!(place.fhir.jobs()[0].cancelled_at.is_some());
}

#[tokio::test]
async fn any_other_answer_and_a_second_ctrl_c_leave_the_job() {
    for answer in [Some("\n"), Some("no\n"), None] {
        let (place, mut terminal, mut process) = running().await;
        process.sigint().unwrap();
        terminal.until_shown("Cancel the jobs on the servers?", PATIENCE).await.unwrap();
        match answer {
            Some(answer) => terminal.press(answer).unwrap(),
            None => process.sigint().unwrap(),
        }
        let code = process.wait_at_most(PATIENCE).await.unwrap();
        assert_eq!(code, Some(130), "{}", terminal.text());
        assert!(terminal.text().contains("FhirExport cohort: left running"), "{}", terminal.text());
        assert_eq!(place.fhir.jobs()[0].cancel_requests, 0, "{answer:?}");
    }
}
