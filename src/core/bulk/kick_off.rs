//! The request that starts a job on a FHIR Bulk Data server (specification: "Kick-off Request", all versions).

use serde_json::{Value, json};

use super::Deviations;
use crate::api::{
    ExportRequest, FhirServer, Handling, KickOffMethod, Level, ListStyle, OrganizeOutputBy, TypeFilterEscape,
    Version,
};
use crate::core::requests::{FHIR_JSON, MAX_OUTCOME, encode, operation};
use crate::core::wire::{Method, Patients, Request};

/// The value of a parameter as a request body holds it; in a query it becomes text.
enum Parameter {
    Text(String),
    Instant(String),
    Boolean(bool),
    Coding(String),
}

impl Parameter {
    fn text(&self) -> String {
        match self {
            Self::Text(text) | Self::Instant(text) | Self::Coding(text) => text.clone(),
            Self::Boolean(value) => value.to_string(),
        }
    }

    fn json(&self, name: &str) -> Value {
        match self {
            Self::Text(text) => json!({"name": name, "valueString": text}),
            Self::Instant(text) => json!({"name": name, "valueInstant": text}),
            Self::Boolean(value) => json!({"name": name, "valueBoolean": value}),
            Self::Coding(code) => json!({"name": name, "valueCoding": {"code": code}}),
        }
    }
}

/// The request that starts the job. The error is one sentence: what the server cannot do, and what to change.
pub fn request(server: &FhirServer, export: &ExportRequest, namespace: &str) -> Result<Request, String> {
    let ways = Deviations::of(server);
    refuse(&ways, export)?;
    let patients = patients(export, namespace);
    let post = ways.method == KickOffMethod::Post || patients.is_some();
    let parameters = parameters(&ways, export);
    let mut url = format!("{}/{}", server.spec.url.trim_end_matches('/'), operation(export)?);
    let mut body = None;
    if post {
        let members: Vec<Value> = parameters.iter().map(|(name, value)| value.json(name)).collect();
        body = Some(json!({"resourceType": "Parameters", "parameter": members}));
    } else if !parameters.is_empty() {
        let pairs: Vec<String> = parameters
            .iter()
            .map(|(name, value)| format!("{}={}", encode(name), encode(&value.text())))
            .collect();
        url.push('?');
        url.push_str(&pairs.join("&"));
    }
    let lenient = export.handling == Some(Handling::Lenient);
    Ok(Request {
        method: if post { Method::Post } else { Method::Get },
        url,
        accept: FHIR_JSON,
        prefer: Some(match (lenient, ways.knows(Version::Stu3)) {
            (false, false) => "respond-async",
            (true, false) => "respond-async, handling=lenient",
            (false, true) => "respond-async, separate-export-status",
            (true, true) => "respond-async, separate-export-status, handling=lenient",
        }),
        no_cache: false,
        max_body: MAX_OUTCOME,
        with_token: true,
        body,
        patients,
    })
}

fn patients(export: &ExportRequest, namespace: &str) -> Option<Patients> {
    let bulk = export.bulk_data.as_ref()?;
    if let Some(key) = &bulk.patients_secret_ref {
        return Some(Patients::Secret { namespace: namespace.to_owned(), key: key.clone() });
    }
    let blob = bulk.patients_blob.as_ref()?;
    let (container, path) = blob.path.split_once('/')?;
    Some(Patients::Blob {
        container: container.to_owned(),
        path: path.to_owned(),
        sha256: blob.sha256.clone(),
    })
}

