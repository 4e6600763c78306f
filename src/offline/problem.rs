//! What is wrong with a manifest.

use std::fmt;

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

/// `FILE:LINE: KIND NAME: FIELD: message`.
impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let object = [self.kind.as_str(), self.name.as_str()].join(" ");
        let parts = [object.trim(), self.field.as_str(), self.message.as_str()];
        let told = parts.into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join(": ");
        write!(f, "{}:{}: {told}", self.file, self.line)
    }
}
