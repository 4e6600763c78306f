//! The exports that come before a run's own, where the members of a group are kept track of: who is in the group, then,
//! in full, who joined it. All of them are one run, which counts as a whole or not at all; the next one repeats it.

use std::sync::Arc;

use kube::ResourceExt;

use super::chain::{self, counts, fingerprint};
use super::child::Link;
use super::ready::Ready;
use super::turn::{Turn, has_ended};
use super::{Effect, Listed, Newcomers, absorb, retention};
use crate::api::{
    ActiveRun, BulkDataRequest, ChainedRun, ConditionType, ExportRequest, FhirExport, Handling, PatientsBlob,
    PendingRun, Reason, RunMode, RunStage, Version,
};
use crate::core::allow;
use crate::core::bulk::Deviations;
use crate::core::condition;
use crate::core::effect::NoteType;
use crate::core::export::ServerView;
use crate::core::ledger::{StorageFailure, StorageFailureKind};

/// After so many runs that failed, one more failure over a list of newcomers makes the next run full.
const FAILURES: i32 = 2;

/// Why patients that join the group cannot be exported in full, if so: half a sentence.
pub(super) fn hindrance(server: &ServerView<'_>, request: &ExportRequest) -> Option<String> {
    let ways = server.deviations();
    let bulk = request.bulk_data.as_ref();
    if bulk.is_some_and(|bulk| bulk.patients_secret_ref.is_some() || bulk.patients_blob.is_some()) {
        return Some("the request has a list of patients of its own".to_owned());
    }
    if !ways.patient {
        return Some(format!(
            "FhirServer {} is not known to take lists of patients (bulkData.supportsPatient)",
            server.name()
        ));
    }
    let any = PatientsBlob { path: "any/any".to_owned(), sha256: String::new() };
    let asked = [of_members(&ways, request), of_newcomers(request, any)];
    let refused = asked.iter().find_map(|request| allow::admits_request(server.spec(), request).err());
    refused.map(|why| {
        format!(
            "spec.allow of FhirServer {} does not admit what finds out who is in the group: {why}",
            server.name()
        )
    })
}

/// Who is in the group: of each patient as little as the server can be asked for.
pub(super) fn of_members(ways: &Deviations, template: &ExportRequest) -> ExportRequest {
    let little = ways.may_know(Version::Stu2);
    ExportRequest {
        types: Some(vec!["Patient".to_owned()]),
        type_filters: None,
        since: None,
        include_associated_data: None,
        // Whatever a server passes over, the list is the same.
        handling: if little { Some(Handling::Lenient) } else { template.handling },
        bulk_data: little
            .then(|| BulkDataRequest { elements: Some(vec!["id".to_owned()]), ..BulkDataRequest::default() }),
        ..template.clone()
    }
}

/// Everything of those who joined.
pub(super) fn of_newcomers(template: &ExportRequest, list: PatientsBlob) -> ExportRequest {
    let bulk = template.bulk_data.clone().unwrap_or_default();
    ExportRequest {
        since: None,
        bulk_data: Some(BulkDataRequest { patients_blob: Some(list), ..bulk }),
        ..template.clone()
    }
}

/// The request of a run's stage.
pub(super) fn request(turn: &Turn<'_>, run: &ActiveRun, link: Option<&Link>) -> ExportRequest {
    let template = &turn.spec().template.spec.request;
    let newcomers = || link.and_then(|link| link.pending.newcomers.clone());
    match (run.stage, turn.facts.server.as_deref()) {
        (Some(RunStage::Members), Some(server)) => of_members(&Deviations::of(server), template),
        (Some(RunStage::Newcomers), _) if let Some(list) = newcomers() => of_newcomers(template, list),
        _ => ExportRequest { since: link.and_then(|link| link.pending.since.clone()), ..template.clone() },
    }
}

/// The name of the run that one of its exports belongs to.
pub(super) fn run_of(export: &str) -> &str {
    [RunStage::Members, RunStage::Newcomers]
        .iter()
        .find_map(|stage| export.strip_suffix(stage.suffix()))
        .unwrap_or(export)
}

/// What of a run an export is, by its name.
pub(super) fn stage_of(export: &str) -> Option<RunStage> {
    [RunStage::Members, RunStage::Newcomers].into_iter().find(|stage| export.ends_with(stage.suffix()))
}

