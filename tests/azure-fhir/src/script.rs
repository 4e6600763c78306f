//! What a job does: how long it runs, how it ends, and what is odd about its answers.

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use crate::failure::Failure;
use crate::fault::{Fault, Step};
use crate::manifest::ManifestQuirk;
use crate::parameters::Level;

/// What the next matching kick-off, and the job that it makes, do.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Script {
    /// Which kick-offs it is for.
    pub matching: Matching,
    /// For how many of them; `None` is all. A script without uses left is dropped.
    pub uses: Option<u32>,
    /// The answer to the kick-off.
    pub kick_off: KickOffAnswer,
    /// How long the job runs.
    pub life: Life,
    /// The 15 s for which the service still says 202 after the end, times this.
    pub settle_factor: f64,
    /// Headers on each 202.
    pub progress: Option<Progress>,
    /// How it ends.
    pub ending: Ending,
    /// Faults on `GET` of the status URL, one after the other.
    pub status_faults: Vec<Step>,
    /// What `DELETE` does.
    pub cancel: CancelProfile,
    /// Faults on `DELETE`, one after the other.
    pub cancel_faults: Vec<Step>,
    /// What is odd about the manifest.
    pub manifest: Vec<ManifestQuirk>,
    /// Where files go and how they are named; GUID layouts have a GUID for a job id.
    pub layout: Layout,
    /// Where a file ends.
    pub lines_per_file: usize,
    /// Windows line ends.
    pub crlf: bool,
    /// Time between two files; with a life of time it follows from that.
    pub file_interval_ms: u64,
    /// Files still written after a cancel, by sub-jobs that have not noticed it.
    pub files_after_cancel: usize,
}

impl Default for Script {
    fn default() -> Self {
        Self {
            matching: Matching::default(),
            uses: Some(1),
            kick_off: KickOffAnswer::default(),
            life: Life::default(),
            settle_factor: 0.0,
            progress: None,
            ending: Ending::default(),
            status_faults: Vec::new(),
            cancel: CancelProfile::default(),
            cancel_faults: Vec::new(),
            manifest: Vec::new(),
            layout: Layout::default(),
            lines_per_file: 500,
            crlf: false,
            file_interval_ms: 5,
            files_after_cancel: 1,
        }
    }
}

impl Script {
    /// Runs for `polls` answers of 202, then completes.
    pub fn polls(polls: u32) -> Self {
        Self { life: Life::Polls(polls), ..Self::default() }
    }

    /// Runs for ever.
    pub fn stuck() -> Self {
        Self { life: Life::Stuck, ..Self::default() }
    }

    /// Fails at the first poll.
    pub fn fails(failure: Failure) -> Self {
        Self { life: Life::Polls(0), ending: Ending::Failed(failure), ..Self::default() }
    }

    /// Makes no job; the kick-off gets `fault`.
    pub fn refuses(fault: Fault) -> Self {
        Self { kick_off: KickOffAnswer::Refused(fault), ..Self::default() }
    }

    /// Makes the job and cuts the connection instead of answering.
    pub fn loses_answer() -> Self {
        Self { kick_off: KickOffAnswer::Lost, ..Self::default() }
    }

    /// Only for kick-offs into this container.
    #[must_use]
    pub fn container(mut self, name: &str) -> Self {
        self.matching.container = Some(name.to_owned());
        self
    }

    /// Only for kick-offs of this group.
    #[must_use]
    pub fn group(mut self, id: &str) -> Self {
        self.matching.group = Some(id.to_owned());
        self
    }

    /// For all matching kick-offs instead of one.
    #[must_use]
    pub fn every_time(mut self) -> Self {
        self.uses = None;
        self
    }

    /// Adds an oddity of the manifest.
    #[must_use]
    pub fn with(mut self, quirk: ManifestQuirk) -> Self {
        self.manifest.push(quirk);
        self
    }
}

/// Which kick-offs a script is for: all of its members must agree; an empty one agrees with every kick-off.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Matching {
    /// The `_container` parameter.
    pub container: Option<String>,
    /// The group's id.
    pub group: Option<String>,
    /// The level.
    pub level: Option<Level>,
    /// A text in the URL as it came.
    pub url_contains: Option<String>,
}

impl Matching {
    pub(crate) fn agrees(
        &self,
        level: Level,
        group: Option<&str>,
        container: Option<&str>,
        url: &str,
    ) -> bool {
        fn same(wanted: Option<&str>, found: Option<&str>) -> bool {
            wanted.is_none() || wanted == found
        }
        same(self.container.as_deref(), container)
            && same(self.group.as_deref(), group)
            && self.level.is_none_or(|wanted| wanted == level)
            && self.url_contains.as_deref().is_none_or(|text| url.contains(text))
    }
}

