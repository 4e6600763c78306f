//! Every file has landed: what landed is judged, then the log and the manifest are stored, then the run ends.

use std::sync::Arc;

use super::ask;
use super::end::{self, Ending};
use super::flow::{Flow, Next};
use super::landed::{self, judge};
use super::landed_manifest;
use super::log;
use super::memory::{Landing, LandingStage};
use super::phase::Phase;
use super::record;
use super::store;
use super::turn::Turn;
use super::type_counts;
use crate::api::{ConditionStatus, Reason};
use crate::core::effect::Effect;
use crate::core::folder::MANIFEST;
use crate::core::landing::LandPlan;

/// Says what comes next once every file of the plan has landed.
pub(super) fn conclude(turn: &mut Turn<'_>, memory: Landing, plan: &LandPlan) -> Flow {
    let LandingStage::Landed(concluding) = &memory.stage else {
        return Flow::Do(Phase::Landing(Box::new(memory)), Next::Rest);
    };
    let (manifest, landed) = (&memory.manifest, &concluding.landed);
    let request = &turn.spec().request;
    let spec = turn.server().map(|server| server.spec());
    if let Some((type_, request)) =
        spec.and_then(|spec| type_counts::question(spec, manifest, request, &concluding.counted_types))
    {
        let count = Effect::CountType { type_, request };
        return Flow::Do(Phase::Landing(Box::new(memory)), Next::perform(count));
    }
    let verdict = judge(manifest, request, plan, landed, &concluding.counted_types);
    record::landed(turn, manifest, plan, landed);
    record::apply(turn, &verdict);
    if verdict.status == ConditionStatus::False {
        let message = format!("{}; keep the data apart and export anew", verdict.message);
        return Flow::Became(end::fail(turn, Reason::VerificationFailed, &message));
    }
    let storage = turn.server().and_then(|server| server.spec().storage.as_ref());
    let log_wanted = storage.is_some_and(|storage| storage.export_log == Some(true));
    if log_wanted && concluding.log.outcome.is_none() {
        let next = store::next(turn, &concluding.log, turn.deadline(), || Effect::StoreLog {
            container: plan.container.clone(),
            path: format!("{}/log.ndjson", plan.folder),
            body: Arc::new(log::ndjson(turn, manifest, plan, landed)),
        });
        return Flow::Do(Phase::Landing(Box::new(memory)), next);
    }
    let path = format!("{}/{MANIFEST}", plan.folder);
    if concluding.store.outcome.is_none() {
        let next = store::next(turn, &concluding.store, turn.deadline(), || {
            let store = ask::store_name(turn).unwrap_or_default();
            let body = Arc::new(landed_manifest::body(manifest, &store, plan, landed));
            Effect::StoreManifest { container: plan.container.clone(), path, body }
        });
        return Flow::Do(Phase::Landing(Box::new(memory)), next);
    }
    let errors = landed::error_report(&plan.files, landed);
    let stored = concluding.store.outcome.clone();
    let unstored_log = concluding.log.outcome.clone().and_then(Result::err);
    let ending = Ending { manifest_path: Some(path), stored, unstored_log, errors };
    Flow::Became(end::complete(turn, manifest, &ending))
}
