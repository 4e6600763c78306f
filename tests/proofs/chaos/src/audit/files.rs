//! The audit of files: the containers hold all that the servers served, once, and nothing else.

use std::collections::{BTreeMap, BTreeSet};

use super::Findings;
use crate::record::{Blob, Export, File, Job, Records};

/// The operator's own file in a folder.
const MANIFEST: &str = "manifest.json";

pub(super) fn look(records: &Records, findings: &mut Findings) {
    let containers = Containers::of(&records.blobs);
    let complete = records.exports.iter().filter(|export| export.there && export.is("Complete"));
    for export in complete {
        let id = export.status.job.as_ref().and_then(|job| job.id.as_deref());
        let Some(job) = records.jobs.iter().find(|job| Some(job.id.as_str()) == id) else {
            findings.broken.push(format!("{} is complete, but no server has a job of it", export.name));
            continue;
        };
        if job.export != Some(export.number) {
            findings.broken.push(format!("{} is complete with the job of another export", export.name));
        }
        one(export, job, &containers, findings);
    }
    foreign(records, findings);
}

/// The SHA-256 of each blob, by container and name.
struct Containers<'a>(BTreeMap<&'a str, BTreeMap<&'a str, &'a str>>);

impl<'a> Containers<'a> {
    fn of(blobs: &'a [Blob]) -> Self {
        let mut all: BTreeMap<&str, BTreeMap<&str, &str>> = BTreeMap::new();
        for Blob { container, name, sha256, .. } in blobs {
            all.entry(container).or_default().insert(name, sha256);
        }
        Self(all)
    }

    /// The blobs in a folder, by their names in it.
    fn folder(&self, container: &str, folder: &str) -> BTreeMap<String, &'a str> {
        let prefix = format!("{folder}/");
        let blobs = self.0.get(container).into_iter().flatten();
        blobs.filter_map(|(name, sha)| Some((name.strip_prefix(&prefix)?.to_owned(), *sha))).collect()
    }
}

/// Audits the files of one complete export.
fn one(export: &Export, job: &Job, containers: &Containers<'_>, findings: &mut Findings) {
    let name = &export.name;
    let Some(output) = &export.status.output else {
        findings.broken.push(format!("{name} is complete and does not say where its files are"));
        return;
    };
    let container = output.container.as_deref().unwrap_or_default();
    let folder = output.folder.as_deref().unwrap_or_default();
    let mut there = containers.folder(container, folder);
    let manifest = there.remove(MANIFEST);
    if !job.files.is_empty()
        && (manifest.is_none() || manifest != output.manifest.as_ref().map(|m| m.sha256.as_str()))
    {
        findings.missing.push(format!("{name}: its manifest is not in the container as its status says"));
    }
    let mut served = BTreeSet::new();
    for File { name: file, sha256 } in &job.files {
        let inside = file.strip_prefix(&format!("{folder}/")).unwrap_or(file);
        served.insert(sha256.as_str());
        match there.remove(inside) {
            Some(landed) if landed == sha256 => {}
            Some(_) => findings.missing.push(format!("{name}: {inside} is not what the server served")),
            None => findings.missing.push(format!("{name}: {inside} is not there")),
        }
    }
    for (file, sha) in there {
        if served.contains(sha) {
            findings.twice.push(format!("{name}: {file} is a file of the run once more"));
        } else {
            findings.broken.push(format!("{name}: {file} is in its folder and was not served"));
        }
    }
    let said =
        output.files.unwrap_or(0) + output.deleted_files.unwrap_or(0) + output.error_files.unwrap_or(0);
    let count = i64::try_from(job.files.len()).unwrap_or(i64::MAX);
    if said != count {
        findings.broken.push(format!("{name} says that it has {said} files, but its server served {count}"));
    }
}

/// Finds blobs that belong neither to a job of a server that writes files nor to an attempt that the operator
/// landed, and landed files that differ from those served, no matter how the run ended.
fn foreign(records: &Records, findings: &mut Findings) {
    let mut written: BTreeSet<(&str, &str)> = BTreeSet::new();
    let mut folders: BTreeSet<(&str, &str)> = BTreeSet::new();
    for job in &records.jobs {
        let Some(container) = job.container.as_deref() else { continue };
        for file in &job.files {
            written.insert((container, &file.name));
            folders.extend(file.name.rsplit_once('/').map(|(folder, _)| (container, folder)));
        }
    }
    for blob in &records.blobs {
        let (container, name) = (blob.container.as_str(), blob.name.as_str());
        if written.contains(&(container, name)) {
            continue;
        }
        let (folder, file) = name.split_once('/').unwrap_or(("", name));
        let of_job = folders.contains(&(container, folder));
        let landed = records.exports.iter().find(|export| export.lands && is_of(folder, export));
        match (file, landed) {
            (MANIFEST, _) if of_job || landed.is_some() => {}
            (_, Some(export)) if export.spoiled || served(records, export, blob) => {}
            (_, Some(export)) => {
                let owner = &export.name;
                findings.broken.push(format!("{container}/{name} of {owner} is not what any server served"));
            }
            (_, None) => findings.broken.push(format!("{container}/{name} is nobody's")),
        }
    }
}

/// Whether a folder is that of an attempt of the export. Its name holds the time of the intent and the beginning of the
/// uid.
fn is_of(folder: &str, export: &Export) -> bool {
    let begin = export.uid.as_deref().and_then(|uid| uid.get(..8));
    begin.is_some_and(|begin| folder.rsplit_once('-').is_some_and(|(_, end)| end == begin))
}

fn served(records: &Records, export: &Export, blob: &Blob) -> bool {
    let mut jobs = records.jobs.iter().filter(|job| job.export == Some(export.number));
    jobs.any(|job| job.files.iter().any(|file| file.sha256 == blob.sha256))
}
