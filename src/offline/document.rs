//! The documents of files with manifests.

use serde_json::Value;

use super::node::Node;
use super::problem::Problem;

/// One document of a file.
#[derive(Clone, Debug, PartialEq)]
pub struct Document {
    /// The name of the file, for messages.
    pub file: String,
    pub(super) node: Node,
}

impl Document {
    /// The kind of the manifest; empty if it names none.
    pub fn kind(&self) -> &str {
        self.node.text("kind").unwrap_or_default()
    }

    /// The name of the object, or the prefix of a name that the API server makes up; empty if there is neither.
    pub fn name(&self) -> &str {
        let metadata = self.node.field("metadata").map(|field| &field.value);
        metadata.and_then(|node| node.text("name").or_else(|| node.text("generateName"))).unwrap_or_default()
    }

    /// The document as JSON.
    pub fn object(&self) -> Value {
        self.node.to_value()
    }

    /// A problem of this document, at the line of `field`.
    pub fn problem(&self, field: &str, message: impl Into<String>) -> Problem {
        Problem {
            file: self.file.clone(),
            line: self.node.line_of(field),
            kind: self.kind().to_owned(),
            name: self.name().to_owned(),
            field: field.to_owned(),
            message: message.into(),
            rule: None,
        }
    }
}

/// Reads the YAML or JSON documents in `text`, the content of `file`. Documents without content are left out. The error
/// says what cannot be read, and on which line.
pub fn read(file: &str, text: &str) -> Result<Vec<Document>, Box<Problem>> {
    match serde_saphyr::from_multiple::<Option<Node>>(text) {
        Ok(nodes) => {
            let nodes = nodes.into_iter().flatten();
            Ok(nodes.map(|node| Document { file: file.to_owned(), node }).collect())
        }
        Err(error) => Err(Box::new(Problem {
            file: file.to_owned(),
            line: error.location().map_or(1, |at| at.line()),
            kind: String::new(),
            name: String::new(),
            field: String::new(),
            message: format!("this is not YAML: {}", cause(&error.to_string())),
            rule: None,
        })),
    }
}

/// What the parser's message says of the mistake. Its first line begins with the place, and the others draw it.
fn cause(message: &str) -> &str {
    let first = message.lines().next().unwrap_or_default();
    first.split_once(" column ").and_then(|(_, rest)| rest.split_once(": ")).map_or(first, |(_, cause)| cause)
}
