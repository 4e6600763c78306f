//! The scripts of the test servers for an export, which they recognize by the mark of its kick-offs.

use std::collections::BTreeMap;

use azure_fhir::{Failure, Fault, Life, ManifestQuirk, Step};
use bulk_fhir::{Breaks, Count, ExtensionForm, FileScript, Shape};
use rand::Rng;
use rand::rngs::StdRng;

use super::fate::Fate;
use super::{Planned, needle};

/// The script for a server of Azure's dialect.
pub fn azure(planned: &Planned, dice: &mut StdRng) -> azure_fhir::Script {
    use azure_fhir::{CancelProfile, Ending, KickOffAnswer, Script};
    let matching = azure_fhir::Matching {
        url_contains: Some(needle(planned.number)),
        ..azure_fhir::Matching::default()
    };
    let cancel = match dice.random_range(0..5) {
        0 => CancelProfile::Build2022,
        1 => CancelProfile::Build2025,
        2 => CancelProfile::Buggy,
        3 => CancelProfile::Slow { polls: 2 },
        _ => CancelProfile::Build2026,
    };
    let usual = Script {
        matching,
        uses: None,
        life: life(planned.fate, dice),
        cancel,
        lines_per_file: dice.random_range(60..400),
        ..Script::default()
    };
    match planned.fate {
        Fate::Transient => {
            Script { ending: Ending::Failed(Failure::TooManyRestarts), uses: Some(1), ..usual }
        }
        Fate::Permanent => Script { ending: Ending::Failed(Failure::StorageAccessDenied), ..usual },
        Fate::LostAnswer => {
            let lost = Fault::GatewayPage { status: 502 };
            let kick_off =
                if dice.random_bool(0.5) { KickOffAnswer::Lost } else { KickOffAnswer::LostTo(lost) };
            Script { kick_off, uses: Some(1), ..usual }
        }
        Fate::NoStatusUrl => Script { kick_off: KickOffAnswer::NoContentLocation, ..usual },
        Fate::Forgotten => Script { ending: Ending::Expired, ..usual },
        Fate::WrongCount => usual.with(ManifestQuirk::WrongCount(3)),
        Fate::MissingFile => usual.with(ManifestQuirk::MissingFile),
        Fate::ErrorFiles => usual.with(ManifestQuirk::ErrorEntries(3)),
        Fate::Large => Script { lines_per_file: 20, ..usual },
        _ => usual,
    }
}

/// The script for a Bulk Data server.
pub fn bulk(planned: &Planned, dice: &mut StdRng) -> bulk_fhir::Script {
    use bulk_fhir::{Data, Ending, KickOffAnswer, MadeFiles, Script};
    let matching =
        bulk_fhir::Matching { contains: Some(needle(planned.number)), ..bulk_fhir::Matching::default() };
    let files =
        FileScript { gzip: dice.random_bool(0.3), ranges: dice.random_bool(0.8), ..FileScript::default() };
    let checksums = if dice.random_bool(0.5) { ExtensionForm::Object } else { ExtensionForm::Absent };
    let usual = Script {
        matching,
        uses: None,
        life: life(planned.fate, dice),
        data: Data::Patients { lines_per_file: dice.random_range(60..400) },
        manifest: Shape { checksums, ..Shape::default() },
        files,
        ..Script::default()
    };
    let failed = |status, code: &str| Ending::Failed {
        status,
        outcome: Some((code.to_owned(), "Scripted.".to_owned())),
    };
    // The files must be of a requested type.
    let kind = planned.spec.pointer("/request/types/0").and_then(serde_json::Value::as_str);
    let kind = kind.unwrap_or("Observation").to_owned();
    let made = |files, file_bytes| Data::Made(vec![MadeFiles { kind, files, file_bytes, line_bytes: 1000 }]);
    match planned.fate {
        // The first errors concern the request and are repeated; the last one ends the job.
        Fate::Transient => {
            let status_faults = vec![Step::times(2, bulk_fhir::outcome(500, "transient"))];
            Script { ending: failed(500, "processing"), status_faults, uses: Some(1), ..usual }
        }
        Fate::Permanent => Script { ending: failed(400, "invalid"), ..usual },
        Fate::LostAnswer => Script { kick_off: KickOffAnswer::Lost(Fault::Close), uses: Some(1), ..usual },
        Fate::NoStatusUrl => Script { kick_off: KickOffAnswer::NoContentLocation, ..usual },
        Fate::Forgotten => Script { ending: failed(404, "not-found"), ..usual },
        Fate::WrongCount => Script { manifest: Shape { count: Count::Wrong(3), ..usual.manifest }, ..usual },
        Fate::MissingFile => {
            let faults = vec![Step::always(bulk_fhir::not_yet())];
            let absent = FileScript { faults, ..usual.files.clone() };
            Script { file_overrides: BTreeMap::from([(0, absent)]), ..usual }
        }
        Fate::Spoiled => {
            let manifest = Shape { checksums: ExtensionForm::Object, ..usual.manifest };
            let spoiled = FileScript { wrong_bytes: true, ..usual.files.clone() };
            Script { manifest, file_overrides: BTreeMap::from([(0, spoiled)]), ..usual }
        }
        Fate::ErrorFiles => {
            let issues = BTreeMap::from([("error".to_owned(), 3), ("information".to_owned(), 2)]);
            Script { manifest: Shape { issues, ..usual.manifest }, ..usual }
        }
        Fate::ExpiredLinks => {
            let files = FileScript {
                expires_millis: Some(dice.random_range(1500..4000)),
                trickle: Some(60_000),
                ..usual.files
            };
            Script { files, ..usual }
        }
        Fate::CutFiles => {
            let cut = Some(Breaks::after(dice.random_range(1000..40_000), 2));
            let short = dice.random_bool(0.3).then(|| Breaks::after(20_000, 1));
            Script { files: FileScript { cut, short, ..usual.files }, ..usual }
        }
        Fate::Pages => {
            Script { manifest: Shape { page: Some(2), page_pending: 1, ..usual.manifest }, ..usual }
        }
        Fate::Large if dice.random_bool(0.5) => Script { data: made(40, 40_000), ..usual },
        // Each file takes some seconds, so that most faults hit one in the middle of its download.
        Fate::Large => {
            let files = FileScript { trickle: Some(600_000), gzip: false, ranges: true, ..usual.files };
            Script { data: made(3, 4_000_000), files, ..usual }
        }
        _ => usual,
    }
}

fn life(fate: Fate, dice: &mut StdRng) -> Life {
    match fate {
        Fate::Stuck => Life::Stuck,
        Fate::Slow => Life::Millis(dice.random_range(8_000..20_000)),
        _ if dice.random_bool(0.5) => Life::Polls(dice.random_range(0..3)),
        _ => Life::Millis(dice.random_range(300..4_000)),
    }
}
