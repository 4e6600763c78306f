//! Draws a plan from a seed: its servers, exports, faults and events.

mod schedules;

use fhir_export_operator::api::Dialect;
use serde_json::{Map, Value, json};

use crate::chance::Chance;
use crate::plan::{
    Account, Cancels, Edge, Ending, Event, EventKind, ExportPlan, Fault, FaultKind, FilePlan, Flaw, JobPlan,
    Kind, Location, LongOutage, Outage, Pace, Plan, ScheduleEvent, ServerPlan, Trouble,
};
pub use schedules::schedules;

/// How jobs fail, permanently and transiently (docs/azure-behaviour.md, "Failed jobs").
const FAILS: &[(u16, &str)] = &[
    (500, "Unknown Error."),
    (429, "The request rate is too large."),
    (403, "This request is not authorized. ErrorCode: AuthorizationFailure"),
    (400, "Group 4711 was not found."),
    (413, "Out of memory; set _maxCount below 1000."),
    (500, "Processing job had no results"),
];

/// Returns the plan of a seed.
pub fn plan(seed: u64) -> Plan {
    // Some of each hundred seeds are about one subject. They are spread out, so that a few seeds cover each kind.
    match seed % 100 {
        25 | 75 => crowd(seed),
        12 => outage(seed),
        4 | 37 | 70 => lease(seed),
        9 | 59 => place(seed),
        3 | 23 | 43 | 63 | 83 => schedules(seed),
        _ => anything(seed),
    }
}

/// A plan in which anything may go wrong.
fn anything(seed: u64) -> Plan {
    let chance = &mut Chance::new(seed, 0);
    let heal_at = chance.magnitude(200, 20_000);
    let replicas = chance.pick(&[1, 1, 1, 2, 3], 1);
    let servers: Vec<ServerPlan> = (0..chance.between(1, 3)).map(|_| server(chance)).collect();
    let count = chance.pick(&[1, 1, 1, 2, 2, 3, 4], 1);
    let exports: Vec<ExportPlan> = (0..count).map(|_| export(chance, &servers, heal_at)).collect();
    let bad = chance.pick(&[0_u64, 2, 5, 12, 25], 5);
    let faults = faults(chance, replicas, bad);
    let eventful = chance.pick(&[0_u64, 2, 5, 10], 5);
    let mut events: Vec<Event> = Vec::new();
    for _ in 0..chance.below(eventful + 1) {
        let at = chance.magnitude(1, heal_at);
        let kind = event(chance, &servers, exports.len() as u64, heal_at);
        events.extend(follow_up(chance, at, kind));
        events.push(Event { at, kind });
    }
    for _ in 0..if replicas > 1 { chance.below(6) } else { 0 } {
        events.push(Event { at: chance.magnitude(1, heal_at), kind: of_replicas(chance) });
    }
    Plan {
        seed,
        servers,
        exports,
        schedules: Vec::new(),
        faults,
        events,
        heal_at,
        latency: chance.pick(&[1, 20, 100, 800], 20),
        concurrency: chance.pick(&[1, 2, 10], 10),
        replicas,
        seats: (chance.pick(&[1, 2, 32], 32), chance.pick(&[2, 4, 96], 96)),
        kind: Kind::Anything,
    }
}

/// At most `most` faults, and with several replicas now and then one that is stopped.
fn faults(chance: &mut Chance, replicas: usize, most: u64) -> Vec<Fault> {
    let mut faults: Vec<Fault> = (0..chance.below(most + 1)).map(|_| fault(chance, replicas)).collect();
    if replicas > 1 && chance.one_in(3) {
        faults.push(stopped(chance));
    }
    faults
}

