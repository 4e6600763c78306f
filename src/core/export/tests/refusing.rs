//! Servers that refuse to cancel, and cancels that cannot be sent: the run ends nevertheless.

use serde_json::json;

use super::at;
use super::cancelling::{cancel, running};
use super::fake::Cancels;
use super::said::{answer, outcome};
use super::world::failure;
use crate::api::ConditionType::{Failed, Reconciling};
use crate::api::Reason;
use crate::core::wire::{FailureKind, Reply, Sent};

fn missing() -> Reply {
    Err(failure(Sent::No, FailureKind::Missing, Reason::SecretNotFound))
}

#[test]
fn refused_for_ever_is_given_up_after_bounded_tries() {
    for status in [401, 403, 429, 500, 503, 418] {
        for delete in [false, true] {
            let mut world = running(json!({}));
            world.fake.cancels = Cancels::Never(status);
            let asked = world.now;
            if delete {
                world.delete();
                world.run();
                assert!(
                    world.gone && world.noted().contains(&"CancelUnconfirmed"),
                    "{status} {:?}",
                    world.notes
                );
            } else {
                cancel(&mut world);
                assert_eq!(
                    (world.says(Failed).as_str(), world.status().unsettled_jobs.len()),
                    ("True/CancelUnconfirmed", 1),
                    "{status}"
                );
                assert_eq!(world.state(), "Failed", "not Cancelled: the server never agreed");
            }
            assert!((5..=10).contains(&world.fake.deletes_sent()), "{} tries", world.fake.deletes_sent());
            let took = world.now.duration_since(asked).as_secs();
            assert!((60..=310).contains(&took), "{took} s");
        }
    }
}

#[test]
fn a_refusal_that_passes() {
    let mut world = running(json!({}));
    world.fake.deletes.extend([
        Ok(answer(503)),
        Ok(outcome(403, "forbidden", "x")),
        Err(failure(Sent::Maybe, FailureKind::Unreachable, Reason::TimedOut)),
    ]);
    world.edit(|spec| spec.cancel = Some(true));
    world.look();
    assert_eq!(
        (world.says(Reconciling).as_str(), world.ended(), world.state().as_str()),
        ("True/Cancelling", false, "Cancelling")
    );
    world.run();
    assert_eq!((world.says(Failed).as_str(), world.fake.deletes_sent()), ("True/Cancelled", 4));
}

#[test]
fn a_server_that_asks_for_hours_of_patience_does_not_get_them() {
    let until = at(20_000);
    for delete in [false, true] {
        let mut world = running(json!({}));
        let held = Err(failure(Sent::No, FailureKind::HeldBack { until }, Reason::Throttled));
        world.fake.deletes.extend(vec![held.clone(); 20]);
        world.fake.polls.extend(vec![held; 20]);
        if delete {
            world.delete();
            world.run();
            assert!(world.gone);
        } else {
            cancel(&mut world);
            assert_eq!(world.says(Failed), "True/CancelUnconfirmed");
        }
        assert!(world.now < at(400), "{}", world.now);
    }
}

#[test]
fn without_a_secret_nothing_can_be_tried_at_deletion() {
    let mut world = running(json!({}));
    world.fake.polls.push_back(missing());
    world.fake.deletes.push_back(missing());
    world.delete();
    let asked = world.now;
    world.run();
    assert!(world.gone && world.noted().contains(&"CancelUnconfirmed"));
    assert_eq!(world.now, asked, "at once");
    // A cancel by the spec leaves time to repair the credentials.
    let mut world = running(json!({}));
    world.fake.polls.push_back(missing());
    world.fake.deletes.push_back(missing());
    cancel(&mut world);
    assert_eq!(world.says(Failed), "True/Cancelled");
}

#[test]
fn without_its_server_nothing_can_be_tried() {
    for changed in [false, true] {
        let mut world = running(json!({}));
        if changed {
            world.edit_server(|s| s.spec.url = "https://another.example".into());
        } else {
            world.server = None;
        }
        world.delete();
        world.run();
        assert!(world.gone && world.noted().contains(&"CancelUnconfirmed"));
        assert_eq!(world.fake.deletes_sent(), 0, "never to another server");
    }
}
