//! Every phase meets every observation: one that belongs to the phase is taken in, any other changes nothing,
//! and neither breaks a law.

use std::sync::Arc;
use std::time::Duration;

use serde_json::json;

use super::fake::{Ending, KickOff};
use super::look::Applied;
use super::said::{answer, html, job_failure, manifest, outcome, storage_failure};
use super::world::{World, failure};
use super::{at, azure_server, bulk_server, law, stored_server};
use crate::api::{FhirServer, Reason, RunState};
use crate::core::effect::{Check, Effect, Observation};
use crate::core::export::phase::PhaseName::{
    Cancelling, Checking, Ended, Landing, Leaving, Running, Starting, Uncertain, Waiting,
};
use crate::core::export::{Decision, Phase, PhaseName};
use crate::core::landing as files;
use crate::core::landing::{LandFailure, LandFailureKind, LandProgress};
use crate::core::ledger::{Checked, JobFolder, Seen, StorageFailureKind, Verification};
use crate::core::wire::{Failure, FailureKind, Reply, Sent};

/// The observations: a name, the phases that it belongs to, the pattern, and samples. The match over the
/// patterns is exhaustive, so a new variant does not compile before it has a row.
macro_rules! observations {
    ($($name:ident in $phases:expr, $pattern:pat => $samples:expr;)*) => {
        fn observations() -> Vec<(&'static [PhaseName], Vec<Observation>)> {
            vec![$({ const PHASES: &[PhaseName] = &$phases; (PHASES, $samples) },)*]
        }

        fn named(seen: &Observation) -> &'static str {
            match seen { $($pattern => stringify!($name),)* }
        }
    };
}

observations! {
    FinalizerChanged in [], Observation::FinalizerChanged => vec![Observation::FinalizerChanged];
    DeletedSelf in [], Observation::DeletedSelf => vec![Observation::DeletedSelf];
    Authorized in [Waiting], Observation::Authorized(_) =>
        failures().into_iter().map(Err).chain([Ok(())]).map(Observation::Authorized).collect();
    KickOff in [Starting], Observation::KickOff(_) => replies().into_iter().map(Observation::KickOff).collect();
    Poll in [Running, Cancelling], Observation::Poll(_) => replies().into_iter().map(Observation::Poll).collect();
    Cancel in [Cancelling], Observation::Cancel(_) => replies().into_iter().map(Observation::Cancel).collect();
    Jobs in [Uncertain], Observation::Jobs(_) => jobs();
    Files in [Running], Observation::Files(_) => vec![
        Observation::Files(Ok(Seen { folder: Some("f".into()), files: 3, bytes: 9 })),
        Observation::Files(Err(storage_failure(StorageFailureKind::Denied))),
    ];
    Verification in [Checking], Observation::Verification(_) => verifications();
    Landing in [Landing], Observation::Landing(_) => landings();
    LandingStopped in [], Observation::LandingStopped => vec![Observation::LandingStopped];
    TypeCounted in [Landing], Observation::TypeCounted { .. } => replies().into_iter()
        .map(|reply| Observation::TypeCounted { type_: "Patient".into(), reply }).collect();
    LogStored in [Landing], Observation::LogStored(_) => vec![
        Observation::LogStored(Ok("00".into())),
        Observation::LogStored(Err(storage_failure(StorageFailureKind::Permanent))),
    ];
    ManifestStored in [Landing, Checking], Observation::ManifestStored(_) => vec![
        Observation::ManifestStored(Ok("00".into())),
        Observation::ManifestStored(Err(storage_failure(StorageFailureKind::Denied))),
        Observation::ManifestStored(Err(storage_failure(StorageFailureKind::Transient { retry_after: None }))),
    ];
    CleanedUp in [Landing, Ended], Observation::CleanedUp(_) =>
        replies().into_iter().map(Observation::CleanedUp).collect();
}

fn failures() -> Vec<Failure> {
    vec![
        failure(Sent::No, FailureKind::Missing, Reason::SecretNotFound),
        failure(Sent::No, FailureKind::Unreachable, Reason::ConnectionFailed),
        failure(Sent::Maybe, FailureKind::Unreachable, Reason::TimedOut),
        failure(Sent::No, FailureKind::HeldBack { until: at(500) }, Reason::Throttled),
    ]
}