fn server(chance: &mut Chance) -> ServerPlan {
    let dialect = chance.pick(&[Dialect::Azure, Dialect::BulkData], Dialect::Azure);
    let cancels = match dialect {
        Dialect::Azure => chance.pick(
            &[
                Cancels::Forgets,
                Cancels::Forgets,
                Cancels::Empties500,
                Cancels::Empties409,
                Cancels::Slowly,
                Cancels::Never,
            ],
            Cancels::Forgets,
        ),
        Dialect::BulkData => chance.pick(
            &[Cancels::Forgets, Cancels::Forgets, Cancels::Keeps, Cancels::Slowly, Cancels::Never],
            Cancels::Forgets,
        ),
    };
    ServerPlan {
        dialect,
        cancels,
        storage: !chance.one_in(4),
        token: !chance.one_in(3),
        token_lasts: chance.pick(&[60, 300, 3600], 300),
        places: chance.pick(&[1, 2, 4], 4),
        version: chance.pick(&[1, 2, 3, 4], 2),
        separate: chance.one_in(2),
        page: chance.pick(&[100, 100, 1, 2], 100),
        links_last: chance.pick(&[None, Some(30), Some(600)], None),
        fresh_paths: false,
        ranges: chance.one_in(2),
        retry_after: chance.pick(&[None, Some(1), Some(20), Some(100_000)], None),
        progress: chance.one_in(2),
        counts: chance.one_in(2),
        checksums: chance.one_in(2),
        finished: chance.pick(&["Auto", "Auto", "Delete", "Keep"], "Auto"),
        beside: chance.one_in(2),
        log: chance.one_in(4),
        pace: Pace::Prompt,
        refuses: false,
        container: chance.pick(&[None, Some("lake")], None),
        account: Account { second: false, gzip: dialect == Dialect::BulkData && chance.one_in(4) },
    }
}

/// A plan in which other tenants are in trouble: one server does not answer, one answers after many seconds,
/// one sends its files piece by piece, the role on their storage account is lost for a time, and many exports
/// name a server that does not admit them. A few exports are on a prompt server with a storage account of its
/// own.
pub fn crowd(seed: u64) -> Plan {
    let refused = Chance::new(seed, 8).pick(&[0, 50, 150], 50);
    crowd_of(seed, refused, 60)
}

/// A crowd with `refused` exports that their server does not admit, created in the first `within` seconds.
pub fn crowd_of(seed: u64, refused: usize, within: i64) -> Plan {
    let chance = &mut Chance::new(seed, 3);
    let paces =
        [Pace::Silent, Pace::Slow(chance.between(10, 50)), Pace::Trickles(59), Pace::Prompt, Pace::Prompt];
    let mut servers: Vec<ServerPlan> =
        paces.iter().map(|pace| ServerPlan { pace: *pace, ..simple_server(chance) }).collect();
    for (number, server) in servers.iter_mut().enumerate() {
        match number {
            2 => server.dialect = Dialect::BulkData,
            REFUSING => (server.refuses, server.beside) = (true, false),
            PROMPT => server.account.second = true,
            _ => {}
        }
    }
    let exports = (0..36 + refused).map(|n| {
        let server = match n {
            0..=13 => 0,
            14..=25 => 1,
            26..=29 => 2,
            30..=35 => PROMPT,
            _ => REFUSING,
        };
        let at = match server {
            PROMPT => chance.between(1, 120),
            REFUSING => chance.between(0, within),
            _ => chance.between(0, 5),
        };
        let files = if server == 2 { 4 } else { 0 };
        let file = FilePlan { type_: "Patient", lines: 3, big: false, flaw: Flaw::None };
        let spec = json!({"request": {"level": "System"}, "activeDeadlineSeconds": 3000, "onUncertainKickOff": "Fail"});
        let job = JobPlan { lasts: chance.between(10, 200), ending: Ending::Files(vec![file; files]) };
        ExportPlan { server, at, spec, jobs: vec![job] }
    });
    let exports: Vec<ExportPlan> = exports.collect();
    let lost = Event { at: chance.between(1, 120), kind: EventKind::StorageDenies(chance.between(60, 500)) };
    Plan {
        seed,
        exports,
        schedules: Vec::new(),
        servers,
        faults: Vec::new(),
        events: vec![lost],
        heal_at: 600,
        latency: 1,
        concurrency: chance.pick(&[1, 2], 2),
        replicas: 1,
        seats: (4, 32),
        kind: Kind::Crowd,
    }
}

