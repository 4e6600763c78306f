//! How one server deviates: what its owner set by hand, else what is known of its software, else what the
//! specification says.

use crate::api::{
    BulkDataDialect, FhirServer, FinishedJobs, KickOffMethod, ListStyle, Preset, Resolved, TypeFilterEscape,
    Version, YesNo,
};

/// The ways of one server. Nothing in it is Auto any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Deviations {
    /// A known server; `Auto` where it is none of them.
    pub preset: Preset,
    /// Get or Post.
    pub method: KickOffMethod,
    /// Set by hand: a request that needs the other one is refused, not changed.
    pub method_is_set: bool,
    /// Comma or Repeat.
    pub lists: ListStyle,
    /// The version of the specification, where it is known.
    pub version: Option<Version>,
    /// How a comma inside a type filter is escaped where filters are joined by commas.
    pub escape: TypeFilterEscape,
    /// Whether the server knows `_since`.
    pub since: bool,
    /// Whether the server takes `patient`, which only a POST can have.
    pub patient: bool,
    /// What becomes of a finished job; `Auto`: the server is told to clean up after success.
    pub finished: FinishedJobs,
}

impl Deviations {
    /// Those of a server, from its spec and from what the last probe saw.
    pub fn of(server: &FhirServer) -> Self {
        let set = server.spec.bulk_data.clone().unwrap_or_default();
        let status = server.status.as_ref();
        let software = status.and_then(|s| s.software.as_deref()).unwrap_or_default();
        let version = status.and_then(|s| s.resolved.as_ref()?.version);
        Self::decide(&set, software, version)
    }

    /// Likewise, from its parts. `seen` is the version that the server's CapabilityStatement names.
    pub fn decide(set: &BulkDataDialect, software: &str, seen: Option<Version>) -> Self {
        let preset = set.preset.filter(|p| *p != Preset::Auto).unwrap_or_else(|| known(software));
        let version = set.version.filter(|v| *v != Version::Auto).or(seen);
        let method_is_set = set.kick_off_method.is_some_and(|m| m != KickOffMethod::Auto);
        let method =
            set.kick_off_method.filter(|_| method_is_set).unwrap_or(if version == Some(Version::Stu4) {
                KickOffMethod::Post
            } else {
                // Every server of STU1 to STU3 must take it; POST is a may.
                KickOffMethod::Get
            });
        let lists = set.list_style.filter(|l| *l != ListStyle::Auto).unwrap_or(match (preset, version) {
            // HAPI exports the first of repeated types only, and says nothing; Oracle refuses repetition.
            (Preset::Hapi | Preset::OracleHealth, _) => ListStyle::Comma,
            (_, Some(Version::Stu3 | Version::Stu4)) => ListStyle::Repeat,
            _ => ListStyle::Comma,
        });
        let escape =
            set.type_filter_escape.filter(|e| *e != TypeFilterEscape::Auto).unwrap_or(match preset {
                Preset::Epic => TypeFilterEscape::Backslash,
                _ => TypeFilterEscape::Percent,
            });
        let since = match set.supports_since {
            Some(YesNo::Yes) => true,
            Some(YesNo::No) => false,
            Some(YesNo::Auto) | None => preset != Preset::Epic,
        };
        let may_post = !(method_is_set && method == KickOffMethod::Get);
        let patient = may_post
            && match set.supports_patient {
                Some(YesNo::Yes) => true,
                Some(YesNo::No) => false,
                // It is optional since STU2. Where it is refused after all, runs of schedules are full.
                Some(YesNo::Auto) | None => {
                    preset == Preset::Auto && version.is_some_and(|own| number(own) >= number(Version::Stu2))
                }
            };
        let finished = set.finished_jobs.filter(|f| *f != FinishedJobs::Auto).unwrap_or(match preset {
            // It answers 404 and keeps the job.
            Preset::Hapi => FinishedJobs::Keep,
            // It runs one export for each client and group until it is told that the last one is done with.
            Preset::Epic => FinishedJobs::Delete,
            _ => FinishedJobs::Auto,
        });
        Self { preset, method, method_is_set, lists, version, escape, since, patient, finished }
    }

    /// What status shows of them.
    pub fn resolved(&self) -> Resolved {
        Resolved { kick_off_method: Some(self.method), list_style: Some(self.lists), version: self.version }
    }

    /// Whether the server is of this version or a later one; a server that names none may be.
    pub fn may_know(&self, version: Version) -> bool {
        self.version.is_none_or(|own| number(own) >= number(version))
    }

    /// Whether the server is known to be of this version or a later one.
    pub fn knows(&self, version: Version) -> bool {
        self.version.is_some_and(|own| number(own) >= number(version))
    }

    /// Whether a job is forgotten by the server after it ended so.
    pub fn cleans_up(&self, success: bool) -> bool {
        match self.finished {
            FinishedJobs::Delete => true,
            FinishedJobs::Keep => false,
            // What failed may have to be looked at.
            FinishedJobs::Auto => success,
        }
    }
}

fn number(version: Version) -> u8 {
    match version {
        Version::Auto => 0,
        Version::Stu1 => 1,
        Version::Stu2 => 2,
        Version::Stu3 => 3,
        Version::Stu4 => 4,
    }
}

/// The known server behind a name of software, as CapabilityStatements have it.
fn known(software: &str) -> Preset {
    let name = software.to_ascii_lowercase();
    let says = |word: &str| name.contains(word);
    if says("hapi") {
        Preset::Hapi
    } else if says("epic") {
        Preset::Epic
    } else if says("cerner") || says("oracle health") || says("millennium") {
        Preset::OracleHealth
    } else {
        Preset::Auto
    }
}

