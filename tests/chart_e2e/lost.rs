//! A namespace loses the Role by which the operator reads its credentials. Its exports wait, and no other is late.

use std::time::Duration;

use azure_fhir::{Access, KnownToken, Options, Script, Server};
use serde_json::{Value, json};

use crate::release::{NAMESPACE, Release, export, namespace, secret, server};

/// Exports in the namespace without the Role.
const LOST: usize = 100;
/// Healthy exports that are measured.
const HEALTHY: usize = 15;
/// Polls of each healthy export that find its job running.
const POLLS: u32 = 4;
/// How much later a healthy export may be with these neighbours than alone.
const MARGIN: Duration = Duration::from_secs(1);

/// The longest times of healthy exports: from creation to kick-off, and from one poll to the next.
#[derive(Debug)]
struct Lateness {
    kick_off: Duration,
    poll: Duration,
}

fn list(items: &[Value]) -> Value {
    json!({"apiVersion": "v1", "kind": "List", "items": items})
}

/// Runs [`HEALTHY`] exports and measures the longest of each time. Of so few exports, the longest is the p99.
async fn healthy(release: &Release, fhir: &Server, prefix: &str) -> Lateness {
    let names: Vec<String> = (0..HEALTHY).map(|nth| format!("{prefix}-{nth}")).collect();
    let manifest = |name: &String| {
        export("research", name, "clinic", &json!({"level": "System", "container": name}), &json!({}))
    };
    release.apply(&list(&names.iter().map(manifest).collect::<Vec<_>>())).await;
    for name in &names {
        release.until(&format!("fexp/{name}"), "research", "Complete=True Exported").await;
    }
    let jobs = fhir.jobs();
    let entries = release.kubernetes.audit().entries().unwrap();
    let mut late = Lateness { kick_off: Duration::ZERO, poll: Duration::ZERO };
    for name in &names {
        let job = jobs.iter().find(|job| job.container.as_ref() == Some(name)).unwrap();
        // kubectl creates by an apply on the server or by a POST to the collection, which names no object.
        let made = |entry: &&stage::AuditEntry| {
            entry.resource == "fhirexports"
                && entry.is_write()
                && entry.name == *name
                && entry.subresource.is_empty()
        };
        let created = entries.iter().find(made).map(|entry| entry.received).unwrap();
        late.kick_off = late.kick_off.max(job.created.duration_since(created).unsigned_abs());
        let gaps = fhir.poll_gaps(&job.id);
        assert!(gaps.len() >= POLLS as usize, "{name}: {gaps:?}");
        late.poll = gaps.into_iter().max().unwrap().max(late.poll);
    }
    late
}

#[tokio::test]
async fn exports_of_a_namespace_without_its_role_delay_no_other() {
    let before =
        [namespace(NAMESPACE, &json!({})), namespace("research", &json!({})), namespace("lost", &json!({}))];
    let values = json!({"image": {"repository": "registry.example/fhir-export-operator"},
        "credentialNamespaces": ["research"]});
    let release = Release::install(&before, &values).await;
    let access = Access::Tokens(vec![KnownToken::exporter("sesame")]);
    let fhir = release.fhir(Options { access, ..Options::default() }).await;
    fhir.script(Script::polls(POLLS).every_time());
    let token =
        json!({"type": "BearerToken", "bearerToken": {"secretRef": {"name": "token", "key": "token"}}});
    let spec = json!({"url": fhir.url(), "dialect": "Azure", "allowInsecureHTTP": true, "auth": token,
        "storage": release.storage(),
        "limits": {"minPollSeconds": 1, "maxPollSeconds": 1, "maxConcurrentExports": 1000}});
    for of in ["research", "lost"] {
        release.apply(&secret(of, "token", &json!({"token": "sesame"}))).await;
        release.apply(&release.storage_secret(of)).await;
    }
    release.apply(&server("research", "clinic", &spec)).await;
    release.until("fserver/clinic", "research", "Ready=True ProbeSucceeded").await;
    let (one, other) = (healthy(&release, &fhir, "alone-0").await, healthy(&release, &fhir, "alone-1").await);
    let alone = Lateness { kick_off: one.kick_off.min(other.kick_off), poll: one.poll.min(other.poll) };

    release.kubectl("apply -n lost -f examples/gitops/credentials-role.yaml").await;
    release.apply(&server("lost", "clinic", &spec)).await;
    release.until("fserver/clinic", "lost", "Ready=True ProbeSucceeded").await;
    release.kubectl("delete -n lost role,rolebinding fhir-export-credentials").await;
    // The operator has never read this Secret, so it has nothing in memory to go on with.
    release.apply(&secret("lost", "other", &json!({"token": "sesame"}))).await;
    let mut late = spec.clone();
    late["auth"]["bearerToken"]["secretRef"]["name"] = "other".into();
    release.apply(&server("lost", "late", &late)).await;
    let jobs = fhir.jobs().len();
    let lost = |nth: usize| {
        let request = json!({"level": "System", "container": "lost"});
        export("lost", &format!("lost-{nth}"), "late", &request, &json!({}))
    };
    release.apply(&list(&(0..LOST).map(lost).collect::<Vec<_>>())).await;
    release.until("fserver/late", "lost", "Ready=False ConnectionNotAllowed").await;
    release.until(&format!("fexp/lost-{}", LOST - 1), "lost", "Reconciling=True ConnectionNotAllowed").await;

    // A neighbour that delays others does so in every round; a busy machine does not.
    let mut rounds = Vec::new();
    while rounds.len() < 3 {
        let beside = healthy(&release, &fhir, &format!("beside-{}", rounds.len())).await;
        let in_time = beside.kick_off < alone.kick_off + MARGIN && beside.poll < alone.poll + MARGIN;
        rounds.push(beside);
        if in_time {
            let own = HEALTHY * rounds.len();
            assert_eq!(fhir.jobs().len(), jobs + own, "an export without credentials began");
            println!("alone {alone:?}, beside the neighbours {rounds:?}");
            return;
        }
    }
    panic!("alone {alone:?}, beside the neighbours {rounds:?}");
}