/// The number of the server in a crowd that does not admit the exports.
const REFUSING: usize = 3;
/// The number of the server in a crowd that is prompt and admits the exports.
const PROMPT: usize = 4;

/// The same plan with only the exports of the prompt server.
pub fn alone(mut crowd: Plan) -> Plan {
    crowd.exports.retain(|export| export.server == PROMPT);
    crowd.events.clear();
    crowd
}

/// The number of files in the landing that an outage interrupts.
const FILES: i64 = 200;
/// The duration of that outage, in seconds.
const SIX_HOURS: i64 = 6 * 3600;

/// A plan whose only fault is that one part is out for six hours in the middle of a landing of 200 files.
pub fn outage(seed: u64) -> Plan {
    let chance = &mut Chance::new(seed, 4);
    let parts = [Outage::Fhir(0), Outage::Storage, Outage::Role, Outage::Api];
    let part = chance.pick(&parts, Outage::Storage);
    let links_last = chance.pick(&[None, Some(600)], None);
    let plain = simple_server(chance);
    let server = ServerPlan { dialect: Dialect::BulkData, storage: true, ranges: true, links_last, ..plain };
    let big = chance.between(0, FILES - 1);
    let files = (0..FILES).map(|n| FilePlan {
        type_: if n % 3 == 0 { "Patient" } else { "Observation" },
        lines: 1 + n.unsigned_abs() % 9,
        big: n == big,
        flaw: Flaw::None,
    });
    let job = JobPlan { lasts: chance.between(10, 100), ending: Ending::Files(files.collect()) };
    let spec = json!({"request": {"level": "System", "container": "lake"}, "activeDeadlineSeconds": 80_000});
    let after_files = u32::try_from(chance.between(20, FILES - 20)).unwrap_or(100);
    let crash = Event { at: chance.between(60, SIX_HOURS), kind: EventKind::Crash(chance.between(5, 60)) };
    Plan {
        seed,
        servers: vec![server],
        exports: vec![ExportPlan { server: 0, at: 0, spec, jobs: vec![job] }],
        schedules: Vec::new(),
        faults: Vec::new(),
        events: chance.one_in(3).then_some(crash).into_iter().collect(),
        heal_at: SIX_HOURS + 3600,
        latency: chance.pick(&[20, 100, 800], 100),
        concurrency: 1,
        replicas: 1,
        seats: (32, 96),
        kind: Kind::Outage(LongOutage { part, after_files, lasts: SIX_HOURS }),
    }
}

/// How often the connection to the Lease hangs in a plan about the Lease.
const LAPSES: i64 = 12;

/// A plan in which the leader's connection to the Lease repeatedly becomes slow and then hangs. Its last
/// answer comes as late as possible, and it works on until its tenure ends, while the others wait for that
/// moment.
fn lease(seed: u64) -> Plan {
    let chance = &mut Chance::new(seed, 6);
    let server = ServerPlan { retry_after: Some(1), ..simple_server(chance) };
    let exports = (0..3).map(|n| {
        let spec =
            json!({"request": {"level": "System", "container": "lake"}, "activeDeadlineSeconds": 8000});
        let job = JobPlan { lasts: chance.between(300, 900), ending: Ending::Files(Vec::new()) };
        ExportPlan { server: 0, at: n * chance.between(1, 200), spec, jobs: vec![job] }
    });
    let exports: Vec<ExportPlan> = exports.collect();
    let events = (1..=LAPSES).map(|n| {
        let at = n * 60 + chance.between(0, 15);
        Event { at, kind: EventKind::Hinder(Trouble::Falters, chance.between(15, 30)) }
    });
    Plan {
        seed,
        events: events.collect(),
        servers: vec![server],
        exports,
        schedules: Vec::new(),
        faults: Vec::new(),
        heal_at: (LAPSES + 2) * 60,
        latency: chance.pick(&[1, 20, 100], 20),
        concurrency: 2,
        replicas: chance.pick(&[2, 3], 2),
        seats: (32, 96),
        kind: Kind::Lease,
    }
}

