//! Collects the records after all exports have ended.

use std::collections::{BTreeMap, BTreeSet};

use fhir_export_operator::core::manifest::sha256_hex;
use kube::ResourceExt;
use serde_json::Value;

use crate::Result;
use crate::cluster::{Cluster, Known};
use crate::plan::{DOOMED, Plan, Site, number_in};
use crate::record::{Act, End, Export, File, Job, Records, Told};
use crate::servers::Servers;
use crate::stores::Stores;

/// Collects the records of the servers, the API server, the stores and the operators' logs.
pub async fn collect(
    plan: &Plan,
    cluster: &Cluster,
    servers: &Servers,
    stores: &Stores,
    logs: &[String],
    metrics: &str,
) -> Result<Records> {
    let now: BTreeSet<String> = cluster.list().await?.iter().filter_map(ResourceExt::uid).collect();
    let exports = exports(plan, cluster, &now, logs);
    let mut jobs = azure_jobs(&servers.azure);
    jobs.extend(azure_jobs(&servers.entra));
    jobs.extend(bulk_jobs(&servers.bulk));
    jobs.extend(bulk_jobs(&servers.smart));
    jobs.extend(hapi_jobs(servers).await?);
    let blobs = stores.objects().await?;
    let namespaces_left =
        if cluster.has_namespace(DOOMED).await? { vec![DOOMED.to_owned()] } else { Vec::new() };
    let seen = seen(cluster, servers, stores, logs, metrics)?;
    let mut trouble = Vec::new();
    for (number, log) in (1..).zip(logs) {
        let panics = log.lines().filter(|line| line.contains("panicked at")).map(str::to_owned);
        trouble.extend(panics.map(|line| format!("operator {number} says: {line}")));
    }
    let leaks = [
        servers.azure.leaked_tokens(),
        servers.entra.leaked_tokens(),
        servers.bulk.leaked_tokens(),
        servers.smart.leaked_tokens(),
    ];
    trouble.extend(
        leaks.iter().flatten().map(|request| format!("a token went to a foreign host: {}", request.path)),
    );
    Ok(Records { exports, jobs, blobs, namespaces_left, seen, trouble })
}

fn exports(plan: &Plan, cluster: &Cluster, now: &BTreeSet<String>, logs: &[String]) -> Vec<Export> {
    let known: BTreeMap<(String, String), Known> = cluster
        .seen
        .exports()
        .into_iter()
        .map(|known| ((known.object.namespace().unwrap_or_default(), known.object.name_any()), known))
        .collect();
    let mut told: BTreeMap<String, Vec<Told>> = BTreeMap::new();
    for event in cluster.seen.events() {
        told.entry(event.about).or_default().push(Told { reason: event.reason, note: event.note });
    }
    let logged = logged(logs);
    let one = |planned: &crate::plan::Planned| {
        let name = planned.name();
        let known = known.get(&(planned.namespace.to_owned(), name.clone()));
        let uid = known.and_then(|known| known.object.uid());
        let there = uid.as_ref().is_some_and(|uid| now.contains(uid));
        let mut told = uid.as_ref().and_then(|uid| told.get(uid)).cloned().unwrap_or_default();
        if planned.namespace == DOOMED {
            // A namespace that is being deleted accepts no new events, so the log takes their place.
            told.extend(logged.get(&name).cloned().unwrap_or_default());
        }
        Export {
            number: planned.number,
            name: format!("{}/{name}", planned.namespace),
            lands: planned.site.lands(),
            must: planned.must(),
            deadline: planned.deadline,
            act: planned.act,
            // HAPI no longer serves the files of a deleted job.
            spoiled: planned.fate.spoils() || (planned.site == Site::Hapi && planned.act != Act::Wait),
            there,
            deleting: there && known.is_some_and(|known| known.object.metadata.deletion_timestamp.is_some()),
            status: known.and_then(|known| known.object.status.clone()).unwrap_or_default(),
            changed_after_end: known.is_some_and(|known| known.changed_after_end),
            uid,
            told,
        }
    };
    plan.exports.iter().map(one).collect()
}

/// The messages about exports in the operators' logs, by the name of the export.
fn logged(logs: &[String]) -> BTreeMap<String, Vec<Told>> {
    let mut told: BTreeMap<String, Vec<Told>> = BTreeMap::new();
    for line in logs.iter().flat_map(|log| log.lines()) {
        let Ok(line) = serde_json::from_str::<Value>(line) else { continue };
        let text = |field: &str| line.get(field).and_then(Value::as_str);
        if let (Some(export), Some(reason)) = (text("export"), text("reason")) {
            let note = text("message").unwrap_or_default().to_owned();
            told.entry(export.to_owned()).or_default().push(Told { reason: reason.to_owned(), note });
        }
    }
    told
}