fn replies() -> Vec<Reply> {
    let empty = manifest("https://clinic.example/$export", &json!([]));
    let full = manifest(
        "https://clinic.example/$export?_container=lake",
        &json!([{"type": "Patient", "url": "https://acct.blob.example/lake/f/Patient-1.ndjson", "count": 1}]),
    );
    let mut accepted = answer(202);
    accepted.content_location = Some("https://clinic.example/_operations/export/9".into());
    let answers = [200, 202, 204, 302, 400, 401, 403, 404, 405, 409, 410, 413, 422, 429, 500, 503]
        .into_iter()
        .flat_map(|status| {
            [
                answer(status),
                html(status),
                outcome(status, "not-found", "words"),
                job_failure(status, "cause"),
            ]
        })
        .chain([empty, full, accepted]);
    answers.map(Ok).chain(failures().into_iter().map(Err)).collect()
}

fn jobs() -> Vec<Observation> {
    let job = |id: &str| JobFolder {
        container: "lake".into(),
        folder: Some(format!("20261123T020001-{id}")),
        began: at(1),
        job_id: id.into(),
    };
    let found = [vec![], vec![job("7")], vec![job("7"), job("8")]].map(|found| Observation::Jobs(Ok(found)));
    let kinds = [StorageFailureKind::NotFound, StorageFailureKind::Denied, StorageFailureKind::Missing];
    found.into_iter().chain(kinds.map(|kind| Observation::Jobs(Err(storage_failure(kind))))).collect()
}

fn verifications() -> Vec<Observation> {
    let checked = |bytes, lines| Verification::Done(vec![Checked { bytes, lines }; 2]);
    let kinds = [
        StorageFailureKind::NotFound,
        StorageFailureKind::Denied,
        StorageFailureKind::Missing,
        StorageFailureKind::Transient { retry_after: Some(Duration::from_secs(9000)) },
    ];
    [
        Verification::Running { files: 1 },
        checked(Some(1), Some(1)),
        checked(None, None),
        Verification::Done(vec![]),
    ]
    .into_iter()
    .chain(kinds.map(|kind| Verification::Failed(storage_failure(kind))))
    .chain([Verification::Panicked])
    .map(Observation::Verification)
    .collect()
}

fn landings() -> Vec<Observation> {
    let progress = LandProgress { files: 1, of: 2, bytes: 100, kept: 0 };
    let failed = |kind| {
        let message = "f/Patient-1.ndjson could not be had".to_owned();
        files::LandState::Failed(LandFailure {
            kind,
            reason: Reason::DownloadFailed,
            message,
            progress,
            obstructed: Vec::new(),
        })
    };
    let kinds = [
        LandFailureKind::Expired,
        LandFailureKind::Source,
        LandFailureKind::Missing,
        LandFailureKind::Permanent,
        LandFailureKind::Panicked,
        LandFailureKind::Storage(StorageFailureKind::Denied),
        LandFailureKind::Storage(StorageFailureKind::Transient { retry_after: None }),
    ];
    [files::LandState::Running(progress), files::LandState::Done(Arc::new(Vec::new()))]
        .into_iter()
        .chain(kinds.map(failed))
        .map(Observation::Landing)
        .collect()
}

/// A world in this phase. The match is exhaustive, so a new phase does not compile before a world can reach it.
fn world_in(phase: PhaseName) -> World {
    let spec = json!({"request": {"level": "System", "container": "lake"}});
    let with = |server: FhirServer| World::new(server, spec.clone());
    let lost = || KickOff::MadeAndLost(failure(Sent::Maybe, FailureKind::Unreachable, Reason::TimedOut));
    let mut world = match phase {
        Waiting | Starting | Running => with(azure_server()),
        Uncertain => {
            let mut world = with(stored_server());
            world.kick_off_meets([lost()]);
            world
        }
        Landing => {
            let mut world = with(bulk_server(json!({})));
            world.fake.landings.push_back(files::LandState::Running(LandProgress::default()));
            world
        }
        Checking => with(stored_server()),
        Cancelling => {
            let mut world = with(azure_server());
            assert!(world.run_until(|w| w.state() == "Running"));
            world.edit(|spec| spec.cancel = Some(true));
            world
        }
        Leaving => {
            let mut world = with(stored_server());
            world.fake.endings.push_back(Ending::Files(vec![("Patient", 1)]));
            assert!(reach(&mut world, Checking), "no check");
            world.delete();
            world
        }
        Ended => with(bulk_server(json!({}))),
    };
    assert!(reach(&mut world, phase), "{phase:?} is not reached: {:#?}", world.status());
    world
}

/// Decides and performs until memory shows this phase, just after the decision.
fn reach(world: &mut World, phase: PhaseName) -> bool {
    let mut seen = None;
    for _ in 0..200 {
        match world.apply(seen.take()) {
            _ if world.memory.phase.name() == phase => return true,
            Applied::Effect(effect) => seen = Some(world.perform(*effect)),
            Applied::Wait(wait) => world.now += jiff::SignedDuration::try_from(wait).unwrap(),
            Applied::Rest => return false,
        }
    }
    false
}

