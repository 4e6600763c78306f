//! What the pods of a Job are to land, and how they say that they are done.

use serde::{Deserialize, Serialize};

use super::{LandFailure, LandFailureKind, LandPlan, LandState};
use crate::api::{FhirServer, FhirServerSpec};
use crate::core::ledger::StorageFailureKind;
use crate::core::manifest::sha256_hex;

/// The largest plan, in bytes, that pods read from the container: about a million files.
pub const ASSIGNMENT_LIMIT: usize = 512 << 20;

/// What a pod reads from its mounted Secret: where the plan lies, and for which server.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Assignment {
    /// The server whose files land: its name, namespace, uid and spec.
    pub server: FhirServer,
    /// The container that holds the plan and receives the files.
    pub container: String,
    /// The key of the plan in the container.
    pub plan: String,
    /// The SHA-256 of the plan in hexadecimal.
    pub sha256: String,
    /// The number of pods that share the plan.
    pub pods: usize,
}

/// An assignment with the content of its plan, ready to be handed out.
#[derive(Clone, Debug, PartialEq)]
pub struct Assignments {
    /// What each pod reads.
    pub assignment: Assignment,
    /// The content of the plan's file.
    pub body: Vec<u8>,
    /// The SHA-256 of everything that the pods depend on: if it changes, the Job is made anew.
    pub digest: String,
}

/// The assignment to land `plan` with pods, as `server` wants it; `None` if it cannot be written as JSON.
pub fn assignments(server: &FhirServer, plan: &LandPlan) -> Option<Assignments> {
    let spec = &server.spec;
    let transfer = spec.transfer.clone().unwrap_or_default();
    let wanted = transfer.parallelism.and_then(|n| usize::try_from(n).ok()).unwrap_or(2);
    let pods = wanted.min(plan.files.len()).min(downloads(spec).unwrap_or(wanted)).max(1);
    let parallel = downloads(spec).map_or(plan.parallel, |all| (all / pods).max(1));
    // The order of the tries is the operator's: it must not make another Job.
    let plan = LandPlan { parallel, last: Vec::new(), ..plan.clone() };
    let body = serde_json::to_vec(&plan).ok()?;
    let sha256 = sha256_hex(&body);
    let mut bare = FhirServer::new(server.metadata.name.as_deref().unwrap_or_default(), spec.clone());
    bare.metadata.namespace.clone_from(&server.metadata.namespace);
    bare.metadata.uid.clone_from(&server.metadata.uid);
    let key = format!("{}/{}", plan.folder, crate::core::folder::assignment(&sha256));
    let assignment = Assignment { server: bare, container: plan.container, plan: key, sha256, pods };
    let digest = sha256_hex(&serde_json::to_vec(&assignment).ok()?);
    Some(Assignments { assignment, body, digest })
}

/// How many downloads at once the server's owner allows, over all pods.
fn downloads(spec: &FhirServerSpec) -> Option<usize> {
    spec.limits.as_ref()?.max_parallel_downloads.and_then(|n| usize::try_from(n).ok())
}

/// How a pod of a landing ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// Its share has landed.
    Landed,
    /// Its share cannot land: another pod would fail in the same way.
    Lasting,
    /// Its share has not landed; another pod may go on with it.
    Passing,
}

impl Exit {
    /// The exit code of the process. 2 is that of an invalid command line.
    pub fn code(self) -> u8 {
        match self {
            Self::Landed => 0,
            Self::Lasting => 3,
            Self::Passing => 75,
        }
    }

    /// The end of a pod whose landing ended in this state.
    pub fn of(state: &LandState) -> Self {
        match state {
            LandState::Done(_) => Self::Landed,
            LandState::Running(_) => Self::Passing,
            LandState::Failed(LandFailure { kind, .. }) => match kind {
                // Only the operator can have the manifest anew, and only it says what is wrong.
                LandFailureKind::Expired | LandFailureKind::Permanent => Self::Lasting,
                LandFailureKind::Source | LandFailureKind::Missing | LandFailureKind::Panicked => {
                    Self::Passing
                }
                LandFailureKind::Storage(kind) => of_storage(*kind),
            },
        }
    }
}

