//! What a kick-off asks for, as the version of the guide reads it.

use azure_fhir::{Level, TypeFilter, parse_moment};
use jiff::Timestamp;
use serde::Serialize;
use serde_json::Value;

use crate::options::Quirks;
use crate::version::Version;

const OUTPUT_FORMATS: [&str; 3] = ["application/fhir+ndjson", "application/ndjson", "ndjson"];

/// Search parameters that say how results look and not which they are.
const RESULT_PARAMETERS: [&str; 6] = ["_sort", "_include", "_revinclude", "_elements", "_count", "_summary"];

/// The parameters of a kick-off as they were understood.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Asked {
    /// All of them as they came, decoded.
    pub pairs: Vec<(String, String)>,
    /// `_since`.
    pub since: Option<Timestamp>,
    /// `_until`.
    pub until: Option<Timestamp>,
    /// `_type`.
    pub types: Vec<String>,
    /// `_typeFilter`, one query each.
    pub type_filters: Vec<String>,
    /// `_elements`.
    pub elements: Vec<String>,
    /// `patient`, references.
    pub patients: Vec<String>,
    /// `includeAssociatedData`.
    pub associated_data: Vec<String>,
    /// `_outputFormat`.
    pub output_format: Option<String>,
    /// `organizeOutputBy`.
    pub organize_by: Option<String>,
    /// `allowPartialManifests`.
    pub allow_partial_manifests: bool,
    /// `Prefer: handling=lenient`.
    pub lenient: bool,
    /// `Prefer: separate-export-status`.
    pub separate_status: bool,
    /// What a lenient server left out.
    pub ignored: Vec<String>,
}

/// The error is the text of the 400.
type Read<T> = Result<T, String>;

/// The pairs of a query.
pub(crate) fn of_query(query: Option<&str>) -> Vec<(String, String)> {
    url::form_urlencoded::parse(query.unwrap_or_default().as_bytes()).into_owned().collect()
}

/// The pairs of a `Parameters`.
pub(crate) fn of_body(body: &str, version: Version) -> Read<Vec<(String, String)>> {
    let body: Value = serde_json::from_str(body).map_err(|error| format!("The body is not JSON: {error}"))?;
    if body.get("resourceType").and_then(Value::as_str) != Some("Parameters") {
        return Err("The body is not a Parameters resource.".into());
    }
    let parameters = body.get("parameter").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    parameters.iter().map(|parameter| pair(parameter, version)).collect()
}

fn pair(parameter: &Value, version: Version) -> Read<(String, String)> {
    let name = parameter.get("name").and_then(Value::as_str).ok_or("A parameter has no name.")?;
    let members = parameter.as_object().into_iter().flatten();
    let (kind, value) = members
        .filter(|(member, _)| member.starts_with("value"))
        .map(|(member, value)| (member.as_str(), value))
        .next()
        .ok_or_else(|| format!("The parameter {name} has no value."))?;
    let names = version.value_names(name);
    if version.knows(name) && !names.contains(&kind) {
        return Err(format!("The parameter {name} must be a {}, not a {kind}.", names.join(" or ")));
    }
    let text = match kind {
        "valueReference" => value.get("reference").and_then(Value::as_str),
        "valueCoding" => value.get("code").and_then(Value::as_str),
        "valueBoolean" => value.as_bool().map(|flag| if flag { "true" } else { "false" }),
        _ => value.as_str(),
    };
    let text = text.ok_or_else(|| format!("The value of {name} is not a {kind}."))?;
    Ok((name.to_owned(), text.to_owned()))
}

impl Asked {
    /// Reads the pairs; `prefer` is the header.
    pub(crate) fn read(
        pairs: Vec<(String, String)>,
        post: bool,
        level: Level,
        prefer: &str,
        version: Version,
        quirks: &Quirks,
    ) -> Read<Self> {
        let preferences: Vec<&str> = prefer.split([',', ';']).map(str::trim).collect();
        let mut asked = Self {
            lenient: version >= Version::Stu2 && preferences.contains(&"handling=lenient"),
            separate_status: version >= Version::Stu3 && preferences.contains(&"separate-export-status"),
            ..Self::default()
        };
        for (name, value) in &pairs {
            asked.take(name, value, post, level, version, quirks)?;
        }
        asked.check_filters(version)?;
        asked.pairs = pairs;
        Ok(asked)
    }

