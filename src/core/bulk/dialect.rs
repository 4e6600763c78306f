//! How a server deviates from the specification: as its owner configured it, otherwise as is known about its
//! software, otherwise not at all.

use crate::api::{
    BulkDataDialect, FhirServer, FinishedJobs, KickOffMethod, ListStyle, Preset, Resolved, TypeFilterEscape,
    Version, YesNo,
};

/// The resolved behaviour of a server, in which nothing is Auto any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Deviations {
    /// The known server product; `Auto` if it is none of them.
    pub preset: Preset,
    /// The HTTP method of kick-offs: Get or Post.
    pub method: KickOffMethod,
    /// Whether the method was set by hand. A request that needs the other method is then refused, not
    /// changed.
    pub method_is_set: bool,
    /// How a parameter with several values is sent: Comma or Repeat.
    pub lists: ListStyle,
    /// The version of the specification, if it is known.
    pub version: Option<Version>,
    /// How a comma inside a type filter is escaped when filters are joined by commas.
    pub escape: TypeFilterEscape,
    /// Whether the server supports `_since`.
    pub since: bool,
    /// Whether the server accepts `patient`, which needs a POST.
    pub patient: bool,
    /// What the operator does with finished jobs; `Auto`: it tells the server to forget them after success.
    pub finished: FinishedJobs,
}

impl Deviations {
    /// The deviations of a server, from its spec and from what the last probe found.
    pub fn of(server: &FhirServer) -> Self {
        let set = server.spec.bulk_data.clone().unwrap_or_default();
        let status = server.status.as_ref();
        let software = status.and_then(|s| s.software.as_deref()).unwrap_or_default();
        let version = status.and_then(|s| s.resolved.as_ref()?.version);
        Self::decide(&set, software, version)
    }

    /// The deviations of a server, from its settings and the name of its software. `seen` is the version that
    /// its CapabilityStatement names.
    pub fn decide(set: &BulkDataDialect, software: &str, seen: Option<Version>) -> Self {
        let preset = set.preset.filter(|p| *p != Preset::Auto).unwrap_or_else(|| known(software));
        let version = set.version.filter(|v| *v != Version::Auto).or(seen);
        let method_is_set = set.kick_off_method.is_some_and(|m| m != KickOffMethod::Auto);
        let method =
            set.kick_off_method.filter(|_| method_is_set).unwrap_or(if version == Some(Version::Stu4) {
                KickOffMethod::Post
            } else {
                // Servers of STU1 to STU3 must support GET and may support POST.
                KickOffMethod::Get
            });
        let lists = set.list_style.filter(|l| *l != ListStyle::Auto).unwrap_or(match (preset, version) {
            // HAPI silently exports only the first of repeated types; Oracle rejects repetition.
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
                // Optional since STU2. If the server rejects `_since` after all, schedules run in full.
                Some(YesNo::Auto) | None => {
                    preset == Preset::Auto && version.is_some_and(|own| number(own) >= number(Version::Stu2))
                }
            };
        let finished = set.finished_jobs.filter(|f| *f != FinishedJobs::Auto).unwrap_or(match preset {
            // HAPI answers 404 and keeps the job.
            Preset::Hapi => FinishedJobs::Keep,
            // Epic runs one export per client and group, until the client deletes the previous job.
            Preset::Epic => FinishedJobs::Delete,
            _ => FinishedJobs::Auto,
        });
        Self { preset, method, method_is_set, lists, version, escape, since, patient, finished }
    }

    /// Whether a job may take longer than the default deadline of other servers.
    pub fn jobs_are_slow(&self) -> bool {
        match self.preset {
            Preset::Epic => true,
            Preset::Auto | Preset::Hapi | Preset::OracleHealth => false,
        }
    }

    /// Whether an incremental export below level System leaves out changes to resources of patients who did not change
    /// themselves.
    pub fn leaves_out_changes(&self) -> bool {
        match self.preset {
            Preset::Hapi => true,
            Preset::Auto | Preset::Epic | Preset::OracleHealth => false,
        }
    }

    /// The part of the deviations that `status.resolved` shows.
    pub fn resolved(&self) -> Resolved {
        Resolved { kick_off_method: Some(self.method), list_style: Some(self.lists), version: self.version }
    }

    /// Whether the server may support this version: it names this or a later one, or none.
    pub fn may_know(&self, version: Version) -> bool {
        self.version.is_none_or(|own| number(own) >= number(version))
    }

    /// Whether the server is known to support this version: it names this or a later one.
    pub fn knows(&self, version: Version) -> bool {
        self.version.is_some_and(|own| number(own) >= number(version))
    }

    /// Whether the operator tells the server to forget a job, after success or failure.
    pub fn cleans_up(&self, success: bool) -> bool {
        match self.finished {
            FinishedJobs::Delete => true,
            FinishedJobs::Keep => false,
            // Somebody may want to examine a failed job.
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

/// The known server product behind the software name in a CapabilityStatement.
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

/// The version of the specification that a CapabilityStatement names, from the canonical URLs of its export
/// operations and of what it instantiates (`…/bulkdata/…|2.0.0`). If a server offers two versions on one
/// base, the operator uses the older operation.
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
    // Next to an operation of the classic form, version 4 belongs to the other operation.
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
            "supportsSince": "No", "supportsPatient": "Yes", "finishedJobs": "Delete",
            "typeFilterEscape": "Backslash"});
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
