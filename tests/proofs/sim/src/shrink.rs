//! Shrinks a failing plan: leaves out whatever can be left out while the same law is still broken.

use crate::plan::{Ending, Flaw, Plan};
use crate::{BrokenLaw, Outcome, run};

/// The most runs that are tried.
const TRIES: usize = 1500;

/// Returns the smallest plan that was found to break the same law, and its outcome.
pub fn shrink(plan: Plan, law: BrokenLaw) -> (Plan, Outcome) {
    let mut best = plan;
    let mut tries = 0;
    let mut outcome = run(best.clone(), false);
    let breaks = |outcome: &Outcome| outcome.broken.as_ref().is_some_and(|(broken, _)| *broken == law);
    loop {
        let mut smaller = false;
        let mut at = 0;
        // Each candidate is derived from the best plan so far. When one is taken, the next at its index is tried.
        while let Some(candidate) = candidates(&best).into_iter().nth(at) {
            tries += 1;
            if tries > TRIES {
                return (best, outcome);
            }
            let came = run(candidate.clone(), false);
            if breaks(&came) {
                (best, outcome, smaller) = (candidate, came, true);
            } else {
                at += 1;
            }
        }
        if !smaller {
            return (best, outcome);
        }
    }
}

/// The plans that are a little smaller than this one.
fn candidates(plan: &Plan) -> Vec<Plan> {
    let mut all = Vec::new();
    let mut add = |change: &dyn Fn(&mut Plan)| {
        let mut smaller = plan.clone();
        change(&mut smaller);
        all.push(smaller);
    };
    for fewer in [1, plan.replicas.saturating_sub(1)].into_iter().filter(|n| (1..plan.replicas).contains(n)) {
        add(&|p| p.replicas = fewer);
    }
    let halves = |n: usize| [(0, n / 2), (n / 2, n)];
    for (from, to) in halves(plan.events.len()).into_iter().filter(|(from, to)| to > from) {
        add(&|p| drop(p.events.drain(from..to)));
    }
    for (from, to) in halves(plan.faults.len()).into_iter().filter(|(from, to)| to > from) {
        add(&|p| drop(p.faults.drain(from..to)));
    }
    for index in 0..plan.events.len() {
        add(&|p| {
            p.events.remove(index);
        });
    }
    for index in 0..plan.faults.len() {
        add(&|p| {
            p.faults.remove(index);
        });
    }
    // The numbers of exports stay the same: one that is left out is just never created.
    for index in 0..plan.exports.len() {
        let never = plan.heal_at * 1000;
        if plan.exports.get(index).is_some_and(|export| export.at < never) {
            add(&|p| p.exports.iter_mut().skip(index).take(1).for_each(|export| export.at = never * 10_000));
        }
    }
    for (export, planned) in plan.exports.iter().enumerate() {
        for member in
            ["ttlSecondsAfterFinished", "errorFilePolicy", "deletionPolicy", "suspend", "backoffLimit"]
        {
            if planned.spec.get(member).is_some() {
                add(&|p| {
                    let spec = p.exports.get_mut(export).and_then(|export| export.spec.as_object_mut());
                    spec.map(|spec| spec.remove(member));
                });
            }
        }
        for (job, planned) in planned.jobs.iter().enumerate() {
            let Ending::Files(files) = &planned.ending else { continue };
            for file in 0..files.len() {
                let change = move |p: &mut Plan, to: &dyn Fn(&mut Vec<crate::plan::FilePlan>)| {
                    let job = p.exports.get_mut(export).and_then(|export| export.jobs.get_mut(job));
                    if let Some(Ending::Files(files)) = job.map(|job| &mut job.ending) {
                        to(files);
                    }
                };
                add(&|p| {
                    change(p, &|files| {
                        files.remove(file);
                    });
                });
                if files.get(file).is_some_and(|file| file.flaw != Flaw::None || file.big) {
                    add(&|p| {
                        change(p, &|files| {
                            files.iter_mut().skip(file).take(1).for_each(|file| {
                                file.flaw = Flaw::None;
                                file.big = false;
                            });
                        });
                    });
                }
            }
        }
    }
    all
}
