//! Another replica takes over when the leading one is lost.

use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::place::Place;
use crate::replica::Replica;
use crate::stream::{Stream, seconds};

/// The time from the loss of the leading replica until another one leads, as documented.
pub const TAKEOVER: Duration = Duration::from_secs(17);
/// What a loaded machine may add to [`TAKEOVER`].
pub const LOADED: Duration = Duration::from_secs(5);

#[tokio::test]
async fn one_of_three_leads_and_another_one_when_it_is_killed() {
    let place = Arc::new(Place::start("killed", Duration::ZERO).await);
    let mut one = Replica::start(&place, "one", None);
    one.leads().await;
    let mut others = [Replica::start(&place, "two", None), Replica::start(&place, "three", None)];
    for other in &mut others {
        other.stands_by().await;
    }
    let stream = Stream::start(&place);
    place.ended("e004").await;

    let killed = Instant::now();
    one.process.sigkill().await.unwrap();
    let [two, three] = &mut others;
    let led = tokio::select! {
        led = two.leads() => led,
        led = three.leads() => led,
    };
    assert!(led - killed < TAKEOVER + LOADED, "{:?}", led - killed);
    let holder = place.lease().await.spec.unwrap().holder_identity.unwrap();
    let standing = if holder.starts_with("two_") { &mut others[1] } else { &mut others[0] };
    standing.stands_by().await;
    let outcome = stream.end(&place).await;
    println!("SIGKILL: another replica led after {:.1} s; {outcome}", seconds(killed, led));
}