    fn take(
        &mut self,
        name: &str,
        value: &str,
        post: bool,
        level: Level,
        version: Version,
        quirks: &Quirks,
    ) -> Read<()> {
        if quirks.unsupported.iter().any(|unsupported| unsupported == name) || !version.knows(name) {
            if !self.lenient && !quirks.ignores_unknown {
                return Err(format!("The parameter {name} is not supported."));
            }
            if !quirks.ignores_unknown {
                self.ignored.push(name.to_owned());
            }
            return Ok(());
        }
        match name {
            "_since" => self.since = Some(once(name, self.since.is_some(), instant(name, value)?)?),
            "_until" => self.until = Some(once(name, self.until.is_some(), instant(name, value)?)?),
            "_outputFormat" if !OUTPUT_FORMATS.contains(&value) => {
                return Err(format!("The output format {value} is not supported."));
            }
            "_outputFormat" => self.output_format = Some(value.to_owned()),
            "_type" => {
                if !self.types.is_empty() && quirks.repeat_rejected {
                    return Err("The parameter _type must not be repeated.".into());
                }
                // HAPI takes the first value and says nothing of the others.
                if self.types.is_empty() || !quirks.comma_only {
                    self.types.extend(list(name, value, version)?);
                }
            }
            "_elements" => self.elements.extend(list(name, value, version)?),
            "includeAssociatedData" => self.associated_data.extend(list(name, value, version)?),
            "_typeFilter" if version <= Version::Stu2 => self.type_filters.extend(filters(value)),
            "_typeFilter" => self.type_filters.push(value.to_owned()),
            "patient" if !post => return Err("The parameter patient is for POST only.".into()),
            "patient" if level == Level::System => {
                return Err("The parameter patient is not for the system level.".into());
            }
            "patient" => self.patients.push(value.to_owned()),
            "organizeOutputBy" if value != "Patient" => {
                return Err(format!("Output cannot be organized by {value}."));
            }
            "organizeOutputBy" => self.organize_by = Some(value.to_owned()),
            "allowPartialManifests" if !["true", "false"].contains(&value) => {
                return Err("The parameter allowPartialManifests is true or false.".into());
            }
            _ => self.allow_partial_manifests = value == "true",
        }
        Ok(())
    }

    fn check_filters(&self, version: Version) -> Read<()> {
        for filter in &self.type_filters {
            let parsed = TypeFilter::parse(filter)?;
            if !self.types.is_empty() && !self.types.contains(&parsed.kind) {
                return Err(format!("The _typeFilter {filter} is for a type that _type leaves out."));
            }
            let query = filter.split_once('?').map(|(_, query)| query).unwrap_or_default();
            let names = query.split('&').filter_map(|pair| pair.split(['=', ':']).next());
            if let Some(name) = names.into_iter().find(|name| RESULT_PARAMETERS.contains(name))
                && version >= Version::Stu3
            {
                return Err(format!("The result parameter {name} must not be in a _typeFilter."));
            }
        }
        Ok(())
    }
}

fn once<T>(name: &str, there: bool, value: T) -> Read<T> {
    if there { Err(format!("The parameter {name} must not be repeated.")) } else { Ok(value) }
}

fn instant(name: &str, value: &str) -> Read<Timestamp> {
    let zoned = value.contains('T')
        && (value.ends_with('Z') || value.get(19..).is_some_and(|rest| rest.contains(['+', '-'])));
    parse_moment(value)
        .filter(|_| zoned)
        .ok_or_else(|| format!("The parameter {name} is not an instant: {value}"))
}

fn list(name: &str, value: &str, version: Version) -> Read<Vec<String>> {
    if !version.has_lists() && value.contains(',') {
        return Err(format!("The parameter {name} must be repeated instead of a list with commas."));
    }
    let items = value.split(',').map(str::trim).filter(|item| !item.is_empty());
    Ok(items.map(str::to_owned).collect())
}

/// A list of queries, where a comma inside one is `\,` or still percent-encoded.
fn filters(value: &str) -> Vec<String> {
    let mut filters = vec![String::new()];
    let mut characters = value.chars().peekable();
    while let Some(character) = characters.next() {
        match character {
            '\\' if characters.peek() == Some(&',') => {
                if let Some(filter) = filters.last_mut() {
                    filter.extend(characters.next());
                }
            }
            ',' => filters.push(String::new()),
            other => {
                if let Some(filter) = filters.last_mut() {
                    filter.push(other);
                }
            }
        }
    }
    let decoded =
        |filter: &String| percent_encoding::percent_decode_str(filter).decode_utf8_lossy().into_owned();
    filters.iter().filter(|filter| !filter.is_empty()).map(decoded).collect()
}

#[cfg(test)]
mod tests {
    use super::filters;

    #[test]
    fn commas_in_filters_can_be_escaped_in_two_ways() {
        let wanted = ["Patient?gender=male,female", "Observation?status=final"];
        assert_eq!(filters(r"Patient?gender=male\,female,Observation?status=final"), wanted);
        assert_eq!(filters("Patient?gender=male%2Cfemale,Observation?status=final"), wanted);
    }
}