/// A plan in which only two things go wrong: somebody edits where the files of a server land, while they
/// land, and the operator is killed once or twice.
pub fn place(seed: u64) -> Plan {
    let chance = &mut Chance::new(seed, 7);
    let server = ServerPlan {
        dialect: Dialect::BulkData,
        ranges: chance.one_in(2),
        container: chance.pick(&[None, Some("lake")], None),
        ..simple_server(chance)
    };
    let exports = (0..chance.between(1, 3)).map(|n| {
        let files = (0..chance.between(5, 30)).map(|nth| FilePlan {
            type_: if nth % 3 == 0 { "Patient" } else { "Observation" },
            lines: chance.between(1, 30).unsigned_abs(),
            big: false,
            flaw: Flaw::None,
        });
        let job = JobPlan { lasts: 20, ending: Ending::Files(files.collect()) };
        let spec = json!({"request": {"level": "System"}, "activeDeadlineSeconds": 4000});
        ExportPlan { server: 0, at: n * 20, spec, jobs: vec![job] }
    });
    let exports: Vec<ExportPlan> = exports.collect();
    let mut events: Vec<Event> = Vec::new();
    for _ in 0..chance.between(1, 6) {
        let kind = moved(chance, 0, Dialect::BulkData);
        events.push(Event { at: chance.between(1, 120), kind });
    }
    for _ in 0..chance.below(3) {
        events.push(Event { at: chance.between(10, 120), kind: EventKind::Crash(1) });
    }
    Plan {
        seed,
        servers: vec![server],
        exports,
        schedules: Vec::new(),
        faults: Vec::new(),
        events,
        heal_at: 300,
        latency: chance.pick(&[100, 800], 800),
        concurrency: 2,
        replicas: 1,
        seats: (32, 96),
        kind: Kind::Place,
    }
}

/// An event in which somebody edits where the files of a server land.
fn moved(chance: &mut Chance, server: usize, dialect: Dialect) -> EventKind {
    if dialect == Dialect::Azure || chance.one_in(2) {
        return EventKind::MoveContainer(server, chance.pick(&["lake", "pond"], "pond"));
    }
    EventKind::MoveStorage(server, Account { second: chance.one_in(2), gzip: chance.one_in(2) })
}

/// A server without peculiarities, on which any number of exports may run.
fn simple_server(chance: &mut Chance) -> ServerPlan {
    let plain = server(chance);
    ServerPlan { cancels: Cancels::Forgets, token: false, places: 100, retry_after: Some(10), ..plain }
}

fn export(chance: &mut Chance, servers: &[ServerPlan], heal_at: i64) -> ExportPlan {
    let server = usize::try_from(chance.below(servers.len() as u64)).unwrap_or(0);
    let bulk = servers.get(server).filter(|server| server.dialect == Dialect::BulkData);
    let mut request = members(match chance.below(3) {
        0 => json!({"level": "System"}),
        1 => json!({"level": "Patient", "types": ["Patient", "Observation"]}),
        _ => json!({"level": "Group", "groupID": "g"}),
    });
    if chance.one_in(2) {
        request.insert("since".into(), "2026-01-01T00:00:00+01:00".into());
    }
    if !chance.one_in(3) {
        request.insert("container".into(), "lake".into());
    }
    let mut spec = members(json!({"request": request}));
    let mut set = |name: &str, value: Value| drop(spec.insert(name.to_owned(), value));
    // The deadline is bounded, so that an export that hangs ends.
    set("activeDeadlineSeconds", chance.magnitude(60, 12_000).into());
    if chance.one_in(3) {
        set("backoffLimit", chance.between(0, 4).into());
    }
    if chance.one_in(3) {
        set("onUncertainKickOff", chance.pick(&["Retry", "Fail"], "Retry").into());
    }
    if chance.one_in(4) {
        set("deletionPolicy", chance.pick(&["Cancel", "Abandon"], "Cancel").into());
    }
    if chance.one_in(8) {
        set("ttlSecondsAfterFinished", chance.magnitude(1, 2000).into());
    }
    if chance.one_in(4) {
        set("errorFilePolicy", chance.pick(&["Tolerate", "Fail"], "Tolerate").into());
    }
    if chance.one_in(12) {
        set("suspend", true.into());
    }
    let jobs = (0..3).map(|_| job(chance, bulk)).collect();
    ExportPlan { server, at: chance.between(0, heal_at.min(60)), spec: spec.into(), jobs }
}

