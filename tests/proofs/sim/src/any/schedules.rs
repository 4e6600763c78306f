//! Plans about schedules: their runs come by the clock and by hand, while anything goes wrong and people
//! edit, suspend, delete and recreate them.

use fhir_export_operator::api::{ConcurrencyPolicy, Dialect};
use serde_json::{Value, json};

use super::{faults, follow_up, job, members, of_replicas, server};
use crate::chance::Chance;
use crate::plan::{
    Ending, Event, EventKind, FilePlan, Flaw, JobPlan, Kind, Plan, Propagation, ScheduleEdit, ScheduleEvent,
    SchedulePlan, ServerPlan,
};

/// A minute, in seconds.
const MINUTE: i64 = 60;

/// A plan in which one or two schedules create all runs.
pub fn schedules(seed: u64) -> Plan {
    let chance = &mut Chance::new(seed, 9);
    let replicas = chance.pick(&[1, 1, 1, 1, 1, 2], 1);
    let every = chance.pick(&[10, 10, 10, 15, 30], 10);
    let heal_at = chance.between(2, 8) * every * MINUTE;
    let servers: Vec<ServerPlan> = (0..chance.pick(&[1, 1, 2], 1)).map(|_| patient_server(chance)).collect();
    let count = chance.pick(&[1, 1, 1, 2], 1);
    let schedules: Vec<SchedulePlan> = (0..count).map(|_| schedule(chance, &servers, every)).collect();
    let bad = chance.pick(&[0_u64, 3, 8, 20], 8);
    let faults = faults(chance, replicas, bad);
    let eventful = chance.pick(&[0_u64, 3, 8, 12], 5);
    let mut events: Vec<Event> = Vec::new();
    for nth in 0..chance.below(eventful + 1) {
        let at = chance.between(1, heal_at);
        let token = u8::try_from(nth).unwrap_or_default();
        let kind = event(chance, (servers.len(), schedules.len()), heal_at - at, token);
        events.extend(follow_up(chance, at, kind));
        events.push(Event { at, kind });
    }
    for _ in 0..if replicas > 1 { chance.below(4) } else { 0 } {
        events.push(Event { at: chance.between(1, heal_at), kind: of_replicas(chance) });
    }
    Plan {
        seed,
        servers,
        exports: Vec::new(),
        schedules,
        faults,
        events,
        heal_at,
        latency: chance.pick(&[1, 20, 100, 800], 20),
        concurrency: chance.pick(&[1, 2, 10], 10),
        replicas,
        seats: (32, 96),
        kind: Kind::Schedules,
    }
}

/// A server that is polled only rarely.
fn patient_server(chance: &mut Chance) -> ServerPlan {
    let plain = server(chance);
    ServerPlan { places: 4, retry_after: Some(chance.between(20, 120)), ..plain }
}

fn schedule(chance: &mut Chance, servers: &[ServerPlan], every: i64) -> SchedulePlan {
    let number = usize::try_from(chance.below(servers.len() as u64)).unwrap_or(0);
    let incremental = !chance.one_in(4);
    let mut template = members(json!({
        "request": {"level": "System", "types": ["Patient"], "container": "lake"},
        "activeDeadlineSeconds": chance.between(every * 30, every * 150),
    }));
    if chance.one_in(3) {
        template.insert("backoffLimit".into(), chance.between(0, 2).into());
    }
    if chance.one_in(4) {
        let seconds = chance.magnitude(60, 4 * every * MINUTE);
        template.insert("ttlSecondsAfterFinished".into(), seconds.into());
    }
    if chance.one_in(4) {
        template.insert("onUncertainKickOff".into(), "Fail".into());
    }
    if chance.one_in(6) {
        template.insert("errorFilePolicy".into(), "Fail".into());
    }
    let mut spec = members(json!({"template": {"spec": template}}));
    let mut set = |name: &str, value: Value| drop(spec.insert(name.to_owned(), value));
    let policies: &[&str] =
        if incremental { &["Forbid", "Replace"] } else { &["Forbid", "Replace", "Allow"] };
    if !chance.one_in(3) {
        set("concurrencyPolicy", chance.pick(policies, "Forbid").into());
    }
    if incremental {
        let full = chance.one_in(3).then(|| format!("{} */1 * * *", every - 5));
        set("incremental", json!({"overlapSeconds": chance.pick(&[0, 0, 300], 0), "fullSchedule": full}));
    }
    if chance.one_in(2) {
        set("successfulRunsHistoryLimit", chance.between(0, 3).into());
        set("failedRunsHistoryLimit", chance.between(0, 3).into());
    }
    if chance.one_in(4) {
        set("startingDeadlineSeconds", chance.magnitude(10, every * MINUTE).into());
    }
    if chance.one_in(3) {
        set("retention", json!({"fullChains": chance.between(1, 3)}));
    }
    let bulk = servers.get(number).filter(|server| server.dialect == Dialect::BulkData);
    let jobs = (0..4).map(|_| {
        let mut job = JobPlan { lasts: chance.magnitude(5, every * 80), ..job(chance, bulk) };
        if let Ending::Files(files) = &mut job.ending
            && bulk.is_some()
            && chance.one_in(4)
        {
            files.push(FilePlan { type_: "error", lines: 1, big: false, flaw: Flaw::None });
        }
        job
    });
    SchedulePlan {
        server: number,
        jobs: jobs.collect(),
        at: chance.between(0, 120),
        spec: spec.into(),
        every,
        deleted: chance.one_in(3).then(|| propagation(chance)),
    }
}

