//! `_typeFilter`: its syntax as the service reads it, and as much searching as tests need.

use serde_json::Value;

/// One filter of the list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TypeFilter {
    /// The type before `?`.
    pub kind: String,
    pairs: Vec<(String, String)>,
}

/// Search parameters that the server takes: name and element.
const TOKENS: [(&str, &str); 20] = [
    ("_id", "id"),
    ("active", "active"),
    ("category", "category"),
    ("class", "class"),
    ("clinical-status", "clinicalStatus"),
    ("code", "code"),
    ("gender", "gender"),
    ("identifier", "identifier"),
    ("intent", "intent"),
    ("patient", "subject"),
    ("status", "status"),
    ("subject", "subject"),
    ("type", "type"),
    ("vaccine-code", "vaccineCode"),
    ("verification-status", "verificationStatus"),
    ("birthdate", "birthDate"),
    ("authoredon", "authoredOn"),
    ("onset-date", "onsetDateTime"),
    ("recorded-date", "recordedDate"),
    ("date", "effectiveDateTime"),
];

/// The filters in `value`; the error is the text of the 400. `lenient` takes unknown search parameters.
pub(crate) fn read(value: &str, lenient: bool) -> Result<Vec<TypeFilter>, String> {
    // Split at commas first: a comma inside a search value cannot be said to this service.
    let filters = value.split(',').map(segment).collect::<Result<Vec<_>, _>>()?;
    let unknown: Vec<String> = filters
        .iter()
        .flat_map(|filter| filter.pairs.iter().map(|(name, _)| (&filter.kind, name)))
        .filter(|(_, name)| element(name).is_none())
        .map(|(kind, name)| format!("[type: {kind}, parameter: {name}]"))
        .collect();
    if unknown.is_empty() || lenient {
        return Ok(filters);
    }
    Err(format!("{} invalid search parameter(s) found:\n{}", unknown.len(), unknown.join("\n")))
}

fn segment(text: &str) -> Result<TypeFilter, String> {
    let wrong = || format!("The _typeFilter segment '{text}' could not be parsed.");
    let (kind, query) = text.split_once('?').ok_or_else(wrong)?;
    if kind.is_empty() {
        return Err(wrong());
    }
    let pairs = query.split('&').map(|pair| match pair.split_once('=') {
        Some((name, value)) if !name.is_empty() && !value.contains('=') => {
            Ok((name.to_owned(), value.to_owned()))
        }
        _ => Err(wrong()),
    });
    Ok(TypeFilter { kind: kind.to_owned(), pairs: pairs.collect::<Result<_, _>>()? })
}

fn element(parameter: &str) -> Option<&'static str> {
    TOKENS.iter().find(|(name, _)| *name == parameter).map(|(_, element)| *element)
}

impl TypeFilter {
    /// One filter, decoded; the error is a text for people. A comma in it is part of a search value.
    pub fn parse(text: &str) -> Result<Self, String> {
        segment(text)
    }

    /// Whether `resource` is found by the filter. Parameters that nobody knows find everything.
    pub fn finds(&self, resource: &Value) -> bool {
        self.pairs.iter().all(|(name, wanted)| {
            let Some(element) = element(name) else { return true };
            match resource.get(element).or_else(|| (element == "subject").then(|| resource.get("patient"))?) {
                None => false,
                Some(found) if element.contains("Date") || element == "authoredOn" => date_is(found, wanted),
                Some(found) => wanted.split(',').any(|one| token_is(found, one)),
            }
        })
    }
}

fn token_is(found: &Value, wanted: &str) -> bool {
    let (system, code) = match wanted.split_once('|') {
        Some((system, code)) => (Some(system), code),
        None => (None, wanted),
    };
    match found {
        Value::Array(items) => items.iter().any(|item| token_is(item, wanted)),
        Value::String(text) => text == code || text.rsplit('/').next() == Some(code),
        Value::Bool(flag) => code == flag.to_string(),
        Value::Object(object) => {
            if let Some(inner) = object.get("coding") {
                return token_is(inner, wanted);
            }
            if let Some(reference) = object.get("reference").and_then(Value::as_str) {
                return reference == code || reference.rsplit('/').next() == Some(code);
            }
            let is = |key: &str| object.get(key).and_then(Value::as_str) == Some(code);
            let same_system = system.is_none_or(|wanted| {
                object.get("system").and_then(Value::as_str).unwrap_or_default() == wanted
            });
            same_system && (is("code") || is("value"))
        }
        _ => false,
    }
}

/// Dates compare as text at the precision of the search, which is right for values of one zone.
fn date_is(found: &Value, wanted: &str) -> bool {
    let Some(found) = found.as_str() else { return false };
    let (prefix, date) = match wanted.get(..2) {
        Some(prefix) if prefix.chars().all(|c| c.is_ascii_alphabetic()) => {
            (prefix, wanted.get(2..).unwrap_or_default())
        }
        _ => ("eq", wanted),
    };
    let found = found.get(..date.len()).unwrap_or(found);
    match prefix {
        "eq" => found == date,
        "ne" => found != date,
        "ge" => found >= date,
        "gt" => found > date,
        "le" => found <= date,
        "lt" => found < date,
        _ => false,
    }
}
