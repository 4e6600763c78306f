//! Data that change while exports run: what runs since the last one's transaction time bring is all that changed.

#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

mod common;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bulk_fhir::{Data, Options, Script, Server, Version};
use common::{client, get, kick_off, location, manifest, server, started};
use replay::{Change, Changes, Journal, Mode, Run, State};
use serde_json::{Value, json};

/// The files of a job as a folder has them.
async fn landed(manifest: &Value) -> Run {
    let mut files = BTreeMap::new();
    for (list, below) in [("output", ""), ("deleted", "deleted/")] {
        for (place, entry) in manifest[list].as_array().unwrap().iter().enumerate() {
            let bytes = get(entry["url"].as_str().unwrap()).await.bytes().await.unwrap();
            let name = format!("{below}{}-{place}.ndjson", entry["type"].as_str().unwrap());
            files.insert(name, bytes.to_vec());
        }
    }
    Run::of(&files).unwrap()
}

fn everything(server: &Server) -> State {
    State::of(server.patients().latest().filter_map(|latest| latest.resource.cloned()))
}

#[tokio::test(flavor = "multi_thread")]
async fn thirty_runs_bring_all_that_changed_before_and_during_them() {
    let server = Arc::new(server(Version::Stu3).await);
    let stop = Arc::new(AtomicBool::new(false));
    let changing = tokio::task::spawn_blocking({
        let (server, stop) = (Arc::clone(&server), Arc::clone(&stop));
        move || {
            let mut journal = Journal::default();
            for change in Changes::new(1, true) {
                if stop.load(Ordering::Relaxed) {
                    break;
                }
                let mut patients = server.patients();
                match change {
                    Change::Put(resource) => {
                        let (kind, id) = (resource["resourceType"].clone(), resource["id"].clone());
                        patients.change(resource).unwrap();
                        journal.put(patients.get(kind.as_str().unwrap(), id.as_str().unwrap()).unwrap());
                    }
                    Change::Delete { kind, id } => {
                        assert!(patients.remove(&kind, &id));
                        journal.deleted(&format!("{kind}/{id}"));
                    }
                }
                drop(patients);
                std::thread::yield_now();
            }
            journal
        }
    });
    let mut state = State::default();
    let mut since: Option<String> = None;
    for number in 0..30 {
        if number == 29 {
            stop.store(true, Ordering::Relaxed);
        }
        server.script(Script { data: Data::Patients { lines_per_file: 50 }, ..Script::polls(2) });
        let asked =
            since.as_ref().map_or(String::new(), |since| format!("?_since={}", since.replace('+', "%2B")));
        let status_url = started(&server, &format!("/$export{asked}")).await;
        let manifest = manifest(&status_url).await;
        let mode = if since.is_none() { Mode::Full } else { Mode::Incremental };
        since = Some(manifest["transactionTime"].as_str().unwrap().to_owned());
        state.load(mode, &landed(&manifest).await);
    }
    let journal = changing.await.unwrap();
    assert!(journal.made() > 100, "{}", journal.made());
    // What was changed after the last run began is for the next one.
    let status_url =
        started(&server, &format!("/$export?_since={}", since.unwrap().replace('+', "%2B"))).await;
    state.load(Mode::Incremental, &landed(&manifest(&status_url).await).await);
    let told = journal.compare(&state, &everything(&server));
    assert!(told.none(), "{told:?}");
}

#[tokio::test]
async fn a_job_has_what_there_was_at_its_transaction_time() {
    let server = server(Version::Stu3).await;
    let id = server.patients().ids("Patient").remove(0);
    let before = everything(&server);
    let status_url = started(&server, "/$export").await;
    server.patients().remove("Patient", &id);
    server.patients().change(json!({"resourceType": "Patient", "id": "new"})).unwrap();
    let manifest = manifest(&status_url).await;
    let mut state = State::default();
    state.load(Mode::Full, &landed(&manifest).await);
    assert_eq!(state, before);
    // The next one has the rest, and of the types that it asks for only.
    let since = manifest["transactionTime"].as_str().unwrap().replace('+', "%2B");
    let server = &server;
    let run = |path: String| async move {
        let status_url = location(kick_off(server, &path).await);
        landed(&common::manifest(&status_url).await).await
    };
    let next = run(format!("/$export?_since={since}")).await;
    assert_eq!((next.output.len(), next.deleted), (1, vec![format!("Patient/{id}")]));
    let others = run(format!("/$export?_since={since}&_type=Observation")).await;
    assert_eq!(others, Run::default());
}

#[tokio::test]
async fn another_process_changes_resources_over_http() {
    let server = Server::start(Options::default()).await.unwrap();
    let origin = server.url().trim_end_matches("/fhir").to_owned();
    let post = |what: &'static str, body: Value| {
        let request = client().post(format!("{origin}/_test/{what}")).body(body.to_string());
        async { request.send().await.unwrap() }
    };
    let two = json!([{"resourceType": "Patient", "id": "a"}, {"resourceType": "Patient", "id": "b"}]);
    assert_eq!(post("resource", two).await.status(), 200);
    assert_eq!(post("resource", json!({"resourceType": "Patient"})).await.status(), 400);
    let answer =
        post("delete", json!([{"type": "Patient", "id": "a"}, {"type": "Patient", "id": "z"}])).await;
    assert_eq!(answer.json::<Value>().await.unwrap(), json!({"deleted": 1}));
    let patients = server.patients();
    assert!(patients.get("Patient", "a").is_none() && patients.get("Patient", "b").is_some());
}
