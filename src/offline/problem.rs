//! What is wrong with a manifest.

use serde::Serialize;

/// A part of a manifest that the API server would refuse.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Problem {
    /// The file, as it was named.
    pub file: String,
    /// The line, from 1.
    pub line: u64,
    /// The kind of the manifest; empty if it names none.
    pub kind: String,
    /// The name of the object; empty if it has none.
    pub name: String,
    /// The path of the field; empty for the manifest as a whole.
    pub field: String,
    /// What is wrong, and what to do.
    pub message: String,
    /// The rule of the definition that is broken, in the Common Expression Language; absent if it is the schema.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rule: Option<String>,
}