fn decide(world: &World, seen: Option<Observation>) -> Decision {
    let status = world.status();
    let facts = world.facts(&status);
    let decided = world.decide(&world.export, &facts, seen);
    law::step(world, &world.export, &facts, &decided);
    decided
}

#[test]
fn each_phase_takes_in_what_belongs_to_it_and_ignores_the_rest() {
    for phase in PhaseName::ALL {
        let world = world_in(phase);
        let unmoved = decide(&world, None);
        let mut moved = 0;
        for (phases, samples) in observations() {
            for seen in samples {
                let name = named(&seen);
                let decided = decide(&world, Some(seen.clone()));
                if phases.contains(&phase) {
                    moved +=
                        usize::from(decided.memory != unmoved.memory || decided.status != unmoved.status);
                } else {
                    assert_eq!(decided, unmoved, "{name} changes {phase:?}");
                }
                if phase == Ended {
                    assert_eq!(decided.status, world.status(), "{name} changes a run that has ended");
                    assert_eq!(decided.memory.phase.name(), Ended);
                }
                if decided == unmoved {
                    continue;
                }
                let mut after = world.clone();
                after.take(&decided);
                assert!(still_ends(&mut after), "{name} in {phase:?} leads to no end: {:#?}", after.status());
            }
        }
        let deaf = phase == Leaving;
        assert!(deaf || moved > 0, "nothing moves {phase:?}");
    }
}

/// Whether the run still ends with a server that behaves, after this observation.
fn still_ends(world: &mut World) -> bool {
    for _ in 0..400 {
        let requeue = world.look();
        if world.gone || world.ended() && !world.held() {
            return true;
        }
        let wait = match requeue {
            crate::core::effect::Requeue::After(wait) => wait,
            crate::core::effect::Requeue::AwaitChange => Duration::from_secs(600),
        };
        world.now += jiff::SignedDuration::try_from(wait).unwrap();
    }
    false
}

#[test]
fn the_status_shows_a_word_of_the_phase_and_leads_back_to_it() {
    for phase in PhaseName::ALL {
        let world = world_in(phase);
        let status = world.status();
        let word = status.state.expect("a word");
        assert!(phase.words().contains(&word), "{word} in {phase:?}");
        let (deleting, held) = (world.export.metadata.deletion_timestamp.is_some(), world.held());
        let known = Phase::of(&status, deleting, held, world.memory.phase.clone());
        assert_eq!(known.name(), phase, "with memory");
        let found = Phase::of(&status, deleting, held, Phase::default());
        let wanted = if phase == Leaving { Running } else { phase.after_restart() };
        assert_eq!(found.name(), wanted, "after a restart in {phase:?}");
    }
    let shown: std::collections::BTreeSet<RunState> =
        PhaseName::ALL.iter().filter(|p| **p != Leaving).flat_map(|p| p.words().iter().copied()).collect();
    assert!(shown.into_iter().eq(RunState::ALL), "every word is that of a phase");
}

#[test]
fn an_effect_without_its_server_is_observed_as_its_own_failure() {
    let request = crate::core::requests::status("https://clinic.example/_operations/export/7");
    let url = request.url.clone();
    for (effect, name) in [
        (Effect::Authorize(Check::default()), "Authorized"),
        (Effect::KickOff(request.clone()), "KickOff"),
        (Effect::Poll(request.clone()), "Poll"),
        (Effect::Cancel(request.clone()), "Cancel"),
        (Effect::CleanUp(request.clone()), "CleanedUp"),
        (Effect::FindJobs { container: None, after: at(0) }, "Jobs"),
        (Effect::CountFiles { container: url.clone(), job_id: None, began: at(0) }, "Files"),
        (Effect::CountType { type_: "Patient".into(), request }, "TypeCounted"),
        (Effect::StoreLog { container: url.clone(), path: url.clone(), body: Arc::default() }, "LogStored"),
        (Effect::StoreManifest { container: url.clone(), path: url, body: Arc::default() }, "ManifestStored"),
        (Effect::StopLanding, "LandingStopped"),
        (Effect::AddFinalizer, "FinalizerChanged"),
        (Effect::RemoveFinalizer, "FinalizerChanged"),
        (Effect::DeleteSelf, "DeletedSelf"),
    ] {
        assert_eq!(named(&effect.without_server()), name, "{effect:?}");
    }
}
