//! The behaviour of a server towards an export.

use rand::rngs::StdRng;
use rand::seq::SliceRandom;

use super::Site;
use crate::record::Must;

/// What happens to an export that its owner does not stop.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fate {
    /// The export succeeds.
    Good,
    /// The export succeeds, but takes long enough for every fault to occur meanwhile.
    Slow,
    /// The export has many files, or large ones.
    Large,
    /// The first job fails in a way that may pass.
    Transient,
    /// Each job fails permanently.
    Permanent,
    /// The server starts the job, but the answer to the kick-off is lost.
    LostAnswer,
    /// The answer to the kick-off has no status URL.
    NoStatusUrl,
    /// The server forgets the job.
    Forgotten,
    /// The manifest states a wrong count.
    WrongCount,
    /// A file of the manifest does not exist.
    MissingFile,
    /// A file does not match its checksum.
    Spoiled,
    /// The manifest has error files.
    ErrorFiles,
    /// The links to the files expire during the download.
    ExpiredLinks,
    /// Downloads break off.
    CutFiles,
    /// The manifest has several pages.
    Pages,
    /// The job never ends.
    Stuck,
}

/// How often each combination occurs in 62 exports.
const WEIGHTS: [(Site, Fate, usize); 43] = {
    use Fate::{
        CutFiles, ErrorFiles, ExpiredLinks, Forgotten, Good, Large, LostAnswer, MissingFile, NoStatusUrl,
        Pages, Permanent, Slow, Spoiled, Stuck, Transient, WrongCount,
    };
    use Site::{Azure, Bulk, Entra, Hapi, Smart};
    [
        (Azure, Good, 3),
        (Azure, Slow, 2),
        (Azure, Large, 1),
        (Azure, Transient, 2),
        (Azure, Permanent, 1),
        (Azure, LostAnswer, 2),
        (Azure, NoStatusUrl, 1),
        (Azure, Forgotten, 1),
        (Azure, WrongCount, 1),
        (Azure, MissingFile, 1),
        (Azure, ErrorFiles, 1),
        (Azure, Stuck, 2),
        (Entra, Good, 2),
        (Entra, Slow, 2),
        (Entra, Transient, 1),
        (Entra, LostAnswer, 1),
        (Entra, Forgotten, 1),
        (Entra, MissingFile, 1),
        (Entra, Stuck, 1),
        (Bulk, Good, 2),
        (Bulk, Slow, 2),
        (Bulk, Large, 2),
        (Bulk, Transient, 1),
        (Bulk, Permanent, 1),
        (Bulk, LostAnswer, 1),
        (Bulk, NoStatusUrl, 1),
        (Bulk, Forgotten, 1),
        (Bulk, WrongCount, 1),
        (Bulk, MissingFile, 1),
        (Bulk, Spoiled, 1),
        (Bulk, ErrorFiles, 1),
        (Bulk, ExpiredLinks, 2),
        (Bulk, CutFiles, 2),
        (Bulk, Pages, 1),
        (Bulk, Stuck, 2),
        (Smart, Good, 2),
        (Smart, Slow, 3),
        (Smart, Large, 2),
        (Smart, Transient, 1),
        (Smart, LostAnswer, 1),
        (Smart, CutFiles, 1),
        (Smart, Stuck, 1),
        (Hapi, Good, 3),
    ]
};

/// The number of combinations in [`WEIGHTS`].
#[cfg(test)]
pub fn every() -> usize {
    WEIGHTS.len()
}

/// Draws `count` combinations by their weights in random order. The first ones are a good export of each server.
pub fn kinds(count: usize, dice: &mut StdRng) -> Vec<(Site, Fate)> {
    let all: Vec<(Site, Fate)> =
        WEIGHTS.iter().flat_map(|(site, fate, times)| std::iter::repeat_n((*site, *fate), *times)).collect();
    let mut drawn: Vec<(Site, Fate)> = Site::ALL.into_iter().map(|site| (site, Fate::Good)).collect();
    while drawn.len() < count {
        let mut round = all.clone();
        round.shuffle(dice);
        drawn.extend(round);
    }
    drawn.truncate(count);
    drawn
}

/// The combinations for the namespace that is deleted: some of the exports still run at that time.
pub fn doomed(count: usize) -> impl Iterator<Item = (Site, Fate)> {
    let kinds = [
        (Site::Azure, Fate::Stuck),
        (Site::Bulk, Fate::Slow),
        (Site::Smart, Fate::Stuck),
        (Site::Entra, Fate::Stuck),
        (Site::Bulk, Fate::Large),
        (Site::Azure, Fate::Slow),
    ];
    kinds.into_iter().cycle().take(count)
}

impl Fate {
    /// The word for this fate in the names of exports.
    pub fn name(self) -> &'static str {
        match self {
            Self::Good => "good",
            Self::Slow => "slow",
            Self::Large => "large",
            Self::Transient => "transient",
            Self::Permanent => "permanent",
            Self::LostAnswer => "lost-answer",
            Self::NoStatusUrl => "no-status-url",
            Self::Forgotten => "forgotten",
            Self::WrongCount => "wrong-count",
            Self::MissingFile => "missing-file",
            Self::Spoiled => "spoiled",
            Self::ErrorFiles => "error-files",
            Self::ExpiredLinks => "expired-links",
            Self::CutFiles => "cut-files",
            Self::Pages => "pages",
            Self::Stuck => "stuck",
        }
    }

    /// How an export must end if its owner does not stop it.
    pub fn must(self, site: Site) -> Must {
        match self {
            Self::Stuck => Must::BeStopped,
            // The operator can find the job by its folder in the container.
            Self::NoStatusUrl if !site.lands() => Must::Either,
            Self::Permanent
            | Self::NoStatusUrl
            | Self::Forgotten
            | Self::WrongCount
            | Self::MissingFile
            | Self::Spoiled => Must::Fail,
            _ => Must::Complete,
        }
    }

    /// Whether the server serves corrupted files.
    pub fn spoils(self) -> bool {
        matches!(self, Self::Spoiled)
    }
}
