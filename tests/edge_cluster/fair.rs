//! Fairness: a server or a tenant that is slow or busy does not delay the exports of others.

use std::time::{Duration, Instant};

use futures::future::join_all;
use kube::Client;
use stage::wait_until;

use crate::fake::{FakeServer, PROMPT};
use crate::operate::start;
use crate::place::{SOON, exports, make_export, make_export_on, make_server, make_server_at, namespace};

/// Exports of the silent server: more than the operator reconciles at once.
const MANY: usize = 80;
/// How much later than alone a healthy export may be.
const MARGIN: Duration = Duration::from_secs(1);

/// The time from the creation of an export of the healthy server to its kick-off.
async fn kick_off_takes(client: &Client, namespace: &str, name: &str, server: &FakeServer) -> Duration {
    let mut arrived = server.answered_at_once();
    let before = *arrived.borrow_and_update();
    let began = Instant::now();
    make_export_on(client, namespace, name, "prompt").await;
    let kick_off = arrived.wait_for(|count| *count > before);
    tokio::time::timeout(SOON, kick_off).await.unwrap().unwrap();
    began.elapsed()
}

#[tokio::test]
async fn a_server_that_does_not_answer_holds_up_no_other() {
    let client = namespace("silent").await;
    let server = FakeServer::new();
    make_server_at(&client, "silent", "prompt", PROMPT).await;
    make_server(&client, "silent").await;
    let running = start(&client, "silent", &server).await;
    let alone = kick_off_takes(&client, "silent", "alone", &server).await;

    let mut silent = server.kick_offs();
    let names: Vec<String> = (0..MANY).map(|n| format!("silent-{n}")).collect();
    join_all(names.iter().map(|name| make_export(&client, "silent", name))).await;
    let out = silent.wait_for(|count| *count >= 32);
    tokio::time::timeout(SOON, out).await.expect("as many as may be out at once").unwrap();
    for nth in 0..5 {
        let beside = kick_off_takes(&client, "silent", &format!("beside-{nth}"), &server).await;
        assert!(beside < alone + MARGIN, "{beside:?}, and {alone:?} alone");
    }
    assert_eq!(*server.kick_offs().borrow(), 32, "no more than that are out at a server");

    // No kick-off is lost, and none is sent twice.
    server.answer(MANY);
    wait_until("all to run", SOON, || async {
        let all = exports(&client, "silent").list(&kube::api::ListParams::default()).await.unwrap();
        all.items.iter().all(|export| {
            export.status.as_ref().is_some_and(|s| s.job.as_ref().is_some_and(|job| job.status_url.is_some()))
        })
    })
    .await
    .unwrap();
    assert_eq!(*server.kick_offs().borrow(), MANY);
    running.stop.send(()).unwrap();
    tokio::time::timeout(SOON, running.work).await.unwrap().unwrap().unwrap();
}

#[tokio::test]
async fn an_operator_that_stops_writes_the_answers_and_sends_nothing_more() {
    let client = namespace("stops").await;
    let server = FakeServer::new();
    make_server(&client, "stops").await;
    let running = start(&client, "stops", &server).await;
    let mut silent = server.kick_offs();
    let names: Vec<String> = (0..40).map(|n| format!("silent-{n}")).collect();
    join_all(names.iter().map(|name| make_export(&client, "stops", name))).await;
    tokio::time::timeout(SOON, silent.wait_for(|count| *count == 32)).await.unwrap().unwrap();
    running.stop.send(()).unwrap();
    tokio::time::sleep(Duration::from_millis(200)).await;
    server.answer(MANY);
    tokio::time::timeout(SOON, running.work).await.unwrap().unwrap().unwrap();
    assert_eq!(*server.kick_offs().borrow(), 32, "what waited was not sent");
    let all = exports(&client, "stops").list(&kube::api::ListParams::default()).await.unwrap();
    let urls = all.items.iter().filter_map(|e| e.status.as_ref()?.job.as_ref()?.status_url.clone());
    assert_eq!(urls.count(), 32, "each answer is written");
    let open = all.items.iter().filter_map(|e| e.status.as_ref()?.job.as_ref());
    assert_eq!(open.filter(|job| job.status_url.is_none()).count(), 0, "no intent is left behind");
}
