//! The program is killed, and the same command goes on.

use bulk_fhir::{FileScript, Script};

use crate::place::{PATIENCE, Place};

#[tokio::test]
async fn killed_while_it_lands_it_goes_on_and_fetches_no_landed_file_again() {
    const FILES: u64 = 60;
    let mut place = Place::start().await;
    let slow = FileScript { trickle: Some(100_000), gzip: false, ..FileScript::default() };
    place.fhir.script(Script::polls(1).made("Observation", FILES, 20_000).files(slow));
    let mut lying = Vec::new();
    for landed in [3, 20, 40] {
        let mut program = place.start_local(&[]);
        place.until_landed(landed).await;
        program.sigkill().await.unwrap();
        lying.push((place.fhir.requests().len(), place.landed()));
    }
    let ended = place.local(&[]).await;
    assert_eq!(ended.code, 0, "{}", ended.said);
    place.assert_whole();
    let (requests, job) = (place.fhir.requests(), place.fhir.jobs().remove(0));
    for (since, names) in lying {
        for name in names.keys() {
            let number = name.trim_start_matches("Observation-").trim_end_matches(".ndjson");
            let path = &job.files[number.parse::<usize>().unwrap() - 1].path;
            let again = requests[since..].iter().any(|request| request.path == *path);
            assert!(!again, "{name} had landed and was fetched again");
        }
    }
}

#[tokio::test]
async fn killed_while_the_job_runs_it_sends_no_second_kick_off() {
    let mut place = Place::start().await;
    place.fhir.script(Script::stuck());
    let mut program = place.start_local(&[]);
    place.until_running().await;
    program.sigkill().await.unwrap();
    let job = place.fhir.jobs()[0].id.clone();
    let program = place.start_local(&[]);
    let polls = place.fhir.jobs()[0].polls;
    let polled = || async { place.fhir.jobs()[0].polls > polls };
    stage::wait_until("the job to be polled again", PATIENCE, polled).await.unwrap();
    place.fhir.rescript(&job, |script| script.life = bulk_fhir::Life::Polls(0));
    let ended = place.ended(program).await;
    assert_eq!(ended.code, 0, "{}", ended.said);
    place.assert_whole();
}

#[tokio::test]
async fn two_processes_never_work_on_one_state_file() {
    let mut place = Place::start().await;
    place.fhir.script(Script::stuck());
    let mut first = place.start_local(&[]);
    place.until_running().await;
    for arguments in [&["local", "-f", "all.yaml", "--container", "lake"][..], &["local", "delete", "cohort"]]
    {
        let second = place.call(arguments).await;
        assert_eq!(second.code, 1, "{}", second.said);
        let sentence =
            "error: Another fhir-export-operator works on the state file .fhir-export/state.json: wait";
        assert!(second.said.starts_with(sentence), "{}", second.said);
    }
    let other = place.local(&["--state", "other.json"]).await;
    assert_eq!(other.code, 0, "two state files do not know of each other: {}", other.said);
    first.must_run().unwrap();
    assert_eq!(place.fhir.jobs()[0].cancel_requests, 0);
}
