//! A replica that cannot reach the API server, or may not use the Lease.

use std::sync::Arc;
use std::time::{Duration, Instant};

use k8s_openapi::api::rbac::v1::Role;
use kube::api::DeleteParams;
use stage::wait_until;

use crate::gate::{ApiGate, Way};
use crate::paused::LAPSED;
use crate::place::{NAME, PATIENCE, Place};
use crate::replica::Replica;
use crate::stream::{Stream, seconds};
use crate::takeover::{LOADED, TAKEOVER};

/// How long a replica continues to work without the API server.
const HOLD: Duration = Duration::from_secs(10);

/// Cuts the leading replica off from the API server. It must end, for the reason `cause`, before another one leads.
async fn cut_off(name: &str, way: Way, cause: &str) {
    let place = Arc::new(Place::start(name, Duration::ZERO).await);
    let gate = ApiGate::start(&place.kubeconfig).await;
    let mut one = Replica::start(&place, "one", Some(&gate));
    one.leads().await;
    let mut two = Replica::start(&place, "two", None);
    two.stands_by().await;
    let stream = Stream::start(&place);
    place.ended("e004").await;

    let cut = Instant::now();
    gate.go(way);
    let (end, led) = tokio::join!(one.ends(), two.leads());
    let (ended, code, log) = end;
    assert_eq!(code, 1);
    assert!(log.matches(LAPSED).count() == 1 && log.contains(cause), "{log}");
    assert!(ended < led, "{:?} after another one led", ended - led);
    assert!(ended - cut < HOLD + LOADED, "{:?}", ended - cut);
    assert!(led - cut < TAKEOVER + LOADED, "{:?}", led - cut);
    let outcome = stream.end(&place).await;
    println!(
        "{way:?}: ended after {:.1} s, another replica led {:.1} s later; {outcome}",
        seconds(cut, ended),
        seconds(ended, led)
    );
}

#[tokio::test]
async fn an_api_server_that_hangs() {
    cut_off("hangs", Way::Silent, "no answer within 3 s").await;
}

#[tokio::test]
async fn an_api_server_that_refuses_connections() {
    cut_off("refuses", Way::Closed, "Connection refused").await;
}

#[tokio::test]
async fn an_api_server_that_fails() {
    cut_off("fails", Way::Failing, "did not answer to write Lease").await;
}

#[tokio::test]
async fn a_short_outage_changes_nothing() {
    let place = Arc::new(Place::start("short", Duration::ZERO).await);
    let gate = ApiGate::start(&place.kubeconfig).await;
    let mut one = Replica::start(&place, "one", Some(&gate));
    one.leads().await;
    let mut two = Replica::start(&place, "two", Some(&gate));
    two.stands_by().await;
    let stream = Stream::start(&place);
    place.ended("e004").await;
    let before = place.lease().await;
    for way in [Way::Silent, Way::Closed, Way::Failing] {
        gate.go(way);
        // The outage itself is under test. It is shorter than the time for which a replica continues without the API
        // server.
        tokio::time::sleep(Duration::from_secs(4)).await;
        gate.go(Way::Open);
        let renewed = place.lease().await.spec.unwrap().renew_time;
        let again = wait_until("the next renewal", PATIENCE, || async {
            place.lease().await.spec.unwrap().renew_time != renewed
        });
        again.await.unwrap();
    }
    assert!(one.process.is_running().unwrap());
    let after = place.lease().await;
    let of = |lease: &k8s_openapi::api::coordination::v1::Lease| {
        let spec = lease.spec.clone().unwrap();
        (spec.holder_identity, spec.lease_transitions)
    };
    assert_eq!(of(&before), of(&after));
    assert!(of(&after).0.unwrap().starts_with("one_"));
    let outcome = stream.end(&place).await;
    println!("three outages of 4 s: the same replica leads; {outcome}");
}

#[tokio::test]
async fn who_may_not_use_the_lease_says_so() {
    let place = Place::start("forbidden", Duration::ZERO).await;
    let role = format!("{NAME}-lease");
    place.api::<Role>().delete(&role, &DeleteParams::default()).await.unwrap();
    let one = Replica::start(&place, "one", None);
    let asked = one.asked.clone();
    let told = wait_until("readiness to say why not", PATIENCE, || async {
        let lease = format!("The API server does not let the operator read Lease {}/{NAME}", place.namespace);
        asked
            .why_not_ready()
            .await
            .is_some_and(|text| text.contains(&lease) && text.contains("check the operator's Role"))
    });
    told.await.unwrap_or_else(|error| panic!("{error}\n{}", one.process.log_end()));
    assert_eq!(asked.leads().await, Some(false));
}