fn of_storage(kind: StorageFailureKind) -> Exit {
    match kind {
        // The operator renews the credentials of the pods.
        StorageFailureKind::Transient { .. }
        | StorageFailureKind::Missing
        | StorageFailureKind::Denied
        | StorageFailureKind::NotFound => Exit::Passing,
        StorageFailureKind::NotConfigured
        | StorageFailureKind::HostNotAllowed
        | StorageFailureKind::NotGranted
        | StorageFailureKind::NotMounted
        | StorageFailureKind::Full
        | StorageFailureKind::ReadOnly
        | StorageFailureKind::Permanent => Exit::Lasting,
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use serde_json::json;

    use super::*;
    use crate::api::{Compression, Reason};
    use crate::core::landing::{Claims, FileKind, LandFile, LandProgress};
    use crate::core::poll::Bounds;

    fn server(transfer: &serde_json::Value, limits: &serde_json::Value) -> FhirServer {
        serde_json::from_value(json!({ "metadata": { "name": "clinic", "namespace": "ns", "uid": "s" },
            "spec": { "url": "https://x", "dialect": "BulkData", "auth": { "type": "None" },
                "transfer": transfer, "limits": limits } }))
        .unwrap()
    }

    fn plan(files: usize) -> LandPlan {
        let second = Duration::from_secs(1);
        let file = |n: usize| LandFile {
            kind: FileKind::Output,
            url: format!("https://x/{n}?sig=1"),
            blob: format!("f/Patient-{n}.ndjson"),
            source: format!("{n:064x}"),
            claims: Claims::default(),
        };
        LandPlan {
            container: "lake".into(),
            folder: "f".into(),
            compression: Compression::None,
            files: (0..files).map(file).collect(),
            last: vec!["f/Patient-1.ndjson".into()],
            parallel: 8,
            typed: true,
            with_token: true,
            bounds: Bounds { min: second, max: second, max_retry_after: second },
        }
    }

    #[test]
    fn the_shares_are_disjoint_and_together_the_whole() {
        for (files, pods) in [(0, 1), (1, 1), (7, 2), (8, 4), (3, 8), (100, 7)] {
            let plan = plan(files);
            let mut all: Vec<String> = Vec::new();
            for index in 0..pods {
                let share = plan.share(index, pods);
                assert_eq!(share, plan.share(index, pods), "a pod that replaces another has its share");
                all.extend(share.files.into_iter().map(|file| file.blob));
            }
            all.sort();
            let mut whole: Vec<String> = plan.files.into_iter().map(|file| file.blob).collect();
            whole.sort();
            assert_eq!(all, whole, "{files} files, {pods} pods");
        }
    }

    #[test]
    fn the_owner_of_the_server_bounds_pods_and_downloads() {
        for (transfer, limits, files, pods, parallel) in [
            (json!({"mode": "Job"}), json!({}), 10, 2, 8),
            (json!({"mode": "Job", "parallelism": 4}), json!({}), 10, 4, 8),
            (json!({"mode": "Job", "parallelism": 4}), json!({}), 3, 3, 8),
            (json!({"mode": "Job", "parallelism": 4}), json!({"maxParallelDownloads": 10}), 10, 4, 2),
            (json!({"mode": "Job", "parallelism": 4}), json!({"maxParallelDownloads": 2}), 10, 2, 1),
            (json!({"mode": "Job", "parallelism": 4}), json!({"maxParallelDownloads": 1}), 10, 1, 1),
            (json!({"mode": "Job"}), json!({}), 0, 1, 8),
        ] {
            let made = assignments(&server(&transfer, &limits), &plan(files)).unwrap();
            let read: LandPlan = serde_json::from_slice(&made.body).unwrap();
            assert_eq!(
                (made.assignment.pods, read.parallel),
                (pods, parallel),
                "{transfer} {limits} {files}"
            );
            assert_eq!(read.files, plan(files).files);
        }
    }

    #[test]
    fn only_what_the_pods_depend_on_makes_another_job() {
        let (job, none) = (json!({"mode": "Job"}), json!({}));
        let digest = |server: &FhirServer, plan: &LandPlan| assignments(server, plan).unwrap().digest;
        let first = digest(&server(&job, &none), &plan(3));
        assert_eq!(first, digest(&server(&job, &none), &LandPlan { last: Vec::new(), ..plan(3) }));
        let mut seen = server(&job, &none);
        seen.metadata.resource_version = Some("7".into());
        assert_eq!(first, digest(&seen, &plan(3)));
        assert_ne!(first, digest(&server(&json!({"mode": "Job", "parallelism": 3}), &none), &plan(3)));
        let mut fresh = plan(3);
        fresh.files[0].url = "https://x/0?sig=2".into();
        assert_ne!(first, digest(&server(&job, &none), &fresh));
    }

    #[test]
    fn a_pod_says_whether_another_one_may_go_on() {
        let failed = |kind| {
            LandState::Failed(LandFailure {
                kind,
                reason: Reason::DownloadFailed,
                message: String::new(),
                progress: LandProgress::default(),
                obstructed: Vec::new(),
            })
        };
        let storage = |kind| failed(LandFailureKind::Storage(kind));
        for (state, exit) in [
            (LandState::Done(Arc::default()), Exit::Landed),
            (failed(LandFailureKind::Permanent), Exit::Lasting),
            (failed(LandFailureKind::Expired), Exit::Lasting),
            (failed(LandFailureKind::Source), Exit::Passing),
            (failed(LandFailureKind::Missing), Exit::Passing),
            (failed(LandFailureKind::Panicked), Exit::Passing),
            (storage(StorageFailureKind::Transient { retry_after: None }), Exit::Passing),
            (storage(StorageFailureKind::Denied), Exit::Passing),
            (storage(StorageFailureKind::Full), Exit::Lasting),
            (storage(StorageFailureKind::Permanent), Exit::Lasting),
        ] {
            assert_eq!(Exit::of(&state), exit, "{state:?}");
        }
    }
}
