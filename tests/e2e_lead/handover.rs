//! A replica that is told to stop hands over.

use std::sync::Arc;
use std::time::{Duration, Instant};

use stage::wait_until;

use crate::place::{PATIENCE, Place};
use crate::replica::Replica;
use crate::stream::{Stream, seconds};

/// The time from SIGTERM until another replica leads, as documented, if no request in flight takes long.
const HANDOVER: Duration = Duration::from_secs(2);
/// What a loaded machine may add to [`HANDOVER`].
const LOADED: Duration = Duration::from_secs(3);

/// Replaces two replicas as a rollout does: a new one stands by before an old one is told to stop.
#[tokio::test]
async fn a_rollout_of_two_replicas_hands_over_each_time() {
    let place = Arc::new(Place::start("rollout", Duration::ZERO).await);
    let mut old = vec![Replica::start(&place, "old-one", None)];
    old[0].leads().await;
    old.push(Replica::start(&place, "old-two", None));
    old[1].stands_by().await;
    let stream = Stream::start(&place);
    place.ended("e004").await;

    let mut new: Vec<Replica> = Vec::new();
    let mut gaps = Vec::new();
    for (mut replica, name) in old.into_iter().zip(["new-one", "new-two"]) {
        let mut next = Replica::start(&place, name, None);
        next.stands_by().await;
        new.push(next);
        let led = replica.asked.leads().await == Some(true);
        let told = Instant::now();
        replica.process.sigterm().unwrap();
        let (ended, code, log) = replica.ends().await;
        assert_eq!(code, 0, "{log}");
        assert!(seconds(told, ended) < 5.0, "{name} took {:?}", ended - told);
        if led {
            gaps.push((told, ended));
        }
        // Any of the others may lead now.
        let leader = wait_until("a leader", PATIENCE, || async {
            place.lease().await.spec.unwrap().holder_identity.is_some()
        });
        leader.await.unwrap();
        let took = told.elapsed();
        assert!(took < HANDOVER + LOADED, "{took:?}");
        println!(
            "rollout: {} went in {:.2} s; the Lease had a new holder after {:.2} s",
            replica.name,
            seconds(told, ended),
            took.as_secs_f64()
        );
    }
    assert!(!gaps.is_empty());
    // Only the new replicas run, and one of them leads.
    let leads = wait_until("one of the new ones to lead", PATIENCE, || async {
        let mut leading = 0;
        for replica in &new {
            leading += usize::from(replica.asked.leads().await == Some(true));
        }
        leading == 1
    });
    leads.await.unwrap();
    let outcome = stream.end(&place).await;
    println!("rollout of two: {outcome}");
}

#[tokio::test]
async fn who_is_told_to_stop_hands_over_when_what_is_in_flight_has_its_answer() {
    let latency = Duration::from_secs(3);
    let place = Place::start("sigterm", latency).await;
    let mut one = Replica::start(&place, "one", None);
    one.leads().await;
    let mut two = Replica::start(&place, "two", None);
    two.stands_by().await;

    place.export("slow").await;
    let sent = wait_until("the kick-off", PATIENCE, || async { place.kick_offs("slow") == 1 });
    sent.await.unwrap();
    let told = Instant::now();
    one.process.sigterm().unwrap();
    let (code, led) = tokio::join!(one.ends(), two.leads());
    let (ended, code, log) = code;
    assert_eq!(code, 0, "{log}");
    // The answer arrived, and the first replica wrote it to the status, before another one led.
    assert!(led - told > latency / 2, "{:?}", led - told);
    place.ended("slow").await;
    assert_eq!(place.kick_offs("slow"), 1);
    println!(
        "SIGTERM with a kick-off in flight: ended after {:.2} s, another replica led {:.2} s later",
        seconds(told, ended),
        seconds(ended, led)
    );
}

#[tokio::test]
async fn who_is_told_to_stop_hands_over_at_once() {
    let place = Place::start("idle", Duration::ZERO).await;
    let mut one = Replica::start(&place, "one", None);
    one.leads().await;
    let mut two = Replica::start(&place, "two", None);
    two.stands_by().await;
    let told = Instant::now();
    one.process.sigterm().unwrap();
    let led = two.leads().await;
    assert_eq!(one.ends().await.1, 0);
    assert!(led - told < HANDOVER + LOADED, "{:?}", led - told);
    println!("SIGTERM: another replica led after {:.2} s", seconds(told, led));
    // The last replica releases the Lease although no other takes over.
    two.process.sigterm().unwrap();
    assert_eq!(two.ends().await.1, 0);
    let spec = place.lease().await.spec.unwrap();
    assert_eq!((spec.holder_identity, spec.lease_duration_seconds), (None, Some(1)));
    assert_eq!(spec.lease_transitions, Some(1));
}
