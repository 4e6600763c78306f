//! The form of a manifest and what is odd about it.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::version::Version;

/// The form of a manifest. The default is that of the server's version.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
// Each is a switch of its own.
#[allow(clippy::struct_excessive_bools)]
pub struct Shape {
    /// Another version than the server's.
    pub version: Option<Version>,
    /// `count`.
    pub count: Count,
    /// Whether `fileSize` is there (it always is in version 4).
    pub file_size: bool,
    /// SHA-256 and length of each file as an extension.
    pub checksums: ExtensionForm,
    /// An extension of the whole manifest.
    pub extension: ExtensionForm,
    /// `None` is right: `true` unless the server is open.
    pub requires_access_token: Option<bool>,
    /// URLs of files are paths.
    pub relative_urls: bool,
    /// URLs of files have the foreign host, which refuses `Authorization`.
    pub foreign_urls: bool,
    /// Entries a page; further pages are linked.
    pub page: Option<usize>,
    /// The last page links to the first.
    pub cyclic: bool,
    /// How many requests for each further page get 202.
    pub page_pending: u32,
    /// Ids such as `Patient/1` in a `deleted` file, besides what was really deleted since `_since`.
    pub deleted: Vec<String>,
    /// `OperationOutcome`s in the `error` or `outcome` file, by severity.
    pub issues: BTreeMap<String, u64>,
    /// `Expires`, so many seconds from now.
    pub expires_seconds: Option<u64>,
    /// The member `message`, as HAPI has it.
    pub message: Option<String>,
    /// A text in place of the right `transactionTime`.
    pub transaction_time: Option<String>,
    /// Members that no version knows.
    pub unknown_members: bool,
}

/// `count` of the entries.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Count {
    /// Right.
    #[default]
    Right,
    /// Not there.
    Absent,
    /// Wrong by so many.
    Wrong(i64),
}

/// `extension`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum ExtensionForm {
    /// Not there.
    #[default]
    Absent,
    /// An object, URL to value.
    Object,
    /// An array of FHIR extensions, as version 4 and some older servers have it.
    Array,
}
