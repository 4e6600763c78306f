//! The plan of a run, drawn from the seed: the exports, the behaviour of their servers, and the actions of their
//! owners.

pub mod fate;
pub mod scripts;

use std::time::Duration;

use rand::rngs::StdRng;
use rand::seq::{IndexedRandom, SliceRandom};
use rand::{Rng, SeedableRng};
use serde_json::{Value, json};

use crate::record::{Act, Must};
use fate::Fate;

/// The namespace of most exports.
pub const NAMESPACE: &str = "chaos";
/// The namespace that is deleted during the run.
pub const DOOMED: &str = "doomed";
/// The number of containers of each server. Several exports share one, so that the operator must tell a lost job from
/// others.
const CONTAINERS: u32 = 4;
/// The time per export. The faults last at least [`SHORTEST`], in which a control plane can restart three times.
const EVERY: Duration = Duration::from_millis(1300);
const SHORTEST: Duration = Duration::from_secs(75);
/// A deadline that expires within the run, in seconds.
const DEADLINE_SECONDS: i64 = 25;

/// The FHIR servers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Site {
    /// A server of Azure's dialect without authentication.
    Azure,
    /// A server of Azure's dialect, with Entra tokens that last for seconds.
    Entra,
    /// A Bulk Data server without authentication.
    Bulk,
    /// A Bulk Data server, with tokens of SMART Backend Services that last for seconds.
    Smart,
    /// HAPI FHIR.
    Hapi,
}

impl Site {
    /// All FHIR servers.
    pub const ALL: [Self; 5] = [Self::Azure, Self::Entra, Self::Bulk, Self::Smart, Self::Hapi];

    /// The name of the site's FhirServer.
    pub fn name(self) -> &'static str {
        match self {
            Self::Azure => "azure",
            Self::Entra => "entra",
            Self::Bulk => "bulk",
            Self::Smart => "smart",
            Self::Hapi => "hapi",
        }
    }

    /// Whether the operator lands the site's files.
    pub fn lands(self) -> bool {
        !matches!(self, Self::Azure | Self::Entra)
    }

    /// The containers of the site's exports.
    pub fn containers(self) -> impl Iterator<Item = String> {
        (0..CONTAINERS).map(move |n| format!("{}-{n}", self.name()))
    }
}

/// A planned export.
#[derive(Debug, Clone)]
pub struct Planned {
    /// The number of the export, which its kick-offs carry.
    pub number: u32,
    /// The namespace of the export.
    pub namespace: &'static str,
    /// The server of the export.
    pub site: Site,
    /// The behaviour of the server.
    pub fate: Fate,
    /// The `spec` of the object.
    pub spec: Value,
    /// When the export is created, from the start of the faults.
    pub at: Duration,
    /// What the owner of the export does.
    pub act: Act,
    /// The time from the creation to the owner's action.
    pub after: Duration,
    /// Whether the export has a deadline that expires within the run.
    pub deadline: bool,
}

impl Planned {
    /// The name of the export.
    pub fn name(&self) -> String {
        format!("{:03}-{}-{}", self.number, self.site.name(), self.fate.name())
    }

    /// How the export must end if its owner does not stop it.
    pub fn must(&self) -> Must {
        self.fate.must(self.site)
    }
}

/// The value of `_since` that marks the kick-offs of an export. It lies before all data, so it excludes nothing.
pub fn mark(number: u32) -> String {
    format!("2020-01-01T00:00:00.{number:07}Z")
}

/// The part of [`mark`] that no encoding changes.
pub fn needle(number: u32) -> String {
    format!(".{number:07}Z")
}

/// The number of the export in a kick-off.
pub fn number_in(kick_off: &str) -> Option<u32> {
    let mut dots = kick_off.split('.').skip(1);
    dots.find_map(|part| part.get(..8)?.strip_suffix('Z')?.parse().ok())
}

/// The whole plan.
#[derive(Debug, Clone)]
pub struct Plan {
    /// The seed that the plan was drawn from.
    pub seed: u64,
    /// How long faults are injected.
    pub fire: Duration,
    /// When the namespace [`DOOMED`] is deleted, from the start of the faults.
    pub deletion: Duration,
    /// The exports, by number.
    pub exports: Vec<Planned>,
}

impl Plan {
    /// Draws a plan of `count` exports.
    pub fn draw(seed: u64, count: u32) -> Self {
        let mut dice = StdRng::seed_from_u64(seed);
        let fire = (EVERY * count).max(SHORTEST);
        let deletion = fire.mul_f64(dice.random_range(0.4..0.6));
        let doomed = (count / 16).max(4).min(count);
        let mut kinds = fate::kinds(usize::try_from(count - doomed).unwrap_or_default(), &mut dice);
        kinds.extend(fate::doomed(usize::try_from(doomed).unwrap_or_default()));
        let mut exports: Vec<Planned> = Vec::new();
        for (number, (site, fate)) in (1..).zip(kinds) {
            let namespace = if number > count - doomed { DOOMED } else { NAMESPACE };
            exports.push(one(number, namespace, site, fate, (fire, deletion), &mut dice));
        }
        Self { seed, fire, deletion, exports }
    }
}

