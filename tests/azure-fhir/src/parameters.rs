//! The query parameters of `$export`: which there are and what the service says of wrong ones.

use jiff::Timestamp;
use jiff::civil::{Date, DateTime};
use jiff::tz::TimeZone;
use serde::{Deserialize, Serialize};

use crate::type_filter::TypeFilter;

/// The level of an export.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Level {
    /// Everything.
    System,
    /// The compartments of all patients.
    Patient,
    /// The compartments of a group's patients.
    Group,
}

/// Names that the service knows, letter for letter.
const KNOWN: [&str; 13] = [
    "_outputFormat",
    "_since",
    "_till",
    "_type",
    "_typeFilter",
    "_container",
    "_format",
    "_isParallel",
    "_maxCount",
    "includeAssociatedData",
    "_anonymizationConfig",
    "_anonymizationConfigEtag",
    "_anonymizationConfigCollectionReference",
];

const OUTPUT_FORMATS: [&str; 3] = ["application/fhir+ndjson", "application/ndjson", "ndjson"];

/// The cap on `_maxCount`.
const MOST_PER_PAGE: u32 = 10_000;

/// What a kick-off asks for.
#[derive(Debug, Clone, Default)]
pub(crate) struct Parameters {
    pub(crate) since: Option<Timestamp>,
    pub(crate) till: Option<Timestamp>,
    pub(crate) types: Vec<String>,
    pub(crate) filters: Vec<TypeFilter>,
    pub(crate) container: Option<String>,
    pub(crate) max_count: Option<usize>,
    pub(crate) history: bool,
    pub(crate) deleted: bool,
    pub(crate) anonymization: Option<Anonymization>,
}

/// The configuration of a de-identified export.
#[derive(Debug, Clone)]
pub(crate) struct Anonymization {
    pub(crate) config: String,
    pub(crate) etag: Option<String>,
}

/// The query of a kick-off, decoded.
pub(crate) struct Query(Vec<(String, String)>);

impl Query {
    pub(crate) fn read(query: Option<&str>) -> Self {
        Self(url::form_urlencoded::parse(query.unwrap_or_default().as_bytes()).into_owned().collect())
    }

    /// The first value: the service binds one text, so a repeated parameter is lost.
    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(found, _)| found == name).map(|(_, value)| value.as_str())
    }

    fn has(&self, name: &str) -> bool {
        self.get(name).is_some()
    }
}

impl Parameters {
    /// The checks that come before the caller's role is looked at; the error is the text of the 400.
    pub(crate) fn read(query: &Query, level: Level) -> Result<Self, String> {
        check_names(query)?;
        let since = moment(query, "_since")?;
        let till = moment(query, "_till")?;
        if let Some(flag) = query.get("_isParallel")
            && !flag.eq_ignore_ascii_case("true")
            && !flag.eq_ignore_ascii_case("false")
        {
            return Err(format!("The value '{flag}' is not valid."));
        }
        let max_count = max_count(query)?;
        let container = query.get("_container").filter(|name| !name.is_empty());
        for name in ["_container", "_anonymizationConfig"] {
            if let Some(value) = query.get(name).filter(|value| climbs(value)) {
                return Err(format!(
                    "The value '{value}' is not valid. Path traversal characters are not allowed."
                ));
            }
        }
        if let Some(format) = query.get("_format").filter(|format| !format.is_empty()) {
            return Err(format!("The format '{format}' could not be found."));
        }
        let anonymization = anonymization(query, container.is_some())?;
        let (history, deleted) = associated_data(query, level)?;
        let types = query.get("_type").unwrap_or_default().split(',').filter(|kind| !kind.is_empty());
        Ok(Self {
            since,
            till,
            types: types.map(str::to_owned).collect(),
            filters: Vec::new(),
            container: container.map(str::to_owned),
            max_count,
            history,
            deleted,
            anonymization,
        })
    }
}

impl Parameters {
    /// As a forgiving server reads them: what is wrong or unknown is not there.
    pub(crate) fn read_what_is_right(query: &Query, level: Level) -> Self {
        let right = query.0.iter().filter(|&pair| {
            let alone = Query(vec![pair.clone()]);
            pair.0 == "_typeFilter" || Self::read(&alone, level).is_ok()
        });
        Self::read(&Query(right.cloned().collect()), level).unwrap_or_default()
    }
}