fn members(object: Value) -> Map<String, Value> {
    match object {
        Value::Object(members) => members,
        _ => Map::new(),
    }
}

fn job(chance: &mut Chance, bulk: Option<&ServerPlan>) -> JobPlan {
    let ending = match chance.below(10) {
        0 | 1 => {
            let (code, words) = chance.pick(FAILS, (500, "Unknown Error."));
            Ending::Fails(code, words)
        }
        2 => Ending::Forgotten,
        _ => Ending::Files((0..chance.below(4)).map(|_| file(chance, bulk)).collect()),
    };
    JobPlan { lasts: chance.magnitude(1, 4000), ending }
}

fn file(chance: &mut Chance, server: Option<&ServerPlan>) -> FilePlan {
    let bulk = server.is_some();
    let types: &[&'static str] = if bulk {
        &["Patient", "Observation", "Observation", "error", "deleted"]
    } else {
        &["Patient", "Observation", "Condition"]
    };
    let type_ = chance.pick(types, "Patient");
    let data = !matches!(type_, "error" | "deleted");
    let flaw = match chance.below(12) {
        0 => Flaw::Missing,
        // Counts cover files of data only.
        1 if data && server.is_none_or(|server| server.counts) => Flaw::Miscounted,
        2 if bulk => Flaw::Breaks(u32::try_from(chance.between(1, 9)).unwrap_or(1)),
        // Without a checksum nobody can notice a short file.
        3 if server.is_some_and(|server| server.checksums) => {
            Flaw::Short(u32::try_from(chance.between(1, 4)).unwrap_or(1))
        }
        4 if bulk => Flaw::Page(u32::try_from(chance.between(1, 3)).unwrap_or(1)),
        5 if bulk => Flaw::Refused(
            u32::try_from(chance.between(1, 12)).unwrap_or(1),
            chance.pick(&[403, 404, 410, 429, 500, 503, 416], 503),
        ),
        6 if bulk => Flaw::Changes,
        7 if bulk && chance.one_in(3) => Flaw::Elsewhere,
        _ => Flaw::None,
    };
    FilePlan { type_, lines: chance.between(1, 9).unsigned_abs(), big: bulk && chance.one_in(150), flaw }
}

/// A fault that stops a process at a request that no other process should repeat, for about as long as its tenure.
fn stopped(chance: &mut Chance) -> Fault {
    let edges = [Edge::KickOff, Edge::KickOff, Edge::Status, Edge::Delete, Edge::Storage];
    let edge = chance.pick(&edges, Edge::KickOff);
    let (nth, seconds) = (u32::try_from(chance.between(0, 3)).unwrap_or(0), chance.between(5, 60));
    let kinds =
        [FaultKind::StopBefore(seconds), FaultKind::StopWithin(seconds), FaultKind::StopAfter(seconds)];
    let index = usize::try_from(chance.below(3)).unwrap_or(0);
    Fault { edge, nth, kind: kinds.into_iter().nth(index).unwrap_or(FaultKind::StopWithin(seconds)) }
}