fn propagation(chance: &mut Chance) -> Propagation {
    let all =
        [Propagation::Background, Propagation::Background, Propagation::Foreground, Propagation::Orphan];
    chance.pick(&all, Propagation::Background)
}

fn event(chance: &mut Chance, (servers, schedules): (usize, usize), left: i64, token: u8) -> EventKind {
    let server = usize::try_from(chance.below(servers as u64)).unwrap_or(0);
    let schedule = usize::try_from(chance.below(schedules as u64)).unwrap_or(0);
    let a_while = chance.magnitude(1, (left / 2).max(2));
    let what = match chance.below(32) {
        0 => return EventKind::WatchBreaks(a_while),
        1 => return EventKind::ApiDown(a_while),
        2 => return EventKind::FhirDown(server, a_while),
        3 => return EventKind::StorageDown(a_while),
        4 => return EventKind::StorageDenies(a_while),
        5 => return EventKind::DeleteServer(server),
        6 => return EventKind::ClockJumps(chance.pick(&[-600, -30, -2, 2, 60, 4000], 60)),
        7 => return EventKind::Stop(chance.magnitude(1, 600)),
        8 => return EventKind::Terminate,
        9 => return EventKind::SuspendServer(server, true),
        10..=14 => return EventKind::Crash(chance.magnitude(1, left.max(2))),
        15 | 16 => ScheduleEvent::Suspend(true),
        17..=19 => ScheduleEvent::RunNow(token, chance.one_in(3)),
        20 | 21 => ScheduleEvent::DeleteRun(usize::try_from(chance.below(3)).unwrap_or(0)),
        22 => ScheduleEvent::CancelRun,
        23 => ScheduleEvent::LoseStatus,
        24 => ScheduleEvent::Foreign,
        25 => ScheduleEvent::Delete(propagation(chance)),
        _ => ScheduleEvent::Edit(edit(chance)),
    };
    EventKind::OfSchedule(schedule, what)
}

fn edit(chance: &mut Chance) -> ScheduleEdit {
    let policies = [ConcurrencyPolicy::Forbid, ConcurrencyPolicy::Replace, ConcurrencyPolicy::Allow];
    let limit = |chance: &mut Chance| i32::try_from(chance.below(4)).unwrap_or(0);
    match chance.below(7) {
        0 => ScheduleEdit::Every(chance.pick(&[5, 10, 15, 20], 10)),
        1 | 2 => ScheduleEdit::Policy(chance.pick(&policies, ConcurrencyPolicy::Forbid)),
        3 => ScheduleEdit::Types(chance.one_in(2)),
        4 => ScheduleEdit::Keep(limit(chance), limit(chance)),
        5 => ScheduleEdit::Overlap(chance.pick(&[0, 300], 0)),
        _ => ScheduleEdit::StartingDeadline(chance.pick(&[None, Some(60), Some(900)], None)),
    }
}
