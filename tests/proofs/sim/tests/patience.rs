//! A landing of 200 files survives six hours without the FHIR server, the storage account or the API server.
#![allow(missing_docs, clippy::panic)]

use std::collections::BTreeMap;

use sim::any::outage;
use sim::plan::{Ending, Event, EventKind, Flaw, Kind, LongOutage, Outage, Plan};
use sim::{Outcome, run};

#[test]
fn an_outage_of_six_hours_costs_time_and_neither_the_attempt_nor_a_stored_byte() {
    let mut struck: BTreeMap<Outage, u32> = BTreeMap::new();
    for seed in 0..16 {
        let plan = outage(seed);
        let Kind::Outage(LongOutage { part, .. }) = plan.kind else { panic!("{:?}", plan.kind) };
        let outcome = run(plan, true);
        if let Some((law, text)) = outcome.broken {
            panic!("seed {seed}, {part:?} out, breaks {law}: {text}");
        }
        let out = outcome.trace.iter().filter(|line| line.contains("is out")).count();
        assert_eq!(out, 1, "the outage of seed {seed} strikes in the middle of the landing");
        *struck.entry(part).or_default() += 1;
    }
    let parts: Vec<&Outage> = struck.keys().collect();
    assert_eq!(parts, [&Outage::Api, &Outage::Fhir(0), &Outage::Storage, &Outage::Role]);
}

/// A landing of 200 files without an outage. The first file has this flaw.
fn undisturbed(flaw: Flaw, change: impl FnOnce(&mut Plan)) -> Outcome {
    let mut plan = outage(1);
    plan.kind = Kind::Anything;
    for export in &mut plan.exports {
        if let Some(spec) = export.spec.as_object_mut() {
            spec.insert("backoffLimit".to_owned(), 0.into());
        }
        for job in &mut export.jobs {
            if let Ending::Files(files) = &mut job.ending
                && let Some(file) = files.first_mut()
            {
                file.flaw = flaw;
            }
        }
    }
    change(&mut plan);
    let outcome = run(plan, true);
    assert_eq!(outcome.broken, None);
    outcome
}

/// The lines of a trace that contain `what`.
fn lines<'o>(outcome: &'o Outcome, what: &str) -> Vec<&'o String> {
    outcome.trace.iter().filter(|line| line.contains(what)).collect()
}

#[test]
fn a_file_that_the_server_does_not_have_holds_up_no_other_and_is_named() {
    let outcome = undisturbed(Flaw::Missing, |_| {});
    assert_eq!(lines(&outcome, "commit lake/").len(), 199, "all others landed");
    let first = outcome.trace.iter().position(|line| line.contains(" file http")).unwrap_or_default();
    let since = outcome.trace.get(first..).unwrap_or_default();
    let manifests =
        since.iter().filter(|line| line.contains("Get ") && line.contains("/jobs/7 for e0")).count();
    assert!((1..20).contains(&manifests), "{manifests} manifests were asked for");
    let opened = lines(&outcome, " file http").len();
    assert!(opened < 230, "files were opened {opened} times");
    let told = lines(&outcome, "e0: FileMissing");
    assert!(told.iter().any(|line| line.contains("Patient-1.ndjson")), "{told:?}");
}

#[test]
fn a_download_that_breaks_off_after_its_last_byte_is_not_fetched_again() {
    let outcome = undisturbed(Flaw::BreaksAtEnd, |_| {});
    let opened = lines(&outcome, "/7/0 from ");
    assert_eq!(opened.len(), 3, "the whole, behind the end, the last byte: {opened:?}");
    assert_eq!(opened.iter().filter(|line| line.ends_with(" from 0")).count(), 1, "{opened:?}");
    assert_eq!(lines(&outcome, "ends: Complete").len(), 1);
}

#[test]
fn a_server_that_makes_up_other_paths_for_each_manifest_costs_no_attempt() {
    let crashes = |plan: &mut Plan| {
        for server in &mut plan.servers {
            server.fresh_paths = true;
            server.links_last = None;
            server.page = 100;
        }
        plan.latency = 800;
        plan.events = (1..4).map(|n| Event { at: n * 60, kind: EventKind::Crash(1) }).collect();
    };
    let outcome = undisturbed(Flaw::None, crashes);
    let opened = lines(&outcome, " file http").len();
    assert!(opened > 200, "a crash strikes in the middle of the landing: {opened}");
    assert_eq!(lines(&outcome, "ends: Complete").len(), 1);
}
