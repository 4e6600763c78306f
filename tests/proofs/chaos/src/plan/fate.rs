//! What a server does to an export.

use rand::rngs::StdRng;
use rand::seq::SliceRandom;

use super::Site;
use crate::record::Must;

/// What becomes of an export that nobody stops.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fate {
    /// It goes well.
    Good,
    /// It goes well, and lasts long enough for everything to happen meanwhile.
    Slow,
    /// Many files, or large ones.
    Large,
    /// The first job fails in a way that may pass.
    Transient,
    /// Each job fails for good.
    Permanent,
    /// The job is made and the answer to the kick-off lost.
    LostAnswer,
    /// The answer to the kick-off does not say where the job is.
    NoStatusUrl,
    /// The server forgets the job.
    Forgotten,
    /// The manifest counts wrong.
    WrongCount,
    /// A file of the manifest is not there.
    MissingFile,
    /// A file is not what its checksum says.
    Spoiled,
    /// There are error files.
    ErrorFiles,
    /// The links to the files expire on the way.
    ExpiredLinks,
    /// Downloads break off.
    CutFiles,
    /// The manifest has several pages.
    Pages,
    /// The job never ends.
    Stuck,
}

/// How many of each, in 62 exports.
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

/// So many different ones.
#[cfg(test)]
pub fn every() -> usize {
    WEIGHTS.len()
}

/// So many, by their weights, in any order; one of each server is among the first.
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

/// Those of the namespace that is deleted: something still runs when it goes.
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
    /// For the names of exports.
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

    /// How an export must end if nobody stops it.
    pub fn must(self, site: Site) -> Must {
        match self {
            Self::Stuck => Must::BeStopped,
            // The container shows the job all the same.
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

    /// Whether what is served is wrong on purpose.
    pub fn spoils(self) -> bool {
        matches!(self, Self::Spoiled)
    }
}
