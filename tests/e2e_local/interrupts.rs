//! Ctrl-C leaves the job running or cancels it, and a deletion cancels it.

use bulk_fhir::{Life, Script};

use crate::place::{Place, TOKEN};

/// A world whose export runs on the server and does not end by itself.
async fn running(arguments: &[&str]) -> (Place, stage::Process) {
    let mut place = Place::start().await;
    place.fhir.script(Script::stuck());
    let program = place.start_local(arguments);
    place.until_running().await;
    (place, program)
}

#[tokio::test]
async fn without_a_terminal_ctrl_c_leaves_the_job_and_the_same_command_goes_on() {
    let (mut place, mut program) = running(&[]).await;
    program.sigint().unwrap();
    let left = place.ended(program).await;
    let job = place.fhir.jobs().remove(0);
    assert_eq!((left.code, job.cancel_requests), (130, 0), "{}", left.said);
    let said = format!("FhirExport cohort: left running (job {}): the same command goes on with it", job.id);
    assert!(left.said.contains(&said), "{}", left.said);
    place.fhir.rescript(&job.id, |script| script.life = Life::Polls(0));
    let ended = place.local(&[]).await;
    assert_eq!(ended.code, 0, "{}", ended.said);
    place.assert_whole();
}

#[tokio::test]
async fn a_termination_leaves_the_job_whatever_ctrl_c_does() {
    let (place, mut program) = running(&["--on-interrupt", "cancel"]).await;
    program.sigterm().unwrap();
    let left = place.ended(program).await;
    assert_eq!((left.code, place.fhir.jobs()[0].cancel_requests), (130, 0), "{}", left.said);
}

#[tokio::test]
async fn ctrl_c_cancels_the_job_where_that_is_wanted() {
    let (mut place, mut program) = running(&["--on-interrupt", "cancel"]).await;
    program.sigint().unwrap();
    let cancelled = place.ended(program).await;
    assert_eq!(cancelled.code, 130, "{}", cancelled.said);
    assert!(place.fhir.jobs()[0].cancelled_at.is_some(), "{}", cancelled.said);
    assert!(cancelled.said.contains("FhirExport cohort: cancelled; "), "{}", cancelled.said);
    // The manifest does not say so, and does not take it back.
    let again = place.local(&[]).await;
    assert_eq!((again.code, place.fhir.kick_offs()), (1, 1), "{}", again.said);
}

#[tokio::test]
async fn a_deletion_cancels_the_job_with_the_secret_that_it_needs() {
    let (mut place, mut program) = running(&[]).await;
    program.sigkill().await.unwrap();
    let deleted = place.call(&["local", "delete", "cohort", "-f", "all.yaml"]).await;
    assert_eq!((deleted.code, &*deleted.stdout), (0, "FhirExport cohort deleted\n"), "{}", deleted.said);
    assert!(place.fhir.jobs()[0].cancelled_at.is_some());
    assert!(place.stored("cohort").is_none() && !place.state().contains(TOKEN));
    let none = place.call(&["local", "delete", "cohort"]).await;
    assert_eq!(none.code, 1);
    assert_eq!(none.said, "error: There is no default/cohort in the state file; see `local get`.\n");
}

#[tokio::test]
async fn a_server_with_a_running_export_is_not_deleted() {
    let (mut place, mut program) = running(&[]).await;
    program.sigkill().await.unwrap();
    let refused = place.call(&["local", "delete", "clinic", "-f", "all.yaml"]).await;
    assert_eq!(refused.code, 1);
    assert!(refused.said.contains("FhirExport default/cohort has not ended"), "{}", refused.said);
}