fn azure_jobs(server: &azure_fhir::Server) -> Vec<Job> {
    use azure_fhir::State;
    let one = |job: azure_fhir::JobView| {
        let end = match job.state {
            State::Running if job.cancelled_at.is_some() => End::Gone,
            State::Running => End::Running,
            State::Completed => End::Completed,
            State::Failed(_) => End::Failed,
            State::Stopping { .. } | State::Gone | State::CancelledEmpty => End::Gone,
        };
        let container = job.files.first().map(|file| file.container.clone());
        let files = job.files.iter().filter(|file| file.written);
        Job {
            export: number_in(&job.kick_off_url),
            made: job.created.as_millisecond(),
            end,
            cancel_requests: job.cancel_requests,
            cancelled: job.cancelled_at.is_some(),
            container,
            files: files.map(|file| File { name: file.blob.clone(), sha256: file.sha256.clone() }).collect(),
            id: job.id,
        }
    };
    server.jobs().into_iter().map(one).collect()
}

fn bulk_jobs(server: &bulk_fhir::Server) -> Vec<Job> {
    use bulk_fhir::{List, State};
    let one = |job: bulk_fhir::JobView| {
        let mut names = Names::default();
        let mut expected = server.expected(&job.id);
        expected.sort_by_key(|file| (file.list, file.index));
        let files = expected.iter().map(|file| {
            let below = match file.list {
                List::Output => "",
                List::Deleted => "deleted/",
                List::Error => "error/",
            };
            File { name: names.next(below, file.kind.as_deref().unwrap_or("Mixed")), sha256: file.sha256() }
        });
        Job {
            export: number_in(&job.kick_off_url),
            made: job.created.as_millisecond(),
            end: match job.state {
                State::Running => End::Running,
                State::Completed => End::Completed,
                State::Failed => End::Failed,
                State::Gone => End::Gone,
            },
            cancel_requests: job.cancel_requests,
            cancelled: job.cancelled_at.is_some(),
            container: None,
            files: files.collect(),
            id: job.id,
        }
    };
    server.jobs().into_iter().map(one).collect()
}

/// Generates the names under which files land: the type, and the number of the file among those of its type.
#[derive(Debug, Default)]
struct Names(BTreeMap<String, usize>);

impl Names {
    fn next(&mut self, below: &str, kind: &str) -> String {
        let number = self.0.entry(format!("{below}{kind}")).or_default();
        *number += 1;
        format!("{below}{kind}-{number}.ndjson")
    }
}

/// HAPI's jobs with their files. Requests the files again, which HAPI still serves for jobs that were not deleted.
async fn hapi_jobs(servers: &Servers) -> Result<Vec<Job>> {
    let client = reqwest::Client::builder().no_proxy().no_gzip().build()?;
    let mut jobs = servers.gateway.jobs();
    let base = format!("http://127.0.0.1:{}/fhir", servers.gateway.port());
    for job in jobs.iter_mut().filter(|job| job.end == End::Completed) {
        let url = format!("{base}/$export-poll-status?_jobId={}", job.id);
        let answer =
            client.get(url).header("Accept", "application/fhir+json, application/json").send().await?;
        let manifest: Value = answer.error_for_status()?.json().await?;
        let output = manifest.get("output").and_then(Value::as_array).into_iter().flatten();
        let mut names = Names::default();
        for file in output {
            let text = |field: &str| file.get(field).and_then(Value::as_str).unwrap_or_default();
            // Without this header, HAPI wraps the file in a Binary resource.
            let asked = client.get(text("url")).header("Accept", "application/fhir+ndjson");
            let bytes = asked.send().await?.error_for_status()?.bytes().await?;
            job.files.push(File { name: names.next("", text("type")), sha256: sha256_hex(&bytes) });
        }
    }
    Ok(jobs)
}

/// Describes where secrets, tokens and patients were found: in logs, statuses, events and metrics.
fn seen(
    cluster: &Cluster,
    servers: &Servers,
    stores: &Stores,
    logs: &[String],
    metrics: &str,
) -> Result<Vec<String>> {
    let mut words = servers.secret_words();
    words.extend(stores.secret_words());
    words.extend(azure_fhir::Patients::checked_in()?.ids("Patient"));
    let mut places: Vec<(String, String)> = Vec::new();
    for (number, log) in (1..).zip(logs) {
        places.push((format!("the log of operator {number}"), log.clone()));
    }
    places.push(("the metrics".into(), metrics.to_owned()));
    for known in cluster.seen.exports() {
        let status = serde_json::to_string(&known.object.status)?;
        places.push((format!("the status of {}", known.object.name_any()), status));
    }
    for event in cluster.seen.events() {
        places.push(("an event".into(), event.note));
    }
    let found = places.iter().flat_map(|(place, text)| {
        words.iter().filter(move |word| text.contains(word.as_str())).map(move |word| {
            // The audit itself must not reveal the secret.
            let begin: String = word.chars().take(6).collect();
            format!("{place} holds what begins with {begin:?}")
        })
    });
    Ok(found.collect())
}
