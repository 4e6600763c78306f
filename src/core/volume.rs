//! Folders of volumes, and which namespaces may use them.

use std::collections::BTreeMap;
use std::fmt;

use super::ledger::{StorageFailure, StorageFailureKind};
use crate::api::Volume;

/// The longest name of a `PersistentVolumeClaim`, in bytes.
const LONGEST_CLAIM: usize = 253;
/// The longest path of a folder, in bytes: as long as `volume.path` may be.
const LONGEST_PATH: usize = 200;

/// A folder of a volume that is mounted into the operator. Nothing in it can lead elsewhere: no name is empty or begins
/// with a dot.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct VolumeFolder {
    claim: String,
    path: Vec<String>,
}

impl VolumeFolder {
    /// The folder that a `FhirServer` names.
    ///
    /// # Errors
    ///
    /// The name of the claim or of a folder is one that the schema refuses.
    pub fn of(volume: &Volume) -> Result<Self, String> {
        Self::new(&volume.claim_name, volume.path.as_deref())
    }

    /// Reads a folder from `CLAIM` or `CLAIM/PATH`.
    ///
    /// # Errors
    ///
    /// The text has another form, or a name is refused.
    pub fn parse(text: &str) -> Result<Self, String> {
        match text.split_once('/') {
            Some((claim, path)) => Self::new(claim, Some(path)),
            None => Self::new(text, None),
        }
    }

    fn new(claim: &str, path: Option<&str>) -> Result<Self, String> {
        if !is_claim(claim) {
            return Err(format!("{claim:?} cannot be the name of a PersistentVolumeClaim"));
        }
        let path = path.unwrap_or_default();
        let names: Vec<String> = path.split('/').filter(|_| !path.is_empty()).map(str::to_owned).collect();
        if path.len() > LONGEST_PATH || !names.iter().all(|name| is_folder(name)) {
            return Err(format!("{path:?} cannot be the path of a folder in a volume"));
        }
        Ok(Self { claim: claim.to_owned(), path: names })
    }

    /// The name of the `PersistentVolumeClaim`.
    pub fn claim(&self) -> &str {
        &self.claim
    }

    /// The names of the folders from the root of the volume to this one; none for the root itself.
    pub fn path(&self) -> impl Iterator<Item = &str> {
        self.path.iter().map(String::as_str)
    }

    /// Whether this folder is `other` or lies in it.
    pub fn is_within(&self, other: &Self) -> bool {
        self.claim == other.claim && self.path.starts_with(&other.path)
    }
}

/// `CLAIM` or `CLAIM/PATH`.
impl fmt::Display for VolumeFolder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.claim)?;
        self.path.iter().try_for_each(|name| write!(f, "/{name}"))
    }
}

/// Which namespace each folder of the volumes is granted to. A folder belongs to one namespace, with all that lies in
/// it: no two namespaces can reach the same files.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct VolumeGrants(BTreeMap<VolumeFolder, String>);

impl fmt::Display for VolumeGrants {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let all: Vec<String> =
            self.0.iter().map(|(folder, namespace)| format!("{namespace}={folder}")).collect();
        f.write_str(&all.join(","))
    }
}

impl VolumeGrants {
    /// Grants each folder to its namespace.
    ///
    /// # Errors
    ///
    /// A folder is granted to two namespaces, or lies in the folder of another namespace.
    pub fn new(grants: impl IntoIterator<Item = (String, VolumeFolder)>) -> Result<Self, String> {
        let mut known: BTreeMap<VolumeFolder, String> = BTreeMap::new();
        for (namespace, folder) in grants {
            let overlaps = |(other, of): &(&VolumeFolder, &String)| {
                **of != namespace && (folder.is_within(other) || other.is_within(&folder))
            };
            if let Some((other, of)) = known.iter().find(overlaps) {
                return Err(format!(
                    "{folder} of namespace {namespace} and {other} of namespace {of} overlap: grant folders apart from \
                     each other"
                ));
            }
            known.insert(folder, namespace);
        }
        Ok(Self(known))
    }

    /// The folder that a `FhirServer` in `namespace` names, if it may use it.
    ///
    /// # Errors
    ///
    /// No folder that this one lies in is granted to the namespace. The message is the same whether the volume exists
    /// or not.
    pub fn admit(&self, namespace: &str, volume: &Volume) -> Result<VolumeFolder, StorageFailure> {
        let folder = VolumeFolder::of(volume)
            .map_err(|why| StorageFailure::permanent(format!("{why}: correct storage.volume")))?;
        let granted = self.0.iter().any(|(granted, to)| to == namespace && folder.is_within(granted));
        if granted {
            return Ok(folder);
        }
        Err(StorageFailure {
            kind: StorageFailureKind::NotGranted,
            message: format!(
                "namespace {namespace} may not use {folder}: correct storage.volume, or ask the operator's owner to \
                 grant that folder (volumes in the chart)"
            ),
        })
    }
}