/// Rejects what the server is known to be unable to do, before it is asked.
fn refuse(ways: &Deviations, export: &ExportRequest) -> Result<(), String> {
    if let Some(azure) = &export.azure {
        let field = if azure.anonymization.is_some() { "azure.anonymization" } else { "azure" };
        return Err(format!("a FHIR Bulk Data server has no counterpart of request.{field}; remove it"));
    }
    if export.since.is_some() && !ways.since {
        return Err("this server does not know _since; remove since, or set bulkData.supportsSince of the FhirServer \
                    to Yes if it does"
            .to_owned());
    }
    let bulk = export.bulk_data.clone().unwrap_or_default();
    let patients = bulk.patients_secret_ref.is_some() || bulk.patients_blob.is_some();
    let later = [
        ("until", export.until.is_some(), Version::Stu3),
        ("handling Lenient", export.handling == Some(Handling::Lenient), Version::Stu2),
        ("includeAssociatedData", export.include_associated_data.is_some(), Version::Stu2),
        ("bulkData.elements", bulk.elements.is_some(), Version::Stu2),
        ("a list of patients", patients, Version::Stu2),
        ("bulkData.organizeOutputBy", bulk.organize_output_by.is_some(), Version::Stu3),
        ("bulkData.allowPartialManifests", bulk.allow_partial_manifests.is_some(), Version::Stu3),
    ];
    if let Some((what, ..)) = later.iter().find(|(_, asked, version)| *asked && !ways.may_know(*version)) {
        return Err(format!(
            "the server's version of the Bulk Data specification has no {what}; remove it, or set bulkData.version of \
             the FhirServer if it has"
        ));
    }
    if patients && export.level == Level::System {
        return Err("a list of patients goes with level Patient or Group only".to_owned());
    }
    if patients && ways.method == KickOffMethod::Get && ways.method_is_set {
        return Err("a list of patients can be sent by POST only, and bulkData.kickOffMethod of the FhirServer is Get"
            .to_owned());
    }
    if let Some(blob) = &bulk.patients_blob
        && !blob
            .path
            .split_once('/')
            .is_some_and(|(container, path)| !container.is_empty() && !path.is_empty())
    {
        return Err(
            "patientsBlob.path must name a container and a blob in it, such as cohorts/cohort-42.txt"
                .to_owned(),
        );
    }
    Ok(())
}

/// The parameters in a fixed order.
fn parameters(ways: &Deviations, export: &ExportRequest) -> Vec<(String, Parameter)> {
    let mut all: Vec<(String, Parameter)> = Vec::new();
    let mut add = |name: &str, value: Parameter| all.push((name.to_owned(), value));
    let lists = ways.lists;
    let list = |values: Option<&Vec<String>>| joined(lists, values.map(Vec::as_slice).unwrap_or_default());
    if let Some(format) = &export.output_format {
        add("_outputFormat", Parameter::Text(format.clone()));
    }
    if let Some(since) = &export.since {
        add("_since", Parameter::Instant(since.clone()));
    }
    if let Some(until) = &export.until {
        add("_until", Parameter::Instant(until.clone()));
    }
    for types in list(export.types.as_ref()) {
        add("_type", Parameter::Text(types));
    }
    for filter in filters(ways, export.type_filters.as_deref().unwrap_or_default()) {
        add("_typeFilter", Parameter::Text(filter));
    }
    let bulk = export.bulk_data.clone().unwrap_or_default();
    for elements in list(bulk.elements.as_ref()) {
        add("_elements", Parameter::Text(elements));
    }
    for data in list(export.include_associated_data.as_ref()) {
        let coded = ways.version == Some(Version::Stu4);
        add("includeAssociatedData", if coded { Parameter::Coding(data) } else { Parameter::Text(data) });
    }
    if let Some(organize) = bulk.organize_output_by {
        let type_ = match organize {
            OrganizeOutputBy::Patient => "Patient",
            OrganizeOutputBy::Group => "Group",
        };
        add("organizeOutputBy", Parameter::Text(type_.to_owned()));
    }
    if let Some(allow) = bulk.allow_partial_manifests {
        add("allowPartialManifests", Parameter::Boolean(allow));
    }
    for further in export.parameters.iter().flatten() {
        add(&further.name, Parameter::Text(further.value.clone()));
    }
    all
}

fn joined(style: ListStyle, values: &[String]) -> Vec<String> {
    match style {
        _ if values.is_empty() => Vec::new(),
        ListStyle::Repeat => values.to_vec(),
        ListStyle::Comma | ListStyle::Auto => vec![values.join(",")],
    }
}

/// The type filters as parameter values. Where they are joined by commas, a comma inside a filter is escaped
/// in the server's way, since the specification does not say how.
fn filters(ways: &Deviations, filters: &[String]) -> Vec<String> {
    if ways.lists == ListStyle::Repeat {
        return filters.to_vec();
    }
    let escaped: Vec<String> = filters
        .iter()
        .map(|filter| match ways.escape {
            // FHIR's escape for a comma inside a value; doubling the backslash keeps commas that the
            // filter itself escapes distinct.
            TypeFilterEscape::Backslash => filter.replace('\\', "\\\\").replace(',', "\\,"),
            TypeFilterEscape::Percent | TypeFilterEscape::Auto => filter.replace(',', "%2C"),
        })
        .collect();
    joined(ListStyle::Comma, &escaped)
}

#[cfg(test)]
#[path = "kick_off_tests.rs"]
mod tests;