/// The version that a CapabilityStatement names, by the canonicals of its export operations and of what it
/// instantiates (`…/bulkdata/…|2.0.0`). A server may offer two on one base: the older operation is the one used.
pub fn version_in(canonicals: &[&str], operations: &[&str]) -> Option<Version> {
    let bulk = canonicals.iter().filter(|c| c.contains("bulkdata") || c.contains("bulk-data"));
    let numbered = bulk.filter_map(|c| match c.rsplit_once('|')?.1.split('.').next()? {
        "1" => Some(Version::Stu1),
        "2" => Some(Version::Stu2),
        "3" => Some(Version::Stu3),
        "4" => Some(Version::Stu4),
        _ => None,
    });
    let classic = operations.contains(&"export");
    let newest = !classic && operations.contains(&"export-v4");
    // Beside an operation of the classic form, version 4 is the other one's.
    let fits = |v: &Version| !classic || operations.len() == 1 || *v != Version::Stu4;
    numbered.filter(fits).min_by_key(|v| number(*v)).or(newest.then_some(Version::Stu4))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decide(set: serde_json::Value, software: &str, seen: Option<Version>) -> Deviations {
        Deviations::decide(&serde_json::from_value(set).unwrap(), software, seen)
    }

    #[test]
    fn what_is_known_of_servers() {
        use serde_json::json;
        let auto = json!({});
        let generic = decide(auto.clone(), "Some Server 1", None);
        assert_eq!(
            (generic.preset, generic.method, generic.lists, generic.since, generic.finished),
            (Preset::Auto, KickOffMethod::Get, ListStyle::Comma, true, FinishedJobs::Auto)
        );
        let hapi = decide(auto.clone(), "HAPI FHIR Server 8.8.0", Some(Version::Stu3));
        assert_eq!((hapi.lists, hapi.finished), (ListStyle::Comma, FinishedJobs::Keep));
        let epic = decide(auto.clone(), "Epic", None);
        assert_eq!(
            (epic.since, epic.finished, epic.escape),
            (false, FinishedJobs::Delete, TypeFilterEscape::Backslash)
        );
        assert_eq!(decide(auto.clone(), "Cerner Millennium", Some(Version::Stu3)).lists, ListStyle::Comma);
        let v4 = decide(auto, "x", Some(Version::Stu4));
        assert_eq!((v4.method, v4.lists), (KickOffMethod::Post, ListStyle::Repeat));
        let by_hand = json!({"preset": "HAPI", "listStyle": "Repeat", "kickOffMethod": "Post", "version": "STU2",
            "supportsSince": "No", "supportsPatient": "Yes", "finishedJobs": "Delete", "typeFilterEscape": "Backslash"});
        let set = decide(by_hand, "Epic", Some(Version::Stu4));
        assert_eq!(
            set,
            Deviations {
                preset: Preset::Hapi,
                method: KickOffMethod::Post,
                method_is_set: true,
                lists: ListStyle::Repeat,
                version: Some(Version::Stu2),
                escape: TypeFilterEscape::Backslash,
                since: false,
                patient: true,
                finished: FinishedJobs::Delete
            }
        );
    }

    #[test]
    fn who_takes_lists_of_patients() {
        use serde_json::json;
        for (set, software, seen, takes) in [
            (json!({}), "x", None, false),
            (json!({}), "x", Some(Version::Stu1), false),
            (json!({}), "x", Some(Version::Stu2), true),
            (json!({}), "x", Some(Version::Stu4), true),
            (json!({"version": "STU2"}), "x", None, true),
            (json!({}), "HAPI FHIR Server", Some(Version::Stu3), false),
            (json!({}), "Epic", Some(Version::Stu2), false),
            (json!({}), "Cerner Millennium", Some(Version::Stu2), false),
            (json!({"supportsPatient": "Auto"}), "x", None, false),
            (json!({"supportsPatient": "Yes"}), "Epic", None, true),
            (json!({"supportsPatient": "No"}), "x", Some(Version::Stu3), false),
            (json!({"kickOffMethod": "Post"}), "x", Some(Version::Stu2), true),
            (json!({"kickOffMethod": "Get"}), "x", Some(Version::Stu2), false),
            (json!({"kickOffMethod": "Get", "supportsPatient": "Yes"}), "x", Some(Version::Stu2), false),
        ] {
            assert_eq!(decide(set.clone(), software, seen).patient, takes, "{set} {software} {seen:?}");
        }
    }

    #[test]
    fn versions_from_capability_statements() {
        let bulk = |v: &str| format!("http://hl7.org/fhir/uv/bulkdata/CapabilityStatement/bulk-data|{v}");
        let read = |canonicals: &[&str], operations: &[&str]| version_in(canonicals, operations);
        assert_eq!(read(&[], &["export"]), None);
        assert_eq!(read(&[&bulk("1.0.1")], &["export"]), Some(Version::Stu1));
        assert_eq!(read(&[&bulk("2.0.0")], &["export"]), Some(Version::Stu2));
        assert_eq!(read(&[&bulk("4.0.0-ballot")], &["export"]), Some(Version::Stu4));
        assert_eq!(read(&[], &["export-v4"]), Some(Version::Stu4));
        assert_eq!(read(&[&bulk("3.0.0"), &bulk("4.0.0")], &["export", "export-v4"]), Some(Version::Stu3));
        assert_eq!(read(&["http://x/other|2.0.0", "nonsense"], &["export"]), None);
    }
}
