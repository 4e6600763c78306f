//! Random scripts: what may happen to a run, and what servers may answer.

use std::time::Duration;

use proptest::prelude::*;
use proptest::sample::select;
use serde_json::{Value, json};

use super::at;
use super::fake::{Cancels, Ending, KickOff};
use super::law::SECRET;
use super::said::{answer, body, html, job_failure, manifest, outcome};
use super::world::{Broken, failure};
use crate::api::Reason;
use crate::core::landing::{LandFailure, LandFailureKind, LandProgress, LandState};
use crate::core::ledger::StorageFailureKind;
use crate::core::wire::{Answer, Failure, FailureKind, Reply, Sent};

#[derive(Clone, Debug)]
pub(super) enum Event {
    Look,
    Break(usize, Broken),
    Kill,
    Pass(i64),
    Suspend(bool),
    Cancel,
    Deadline(i64),
    Delete,
    Server(usize),
    SuspendServer(bool),
    Full(bool),
    Admitted(bool),
    Cancels(Cancels),
    KickOff(KickOff),
    Poll(Reply),
    DeleteMeets(Reply),
    Authorize(Failure),
    Ending(Ending),
    Lasts(i64),
    Storage(Option<StorageFailureKind>),
    StoreFails,
    Files(usize, bool),
    Stranger(i64),
    Claim,
    Folders(bool),
    Landing(LandState),
    Spoil,
    CleanUp(Reply),
}

/// The possible states of a landing: running, or with each kind of failure.
fn landings() -> impl Strategy<Value = LandState> {
    let kinds = prop_oneof![
        select(vec![
            LandFailureKind::Expired,
            LandFailureKind::Source,
            LandFailureKind::Missing,
            LandFailureKind::Permanent,
            LandFailureKind::Panicked,
        ]),
        storage_kinds().prop_map(LandFailureKind::Storage),
    ];
    (kinds, any::<bool>(), 0..9_u64).prop_map(|(kind, runs, files)| {
        let progress = LandProgress { files, of: 9, bytes: files * 100, kept: 0 };
        if runs {
            return LandState::Running(progress);
        }
        let message = "f/Patient-1.ndjson could not be had; check the server".to_owned();
        LandState::Failed(LandFailure {
            kind,
            reason: Reason::DownloadFailed,
            message,
            progress,
            obstructed: Vec::new(),
        })
    })
}

fn hostile() -> String {
    let words = format!("Patient/{SECRET}-1 https://x.example/y?sig={SECRET} ");
    words + &"ü😀".repeat(3000)
}

fn failures() -> impl Strategy<Value = Failure> {
    let sent = select(vec![Sent::No, Sent::Maybe]);
    let kind = prop_oneof![
        Just((FailureKind::Missing, Reason::SecretNotFound)),
        Just((FailureKind::Unreachable, Reason::TimedOut)),
        (0_i64..20_000).prop_map(|s| (FailureKind::HeldBack { until: at(s) }, Reason::Throttled)),
    ];
    (sent, kind).prop_map(|(sent, (kind, reason))| {
        // A request that was held back, or lacked something in the cluster, was never sent.
        let sent = if kind == FailureKind::Unreachable { sent } else { Sent::No };
        failure(sent, kind, reason)
    })
}

