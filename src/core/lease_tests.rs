//! A table of inputs and expected steps for each decision about the Lease.

#![allow(clippy::unwrap_used, clippy::unchecked_time_subtraction)]

use super::*;

fn wall() -> Timestamp {
    "2026-11-24T02:00:00Z".parse().unwrap()
}

fn s(seconds: f64) -> Moment {
    Duration::from_secs_f64(seconds)
}

fn held(holder: &str, version: &str) -> SeenLease {
    let record = LeaseRecord {
        holder: Some(holder.into()),
        duration_seconds: Some(15),
        transitions: 3,
        ..LeaseRecord::default()
    };
    SeenLease { record, version: version.into() }
}

fn free(version: &str) -> SeenLease {
    let record = LeaseRecord { duration_seconds: Some(1), transitions: 3, ..LeaseRecord::default() };
    SeenLease { record, version: version.into() }
}

/// A replica `me`, and the time by its clock.
struct Replica {
    contender: Contender,
    now: Moment,
}

impl Replica {
    fn new() -> Self {
        Self { contender: Contender::new("me", Windows::default()), now: s(1000.0) }
    }

    fn ask(&self) -> LeaseStep {
        self.contender.decide(self.now, wall())
    }

    /// Performs the request, which takes 0.1 s, and takes in this answer.
    fn gets(&mut self, answer: LeaseAnswer) -> &mut Self {
        let (step, began) = (self.ask(), self.now);
        let LeaseStep::Ask(request) = step else { unreachable!("{step:?}") };
        self.now += s(0.1);
        self.contender.learn(&request, answer, began, self.now);
        self
    }

    fn reads(&mut self, seen: SeenLease) -> &mut Self {
        assert_eq!(self.ask(), LeaseStep::Ask(LeaseRequest::Read));
        self.gets(LeaseAnswer::Lease(seen))
    }

    fn writes(&mut self, version: &str) -> &mut Self {
        assert!(matches!(self.ask(), LeaseStep::Ask(LeaseRequest::Write { .. })), "{:?}", self.ask());
        self.gets(LeaseAnswer::Lease(held("me", version)))
    }

    fn waits(&mut self) -> &mut Self {
        let LeaseStep::Wait(until) = self.ask() else { unreachable!("{:?}", self.ask()) };
        assert!(until > self.now, "a wait until {until:?} at {:?}", self.now);
        self.now = until;
        self
    }

    /// A replica that has led for 0.1 s.
    fn leading() -> Self {
        let mut replica = Self::new();
        replica.reads(free("1")).writes("2");
        replica
    }
}

#[test]
fn without_a_lease_one_is_made() {
    let mut replica = Replica::new();
    replica.gets(LeaseAnswer::Absent);
    let LeaseStep::Ask(LeaseRequest::Write { record, on: None }) = replica.ask() else {
        unreachable!("{:?}", replica.ask())
    };
    let wall = Some(wall());
    let expected = LeaseRecord {
        holder: Some("me".into()),
        duration_seconds: Some(15),
        acquired: wall,
        renewed: wall,
        transitions: 0,
    };
    assert_eq!(record, expected);
    // Another replica was faster.
    replica.gets(LeaseAnswer::Conflict).waits().reads(held("other", "1")).waits();
    assert_eq!(replica.contender.until(), None);
}

#[test]
fn one_that_was_given_back_is_taken_at_once() {
    let mut replica = Replica::new();
    replica.reads(free("7"));
    let LeaseStep::Ask(LeaseRequest::Write { record, on }) = replica.ask() else {
        unreachable!("{:?}", replica.ask())
    };
    assert_eq!((on.as_deref(), record.transitions, record.acquired), (Some("7"), 4, Some(wall())));
    let began = replica.now;
    replica.writes("8");
    assert_eq!(replica.contender.until(), Some(began + Windows::default().hold));
}

#[test]
fn one_that_is_held_is_taken_when_it_was_seen_unchanged_for_its_whole_time() {
    let mut replica = Replica::new();
    replica.reads(held("other", "1"));
    let seen = replica.now;
    let mut looks = 0;
    while !matches!(replica.ask(), LeaseStep::Ask(LeaseRequest::Write { .. })) {
        match replica.ask() {
            LeaseStep::Ask(LeaseRequest::Read) => {
                looks += 1;
                replica.reads(held("other", "1"))
            }
            _ => replica.waits(),
        };
    }
    assert_eq!(replica.now - seen, Windows::default().lease);
    assert_eq!(looks, 13);
}

#[test]
fn each_renewal_that_is_seen_begins_the_wait_anew() {
    let mut replica = Replica::new();
    for version in 1..40 {
        replica.reads(held("other", &version.to_string())).waits();
    }
    assert_eq!(replica.ask(), LeaseStep::Ask(LeaseRequest::Read));
}

#[test]
fn a_holder_that_was_promised_more_gets_it_and_one_that_was_promised_less_does_not_lose_it() {
    for (seconds, waits) in [(Some(60), 60.0), (Some(1), 15.0), (Some(-5), 15.0), (None, 15.0)] {
        let mut replica = Replica::new();
        let mut seen = held("other", "1");
        seen.record.duration_seconds = seconds;
        replica.reads(seen);
        let run_out = replica.now + s(waits);
        replica.now = run_out - s(0.001);
        assert!(!matches!(replica.ask(), LeaseStep::Ask(LeaseRequest::Write { .. })), "{seconds:?}");
        replica.now = run_out;
        assert!(matches!(replica.ask(), LeaseStep::Ask(LeaseRequest::Write { .. })), "{seconds:?}");
    }
}