fn one(
    number: u32,
    namespace: &'static str,
    site: Site,
    fate: Fate,
    (fire, deletion): (Duration, Duration),
    dice: &mut StdRng,
) -> Planned {
    let doomed = namespace == DOOMED;
    let at = if doomed {
        // Some of the exports queue, run, land or have ended when their namespace is deleted.
        deletion.saturating_sub(Duration::from_millis(dice.random_range(500..12_000)))
    } else {
        fire.mul_f64(dice.random_range(0.0..0.85))
    };
    let stopped = fate == Fate::Stuck;
    // A landing looks for a missing file in fresh manifests for ten minutes, which is longer than a run of this
    // program.
    let mut deadline = !doomed && fate == Fate::MissingFile && site.lands();
    let act = if doomed {
        Act::DeleteNamespace
    } else {
        match dice.random_range(0..100) {
            0..35 if stopped => Act::Delete,
            35..70 if stopped => Act::Cancel,
            70..80 if stopped => Act::Abandon,
            _ if stopped => {
                deadline = true;
                Act::Wait
            }
            0..7 => Act::Delete,
            7..13 => Act::Cancel,
            _ => Act::Wait,
        }
    };
    let mut request = request(site, dice);
    if let Some(request) = request.as_object_mut() {
        let n = number % CONTAINERS;
        request.insert("container".into(), json!(format!("{}-{n}", site.name())));
        request.insert("since".into(), json!(mark(number)));
    }
    let backoff = if matches!(fate.must(site), Must::Fail) { 1 } else { 20 };
    let mut spec =
        json!({ "serverRef": { "name": site.name() }, "request": request, "backoffLimit": backoff });
    if let Some(spec) = spec.as_object_mut() {
        if act == Act::Abandon {
            spec.insert("deletionPolicy".into(), json!("Abandon"));
        }
        if deadline {
            spec.insert("activeDeadlineSeconds".into(), json!(DEADLINE_SECONDS));
        }
    }
    let after = Duration::from_millis(dice.random_range(300..14_000));
    Planned { number, namespace, site, fate, spec, at, act, after, deadline }
}

/// A request with a random level, group and types, so that exports differ in size.
fn request(site: Site, dice: &mut StdRng) -> Value {
    const SETS: [&[&str]; 5] = [
        &["Patient", "Condition"],
        &["Patient", "Immunization", "MedicationRequest"],
        &["Patient", "Encounter", "Procedure"],
        &["Patient", "Observation"],
        &["Condition"],
    ];
    if site == Site::Hapi {
        let level = ["System", "Patient"].choose(dice).copied().unwrap_or_default();
        return json!({ "level": level, "types": ["Patient"] });
    }
    let types = SETS.choose(dice).copied().unwrap_or_default();
    let mut request = match dice.random_range(0..10) {
        0..4 => json!({ "level": "System", "types": types }),
        4..7 => json!({ "level": "Patient", "types": types }),
        7..9 => json!({ "level": "Group", "groupID": "all", "types": types }),
        _ => json!({ "level": "Group", "groupID": "cohort-42" }),
    };
    if dice.random_bool(0.05)
        && let Some(request) = request.as_object_mut()
    {
        request.remove("types");
    }
    request
}

/// A bag to draw from, which is refilled when it is empty, so that no item stays undrawn for long.
#[derive(Debug)]
pub struct Bag<T> {
    all: Vec<T>,
    left: Vec<T>,
}

impl<T: Copy> Bag<T> {
    /// A bag with each item as often as its weight says.
    pub fn new(weights: &[(T, usize)]) -> Self {
        let all = weights.iter().flat_map(|(one, times)| std::iter::repeat_n(*one, *times)).collect();
        Self { all, left: Vec::new() }
    }

    /// Draws an item. `None` if the bag was created without any.
    pub fn draw(&mut self, dice: &mut StdRng) -> Option<T> {
        if self.left.is_empty() {
            self.left.clone_from(&self.all);
            self.left.shuffle(dice);
        }
        self.left.pop()
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)] // a test fails by panicking
mod tests {
    use super::*;

    #[test]
    fn a_kick_off_tells_its_number_however_it_is_encoded() {
        assert_eq!(number_in("/$export?_type=Patient&_since=2020-01-01T00%3A00%3A00.0000123Z"), Some(123));
        assert_eq!(number_in(&format!("x.y {{\"valueInstant\":\"{}\"}}", mark(200))), Some(200));
        assert_eq!(number_in("/$export?_since=2020-01-01T00:00:00Z"), None);
        assert!(mark(7).contains(&needle(7)));
    }

    #[test]
    fn the_same_seed_draws_the_same() {
        let (one, other) = (Plan::draw(7, 200), Plan::draw(7, 200));
        assert_eq!(format!("{one:?}"), format!("{other:?}"));
        assert_ne!(format!("{one:?}"), format!("{:?}", Plan::draw(8, 200)));
    }

    #[test]
    fn a_fifth_is_deleted_or_cancelled_and_every_fate_is_drawn() {
        for seed in 0..20 {
            let plan = Plan::draw(seed, 200);
            assert_eq!(plan.exports.len(), 200);
            let stopped = plan.exports.iter().filter(|export| export.act != Act::Wait).count();
            assert!((30..70).contains(&stopped), "{stopped}");
            let fates: std::collections::BTreeSet<_> =
                plan.exports.iter().map(|e| (e.site, e.fate.name())).collect();
            assert_eq!(fates.len(), fate::every(), "seed {seed}");
        }
    }

    #[test]
    fn what_never_ends_by_itself_is_stopped() {
        for planned in Plan::draw(3, 200).exports {
            let ends = planned.fate != Fate::Stuck || planned.deadline || planned.act != Act::Wait;
            assert!(ends, "{}", planned.name());
        }
    }

    #[test]
    fn a_small_plan_has_all_servers_too() {
        for seed in 0..20 {
            let sites: std::collections::BTreeSet<_> =
                Plan::draw(seed, 40).exports.iter().map(|export| export.site).collect();
            assert_eq!(sites.len(), Site::ALL.len(), "seed {seed}");
        }
    }
}