fn answers() -> impl Strategy<Value = Answer> {
    let status = select(vec![
        200, 202, 204, 302, 400, 401, 403, 404, 408, 409, 410, 413, 422, 429, 500, 502, 503, 504,
    ]);
    (status, 0..9_usize, proptest::option::of(0_u64..100_000)).prop_map(|(status, kind, wait)| {
        let mut made = match kind {
            0 => answer(status),
            1 => html(status),
            2 => outcome(status, "not-found", &hostile()),
            3 => outcome(status, "invalid", &hostile()),
            4 => job_failure(status, &hostile()),
            5 => Answer { status, ..body(r#"{"transactionTime":"2026"#) },
            6 => Answer { status, truncated: true, ..manifest("https://x/$export", &json!([])) },
            7 => Answer { status, ..manifest(&hostile(), &nasty_files()) },
            _ => Answer { progress: Some(hostile()), content_type: Some(hostile()), ..html(status) },
        };
        made.retry_after = wait.map(Duration::from_secs);
        made
    })
}

fn nasty_files() -> Value {
    let file = |n: usize| {
        json!({"type": format!("T{n}{}", "x".repeat(300)), "count": 7,
        "url": format!("https://acct.blob.example/lake/{}/{n}.ndjson?sig={SECRET}", "f".repeat(2000))})
    };
    (0..200).map(file).collect()
}

fn replies() -> impl Strategy<Value = Reply> {
    prop_oneof![3 => answers().prop_map(Ok), 1 => failures().prop_map(Err)]
}

fn kick_offs() -> impl Strategy<Value = KickOff> {
    prop_oneof![
        Just(KickOff::Accept),
        Just(KickOff::AcceptAt(None)),
        select(vec![
            "/_operations/export/{id}".to_owned(),
            "http://inside:8080/_operations/export/{id}".to_owned(),
            "https://elsewhere.example/x".to_owned(),
            format!("https://clinic.example/_operations/export/{{id}}?sig={SECRET}"),
            format!("https://u:{SECRET}@clinic.example/_operations/export/{{id}}"),
            format!("https://clinic.example/_operations/export/{}", "7".repeat(9000)),
        ])
        .prop_map(|l| KickOff::AcceptAt(Some(l))),
        Just(KickOff::MadeAndLost(failure(Sent::Maybe, FailureKind::Unreachable, Reason::TimedOut))),
        replies().prop_map(|reply| {
            // A scripted 202 would accept a job that this server does not have.
            KickOff::Reply(reply.map(|a| if a.status == 202 { answer(503) } else { a }))
        }),
    ]
}

fn storage_kinds() -> impl Strategy<Value = StorageFailureKind> {
    select(vec![
        StorageFailureKind::Missing,
        StorageFailureKind::Denied,
        StorageFailureKind::Permanent,
        StorageFailureKind::Transient { retry_after: Some(Duration::from_secs(9000)) },
        StorageFailureKind::Transient { retry_after: None },
    ])
}

pub(super) fn events() -> impl Strategy<Value = Event> {
    let broken = select(vec![Broken::BeforeWrite, Broken::AfterWrite, Broken::AfterEffect, Broken::Conflict]);
    let cancels = select(vec![
        Cancels::Y2026,
        Cancels::Y2022,
        Cancels::Y2025,
        Cancels::Slow,
        Cancels::Never(503),
        Cancels::Never(403),
    ]);
    let endings = prop_oneof![
        Just(Ending::Files(vec![])),
        Just(Ending::Files(vec![("Patient", 3), ("Observation", 0)])),
        select(vec![429, 413, 500, 400]).prop_map(|s| Ending::Answer(job_failure(s, &hostile()))),
    ];
    prop_oneof![
        12 => Just(Event::Look),
        6 => (0..5_usize, broken).prop_map(|(n, how)| Event::Break(n, how)),
        2 => Just(Event::Kill),
        8 => prop_oneof![0_i64..20, 20_i64..400, 400_i64..90_000].prop_map(Event::Pass),
        1 => any::<bool>().prop_map(Event::Suspend),
        1 => Just(Event::Cancel),
        1 => (1_i64..5000).prop_map(Event::Deadline),
        1 => Just(Event::Delete),
        1 => (0..4_usize).prop_map(Event::Server),
        1 => any::<bool>().prop_map(Event::SuspendServer),
        1 => any::<bool>().prop_map(Event::Full),
        1 => any::<bool>().prop_map(Event::Admitted),
        1 => cancels.prop_map(Event::Cancels),
        4 => kick_offs().prop_map(Event::KickOff),
        4 => replies().prop_map(Event::Poll),
        2 => replies().prop_map(Event::DeleteMeets),
        2 => failures().prop_map(Event::Authorize),
        2 => endings.prop_map(Event::Ending),
        1 => (0_i64..3000).prop_map(Event::Lasts),
        1 => proptest::option::of(storage_kinds()).prop_map(Event::Storage),
        1 => Just(Event::StoreFails),
        1 => (0..2_usize, any::<bool>()).prop_map(|(n, m)| Event::Files(n, m)),
        1 => (-300_i64..300).prop_map(Event::Stranger),
        1 => Just(Event::Claim),
        1 => any::<bool>().prop_map(Event::Folders),
        4 => landings().prop_map(Event::Landing),
        1 => Just(Event::Spoil),
        2 => replies().prop_map(Event::CleanUp),
    ]
}

pub(super) fn specs() -> impl Strategy<Value = Value> {
    let request = select(vec![
        json!({"level": "System"}),
        json!({"level": "Patient", "since": "2026-01-01T00:00:00+01:00", "container": "lake"}),
        json!({"level": "Group", "groupID": "g", "types": ["Patient"],
            "typeFilters": [format!("Patient?identifier={SECRET}")]}),
    ]);
    (request, select(vec!["Retry", "Fail"]), select(vec!["Cancel", "Abandon"]), 0..3_i32,
        proptest::option::of(50_i64..100_000), any::<bool>())
        .prop_map(|(request, uncertain, deletion, backoff, ttl, window)| {
            let mut spec = json!({"request": request, "onUncertainKickOff": uncertain, "deletionPolicy": deletion,
                "backoffLimit": backoff});
            if let Some(ttl) = ttl {
                spec["ttlSecondsAfterFinished"] = ttl.into();
            }
            if window {
                spec["kickOffBefore"] = at(1000).to_string().into();
            }
            spec
        })
}
