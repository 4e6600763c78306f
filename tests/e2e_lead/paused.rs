//! A replica that is paused, and continues when another one leads.

use std::sync::Arc;
use std::time::{Duration, Instant};

use fhir_export_operator::api::FhirExport;
use serde_json::json;
use stage::wait_for;

use crate::gate::ApiGate;
use crate::place::{PATIENCE, Place};
use crate::replica::Replica;
use crate::stream::{Stream, is, seconds};
use crate::takeover::{LOADED, TAKEOVER};

/// The message of a replica that could not renew its Lease in time.
pub const LAPSED: &str = "The operator ends since it could not renew its Lease in time";

#[tokio::test]
async fn who_was_stopped_past_its_time_ends_and_sends_nothing() {
    let place = Arc::new(Place::start("stopped", Duration::ZERO).await);
    let mut one = Replica::start(&place, "one", None);
    one.leads().await;
    let mut two = Replica::start(&place, "two", None);
    two.stands_by().await;
    let stream = Stream::start(&place);
    place.ended("e004").await;

    let stopped = Instant::now();
    one.process.pause().await.unwrap();
    let led = two.leads().await;
    assert!(led - stopped < TAKEOVER + LOADED, "{:?}", led - stopped);
    let outcome = stream.end(&place).await;

    // All exports are complete, so any further request would be work that the first replica remembers.
    let sent = || place.fhir.requests().iter().filter(|r| r.is_kick_off() || r.is_poll()).count();
    let before = sent();
    let went_on = Instant::now();
    one.process.go_on().unwrap();
    let (ended, code, log) = one.ends().await;
    assert_eq!(code, 1);
    assert_eq!(log.matches(LAPSED).count(), 1, "{log}");
    assert_eq!(sent(), before, "it asked the FHIR server for something");
    assert_eq!(two.asked.leads().await, Some(true));
    println!(
        "SIGSTOP: another replica led after {:.1} s; after SIGCONT the first ended within {:.2} s; {outcome}",
        seconds(stopped, led),
        seconds(went_on, ended)
    );
}

/// The replica is paused while it waits for the answer to the write of its intent.
#[tokio::test]
async fn who_was_stopped_right_before_a_kick_off_does_not_send_it() {
    let place = Place::start("instant", Duration::ZERO).await;
    let gate = ApiGate::start(&place.kubeconfig).await;
    let mut one = Replica::start(&place, "one", Some(&gate));
    one.leads().await;
    let mut two = Replica::start(&place, "two", None);
    two.stands_by().await;

    gate.hold_back("/fhirexports/run/status");
    place.export_with("run", &json!({"onUncertainKickOff": "Fail"})).await;
    let intent = wait_for("the intent", PATIENCE, || async {
        let run = place.api::<FhirExport>().get("run").await.map_err(|e| e.to_string())?;
        run.status.and_then(|s| s.job).filter(|job| job.status_url.is_none()).ok_or("none".to_owned())
    });
    intent.await.unwrap();
    one.process.pause().await.unwrap();
    gate.let_go();
    two.leads().await;
    one.process.go_on().unwrap();
    let (_, code, log) = one.ends().await;
    assert_eq!(code, 1);
    assert!(log.contains(LAPSED), "{log}");
    // The other replica finds the intent without a status URL, and reports the kick-off as uncertain.
    let run = place.ended("run").await;
    assert!(is(&run, "Failed") && is(&run, "KickOffUncertain"), "{:?}", run.status);
    assert_eq!(place.kick_offs("run"), 0);
}
