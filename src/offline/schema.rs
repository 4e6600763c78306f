//! Structural schemas of custom resource definitions (Kubernetes: "Extend the Kubernetes API with
//! CustomResourceDefinitions", "Validation"), as far as the definitions of this operator use them.

use jiff::Timestamp;
use serde_json::{Number, Value};

use super::node::{Content, Field, Node};

/// A part of a manifest that its schema does not permit.
#[derive(Clone, Debug, PartialEq)]
pub struct Mismatch {
    /// The path of the field, such as `spec.request.types[0]`.
    pub field: String,
    /// The line, from 1.
    pub line: u64,
    /// What is wrong, and what is permitted.
    pub message: String,
}

/// Finds all parts of `node` that `schema` does not permit. `path` is the path of the node.
pub fn mismatches(schema: &Value, path: &str, node: &Node) -> Vec<Mismatch> {
    let mut walk = Walk { found: Vec::new() };
    walk.value(schema, path, node.line, node);
    walk.found
}

struct Walk {
    found: Vec<Mismatch>,
}

impl Walk {
    fn wrong(&mut self, field: &str, line: u64, message: impl Into<String>) {
        self.found.push(Mismatch { field: field.to_owned(), line, message: message.into() });
    }

    /// Checks a value. `line` is that of its name, if it has one.
    fn value(&mut self, schema: &Value, path: &str, line: u64, node: &Node) {
        let wanted = schema["type"].as_str().unwrap_or_default();
        match (&node.content, wanted) {
            (Content::Map(fields), "object") => self.object(schema, path, line, fields),
            (Content::List(items), "array") => self.list(schema, path, line, items),
            (Content::Scalar(Value::String(text)), "string") => self.text(schema, path, line, text),
            (Content::Scalar(Value::Number(number)), "integer" | "number")
                if wanted == "number" || number.is_i64() || number.is_u64() =>
            {
                self.number(schema, path, line, number);
            }
            (Content::Scalar(Value::Bool(_)), "boolean") | (_, "") => {}
            (content, _) => {
                self.wrong(path, line, format!("must be {}, not {}", article(wanted), described(content)));
            }
        }
    }

    fn object(&mut self, schema: &Value, path: &str, line: u64, fields: &[Field]) {
        let (properties, others) = (schema["properties"].as_object(), &schema["additionalProperties"]);
        for field in fields {
            let known = properties.and_then(|properties| properties.get(&field.name));
            if let Some(inner) = known {
                self.value(inner, &below(path, &field.name), field.line, &field.value);
            } else if others.is_object() {
                self.value(others, &format!("{path}[{}]", field.name), field.line, &field.value);
            } else if let Some(properties) = properties {
                let message = match closest(&field.name, properties.keys()) {
                    Some(close) => format!("there is no such field; did you mean {close}?"),
                    None => "there is no such field".to_owned(),
                };
                self.wrong(&below(path, &field.name), field.line, message);
            }
        }
        for name in schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str) {
            if !fields.iter().any(|field| field.name == name) {
                self.wrong(&below(path, name), line, "is required");
            }
        }
        self.size(schema, ["minProperties", "maxProperties"], "field", (path, line), fields.len());
    }

    fn list(&mut self, schema: &Value, path: &str, line: u64, items: &[Node]) {
        for (index, item) in items.iter().enumerate() {
            self.value(&schema["items"], &format!("{path}[{index}]"), item.line, item);
        }
        self.size(schema, ["minItems", "maxItems"], "item", (path, line), items.len());
    }

    fn text(&mut self, schema: &Value, path: &str, line: u64, text: &str) {
        if let Some(permitted) = schema["enum"].as_array() {
            let names: Vec<&str> = permitted.iter().filter_map(Value::as_str).collect();
            if !names.contains(&text) {
                self.wrong(path, line, format!("must be {}, not \"{text}\"", either(&names)));
            }
            return;
        }
        self.size(schema, ["minLength", "maxLength"], "character", (path, line), text.chars().count());
        let pattern = schema["pattern"].as_str();
        if let Some(pattern) = pattern.filter(|pattern| !matches(pattern, text)) {
            self.wrong(path, line, format!("\"{text}\" does not match {pattern}"));
        }
        if schema["format"] == "date-time" && text.parse::<Timestamp>().is_err() {
            self.wrong(path, line, format!("\"{text}\" is not an instant such as 2026-01-01T00:00:00Z"));
        }
    }

    fn number(&mut self, schema: &Value, path: &str, line: u64, number: &Number) {
        let value = number.as_f64().unwrap_or(f64::NAN);
        if let Some(least) = schema["minimum"].as_f64().filter(|least| value < *least) {
            self.wrong(path, line, format!("must be at least {least}, not {number}"));
        }
        if let Some(most) = schema["maximum"].as_f64().filter(|most| value > *most) {
            self.wrong(path, line, format!("must be at most {most}, not {number}"));
        }
    }

    fn size(&mut self, schema: &Value, bounds: [&str; 2], of: &str, at: (&str, u64), size: usize) {
        let [least, most] = bounds.map(|bound| schema[bound].as_u64());
        let size = size as u64;
        let count = |n: u64| if n == 1 { format!("1 {of}") } else { format!("{n} {of}s") };
        if let Some(least) = least.filter(|least| size < *least) {
            self.wrong(at.0, at.1, format!("must have at least {}, not {size}", count(least)));
        }
        if let Some(most) = most.filter(|most| size > *most) {
            self.wrong(at.0, at.1, format!("must have at most {}, not {size}", count(most)));
        }
    }
}

fn below(path: &str, name: &str) -> String {
    if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") }
}

fn article(type_: &str) -> &'static str {
    match type_ {
        "object" => "an object with fields",
        "array" => "a list",
        "string" => "a string",
        "integer" => "a whole number",
        "number" => "a number",
        _ => "true or false",
    }
}

fn described(content: &Content) -> &'static str {
    match content {
        Content::Map(_) => "an object",
        Content::List(_) => "a list",
        Content::Scalar(Value::String(_)) => "a string",
        Content::Scalar(Value::Number(_)) => "a number",
        Content::Scalar(Value::Bool(_)) => "a boolean",
        Content::Scalar(_) => "null",
    }
}

fn either(names: &[&str]) -> String {
    match names {
        [one] => (*one).to_owned(),
        [first @ .., last] => format!("{} or {last}", first.join(", ")),
        [] => String::new(),
    }
}

/// The pattern's matches are not anchored, as in JSON Schema. A pattern that cannot be read matches nothing.
fn matches(pattern: &str, text: &str) -> bool {
    regex::Regex::new(pattern).is_ok_and(|pattern| pattern.is_match(text))
}

/// The name that is most like `name`, if one is like it.
pub(super) fn closest<'a>(name: &str, names: impl Iterator<Item = &'a String>) -> Option<&'a str> {
    let lower = name.to_lowercase();
    let scored = names.map(|known| (strsim::jaro_winkler(&lower, &known.to_lowercase()), known));
    let (score, known) = scored.max_by(|(a, _), (b, _)| a.total_cmp(b))?;
    (score > 0.8).then_some(known.as_str())
}
