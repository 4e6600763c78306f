use std::time::{Duration, Instant};

use axum::Router;
use axum::extract::State;
use axum::routing::any;
use serde_json::json;
use tokio::sync::Semaphore;

use super::*;
use crate::api::{FhirExport, Reason};
use crate::cluster::client_within;

#[test]
fn long_messages_are_cut_at_a_character() {
    assert_eq!(cut("short"), "short");
    assert_eq!(cut(&"x".repeat(1024)).len(), 1024);
    let long = cut(&"ä".repeat(1000));
    assert!(long.len() <= 1024 && long.ends_with("ä…"));
}

fn export() -> FhirExport {
    let object = json!({
        "metadata": { "name": "one", "namespace": "ns", "uid": "one" },
        "spec": { "serverRef": { "name": "clinic" }, "request": { "level": "System" } },
    });
    serde_json::from_value(object).unwrap()
}

/// An API server that needs a permit for each answer, and the folders of the events that it received.
async fn slow_api_server() -> (Client, Arc<Semaphore>, Arc<Mutex<Vec<String>>>) {
    type Slow = (Arc<Semaphore>, Arc<Mutex<Vec<String>>>);
    let (permits, came) = (Arc::new(Semaphore::new(0)), Arc::new(Mutex::new(Vec::new())));
    let answer = async |State((permits, came)): State<Slow>, body: String| {
        let event: serde_json::Value = serde_json::from_str(&body).unwrap();
        let folder = event.pointer("/related/name").unwrap().as_str().unwrap().to_owned();
        came.lock().unwrap().push(folder);
        permits.acquire().await.unwrap().forget();
        ([("content-type", "application/json")], body)
    };
    let router = Router::new().fallback(any(answer)).with_state((Arc::clone(&permits), Arc::clone(&came)));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap()).parse().unwrap();
    tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
    (client_within(kube::Config::new(url), Duration::from_secs(60)).unwrap(), permits, came)
}

#[tokio::test]
async fn a_slow_events_api_holds_nothing_up_and_the_oldest_events_are_dropped() {
    let (client, permits, came) = slow_api_server().await;
    let metrics = Metrics::new();
    let events = Events::new(client, &metrics);
    let publish = |folder: usize| {
        let note = Note {
            type_: NoteType::Normal,
            reason: Reason::CancelUnconfirmed,
            action: "KickOff",
            message: "one".into(),
            folder: Some(folder.to_string()),
        };
        events.publish(&export(), None, &note);
    };
    let began = Instant::now();
    publish(0);
    // An event that is being posted is no longer dropped.
    while came.lock().unwrap().is_empty() {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    (1..=MOST_WAITING + 100).for_each(publish);
    assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
    assert!(metrics.text().contains("fhir_export_events_dropped_total 100\n"), "{}", metrics.text());
    permits.add_permits(2 * MOST_WAITING);
    tokio::time::timeout(Duration::from_secs(60), events.posted()).await.unwrap();
    let expected: Vec<String> =
        std::iter::once(0).chain(101..=MOST_WAITING + 100).map(|n| n.to_string()).collect();
    assert_eq!(*came.lock().unwrap(), expected, "in order, without the oldest that waited");
}