/// An event of a plan with several replicas.
fn of_replicas(chance: &mut Chance) -> EventKind {
    let while_ = chance.magnitude(1, 120);
    let troubles =
        [Trouble::Hangs, Trouble::Refuses, Trouble::AnswersLost, Trouble::AnswersLate, Trouble::Falters];
    let trouble = chance.pick(&troubles, Trouble::Hangs);
    match chance.below(9) {
        0 | 1 => EventKind::Stop(while_),
        2 | 3 => EventKind::Hinder(trouble, while_),
        4 => EventKind::Crash(chance.magnitude(1, 300)),
        5 => EventKind::TouchLease,
        6 => EventKind::Terminate,
        _ => EventKind::Rollout,
    }
}

fn fault(chance: &mut Chance, replicas: usize) -> Fault {
    use FaultKind::{AnswerLost, CrashAfter, CrashBefore, Denied, NotDone, NotSent, Repeated, Truncated};
    const EDGES: &[(Edge, i64)] = &[
        (Edge::Status, 12),
        (Edge::Status, 12),
        (Edge::Object, 8),
        (Edge::Note, 4),
        (Edge::Authorize, 3),
        (Edge::KickOff, 3),
        (Edge::KickOff, 3),
        (Edge::KickOff, 3),
        (Edge::Poll, 16),
        (Edge::Delete, 6),
        (Edge::Delete, 6),
        (Edge::File, 10),
        (Edge::Probe, 8),
        (Edge::Storage, 24),
        (Edge::Storage, 24),
    ];
    let lease = replicas > 1 && chance.one_in(10);
    let (edge, most) = if lease { (Edge::Lease, 60) } else { chance.pick(EDGES, (Edge::Poll, 9)) };
    let nth = u32::try_from(chance.between(0, most)).unwrap_or(0);
    let slow = FaultKind::Slow(chance.magnitude(1, 200));
    let page = FaultKind::Page(chance.pick(&[502, 503, 504, 500, 404, 403, 200, 408, 302], 502));
    let outcome = FaultKind::Outcome(chance.pick(&[500, 503], 500));
    let throttled = FaultKind::Throttled(chance.pick(&[None, Some(1), Some(30), Some(900)], None));
    let places =
        [Location::None, Location::Relative, Location::Inside, Location::Elsewhere, Location::Signed];
    let location = FaultKind::Location(chance.pick(&places, Location::None));
    let kinds: Vec<FaultKind> = match edge {
        Edge::Status | Edge::Object => vec![CrashBefore, CrashAfter, NotDone, AnswerLost, Repeated, slow],
        Edge::Note => vec![CrashBefore, CrashAfter, NotDone, AnswerLost],
        Edge::Authorize => vec![CrashBefore, CrashAfter, NotDone],
        Edge::KickOff => vec![
            CrashBefore,
            CrashAfter,
            NotSent,
            NotDone,
            AnswerLost,
            AnswerLost,
            slow,
            page,
            outcome,
            throttled,
            location,
        ],
        Edge::Poll => vec![
            CrashBefore,
            CrashAfter,
            NotSent,
            NotDone,
            AnswerLost,
            slow,
            page,
            outcome,
            throttled,
            Truncated,
        ],
        Edge::Delete => {
            vec![CrashBefore, CrashAfter, NotSent, NotDone, AnswerLost, slow, page, outcome, throttled]
        }
        Edge::File => vec![CrashBefore, CrashAfter, NotDone, slow, page, throttled, Truncated],
        Edge::Probe => vec![NotSent, NotDone, AnswerLost, slow, page, outcome, throttled],
        Edge::Storage => vec![CrashBefore, CrashAfter, NotDone, AnswerLost, slow, Denied],
        Edge::Lease => vec![CrashBefore, CrashAfter, NotDone, AnswerLost, slow],
    };
    let of_tasks = match edge {
        Edge::KickOff | Edge::Poll | Edge::Delete | Edge::File | Edge::Probe | Edge::Storage => true,
        Edge::Status | Edge::Object | Edge::Note | Edge::Authorize | Edge::Lease => false,
    };
    if of_tasks && chance.one_in(12) {
        let kind = if chance.one_in(2) { FaultKind::PanicsBefore } else { FaultKind::PanicsAfter };
        return Fault { edge, nth, kind };
    }
    if chance.one_in(8) {
        // The time is close to the tenure of a replica.
        let seconds = chance.magnitude(1, 60);
        let kinds =
            [FaultKind::StopBefore(seconds), FaultKind::StopWithin(seconds), FaultKind::StopAfter(seconds)];
        let index = usize::try_from(chance.below(3)).unwrap_or(0);
        let kind = kinds.into_iter().nth(index).unwrap_or(NotDone);
        return Fault { edge, nth, kind };
    }
    let index = usize::try_from(chance.below(kinds.len() as u64)).unwrap_or(0);
    let kind = kinds.into_iter().nth(index).unwrap_or(NotDone);
    Fault { edge, nth, kind }
}

