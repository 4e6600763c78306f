//! Structural schemas of custom resource definitions (Kubernetes: "Extend the Kubernetes API with
//! CustomResourceDefinitions", "Validation"), as far as the definitions of this operator use them.

use std::fmt;

use jiff::Timestamp;
use serde_json::{Map, Number, Value};

/// A part of an object that its definition refuses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// The path of the field, such as `spec.request.types[0]`; empty for the object as a whole.
    pub field: String,
    /// What is wrong, and what is permitted.
    pub message: String,
    /// The rule that is broken, in the Common Expression Language; `None` if the schema itself refuses the part.
    pub rule: Option<String>,
}

impl Fault {
    /// A part that the schema refuses.
    pub fn new(field: &str, message: impl Into<String>) -> Self {
        Self { field: field.to_owned(), message: message.into(), rule: None }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.field, self.message)
    }
}

/// Finds all parts of `value` that `schema` does not permit. `path` is the path of the value.
pub fn faults(schema: &Value, path: &str, value: &Value) -> Vec<Fault> {
    let mut walk = Walk { found: Vec::new() };
    walk.value(schema, path, value);
    walk.found
}

/// The fault of a field that none of `known` is.
pub fn unknown<'a>(path: &str, name: &str, known: impl Iterator<Item = &'a String>) -> Fault {
    let hint = closest(name, known).map(|close| format!("; did you mean {close}?"));
    Fault::new(&below(path, name), format!("there is no such field{}", hint.unwrap_or_default()))
}

struct Walk {
    found: Vec<Fault>,
}

impl Walk {
    fn wrong(&mut self, field: &str, message: impl Into<String>) {
        self.found.push(Fault::new(field, message));
    }

    fn value(&mut self, schema: &Value, path: &str, value: &Value) {
        let wanted = schema["type"].as_str().unwrap_or_default();
        match (value, wanted) {
            (Value::Object(fields), "object") => self.object(schema, path, fields),
            (Value::Array(items), "array") => {
                for (index, item) in items.iter().enumerate() {
                    self.value(&schema["items"], &format!("{path}[{index}]"), item);
                }
                self.size(schema, ["minItems", "maxItems"], "item", path, items.len());
            }
            (Value::String(text), "string") => self.text(schema, path, text),
            (Value::Number(number), "integer" | "number")
                if wanted == "number" || number.is_i64() || number.is_u64() =>
            {
                self.number(schema, path, number);
            }
            (Value::Bool(_), "boolean") | (_, "") => {}
            (value, _) => {
                self.wrong(path, format!("must be {}, not {}", article(wanted), described(value)));
            }
        }
    }

    fn object(&mut self, schema: &Value, path: &str, fields: &Map<String, Value>) {
        let (properties, others) = (schema["properties"].as_object(), &schema["additionalProperties"]);
        for (name, value) in fields {
            if let Some(inner) = properties.and_then(|properties| properties.get(name)) {
                self.value(inner, &below(path, name), value);
            } else if others.is_object() {
                self.value(others, &format!("{path}[{name}]"), value);
            } else if let Some(properties) = properties {
                self.found.push(unknown(path, name, properties.keys()));
            }
        }
        for name in schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str) {
            if !fields.contains_key(name) {
                self.wrong(&below(path, name), "is required");
            }
        }
        self.size(schema, ["minProperties", "maxProperties"], "field", path, fields.len());
    }

    fn text(&mut self, schema: &Value, path: &str, text: &str) {
        if let Some(permitted) = schema["enum"].as_array() {
            let names: Vec<&str> = permitted.iter().filter_map(Value::as_str).collect();
            if !names.contains(&text) {
                self.wrong(path, format!("must be {}, not \"{text}\"", either(&names)));
            }
            return;
        }
        self.size(schema, ["minLength", "maxLength"], "character", path, text.chars().count());
        let pattern = schema["pattern"].as_str();
        if let Some(pattern) = pattern.filter(|pattern| !matches(pattern, text)) {
            self.wrong(path, format!("\"{text}\" does not match {pattern}"));
        }
        if schema["format"] == "date-time" && text.parse::<Timestamp>().is_err() {
            self.wrong(path, format!("\"{text}\" is not an instant such as 2026-01-01T00:00:00Z"));
        }
    }

    fn number(&mut self, schema: &Value, path: &str, number: &Number) {
        let value = number.as_f64().unwrap_or(f64::NAN);
        if let Some(least) = schema["minimum"].as_f64().filter(|least| value < *least) {
            self.wrong(path, format!("must be at least {least}, not {number}"));
        }
        if let Some(most) = schema["maximum"].as_f64().filter(|most| value > *most) {
            self.wrong(path, format!("must be at most {most}, not {number}"));
        }
    }

    fn size(&mut self, schema: &Value, bounds: [&str; 2], of: &str, path: &str, size: usize) {
        let [least, most] = bounds.map(|bound| schema[bound].as_u64());
        let size = size as u64;
        let count = |n: u64| if n == 1 { format!("1 {of}") } else { format!("{n} {of}s") };
        if let Some(least) = least.filter(|least| size < *least) {
            self.wrong(path, format!("must have at least {}, not {size}", count(least)));
        }
        if let Some(most) = most.filter(|most| size > *most) {
            self.wrong(path, format!("must have at most {}, not {size}", count(most)));
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

fn described(value: &Value) -> &'static str {
    match value {
        Value::Object(_) => "an object",
        Value::Array(_) => "a list",
        Value::String(_) => "a string",
        Value::Number(_) => "a number",
        Value::Bool(_) => "a boolean",
        Value::Null => "null",
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