#[test]
fn one_that_was_deleted_is_still_its_holders() {
    let mut replica = Replica::new();
    replica.reads(held("other", "1")).waits();
    let left = s(15.0) - s(1.0);
    let deleted = replica.now;
    replica.gets(LeaseAnswer::Absent);
    replica.now = deleted + left - s(0.001);
    assert!(!matches!(replica.ask(), LeaseStep::Ask(LeaseRequest::Write { .. })));
    replica.now = deleted + left;
    assert!(matches!(replica.ask(), LeaseStep::Ask(LeaseRequest::Write { on: None, .. })));
}

#[test]
fn the_holder_renews_in_time_and_keeps_when_it_began() {
    let mut replica = Replica::leading();
    let began = replica.now - s(0.1);
    replica.waits();
    assert_eq!(replica.now, began + Windows::default().renew);
    let LeaseStep::Ask(LeaseRequest::Write { record, on }) = replica.ask() else {
        unreachable!("{:?}", replica.ask())
    };
    assert_eq!((on.as_deref(), record.transitions, record.acquired), (Some("2"), 3, None));
    let began = replica.now;
    replica.writes("3");
    assert_eq!(replica.contender.until(), Some(began + s(10.0)));
}

#[test]
fn who_cannot_renew_tries_until_the_time_is_over() {
    let mut replica = Replica::leading();
    let until = replica.contender.until().unwrap();
    let mut tries = 0;
    while replica.ask() != LeaseStep::End(CampaignEnd::Lapsed) {
        match replica.ask() {
            LeaseStep::Ask(LeaseRequest::Write { .. }) => {
                tries += 1;
                replica.gets(LeaseAnswer::Failed)
            }
            _ => replica.waits(),
        };
    }
    assert_eq!(replica.now, until);
    assert_eq!(tries, 14);
}

#[test]
fn an_answer_that_comes_too_late_gives_nothing_back() {
    let mut replica = Replica::leading();
    replica.waits();
    let (LeaseStep::Ask(ask), began) = (replica.ask(), replica.now) else { unreachable!() };
    replica.now += s(8.0);
    replica.contender.learn(&ask, LeaseAnswer::Lease(held("me", "3")), began, replica.now);
    assert_eq!(replica.ask(), LeaseStep::End(CampaignEnd::Lapsed));
    // A replica that never led writes again.
    let mut replica = Replica::new();
    replica.reads(free("1"));
    let (LeaseStep::Ask(ask), began) = (replica.ask(), replica.now) else { unreachable!() };
    replica.now += s(10.0);
    replica.contender.learn(&ask, LeaseAnswer::Lease(held("me", "2")), began, replica.now);
    assert_eq!(replica.contender.until(), None);
    assert!(
        matches!(replica.ask(), LeaseStep::Ask(LeaseRequest::Write { on: Some(version), .. }) if version == "2")
    );
}

#[test]
fn a_renewal_whose_answer_was_lost_is_found_and_counts_for_nothing() {
    let mut replica = Replica::leading();
    let until = replica.contender.until();
    replica
        .waits()
        .gets(LeaseAnswer::Failed)
        .waits()
        .gets(LeaseAnswer::Conflict)
        .waits()
        .reads(held("me", "3"));
    assert_eq!(replica.contender.until(), until);
    let LeaseStep::Ask(LeaseRequest::Write { on, .. }) = replica.ask() else {
        unreachable!("{:?}", replica.ask())
    };
    assert_eq!(on.as_deref(), Some("3"));
}

#[test]
fn who_finds_another_one_on_it_ends() {
    let mut replica = Replica::leading();
    replica.waits().gets(LeaseAnswer::Conflict).waits().reads(held("other", "9"));
    assert_eq!(replica.ask(), LeaseStep::End(CampaignEnd::Taken("other".into())));
}

#[test]
fn who_leads_makes_a_lease_that_was_deleted_anew() {
    let mut replica = Replica::leading();
    replica.waits().gets(LeaseAnswer::Absent);
    assert!(matches!(replica.ask(), LeaseStep::Ask(LeaseRequest::Write { on: None, .. })));
}

#[test]
fn who_leaves_gives_it_back() {
    let mut replica = Replica::leading();
    replica.contender.leave();
    let LeaseStep::Ask(LeaseRequest::Write { record, on }) = replica.ask() else {
        unreachable!("{:?}", replica.ask())
    };
    assert_eq!((record.holder, record.duration_seconds, on.as_deref()), (None, Some(1), Some("2")));
    replica.gets(LeaseAnswer::Lease(free("3")));
    assert_eq!(replica.ask(), LeaseStep::Left);
}

#[test]
fn who_leaves_looks_what_became_of_it() {
    for (read, then) in [(held("other", "9"), LeaseStep::Left), (free("9"), LeaseStep::Left)] {
        let mut replica = Replica::leading();
        replica.contender.leave();
        replica.gets(LeaseAnswer::Failed).waits().gets(LeaseAnswer::Conflict).waits().reads(read);
        assert_eq!(replica.ask(), then);
    }
    let mut replica = Replica::leading();
    replica.contender.leave();
    replica.gets(LeaseAnswer::Conflict).waits().reads(held("me", "9"));
    assert!(matches!(
        replica.ask(),
        LeaseStep::Ask(LeaseRequest::Write { record: LeaseRecord { holder: None, .. }, .. })
    ));
    // A replica that never led has no Lease to give back.
    let mut replica = Replica::new();
    replica.contender.leave();
    assert_eq!(replica.ask(), LeaseStep::Left);
}