/// The exports of a run that came before the one of this name and have ended, in their order.
pub(super) fn before_own(turn: &Turn<'_>, export: &str) -> Vec<Arc<FhirExport>> {
    let run = run_of(export);
    let stages = [RunStage::Members, RunStage::Newcomers].into_iter();
    let names = stages.map(|stage| name_of(run, Some(stage))).take_while(|name| name != export);
    names.filter_map(|name| turn.child(&name).filter(|child| has_ended(child)).cloned()).collect()
}

/// The name of a run's export.
pub(super) fn name_of(run: &str, stage: Option<RunStage>) -> String {
    format!("{run}{}", stage.map_or("", RunStage::suffix))
}

/// What the chain waits for, if it is this run.
fn pending<'a>(turn: &'a mut Turn<'_>, run: &str) -> Option<&'a mut PendingRun> {
    let pending = turn.status.chain.as_mut()?.pending.as_mut();
    pending.filter(|pending| pending.name == run)
}

/// Whether a part of the run was done before.
pub(super) fn under_way(turn: &Turn<'_>, run: &ActiveRun) -> bool {
    let pending = turn.status.chain.as_ref().and_then(|chain| chain.pending.as_ref());
    let known = |pending: &PendingRun| pending.name == run_of(&run.name) && pending.members.is_some();
    run.stage == Some(RunStage::Newcomers) || pending.is_some_and(known)
}

/// Goes on with the run's next stage, which is to be made.
fn go_on(turn: &mut Turn<'_>, run: &str, stage: Option<RunStage>) {
    if let Some(active) = turn.status.active.iter_mut().find(|active| run_of(&active.name) == run) {
        active.name = name_of(run, stage);
        active.uid = None;
        active.stage = stage;
    }
}

/// What a stage found counts: the run goes on. Else why not.
pub(super) fn take_in(
    turn: &mut Turn<'_>,
    run: &ActiveRun,
    stage: RunStage,
    export: &FhirExport,
) -> Result<(), String> {
    let template = turn.spec().template.spec.request.clone();
    let name = run_of(&run.name).to_owned();
    let Some(pending) = pending(turn, &name) else {
        return Err("it is not of the run that the chain waits for".to_owned());
    };
    let expected = pending.fingerprint.clone();
    if refuses(turn, export) {
        match stage {
            RunStage::Members => {
                unknown(turn, &name, &format!("{} found nothing: the server refuses it", run.name));
                go_on(turn, &name, None);
                return Ok(());
            }
            RunStage::Newcomers => due(turn, Reason::NewcomersRefused),
        }
    }
    let time = counts(export)?.to_owned();
    let server = export.status.as_ref().and_then(|status| status.server.clone());
    if server.is_none_or(|server| fingerprint(&server.uid, &server.url, &template) != expected) {
        return Err("it ran on another server, or for another request, than it was made for".to_owned());
    }
    match stage {
        // It stays, until its files are read.
        RunStage::Members => {}
        RunStage::Newcomers => {
            let row = chain::row(export, RunMode::Newcomers, None, time);
            if let Some(pending) = self::pending(turn, &name) {
                pending.newcomers_run = Some(row);
            }
            go_on(turn, &name, None);
        }
    }
    Ok(())
}

/// Who is new is not known: the run, which goes on, is full.
fn unknown(turn: &mut Turn<'_>, run: &str, why: &str) {
    due(turn, Reason::MembersUnknown);
    let message = format!("{run} is full, since it is not known who joined the group: {why}");
    turn.note(NoteType::Warning, Reason::MembersUnknown, "Chain", &message);
}

/// Whether newcomers have to come with a full run: the server does not take what it is asked for, or fails over it again
/// and again.
fn refuses(turn: &Turn<'_>, export: &FhirExport) -> bool {
    let conditions = export.status.as_ref().map(|status| status.conditions.as_slice());
    let failed = condition::find(conditions.unwrap_or_default(), ConditionType::Failed);
    failed.filter(|c| c.is_true()).is_some_and(|failed| {
        let before = turn.status.consecutive_failures.unwrap_or(0);
        failed.because(Reason::KickOffRejected)
            || failed.because(Reason::UnsupportedByServer)
            || (failed.because(Reason::ExportFailed) && before >= FAILURES)
    })
}