/// Whether `name` can be the name of a `PersistentVolumeClaim`: a DNS subdomain.
fn is_claim(name: &str) -> bool {
    let inner = |byte: &u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let is_label = |label: &str| {
        let bytes = label.as_bytes();
        bytes.first().is_some_and(inner)
            && bytes.last().is_some_and(inner)
            && bytes.iter().all(|byte| inner(byte) || *byte == b'-')
    };
    name.len() <= LONGEST_CLAIM && name.split('.').all(is_label)
}

/// Whether `name` can be the name of a folder: letters, digits, dots, hyphens and underscores, with no dot or hyphen in
/// front.
fn is_folder(name: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_');
    !name.is_empty() && !name.starts_with(['.', '-']) && name.bytes().all(plain)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn volume(claim: &str, path: Option<&str>) -> Volume {
        Volume { claim_name: claim.into(), path: path.map(Into::into) }
    }

    fn grants(grants: &[(&str, &str)]) -> Result<VolumeGrants, String> {
        let read = |(namespace, folder): &(&str, &str)| {
            ((*namespace).to_owned(), VolumeFolder::parse(folder).unwrap())
        };
        VolumeGrants::new(grants.iter().map(read))
    }

    #[test]
    fn no_name_leads_out_of_its_volume() {
        let long = "x".repeat(201);
        for (claim, path) in [
            ("", None),
            (".", None),
            ("..", None),
            ("a/b", None),
            ("../lake", None),
            ("Lake", None),
            ("-lake", None),
            ("a..b", None),
            ("lake\n", None),
            ("lake", Some("..")),
            ("lake", Some(".")),
            ("lake", Some("a/../b")),
            ("lake", Some("/etc")),
            ("lake", Some("a//b")),
            ("lake", Some("a/")),
            ("lake", Some(".hidden")),
            ("lake", Some("a/.uploads")),
            ("lake", Some("a\\b")),
            ("lake", Some("a\0b")),
            ("lake", Some("-a")),
            ("lake", Some(&long)),
        ] {
            assert!(VolumeFolder::of(&volume(claim, path)).is_err(), "{claim:?} {path:?}");
        }
        for (claim, path, told) in [
            ("lake", None, "lake"),
            ("lake", Some(""), "lake"),
            ("lake.v2", Some("a/b_2/c.d"), "lake.v2/a/b_2/c.d"),
        ] {
            let folder = VolumeFolder::of(&volume(claim, path)).unwrap();
            assert_eq!(folder.to_string(), told);
            assert_eq!(VolumeFolder::parse(told).unwrap(), folder);
        }
    }

    #[test]
    fn a_namespace_reaches_its_own_folders_only() {
        let grants =
            grants(&[("clinic", "lake"), ("research", "shared/research"), ("trial", "shared/trial")])
                .unwrap();
        for (namespace, claim, path, admitted) in [
            ("clinic", "lake", None, true),
            ("clinic", "lake", Some("any/where"), true),
            ("clinic", "shared", Some("research"), false),
            ("research", "shared", Some("research"), true),
            ("research", "shared", Some("research/2026"), true),
            // The name only begins like that of the granted folder.
            ("research", "shared", Some("research2"), false),
            ("research", "shared", Some("trial"), false),
            ("research", "shared", None, false),
            ("research", "lake", Some("shared/research"), false),
            ("elsewhere", "lake", None, false),
            ("clinic", "unknown", None, false),
        ] {
            let found = grants.admit(namespace, &volume(claim, path));
            assert_eq!(found.is_ok(), admitted, "{namespace} {claim} {path:?}");
            if let Err(failure) = found {
                assert_eq!(failure.kind, StorageFailureKind::NotGranted);
            }
        }
        let climbs = grants.admit("research", &volume("shared", Some("research/../trial"))).unwrap_err();
        assert_eq!(climbs.kind, StorageFailureKind::Permanent);
        assert!(VolumeGrants::default().admit("clinic", &volume("lake", None)).is_err());
    }

    #[test]
    fn folders_of_two_namespaces_lie_apart() {
        for overlapping in [
            [("clinic", "lake"), ("research", "lake")],
            [("clinic", "lake"), ("research", "lake/research")],
            [("clinic", "lake/a/b"), ("research", "lake/a")],
        ] {
            let told = grants(&overlapping).unwrap_err();
            assert!(told.contains("overlap"), "{told}");
        }
        assert!(grants(&[("clinic", "lake"), ("clinic", "lake/inner")]).is_ok());
        assert!(grants(&[("clinic", "lake/a"), ("research", "lake/ab")]).is_ok());
    }
}
