//! Resolves the facts: what a decision depends on besides the object itself.

use std::collections::BTreeSet;

use kube::ResourceExt;

use super::places::has_place;
use super::world::World;
use crate::api::{FhirExport, FhirServer};
use crate::cluster::stores::server_key;
use crate::core::allow;
use crate::core::export::{Facts, Followers, is_terminal};
use crate::core::schedule::owned_by;
use crate::ports::{Cluster, ClusterFailure, JobKey, Stores};

/// Gathers the facts for one export.
/// `searched` is whether the answer to a search for jobs is decided on: only then the jobs of all others count.
pub(super) async fn resolve<W: World>(
    world: &W,
    export: &FhirExport,
    searched: bool,
) -> Result<Facts, ClusterFailure> {
    let (namespace, name) = server_key(export);
    let server = world.stores().server(&namespace, &name);
    let status = export.status.as_ref();
    let ended = status.is_some_and(is_terminal);
    let waiting = !ended && status.is_none_or(|s| s.job.is_none());
    let namespace_admitted = match &server {
        Some(server) if waiting => admits(world, server, export).await?,
        _ => true,
    };
    let place = match &server {
        // The namespace is refused, so the export needs no place.
        Some(_) if waiting && !namespace_admitted => false,
        Some(server) if waiting => has_place(world, server, export),
        Some(_) | None => true,
    };
    let claimed = if searched { claimed(world, export) } else { BTreeSet::new() };
    let followers = followers(world, export);
    Ok(Facts { server, namespace_admitted, place, claimed, followers })
}

/// Whether other running exports follow the same job, and whether one of them still wants it. This is also
/// asked for an export that has ended, before its server is told to forget the job.
fn followers<W: World>(world: &W, export: &FhirExport) -> Followers {
    let Some(job) = JobKey::of(export) else { return Followers::None };
    let uid = export.uid();
    let same = world.stores().exports_with(&job);
    let others = same.iter().filter(|other| other.uid() != uid).map(|other| world.runs().newest(other));
    let running = others.filter(|other| other.status.as_ref().is_some_and(|status| !is_terminal(status)));
    running.fold(Followers::None, |found, other| {
        let lets_go = other.metadata.deletion_timestamp.is_some()
            || other.spec.cancel == Some(true)
            || other.status.as_ref().is_some_and(|status| status.cancellation.is_some());
        if lets_go && found != Followers::Wanting { Followers::LettingGo } else { Followers::Wanting }
    })
}

async fn admits<W: World>(
    world: &W,
    server: &FhirServer,
    export: &FhirExport,
) -> Result<bool, ClusterFailure> {
    let (own, theirs) = (export.namespace().unwrap_or_default(), server.namespace().unwrap_or_default());
    if allow::admits_namespace(&server.spec, &theirs, &own, None) {
        return Ok(true);
    }
    if server.spec.consumers.is_none() {
        return Ok(false);
    }
    let labels = world.cluster().namespace_labels(&own).await?;
    Ok(allow::admits_namespace(&server.spec, &theirs, &own, Some(&labels)))
}

/// The ids of the jobs that other exports follow or followed. Looks at all exports.
fn claimed<W: World>(world: &W, export: &FhirExport) -> BTreeSet<String> {
    let own = export.uid();
    let others =
        world.stores().exports().into_iter().filter(|e| e.uid() != own).map(|e| world.runs().newest(&e));
    let mut ids = BTreeSet::new();
    for other in others {
        let Some(status) = &other.status else { continue };
        ids.extend(status.job.iter().filter_map(|j| j.id.clone()));
        ids.extend(status.previous_jobs.iter().filter_map(|j| j.id.clone()));
    }
    ids
}

/// The container and folder of each output that exports outside the schedule with this uid have or had, and
/// of each that other schedules record. Accounts are not compared: a folder that is named for any account is
/// not deleted.
pub(super) fn folders_of_others<W: World>(world: &W, schedule: &str) -> BTreeSet<(String, String)> {
    let mut folders = BTreeSet::new();
    for export in world.stores().exports() {
        let Some(status) = export.status.as_ref().filter(|_| !owned_by(&export, schedule)) else { continue };
        let output = status.output.as_ref();
        let Some(container) = output.and_then(|output| output.container.as_ref()) else { continue };
        let earlier = status.previous_jobs.iter().filter_map(|job| job.folder.as_ref());
        let all = output.and_then(|output| output.folder.as_ref()).into_iter().chain(earlier);
        folders.extend(all.map(|folder| (container.clone(), folder.clone())));
    }
    for other in world.stores().schedules().into_iter().filter(|s| s.uid().as_deref() != Some(schedule)) {
        let Some(status) = &other.status else { continue };
        let history = status.chain.iter().flat_map(|chain| &chain.history);
        folders.extend(history.filter_map(|run| Some((run.container.clone()?, run.folder.clone()?))));
        for chain in status.retention.iter().flat_map(|ledger| &ledger.chains) {
            folders.extend(chain.folders.iter().map(|f| (chain.container.clone(), f.folder.clone())));
        }
    }
    folders
}