/// A full run is due, for as long as none succeeds.
fn due(turn: &mut Turn<'_>, reason: Reason) {
    turn.status.chain.get_or_insert_default().full_due_reason = Some(reason.to_string());
}

/// The members are landed and not read yet: that is to be done.
pub(super) fn to_read(turn: &Turn<'_>, ready: &Ready) -> Option<Effect> {
    let run = turn.status.active.iter().find(|run| run.stage == Some(RunStage::Members))?;
    let export = turn.child(&run.name).filter(|child| child.uid() == run.uid && has_ended(child))?;
    let chain = turn.status.chain.as_ref()?;
    let full = chain::full_due(turn, ready, run.slot_time).is_some();
    Some(Effect::ListMembers {
        server: turn.facts.server.clone()?,
        export: Arc::clone(export),
        before: chain.members.clone().filter(|_| !full),
    })
}

/// The members are read.
pub(super) fn listed(turn: &mut Turn<'_>, listed: Listed) {
    let Some(run) = turn.status.active.iter().find(|run| run.stage == Some(RunStage::Members)).cloned()
    else {
        return;
    };
    let name = run_of(&run.name).to_owned();
    let mut list = None;
    match listed.newcomers {
        Newcomers::None => {}
        Newcomers::Listed(newcomers) => list = Some(newcomers),
        Newcomers::TooMany => {
            due(turn, Reason::TooManyNewcomers);
            let message = format!("{name} is full: more patients joined the group than a list can name");
            turn.note(NoteType::Normal, Reason::TooManyNewcomers, "Chain", &message);
        }
        Newcomers::Unknown(why) => unknown(turn, &name, &why),
    }
    let Some(pending) = pending(turn, &name) else { return };
    pending.members = listed.members;
    pending.newcomers.clone_from(&list);
    go_on(turn, &name, list.map(|_| RunStage::Newcomers));
}

/// The members could not be read: that is tried again, or the run is given up and the next one repeats it.
pub(super) fn unlisted(turn: &mut Turn<'_>, failure: &StorageFailure) {
    let Some(run) = turn.status.active.iter().find(|run| run.stage == Some(RunStage::Members)).cloned()
    else {
        return;
    };
    let passing = matches!(failure.kind, StorageFailureKind::Transient { .. });
    if passing {
        absorb::held_up(
            turn,
            Reason::StorageUnreachable,
            &format!(
                "the members of the group cannot be read ({}); it is tried again each minute",
                failure.message
            ),
        );
        return;
    }
    if let Some(export) = turn.child(&run.name).cloned() {
        retention::lost(turn, &export);
    }
    absorb::forget(turn, &run);
    let message = format!("the members that {} found cannot be read: {}", run.name, failure.message);
    absorb::failed(turn, Reason::RunFailed, &message);
    turn.note(NoteType::Warning, Reason::RunFailed, "Finish", &message);
}

/// The run was begun for another server or request: what it found so far says nothing of this one.
pub(super) fn outdated(turn: &Turn<'_>, ready: &Ready, run: &ActiveRun) -> bool {
    let pending = turn.status.chain.as_ref().and_then(|chain| chain.pending.as_ref());
    let Some(pending) = pending.filter(|pending| pending.name == run_of(&run.name)) else {
        return run.stage.is_some();
    };
    under_way(turn, run) && pending.fingerprint != ready.fingerprint
}

/// Gives such a run up.
pub(super) fn give_up(turn: &mut Turn<'_>, run: &ActiveRun) {
    if let Some(last) = before_own(turn, &run.name).pop() {
        retention::lost(turn, &last);
    }
    absorb::forget(turn, run);
    let message = format!(
        "{} is given up: the server or the request changed while it was under way; the next run is full",
        run_of(&run.name)
    );
    absorb::failed(turn, Reason::RequestChanged, &message);
    turn.note(NoteType::Warning, Reason::RequestChanged, "Finish", &message);
}

/// What was found and exported so far, of the run that the chain waits for.
pub(super) fn carried(turn: &Turn<'_>, run: &str) -> Option<PendingRun> {
    let pending = turn.status.chain.as_ref()?.pending.clone();
    pending.filter(|pending| pending.name == run)
}

/// What was exported of newcomers before an incremental run: a full one has it all.
pub(super) fn before(pending: &PendingRun) -> Option<ChainedRun> {
    pending.newcomers_run.clone().filter(|_| pending.mode == RunMode::Incremental)
}
