//! Compares the tables of `states` with what runs do: everything declared is seen, and everything seen is declared.

#![allow(clippy::needless_pass_by_value)] // they are given a json! each time

use std::collections::BTreeSet;

use proptest::collection::vec;
use proptest::strategy::{Strategy, ValueTree};
use proptest::test_runner::TestRunner;
use serde_json::{Value, json};

use super::any::{dialects, happen, heal, server, settle};
use super::fake::KickOff;
use super::said::{answer, body, html, manifest, outcome, storage_failure};
use super::script::{events, specs};
use super::world::{Witness, World, failure};
use super::{at, azure_server, bulk_server, stored_server};
use crate::api::{DeletionPolicy, FhirServer, Reason, RunState};
use crate::core::export::PhaseName;
use crate::core::export::states::{SHOWN, TRANSITIONS};
use crate::core::landing::{FileForm, LandFailure, LandFailureKind, LandProgress, LandState, Landed};
use crate::core::ledger::StorageFailureKind;
use crate::core::wire::{Answer, FailureKind, Sent};

/// The number of random runs, which are always the same.
const RUNS: usize = 400;

/// The moves and conditions of random runs.
fn random() -> Witness {
    let mut seen = Witness::default();
    let mut runner = TestRunner::deterministic();
    let all = (specs(), dialects(), 0..2_usize, 0.0..1.0_f64, vec(events(), 0..60));
    for _ in 0..RUNS {
        let (spec, dialect, storage, jitter, script) = all.new_tree(&mut runner).unwrap().current();
        let mut world = World::new(server(dialect, storage).unwrap(), spec);
        world.jitter = jitter;
        for event in script {
            happen(&mut world, dialect, event);
        }
        heal(&mut world, dialect);
        settle(&mut world, 3000, |w| w.gone || (w.ended() && !w.held()));
        seen.add(&world.witness);
    }
    seen
}

fn lake(server: FhirServer, spec: Value, change: impl FnOnce(&mut World)) -> World {
    let mut whole = json!({"request": {"level": "System", "container": "lake"}});
    whole.as_object_mut().unwrap().extend(spec.as_object().unwrap().clone());
    let mut world = World::new(server, whole);
    change(&mut world);
    world
}

/// Looks until the run is over, or long enough for what holds it up to be seen.
fn live(world: &mut World) {
    settle(world, 200, |w| w.gone || (w.ended() && !w.held()));
}

/// A run without disturbance.
fn ran(server: FhirServer, spec: Value, change: impl FnOnce(&mut World)) -> World {
    let mut world = lake(server, spec, change);
    live(&mut world);
    world
}

/// A run that is disturbed once it is in a phase.
fn met(
    server: FhirServer,
    phase: PhaseName,
    change: impl FnOnce(&mut World),
    then: impl FnOnce(&mut World),
) -> World {
    let mut world = lake(server, json!({}), change);
    assert!(world.run_until(|w| w.memory.phase.name() == phase), "{phase:?} is not reached");
    then(&mut world);
    live(&mut world);
    world
}

fn bulk() -> FhirServer {
    bulk_server(json!({}))
}

fn lost() -> KickOff {
    KickOff::MadeAndLost(failure(Sent::Maybe, FailureKind::Unreachable, Reason::TimedOut))
}

fn lands(world: &mut World) {
    world
        .fake
        .landings
        .extend((0..3).map(|_| LandState::Running(LandProgress { files: 1, of: 2, bytes: 1, kept: 0 })));
}

fn fails(kind: LandFailureKind) -> impl Fn(&mut World) {
    move |world| {
        let progress = LandProgress::default();
        let message = "a file could not be had".to_owned();
        let failure =
            LandFailure { kind, reason: Reason::DownloadFailed, message, progress, obstructed: Vec::new() };
        world.fake.landings.push_back(LandState::Failed(failure));
    }
}

/// A FhirServer with this condition from its last probe.
fn probed(mut server: FhirServer, condition: &str, reason: &str) -> FhirServer {
    server.status =
        serde_json::from_value(json!({"observedGeneration": 1, "conditions": [{"type": condition,
        "status": "False", "reason": reason, "message": "m", "lastTransitionTime": at(0).to_string()}]}))
        .unwrap();
    server
}