/// The answer to a kick-off that passed all checks.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum KickOffAnswer {
    /// 202 with an absolute `Content-Location`.
    #[default]
    Accepted,
    /// 202 without `Content-Location`.
    NoContentLocation,
    /// 202, `Content-Location` with the scheme `http` whatever the listener.
    HttpScheme,
    /// 202, `Content-Location` on the foreign listener.
    ForeignHost,
    /// 202, `Content-Location` without scheme and host.
    Relative,
    /// The job runs, but the connection is closed without an answer.
    Lost,
    /// The job runs, but this is answered.
    LostTo(Fault),
    /// No job is made, and this is answered.
    Refused(Fault),
}

/// How long a job runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Life {
    /// So many polls are answered with 202.
    Polls(u32),
    /// So many milliseconds.
    Millis(u64),
    /// It never ends.
    Stuck,
}

impl Default for Life {
    fn default() -> Self {
        Self::Polls(1)
    }
}

/// How a job ends that nobody cancels.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Ending {
    /// 200 and the manifest.
    #[default]
    Complete,
    /// The failure on the status URL, each time.
    Failed(Failure),
    /// The service cancelled it by itself: 200 with an empty manifest.
    CancelledBySystem,
    /// The record expired: 404.
    Expired,
}

/// How the service answers `DELETE`, by the age of its build.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum CancelProfile {
    /// Since 2026: 202 whatever the job does, then 404 to everything.
    #[default]
    Build2026,
    /// 2022 to 2025: 202 or, for a finished job, 409; then 202 once more and 200 with an empty manifest.
    Build2022,
    /// Late 2025: as 2022, but the 409 speaks of a bulk update.
    Build2025,
    /// As 2022, but 500 for a finished job, as seen in the field.
    Buggy,
    /// 202, but the job goes on for some polls before it is gone.
    Slow {
        /// How many polls still get 202.
        polls: u32,
    },
}

/// Headers on 202, which Azure never sends but the specification knows.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Progress {
    /// `X-Progress`, one text a poll; the last one stays.
    pub texts: Vec<String>,
    /// When to come again.
    pub retry_after: RetryAfter,
}

/// The forms in which a server can say when to come again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum RetryAfter {
    /// It does not say.
    Absent,
    /// `Retry-After: 3`.
    Seconds(u64),
    /// `Retry-After: Wed, 21 Oct 2026 07:28:00 GMT`, so many seconds from now.
    Date(u64),
    /// `x-ms-retry-after-ms`.
    Millis(u64),
    /// Any text as `Retry-After`.
    Text(String),
    /// `Retry-After` with the seconds since 1970 of that many seconds from now, as a real server sends.
    EpochSeconds(u64),
    /// The same in milliseconds.
    EpochMillis(u64),
}

impl RetryAfter {
    /// The header that says it.
    pub fn header(&self) -> Option<(&'static str, String)> {
        let later =
            |seconds: u64| Timestamp::now() + SignedDuration::from_secs(i64::try_from(seconds).unwrap_or(0));
        match self {
            Self::Absent => None,
            Self::Seconds(seconds) => Some(("Retry-After", seconds.to_string())),
            Self::Millis(millis) => Some(("x-ms-retry-after-ms", millis.to_string())),
            Self::Text(text) => Some(("Retry-After", text.clone())),
            Self::Date(seconds) => {
                Some(("Retry-After", later(*seconds).strftime("%a, %d %b %Y %H:%M:%S GMT").to_string()))
            }
            Self::EpochSeconds(seconds) => Some(("Retry-After", later(*seconds).as_second().to_string())),
            Self::EpochMillis(seconds) => Some(("Retry-After", later(*seconds).as_millisecond().to_string())),
        }
    }
}

impl Progress {
    /// The headers of the poll number `polls`, counted from 1.
    pub fn headers(&self, polls: u32) -> Vec<(&'static str, String)> {
        let turn = usize::try_from(polls.saturating_sub(1)).unwrap_or(usize::MAX);
        let text = self.texts.get(turn).or(self.texts.last());
        text.map(|text| ("X-Progress", text.clone())).into_iter().chain(self.retry_after.header()).collect()
    }
}

/// Where files go and how they are named.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Layout {
    /// `<time>-<job>/<Type>-<sub-job>-<n>.ndjson` in `_container`, or without the folder in `export-<job>`.
    #[default]
    Current,
    /// Azure API for FHIR: the container or folder is named by the job's GUID, `<Type>-<n>.ndjson`.
    Guid,
    /// Older still: as [`Layout::Guid`], one file a type, `<Type>.ndjson`.
    GuidBare,
}

impl Layout {
    pub(crate) fn has_guid(self) -> bool {
        self != Self::Current
    }
}
