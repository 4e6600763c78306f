//! The work of a job: it picks the resources and writes them, file by file.

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::failure::Failure;
use crate::job::{File, Job};
use crate::manifest::{ERRORS, ManifestQuirk};
use crate::script::{Ending, Layout, Life};
use crate::world::World;

struct Planned {
    file: File,
    lines: Vec<Value>,
    missing: bool,
}

/// Writes the files of a job and says when it is done, whether it could or not.
pub(crate) async fn run(world: Arc<World>, id: String) {
    let result = write_all(&world, &id).await;
    if let Some(job) = world.jobs().get_mut(&id) {
        job.failure = result.err();
        job.view.written = true;
        job.written.send_replace(true);
    }
}

async fn write_all(world: &World, id: &str) -> Result<(), Failure> {
    let Some((planned, script)) = world.jobs().get(id).map(|job| (plan(world, job), job.script.clone()))
    else {
        return Ok(());
    };
    let planned = planned?;
    let interval = match script.life {
        Life::Millis(millis) => {
            let steps = u32::try_from(planned.len()).unwrap_or(u32::MAX).saturating_add(1);
            Duration::from_millis(millis) / steps
        }
        _ => Duration::from_millis(script.file_interval_ms),
    };
    let mut left_after_cancel = script.files_after_cancel;
    for Planned { mut file, lines, missing } in planned {
        tokio::time::sleep(interval).await;
        if world.jobs().get(id).is_none_or(Job::cancelled) {
            if left_after_cancel == 0 {
                break;
            }
            left_after_cancel -= 1;
        }
        let body = ndjson(&lines, script.crlf);
        file.bytes = body.len();
        file.sha256 = sha256(&body);
        if let Some(account) = world.account.as_ref().filter(|_| !missing) {
            account.prepare(&file.container).await?;
            account.write(&file.container, &file.blob, body).await?;
            file.written = true;
        }
        if let Some(job) = world.jobs().get_mut(id) {
            job.view.files.push(file);
        }
    }
    Ok(())
}

/// Every file that the job will write.
fn plan(world: &World, job: &Job) -> Result<Vec<Planned>, Failure> {
    let (view, asked, script) = (&job.view, &job.parameters, &job.script);
    let (container, folder) = place(job);
    if !crate::container::is_container_name(&container) {
        return Err(Failure::InvalidContainerName);
    }
    world.check_anonymization(asked.anonymization.as_ref())?;
    if let Ending::Failed(failure) = &script.ending
        && !failure.leaves_files()
    {
        return Ok(Vec::new());
    }
    let mut selected = world.patients().select(view.level, view.group.as_deref(), asked, view.created)?;
    if script.manifest.contains(&ManifestQuirk::ZeroFiles) {
        selected.clear();
    }
    let per_file = match script.layout {
        Layout::GuidBare => usize::MAX,
        _ => script.lines_per_file.min(asked.max_count.unwrap_or(usize::MAX)).max(1),
    };
    let mut planned = Vec::new();
    for (kind, mut resources) in selected {
        if asked.anonymization.is_some() {
            resources.iter_mut().for_each(redact);
        }
        let sub_job = world.next_number();
        for (n, lines) in resources.chunks(per_file).enumerate() {
            let name = name(script.layout, &kind, sub_job, n + 1);
            planned.push(file(&kind, &container, format!("{folder}{name}"), lines.to_vec()));
        }
    }
    for quirk in &script.manifest {
        match quirk {
            ManifestQuirk::MissingFile => planned.iter_mut().take(1).for_each(|first| first.missing = true),
            ManifestQuirk::EmptyFile => {
                let name = name(script.layout, "Basic", world.next_number(), 1);
                planned.push(file("Basic", &container, format!("{folder}{name}"), Vec::new()));
            }
            ManifestQuirk::ErrorEntries(many) => {
                let name = name(script.layout, ERRORS, world.next_number(), 1);
                let issue =
                    json!({ "severity": "error", "code": "exception", "diagnostics": "could not be read" });
                let lines = vec![json!({ "resourceType": ERRORS, "issue": [issue] }); *many];
                planned.push(file(ERRORS, &container, format!("{folder}{name}"), lines));
            }
            _ => {}
        }
    }
    planned.sort_by(|a, b| a.file.kind.cmp(&b.file.kind));
    if matches!(script.ending, Ending::Failed(_)) {
        planned.truncate(planned.len().div_ceil(2));
    }
    Ok(planned)
}

fn file(kind: &str, container: &str, blob: String, lines: Vec<Value>) -> Planned {
    let file = File {
        kind: kind.to_owned(),
        container: container.to_owned(),
        blob,
        count: lines.len(),
        bytes: 0,
        sha256: String::new(),
        written: false,
    };
    Planned { file, lines, missing: false }
}

/// Container and folder, the folder with its slash.
fn place(job: &Job) -> (String, String) {
    let (id, asked) = (&job.view.id, job.view.container.as_deref());
    match asked {
        Some(container) => {
            let time = job.view.created.strftime("%Y%m%dT%H%M%S");
            (container.to_owned(), format!("{time}-{id}/"))
        }
        None if job.script.layout.has_guid() => (id.clone(), String::new()),
        None => (format!("export-{id}"), String::new()),
    }
}

fn name(layout: Layout, kind: &str, sub_job: u64, n: usize) -> String {
    match layout {
        Layout::Current => format!("{kind}-{sub_job}-{n}.ndjson"),
        Layout::Guid => format!("{kind}-{n}.ndjson"),
        Layout::GuidBare => format!("{kind}.ndjson"),
    }
}

fn ndjson(lines: &[Value], crlf: bool) -> Vec<u8> {
    let end = if crlf { "\r\n" } else { "\n" };
    let mut text = String::new();
    for line in lines {
        text.push_str(&line.to_string());
        text.push_str(end);
    }
    text.into_bytes()
}

fn sha256(body: &[u8]) -> String {
    use std::fmt::Write;
    Sha256::digest(body).iter().fold(String::new(), |mut text, byte| {
        // Writing to a text cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// A stand-in for the service's de-identification: what names a person is gone.
fn redact(resource: &mut Value) {
    let Some(object) = resource.as_object_mut() else { return };
    for key in
        ["name", "telecom", "address", "identifier", "text", "birthDate", "extension", "contact", "photo"]
    {
        object.remove(key);
    }
    if let Some(meta) = object.get_mut("meta").and_then(Value::as_object_mut) {
        let system = "http://terminology.hl7.org/CodeSystem/v3-ObservationValue";
        meta.insert("security".into(), json!([{ "system": system, "code": "REDACTED" }]));
    }
}