fn before_the_kick_off() -> Vec<World> {
    let deleting = |w: &mut World| {
        let now = k8s_openapi::apimachinery::pkg::apis::meta::v1::Time(w.now);
        w.edit_server(|s| s.metadata.deletion_timestamp = Some(now));
    };
    let rejected = |w: &mut World| w.kick_off_meets([KickOff::Reply(Ok(outcome(400, "invalid", "no")))]);
    vec![
        ran(azure_server(), json!({}), deleting),
        ran(azure_server(), json!({}), |w| w.admitted = false),
        ran(bulk(), json!({}), |w| w.edit_server(|s| s.status = None)),
        ran(probed(bulk(), "Ready", "WrongDialect"), json!({}), |_| {}),
        ran(probed(bulk(), "StorageAccessible", "StorageUnreachable"), json!({}), |_| {}),
        ran(azure_server(), json!({}), |w| {
            w.edit_server(|s| s.spec.allow = serde_json::from_value(json!({"levels": ["Patient"]})).unwrap());
        }),
        ran(azure_server(), json!({"request": {"level": "Group"}}), |_| {}),
        ran(
            azure_server(),
            json!({"request": {"level": "System", "bulkData": {"elements": ["id"]}}}),
            |_| {},
        ),
        ran(azure_server(), json!({}), rejected),
    ]
}

fn with_a_job() -> Vec<World> {
    let many = |reply: fn() -> Answer| move |w: &mut World| w.fake.polls.extend((0..9).map(|_| Ok(reply())));
    let empty = |w: &mut World| {
        w.kick_off_meets([lost()]);
        w.fake.polls.push_back(Ok(manifest("https://x/$export", &json!([]))));
    };
    let foreign = |w: &mut World| {
        w.kick_off_meets([lost()]);
        let files = json!([{"type": "Patient", "url": "https://acct.blob.example/lake/f/Patient-1.ndjson"}]);
        w.fake.polls.push_back(Ok(manifest("https://x/Patient/$export", &files)));
    };
    let elsewhere = |w: &mut World| {
        let files = json!([{"type": "Patient", "url": "https://acct.blob.example/pond/f/Patient-1.ndjson"}]);
        w.fake.polls.push_back(Ok(manifest("https://x/$export", &files)));
    };
    let gone = |w: &mut World| w.server = None;
    let finished = |w: &mut World| {
        w.edit(|spec| spec.cancel = Some(true));
        w.now += jiff::SignedDuration::from_secs(200);
        assert!(w.run_until(|w| w.memory.phase.name() == PhaseName::Checking) && w.checking);
        w.server = None;
    };
    let down = |kind| move |w: &mut World| w.fake.storage_down = Some(storage_failure(kind));
    let errors = json!({"transactionTime": "2026-01-01T00:00:00Z", "requiresAccessToken": false, "output": [],
        "error": [{"type": "OperationOutcome", "url": "https://acct.blob.example/lake/f/e.ndjson"}]});
    let reported = |w: &mut World| w.fake.polls.push_back(Ok(body(&errors.to_string())));
    vec![
        ran(azure_server(), json!({}), many(|| answer(302))),
        ran(azure_server(), json!({}), many(|| html(200))),
        ran(azure_server(), json!({}), |w| w.fake.polls.extend((0..40).map(|_| Ok(html(404))))),
        ran(stored_server(), json!({"backoffLimit": 2}), empty),
        ran(stored_server(), json!({}), foreign),
        ran(stored_server(), json!({}), elsewhere),
        ran(stored_server(), json!({}), |w| w.fake.uncounted = [0].into()),
        ran(stored_server(), json!({}), down(StorageFailureKind::Denied)),
        ran(stored_server(), json!({}), down(StorageFailureKind::Transient { retry_after: None })),
        ran(stored_server(), json!({}), reported),
        ran(stored_server(), json!({}), |w| w.fake.panics = 1000),
        ran(stored_server(), json!({"errorFilePolicy": "Fail"}), reported),
        met(stored_server(), PhaseName::Uncertain, |w| w.kick_off_meets([lost()]), gone),
        met(stored_server(), PhaseName::Checking, |_| {}, gone),
        met(stored_server(), PhaseName::Running, |_| {}, finished),
        met(stored_server(), PhaseName::Checking, down(StorageFailureKind::Missing), |w| {
            assert!(w.run_until(|w| w.state() == "Verifying"));
            w.kill();
            w.look();
            w.edit(|spec| spec.suspend = Some(true));
        }),
    ]
}