fn event(chance: &mut Chance, servers: &[ServerPlan], exports: u64, heal_at: i64) -> EventKind {
    let export = usize::try_from(chance.below(exports)).unwrap_or(0);
    let server = usize::try_from(chance.below(servers.len() as u64)).unwrap_or(0);
    let a_while = chance.magnitude(1, (heal_at / 2).clamp(2, 3000));
    match chance.below(31) {
        30 => EventKind::AnotherVersion(export),
        28 | 29 => {
            let dialect = servers.get(server).map_or(Dialect::Azure, |server| server.dialect);
            moved(chance, server, dialect)
        }
        26 => EventKind::Terminate,
        27 => EventKind::Stop(chance.magnitude(1, 600)),
        0..=4 => EventKind::Crash(chance.magnitude(1, 2000)),
        5 => EventKind::Suspend(export, true),
        6 => EventKind::Cancel(export),
        7 => EventKind::Deadline(export, chance.magnitude(1, 9000)),
        8 | 9 => EventKind::Touch(export),
        10 | 11 => EventKind::Delete(export),
        12 => EventKind::SuspendServer(server, true),
        13 => EventKind::DeleteServer(server),
        14 => EventKind::DeleteSecret(server),
        15 if chance.one_in(2) => EventKind::DeleteNamespace,
        16 => EventKind::ClockJumps(chance.pick(&[-600, -30, -2, 2, 60, 4000], 60)),
        17 => EventKind::WatchBreaks(a_while),
        18 => EventKind::ApiDown(a_while),
        19 => EventKind::FhirDown(server, a_while),
        20 => EventKind::FhirRefuses(server, a_while),
        21 => EventKind::StorageDown(a_while),
        22 => EventKind::StorageDenies(a_while),
        23 => EventKind::Stranger(server),
        24 => EventKind::CancelledByOthers(export),
        _ => EventKind::TokensEnd(server),
    }
}

/// The event that undoes another one after a while.
fn follow_up(chance: &mut Chance, at: i64, kind: EventKind) -> Option<Event> {
    let back = match kind {
        EventKind::Suspend(export, true) => EventKind::Suspend(export, false),
        EventKind::SuspendServer(server, true) => EventKind::SuspendServer(server, false),
        EventKind::DeleteServer(server) => EventKind::CreateServer(server),
        EventKind::DeleteSecret(server) => EventKind::CreateSecret(server),
        EventKind::Delete(export) => EventKind::CreateAgain(export),
        EventKind::AnotherVersion(export) => EventKind::ReadAgain(export),
        EventKind::OfSchedule(schedule, ScheduleEvent::Suspend(true)) => {
            EventKind::OfSchedule(schedule, ScheduleEvent::Suspend(false))
        }
        EventKind::OfSchedule(schedule, ScheduleEvent::Delete(_)) => {
            EventKind::OfSchedule(schedule, ScheduleEvent::CreateAgain)
        }
        _ => return None,
    };
    chance.one_in(2).then(|| Event { at: at + chance.magnitude(1, 2000), kind: back })
}
