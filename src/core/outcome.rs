//! FHIR `OperationOutcome`, parsed tolerantly.

use serde::Deserialize;

use super::words;

/// The longest body that is parsed as an OperationOutcome, in bytes.
pub const MAX_BODY: usize = 1 << 20;

/// The issues of an `OperationOutcome`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OperationOutcome {
    issues: Vec<Issue>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
struct Issue {
    severity: String,
    code: String,
    diagnostics: Option<String>,
    details: Option<Details>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
struct Details {
    text: Option<String>,
}

#[derive(Deserialize)]
struct Resource {
    #[serde(rename = "resourceType")]
    resource_type: String,
    #[serde(default)]
    issue: Vec<Issue>,
}

impl OperationOutcome {
    /// Parses a body; `None` if it is anything else, such as the page of a gateway.
    pub fn parse(body: &[u8]) -> Option<Self> {
        if body.len() > MAX_BODY {
            return None;
        }
        let resource: Resource = serde_json::from_slice(body).ok()?;
        (resource.resource_type == "OperationOutcome").then_some(Self { issues: resource.issue })
    }

    /// Whether an issue has this code.
    pub fn has_code(&self, code: &str) -> bool {
        self.issues.iter().any(|i| i.code == code)
    }

    /// The severity of each issue: fatal, error, warning or information.
    pub fn severities(&self) -> impl Iterator<Item = &str> {
        self.issues.iter().map(|i| i.severity.as_str())
    }

    /// The texts of all issues as the server wrote them: for decisions, never for people.
    pub fn raw_text(&self) -> String {
        self.texts().collect::<Vec<_>>().join("\n")
    }

    /// The texts of all issues, cleaned by [`words::clean`], for people.
    pub fn words(&self) -> String {
        words::clean(&self.raw_text())
    }

    fn texts(&self) -> impl Iterator<Item = &str> {
        self.issues
            .iter()
            .filter_map(|i| i.diagnostics.as_deref().or_else(|| i.details.as_ref()?.text.as_deref()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_servers_send() {
        let body = br#"{"resourceType":"OperationOutcome","id":"1","issue":[
            {"severity":"error","code":"processing","diagnostics":"a"},
            {"severity":"error","code":"invalid","details":{"text":"b"}},{"severity":"error"}]}"#;
        let outcome = OperationOutcome::parse(body).expect("an outcome");
        assert!(outcome.has_code("processing") && outcome.has_code("invalid") && !outcome.has_code("login"));
        assert_eq!(outcome.words(), "a b");
    }

    #[test]
    fn refuses_anything_else() {
        let long =
            format!(r#"{{"resourceType":"OperationOutcome","issue":[{}{{}}]}}"#, "{},".repeat(MAX_BODY / 3));
        for body in [long.as_str(), "", "<html>", "{}", "[]", "null", r#"{"resourceType":"Bundle"}"#] {
            assert_eq!(OperationOutcome::parse(body.as_bytes()), None, "{body}");
        }
    }
}
