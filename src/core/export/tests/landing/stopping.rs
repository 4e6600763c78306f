//! A landing is suspended, cancelled or overtaken by its deadline, or its permissions change.

use serde_json::{Value, json};

use super::super::said::answer;
use super::super::world::failure;
use super::{running, world};
use crate::api::ConditionType::Failed;
use crate::api::Reason;

#[test]
fn suspended_it_lands_nothing_and_goes_on_later() {
    let mut world = world(json!({}), json!({}));
    world.fake.landings.extend([running(1, 2), running(1, 2), running(1, 2)]);
    world.run_until(|w| w.fake.planned.len() == 2);
    world.edit(|spec| spec.suspend = Some(true));
    world.look();
    assert_eq!((world.state().as_str(), world.fake.landing_stopped), ("Suspended", 1));
    let planned = world.fake.planned.len();
    world.run_for(std::time::Duration::from_secs(3600));
    assert_eq!((world.fake.planned.len(), world.fake.landing_stopped), (planned, 1));
    world.edit(|spec| spec.suspend = Some(false));
    world.run();
    assert_eq!(world.state(), "Complete");
}

#[test]
fn cancel_deadline_and_deletion_end_a_landing_and_the_servers_job() {
    let landing = |spec: Value| {
        let mut world = world(json!({}), spec);
        world.fake.landings.extend((0..1000).map(|_| running(1, 2)));
        assert!(world.run_until(|w| w.fake.planned.len() == 2));
        world
    };
    let mut cancelled = landing(json!({}));
    cancelled.edit(|spec| spec.cancel = Some(true));
    cancelled.run();
    assert_eq!((cancelled.says(Failed).as_str(), cancelled.fake.landing_stopped), ("True/Cancelled", 1));
    assert_eq!(cancelled.fake.deletes_sent(), 1);
    let mut late = landing(json!({"activeDeadlineSeconds": 600}));
    late.run();
    assert_eq!((late.says(Failed).as_str(), late.fake.deletes_sent()), ("True/DeadlineExceeded", 1));
    assert_eq!(late.fake.landing_stopped, 1);
    let mut deleted = landing(json!({}));
    deleted.delete();
    deleted.run();
    assert!(deleted.gone);
    assert_eq!((deleted.fake.deletes_sent(), deleted.fake.landing_stopped), (1, 1));
    let mut unheard = landing(json!({}));
    unheard.fake.deletes.push_back(Ok(answer(405)));
    unheard.edit(|spec| spec.cancel = Some(true));
    unheard.run();
    assert_eq!(unheard.says(Failed), "True/CancelUnconfirmed");
}

#[test]
fn a_cancel_that_is_held_back_is_no_try() {
    let mut world = world(json!({}), json!({}));
    world.fake.landings.extend((0..1000).map(|_| running(1, 2)));
    assert!(world.run_until(|w| w.fake.planned.len() == 2));
    let until = |seconds: i64| {
        let kind = crate::core::wire::FailureKind::HeldBack {
            until: world.now + jiff::SignedDuration::from_secs(seconds),
        };
        Err(failure(crate::core::wire::Sent::No, kind, Reason::Throttled))
    };
    let held: Vec<_> = (1..30).map(until).collect();
    world.fake.deletes.extend(held);
    world.edit(|spec| spec.cancel = Some(true));
    world.run();
    assert_eq!(world.says(Failed), "True/Cancelled");
    assert_eq!(world.status().cancellation.unwrap().tries, 1);
}

#[test]
fn a_task_that_lands_goes_on_with_what_the_server_says_now() {
    let mut world = world(json!({}), json!({}));
    world.fake.landings.extend((0..200).map(|_| running(1, 2)));
    world.run_until(|w| w.fake.planned.len() > 2);
    assert_eq!(world.fake.landing_stopped, 0);
    world.edit_server(|server| {
        server.spec.trusted_origins = Some(Vec::new());
        server.metadata.generation = Some(2);
    });
    world.look();
    assert_eq!(
        world.fake.landing_stopped, 1,
        "it would go on to give its token to an origin that lost its trust"
    );
    world.look();
    assert_eq!(world.fake.landing_stopped, 1, "one that was started since goes on");
    world.fake.landings.clear();
    world.run();
    assert_eq!((world.state().as_str(), world.fake.kick_offs_sent()), ("Complete", 1));
}
