//! The law `patient-landing`: if nothing goes wrong but that one part is out for hours, a landing ends with
//! its first job, and no stored byte is fetched again.

use fhir_export_operator::api::ConditionType;
use fhir_export_operator::core::condition::is_true;
use fhir_export_operator::core::wire::Resume;

use super::data::ending;
use crate::container::at;
use crate::laws::Law;
use crate::plan::{Kind, LongOutage};
use crate::state::State;
use crate::time::SECOND;

impl State {
    /// Records that a file is opened, at its first byte or where it broke off, and begins the outage of the
    /// plan once enough files were opened.
    pub fn opens(&mut self, url: &str, resume: Option<&Resume>) {
        let Kind::Outage(LongOutage { part, after_files, lasts }) = self.plan.kind else { return };
        self.laws.opened += 1;
        if self.laws.opened == after_files {
            let until = self.time.now + lasts * SECOND;
            self.tell(71, || format!("{part:?} is out"));
            self.faults.out(part, until);
        }
        let Some(blob) = self.blob_of(url) else { return };
        if self.lake.blob(&blob.0, &blob.1).is_some() {
            let text = format!("{} lies there", blob.1);
            self.broken(Law::PatientLanding, "no file that landed is fetched again", text);
            return;
        }
        let stored = self.lake.furthest(&blob.0, &blob.1).ok().flatten().map_or(0, |after| after.bytes());
        let from = resume.map_or(0, |resume| resume.offset);
        // If all bytes are stored, the last one is read again to see that no more follow.
        if from + 1 < stored {
            let text = format!("{} from byte {from}, of which {stored} are stored", blob.1);
            self.broken(Law::PatientLanding, "no byte that is stored is fetched again", text);
        }
    }

    /// The container and the key of the object that the file at `url` becomes.
    fn blob_of(&self, url: &str) -> Option<(String, String)> {
        let mut parts = url.split('?').next()?.rsplit('/');
        let index: usize = parts.next()?.parse().ok()?;
        let id: usize = parts.next()?.parse().ok()?;
        let job = self.fhir.jobs.get(id.checked_sub(7)?)?;
        let type_ = job.files().get(index)?.type_;
        let number = job.files().iter().take(index + 1).filter(|file| file.type_ == type_).count();
        let status = &self.laws.records.get(job.owner.as_ref()?)?.status;
        let (output, place) = (status.output.clone()?, status.job.as_ref()?.destination.clone()?);
        let ending = ending(place.compression);
        let container = at(place.endpoint.as_deref(), &output.container?);
        Some((container, format!("{}/{type_}-{number}.{ending}", output.folder?)))
    }

    /// Checks at the end that the outage cost only time.
    pub fn check_patience(&mut self) {
        if !matches!(self.plan.kind, Kind::Outage(_)) {
            return;
        }
        let ends = self.laws.records.values().map(|record| {
            (
                record.name.clone(),
                record.kick_offs,
                is_true(&record.status.conditions, ConditionType::Complete),
            )
        });
        let wrong: Vec<_> = ends.filter(|(_, kick_offs, complete)| *kick_offs != 1 || !complete).collect();
        for (name, kick_offs, complete) in wrong {
            self.broken(
                Law::PatientLanding,
                "an outage costs no attempt",
                format!("{name}: {kick_offs} kick-offs, complete: {complete}"),
            );
        }
    }
}
