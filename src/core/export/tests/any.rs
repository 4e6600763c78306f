//! Random scripts of answers, crashes, edits and waits: the laws hold at each step, a deletion ends, and
//! every run ends once its server behaves again.

use std::sync::Arc;
use std::time::Duration;

use proptest::collection::vec;
use proptest::prelude::*;
use serde_json::json;

use super::fake::Fake;
use super::said::storage_failure;
use super::script::{Event, events, specs};
use super::world::World;
use super::{azure_server, bulk_server, stored_server};
use crate::api::FhirServer;
use crate::core::effect::Requeue;
use crate::core::ledger::{JobFolder, StorageFailureKind};

/// The servers that a world may have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Dialect {
    Azure,
    BulkData,
}

pub(super) fn server(dialect: Dialect, kind: usize) -> Option<FhirServer> {
    let mut server = match (dialect, kind) {
        (Dialect::BulkData, 0) => bulk_server(json!({"preset": "Epic", "supportsSince": "Yes"})),
        (Dialect::BulkData, _) => bulk_server(json!({})),
        (Dialect::Azure, 0) => azure_server(),
        (Dialect::Azure, _) => stored_server(),
    };
    if kind == 2 {
        server.spec.url = "https://another.example".into();
        server.metadata.uid = Some("another".into());
    }
    (kind != 3).then_some(server)
}

pub(super) fn dialects() -> impl Strategy<Value = Dialect> {
    proptest::sample::select(vec![Dialect::Azure, Dialect::BulkData])
}

pub(super) fn happen(world: &mut World, dialect: Dialect, event: Event) {
    let fake = &mut world.fake;
    match event {
        Event::Look => {
            world.look();
        }
        Event::Break(n, how) => {
            world.look_broken(Some((n, how)));
        }
        Event::Kill => world.kill(),
        Event::Pass(seconds) => world.pass(seconds),
        Event::Suspend(on) => world.edit(|spec| spec.suspend = Some(on)),
        Event::Cancel => world.edit(|spec| spec.cancel = Some(true)),
        Event::Deadline(seconds) => world.edit(|spec| spec.active_deadline_seconds = Some(seconds)),
        Event::Delete => world.delete(),
        Event::Server(kind) => world.server = server(dialect, kind).map(Arc::new),
        Event::SuspendServer(on) if world.server.is_some() => {
            world.edit_server(|s| s.spec.suspend = Some(on));
        }
        Event::SuspendServer(_) => {}
        Event::Full(full) => world.full = full,
        Event::Admitted(admitted) => world.admitted = admitted,
        Event::Cancels(cancels) => fake.cancels = cancels,
        Event::KickOff(kick_off) => fake.kick_offs.push_back(kick_off),
        Event::Poll(reply) => fake.polls.push_back(reply),
        Event::DeleteMeets(reply) => fake.deletes.push_back(reply),
        Event::Authorize(failure) => fake.authorizations.push_back(failure),
        Event::Ending(ending) => fake.endings.push_back(ending),
        Event::Lasts(seconds) => fake.lasts = seconds,
        Event::Storage(kind) => fake.storage_down = kind.map(storage_failure),
        Event::StoreFails => fake.store_fails = Some(storage_failure(StorageFailureKind::Denied)),
        Event::Files(n, true) => drop(fake.missing.insert(n)),
        Event::Files(n, false) => drop(fake.wrong_count.insert(n)),
        Event::Stranger(offset) => {
            let began = world.now + jiff::SignedDuration::from_secs(offset);
            let job_id = format!("s{}", fake.strangers.len());
            fake.strangers.push(JobFolder {
                container: format!("export-{job_id}"),
                folder: None,
                began,
                job_id,
            });
        }
        Event::Claim => drop(world.claimed.insert("7".into())),
        Event::Folders(on) => fake.shows_folders = on,
        Event::Landing(landing) => fake.landings.push_back(landing),
        Event::Spoil => {
            fake.spoil = |landed| {
                for l in landed {
                    l.sum.lines += 1;
                    l.issues.errors += 1;
                    l.words = vec!["x".repeat(512); 3];
                }
            };
        }
        Event::CleanUp(reply) => fake.clean_ups.push_back(reply),
    }
}

/// Removes all obstacles except those in the run's own spec.
pub(super) fn heal(world: &mut World, dialect: Dialect) {
    world.fake.heal();
    world.server = server(dialect, 1).map(Arc::new);
    world.full = false;
    world.admitted = true;
    if world.export.spec.suspend == Some(true) {
        world.edit(|spec| spec.suspend = Some(false));
    }
}

/// Looks at the run as often as it asks for, and occasionally in between, as a resync would.
pub(super) fn settle(world: &mut World, looks: usize, done: impl Fn(&World) -> bool) -> bool {
    for _ in 0..looks {
        let requeue = world.look();
        if done(world) {
            return true;
        }
        let wait = match requeue {
            Requeue::After(wait) => wait,
            Requeue::AwaitChange => Duration::from_secs(600),
        };
        world.now += jiff::SignedDuration::try_from(wait).unwrap();
    }
    false
}

/// Checks that every job that the server still works on is accounted for.
fn accounted(world: &World) {
    let status = world.status();
    let told = world.noted();
    for job in world.fake.jobs.iter().filter(|j| Fake::works_on(j, world.now)) {
        let url = format!("/_operations/export/{}", job.id);
        let listed = status.unsettled_jobs.iter().any(|u| {
            u.status_url.as_ref().is_some_and(|u| u.contains(&url))
                || (u.status_url.is_none() && u.intent_time.duration_since(job.began).abs().as_secs() < 600)
        });
        let let_go = ["CancelUnconfirmed", "Abandoned"].iter().any(|r| told.contains(r));
        let cut = status.unsettled_jobs.len() >= 8;
        let settled = world.fake.denied.contains(&job.id) || world.fake.agreed.contains(&job.id);
        assert!(listed || let_go || cut || settled, "job {} is forgotten: {status:#?} {told:?}", job.id);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { max_shrink_iters: 4000, failure_persistence: None,
        ..ProptestConfig::default() })]

    #[test]
    fn the_laws_hold_and_every_run_ends(spec in specs(), dialect in dialects(), storage in 0..2_usize,
        jitter in 0.0..1.0_f64, script in vec(events(), 0..60)) {
        let mut world = World::new(server(dialect, storage).unwrap(), spec);
        world.jitter = jitter;
        for event in script {
            happen(&mut world, dialect, event);
        }
        heal(&mut world, dialect);
        let ended = settle(&mut world, 3000, |w| w.gone || (w.ended() && !w.held()));
        prop_assert!(ended, "no end: {:#?}", world.status());
        accounted(&world);
    }

    #[test]
    fn deletion_ends_whatever_the_server_does(spec in specs(), dialect in dialects(), storage in 0..2_usize,
        script in vec(events(), 0..40)) {
        let mut world = World::new(server(dialect, storage).unwrap(), spec);
        for event in script {
            happen(&mut world, dialect, event);
        }
        world.delete();
        let asked = world.now;
        let before = world.fake.deletes_sent();
        let ended = settle(&mut world, 200, |w| w.gone);
        prop_assert!(ended, "it is still there: {:#?}", world.status());
        let took = world.now.duration_since(asked).as_secs();
        prop_assert!(took <= 400, "it took {took} s");
        prop_assert!(world.fake.deletes_sent() - before <= 10);
        accounted(&world);
    }
}