fn landings() -> Vec<World> {
    let abandon = |w: &mut World| {
        w.edit(|spec| spec.deletion_policy = Some(DeletionPolicy::Abandon));
        w.delete();
    };
    let moved = |w: &mut World| {
        w.edit_server(|s| {
            let blob = s.spec.storage.as_mut().unwrap().azure_blob.as_mut().unwrap();
            blob.endpoint = "https://other.blob.example".into();
        });
        w.look();
    };
    let hold = |by_server: bool| {
        move |w: &mut World| {
            let on = |w: &mut World, on| {
                if by_server {
                    w.edit_server(|s| s.spec.suspend = Some(on));
                } else {
                    w.edit(|s| s.suspend = Some(on));
                }
            };
            on(w, true);
            w.look();
            on(w, false);
        }
    };
    let types =
        json!({"request": {"level": "System", "container": "lake", "types": ["Patient", "Condition"]}});
    let spoiled = |spoil: fn(&mut Vec<Landed>)| move |w: &mut World| w.fake.spoil = spoil;
    let summed = json!({"transactionTime": "2026-01-01T00:00:00Z", "requiresAccessToken": false,
        "output": [{"type": "Patient", "url": "https://x/1", "fileSize": 7}]});
    let claims = move |w: &mut World| {
        w.fake.polls.push_back(Ok(body(&summed.to_string())));
        w.fake.spoil = |landed| landed[0].sum.bytes = 8;
    };
    let uncounted = json!({"transactionTime": "2026-01-01T00:00:00Z", "requiresAccessToken": false,
        "output": [{"type": "Patient", "url": "https://x/1"}]});
    vec![
        met(bulk(), PhaseName::Landing, lands, abandon),
        met(bulk(), PhaseName::Landing, lands, moved),
        met(bulk(), PhaseName::Landing, lands, hold(false)),
        met(bulk(), PhaseName::Landing, lands, hold(true)),
        ran(bulk(), json!({}), fails(LandFailureKind::Permanent)),
        ran(bulk(), json!({}), fails(LandFailureKind::Expired)),
        ran(bulk(), json!({}), fails(LandFailureKind::Source)),
        ran(bulk(), json!({}), fails(LandFailureKind::Storage(StorageFailureKind::Denied))),
        ran(
            bulk(),
            json!({}),
            fails(LandFailureKind::Storage(StorageFailureKind::Transient { retry_after: None })),
        ),
        ran(bulk(), types, |w| w.fake.has.extend([("Condition", 9)])),
        ran(bulk(), json!({}), spoiled(|landed| landed[0].sum.lines += 1)),
        ran(bulk(), json!({}), spoiled(|landed| drop(landed.pop()))),
        ran(bulk(), json!({}), claims),
        ran(bulk(), json!({}), spoiled(|landed| landed[0].form = FileForm::Cut)),
        ran(bulk(), json!({}), spoiled(|landed| landed[0].form = FileForm::OtherType)),
        ran(bulk(), json!({}), move |w| w.fake.polls.push_back(Ok(body(&uncounted.to_string())))),
    ]
}

#[test]
fn what_is_declared_is_seen_and_what_is_seen_is_declared() {
    let mut seen = random();
    for world in [before_the_kick_off(), with_a_job(), landings()].into_iter().flatten() {
        seen.add(&world.witness);
    }
    let declared: BTreeSet<(PhaseName, PhaseName)> = TRANSITIONS.iter().map(|t| (t.from, t.to)).collect();
    assert_eq!(declared.len(), TRANSITIONS.len(), "a transition is declared twice");
    let mut wrong: Vec<String> = Vec::new();
    let difference = declared.symmetric_difference(&seen.changes);
    wrong.extend(difference.map(|(from, to)| {
        format!(
            "{from:?} => {to:?} is {}",
            if declared.contains(&(*from, *to)) { "never seen" } else { "not declared" }
        )
    }));
    // The word stays as it was when the object was deleted.
    let words = PhaseName::ALL.into_iter().filter(|phase| *phase != PhaseName::Leaving);
    let words: BTreeSet<(PhaseName, RunState)> =
        words.flat_map(|phase| phase.words().iter().map(move |word| (phase, *word))).collect();
    seen.words.retain(|(phase, _)| *phase != PhaseName::Leaving);
    wrong.extend(words.symmetric_difference(&seen.words).map(|word| {
        format!("{word:?} is {}", if words.contains(word) { "never shown" } else { "not declared" })
    }));
    let mut failures: BTreeSet<(PhaseName, String, String)> = BTreeSet::new();
    let mut shown: BTreeSet<(PhaseName, String, String, &str)> = BTreeSet::new();
    for row in SHOWN {
        let (condition, status) = (row.condition.to_string(), format!("{:?}", row.status));
        if row.or_of_a_failure {
            failures.insert((row.phase, condition.clone(), status.clone()));
        }
        for reason in row.reasons {
            assert!(
                shown.insert((row.phase, condition.clone(), status.clone(), reason.as_str())),
                "{row:?} twice"
            );
        }
    }
    let mut failed = BTreeSet::new();
    for (phase, condition, status, reason) in seen.shown.difference(&shown) {
        let row = (*phase, condition.clone(), status.clone());
        if failures.contains(&row) {
            failed.insert(row);
        } else {
            wrong.push(format!("{phase:?} {condition} {status}: {reason} is not declared"));
        }
    }
    wrong.extend(failures.difference(&failed).map(|row| format!("{row:?}: a failure is never shown")));
    wrong.extend(shown.difference(&seen.shown).map(|row| format!("{row:?} is never shown")));
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
