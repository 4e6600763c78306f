//! The laws of what is in the container.

use std::collections::BTreeMap;

use fhir_export_operator::api::{
    CheckResult, Checks, Compression, ConditionType, Dialect, FhirExport, FhirExportStatus, Reason,
};
use fhir_export_operator::core::condition::{find, is_true};
use kube::ResourceExt;

use crate::container::{at, lines};
use crate::fhir::JobState;
use crate::laws::Law;
use crate::plan::{Ending, Flaw};
use crate::state::State;

/// The suffix of the names of files with this compression.
pub(super) fn ending(compression: Option<Compression>) -> &'static str {
    match compression {
        Some(Compression::Gzip) => "ndjson.gz",
        Some(Compression::None) | None => "ndjson",
    }
}

impl State {
    /// `complete-means-checked`: checks that what is reported as Complete is the job's, and is in the container.
    pub(super) fn check_complete(&mut self, object: &FhirExport, status: &FhirExportStatus) {
        const RULE: &str = "every file is in the container";
        let name = object.name_any();
        let now = self.time.now;
        let url = status.job.as_ref().and_then(|job| job.status_url.clone()).unwrap_or_default();
        let Some(number) = self.fhir.job_of(&url) else {
            self.broken(Law::CompleteMeansChecked, RULE, format!("{name}: no job at {url}"));
            return;
        };
        let Some(job) = self.fhir.jobs.get(number) else { return };
        let (server, files) = (job.server, job.files().len());
        // An adopted job is proven by its request, so it may be that of another export with the same request.
        let proven = find(&status.conditions, ConditionType::KickOffUncertain)
            .is_some_and(|c| c.because(Reason::JobConfirmed));
        let ours = job.owner == object.uid() || proven && job.owner.is_some();
        let done = job.ends <= now && job.state != JobState::Gone || job.done(now);
        let dialect = self.fhir.server(server).map(|s| s.dialect);
        let cancelled_by_us = job.agreed && job.deleted > 0;
        if !ours {
            self.broken(Law::CompleteMeansChecked, RULE, format!("{name}: job {} is another's", number + 7));
        }
        // A finished job that somebody removes after its manifest was read is still complete.
        if !done && (cancelled_by_us || now < self.fhir.jobs.get(number).map_or(0, |job| job.ends)) {
            self.broken(
                Law::CompleteMeansChecked,
                RULE,
                format!("{name}: job {} did not come to its end", number + 7),
            );
        }
        if !self.fhir.jobs.get(number).is_some_and(|job| matches!(job.ending, Ending::Files(_))) {
            self.broken(
                Law::CompleteMeansChecked,
                RULE,
                format!("{name}: job {} ended without files", number + 7),
            );
        }
        match dialect {
            Some(Dialect::Azure) => self.check_written(&name, number, status),
            _ => self.check_landed(&name, number, status),
        }
        let told = status.output.as_ref().map(|output| {
            output.files.unwrap_or(0) + output.error_files.unwrap_or(0) + output.deleted_files.unwrap_or(0)
        });
        if told != i64::try_from(files).ok() {
            self.broken(
                Law::CompleteMeansChecked,
                RULE,
                format!("{name}: the job has {files} files, the status says {told:?}"),
            );
        }
    }

    /// Checks files that the server wrote: what the status reports as checked is right.
    fn check_written(&mut self, name: &str, number: usize, status: &FhirExportStatus) {
        let verified = is_true(&status.conditions, ConditionType::Verified);
        let passed = |checks: &Checks| checks.files == CheckResult::Passed;
        let looked = status.output.as_ref().and_then(|output| output.checks.as_ref()).is_some_and(passed);
        if !verified && !looked {
            return;
        }
        let Some(job) = self.fhir.jobs.get(number) else { return };
        let container = job.place().0;
        let wrong = job.files().iter().enumerate().find_map(|(index, file)| {
            let blob = job.blob(index);
            let Some(lying) = self.lake.blob(&container, &blob) else {
                return Some(format!("{blob} is not there"));
            };
            let wrong = file.flaw == Flaw::Miscounted || lines(&lying.body) != file.lines;
            (verified && wrong).then(|| format!("{blob} is not counted so"))
        });
        if let Some(wrong) = wrong {
            self.broken(
                Law::CompleteMeansChecked,
                "Verified means that the files were checked",
                format!("{name}: {wrong}"),
            );
        }
    }

    /// Checks files that the operator landed, byte for byte.
    fn check_landed(&mut self, name: &str, number: usize, status: &FhirExportStatus) {
        let output = status.output.clone().unwrap_or_default();
        let place = status.job.as_ref().and_then(|job| job.destination.clone()).unwrap_or_default();
        let (container, folder) = (output.container.unwrap_or_default(), output.folder.unwrap_or_default());
        let container = at(place.endpoint.as_deref(), &container);
        let ending = ending(place.compression);
        let Some(job) = self.fhir.jobs.get_mut(number) else { return };
        let mut numbers: BTreeMap<&str, usize> = BTreeMap::new();
        let mut wrong = None;
        for index in 0..job.files().len() {
            let Some((type_, flaw)) = job.files().get(index).map(|file| (file.type_, file.flaw)) else {
                continue;
            };
            let nth = numbers.entry(type_).or_default();
            *nth += 1;
            let below = match type_ {
                "deleted" => "deleted/Bundle",
                "error" => "error/OperationOutcome",
                type_ => type_,
            };
            let blob = format!("{folder}/{below}-{nth}.{ending}");
            let lying = self.lake.blob(&container, &blob).map(|blob| blob.body.clone());
            let right = lying.as_ref().is_some_and(|lying| job.bodies(index).contains(lying));
            if !right || matches!(flaw, Flaw::Miscounted | Flaw::Missing | Flaw::Elsewhere) {
                let is = lying.map_or("not there".to_owned(), |lying| format!("of {} bytes", lying.len()));
                wrong = Some(format!("{container}/{blob} is {is}, flaw {flaw:?}"));
            }
        }
        if let Some(wrong) = wrong {
            self.broken(
                Law::PartsOfOneFetch,
                "what is Complete has landed byte for byte",
                format!("{name}: {wrong}"),
            );
        }
        let manifest = format!("{folder}/manifest.json");
        if output.manifest.is_some() && self.lake.blob(&container, &manifest).is_none() {
            self.broken(
                Law::ManifestLast,
                "the manifest that is told is there",
                format!("{name}: {manifest}"),
            );
        }
    }
}