fn check_names(query: &Query) -> Result<(), String> {
    if let Some((name, _)) = query.0.iter().find(|(name, _)| !KNOWN.contains(&name.as_str())) {
        return Err(format!("The \"{name}\" parameter is not supported."));
    }
    if query.has("_typeFilter") && !query.has("_type") {
        return Err("The _type parameter must be included when using the _typeFilter parameter. ".into());
    }
    match query.get("_outputFormat") {
        Some(format) if !OUTPUT_FORMATS.contains(&format) => {
            Err(format!("The output format '{format}' is not supported."))
        }
        _ => Ok(()),
    }
}

fn max_count(query: &Query) -> Result<Option<usize>, String> {
    let Some(text) = query.get("_maxCount") else { return Ok(None) };
    let count: u32 = text.parse().map_err(|_| format!("The value '{text}' is not valid."))?;
    if count > MOST_PER_PAGE {
        return Err(
            "Export operation parameter 'MaximumNumberOfResourcesPerQuery' was out of the range of valid \
             values. Please specify a different value within a range '1' - '10000'."
                .into(),
        );
    }
    Ok(usize::try_from(count).ok().filter(|&count| count > 0))
}

fn anonymization(query: &Query, has_container: bool) -> Result<Option<Anonymization>, String> {
    let config = query.get("_anonymizationConfig").filter(|config| !config.is_empty());
    let etag = query.get("_anonymizationConfigEtag").filter(|etag| !etag.is_empty());
    let collection = query.get("_anonymizationConfigCollectionReference").filter(|image| !image.is_empty());
    let Some(config) = config else {
        return if etag.is_some() || collection.is_some() {
            Err("Missing '_anonymizationConfig' for anonymized export".into())
        } else {
            Ok(None)
        };
    };
    if !has_container {
        return Err("Missing '_container' for anonymized export".into());
    }
    if let Some(image) = collection {
        if etag.is_some() {
            return Err(
                "The parameters '_anonymizationConfigEtag' and '_anonymizationConfigCollectionReference' \
                 cannot be given in the same request. Please provide only one of them."
                    .into(),
            );
        }
        let well_formed =
            image.split_once('/').is_some_and(|(registry, name)| registry.contains('.') && !name.is_empty());
        return Err(if well_formed {
            format!("The container registry of '{image}' is not configured.")
        } else {
            format!("The configuration collection reference '{image}' is invalid.")
        });
    }
    Ok(Some(Anonymization { config: config.to_owned(), etag: etag.map(str::to_owned) }))
}

/// History and deleted resources, which the system level alone knows; the others take the parameter and forget it.
fn associated_data(query: &Query, level: Level) -> Result<(bool, bool), String> {
    let text = query.get("includeAssociatedData").unwrap_or_default();
    if level != Level::System || text.is_empty() {
        return Ok((false, false));
    }
    let values: Vec<&str> = text.split(',').collect();
    let wrong: Vec<&str> = values.iter().copied().filter(|v| !["_history", "_deleted"].contains(v)).collect();
    if !wrong.is_empty() {
        // The service lists the wrong values as the supported ones.
        return Err(format!(
            "The export parameter \"includeAssociatedData\" contains an invalid value. Supported values are: {}. ",
            wrong.join(",")
        ));
    }
    if query.has("_typeFilter") {
        return Err(
            "The request \"_typeFilter\" cannot be used with an export request with historical or soft \
             deleted resources."
                .into(),
        );
    }
    Ok((values.contains(&"_history"), values.contains(&"_deleted")))
}

fn climbs(value: &str) -> bool {
    let twice = percent_encoding::percent_decode_str(value).decode_utf8_lossy();
    twice.split(['/', '\\']).any(|segment| segment == "..")
}

fn moment(query: &Query, name: &str) -> Result<Option<Timestamp>, String> {
    let Some(text) = query.get(name) else { return Ok(None) };
    match parse_moment(text) {
        Some(moment) => Ok(Some(moment)),
        None => Err(format!("'{name}' The date time string '{text}' is not in a correct format.")),
    }
}

/// The first instant of a FHIR date or dateTime of any precision; UTC if it has no zone.
pub fn parse_moment(text: &str) -> Option<Timestamp> {
    if !text.chars().all(|c| c.is_ascii_digit() || "TZ:.+-".contains(c)) {
        return None;
    }
    let utc = |at: DateTime| at.to_zoned(TimeZone::UTC).ok().map(|at| at.timestamp());
    match text.len() {
        4 => utc(format!("{text}-01-01").parse::<Date>().ok()?.into()),
        7 => utc(format!("{text}-01").parse::<Date>().ok()?.into()),
        10 => utc(text.parse::<Date>().ok()?.into()),
        _ if text.get(10..11) == Some("T") => match text.parse::<Timestamp>() {
            Ok(at) => Some(at),
            Err(_) => utc(text.parse().ok()?),
        },
        _ => None,
    }
}
