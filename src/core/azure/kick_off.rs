//! The kick-off request for Azure's FHIR service, and the comparison of a manifest with the request that was sent.

use percent_encoding::percent_decode_str;
use url::Url;

use crate::api::{ExportRequest, Handling, Level};
use crate::core::requests::{FHIR_JSON, MAX_OUTCOME, encode, operation};
use crate::core::wire::{Method, Request};

/// The request that starts a job on the FHIR service at `base`. `container` is the container to write to;
/// without it the service creates one. The error is one sentence: what Azure cannot do, and what to change.
pub fn request(base: &str, request: &ExportRequest, container: Option<&str>) -> Result<Request, String> {
    let parameters = parameters(request, container)?;
    let path = operation(request)?;
    let query: Vec<String> =
        parameters.iter().map(|(name, value)| format!("{}={}", encode(name), encode(value))).collect();
    let mut url = format!("{}/{path}", base.trim_end_matches('/'));
    if !query.is_empty() {
        url.push('?');
        url.push_str(&query.join("&"));
    }
    Ok(Request {
        method: Method::Get,
        url,
        accept: FHIR_JSON,
        // Every build understands the bare value; `handling=` came in late 2024 (docs/azure-behaviour.md, "Headers").
        prefer: Some(match request.handling {
            Some(Handling::Lenient) => "respond-async,handling=lenient",
            Some(Handling::Strict) | None => "respond-async",
        }),
        no_cache: false,
        max_body: MAX_OUTCOME,
        with_token: true,
        body: None,
        patients: None,
    })
}

/// The parameters in a fixed order, not yet encoded. Azure takes one comma-separated list for each and no repetition.
fn parameters(request: &ExportRequest, container: Option<&str>) -> Result<Vec<(String, String)>, String> {
    refuse_foreign(request)?;
    let list = |values: &Option<Vec<String>>| values.as_ref().filter(|v| !v.is_empty()).map(|v| v.join(","));
    let azure = request.azure.clone().unwrap_or_default();
    let filters = request.type_filters.as_deref().unwrap_or_default();
    if let Some(filter) = filters.iter().find(|f| f.contains(',')) {
        return Err(format!(
            "Azure cannot read a comma inside a type filter ({}); write one filter for each value instead",
            filter.split('?').next().unwrap_or_default()
        ));
    }
    let types = request.types.as_deref().unwrap_or_default();
    if let Some(filter) =
        filters.iter().find(|f| !types.iter().any(|t| Some(t.as_str()) == f.split('?').next()))
    {
        return Err(format!(
            "a type filter is for {0}, which types does not name, so the server would not use it; add {0} to types",
            filter.split('?').next().unwrap_or_default()
        ));
    }
    check_associated_data(request, !filters.is_empty())?;
    let anonymization = azure.anonymization;
    let pairs = [
        ("_outputFormat", request.output_format.clone()),
        ("_since", request.since.clone()),
        ("_till", request.until.clone()),
        ("_type", list(&request.types)),
        ("_typeFilter", list(&request.type_filters)),
        ("_container", container.map(str::to_owned)),
        ("_maxCount", azure.max_count.map(|n| n.to_string())),
        ("_isParallel", azure.parallel.map(|p| p.to_string())),
        ("includeAssociatedData", list(&request.include_associated_data)),
        ("_anonymizationConfig", anonymization.as_ref().map(|a| a.config.clone())),
        ("_anonymizationConfigEtag", anonymization.as_ref().and_then(|a| a.etag.clone())),
        (
            "_anonymizationConfigCollectionReference",
            anonymization.as_ref().and_then(|a| a.collection_reference.clone()),
        ),
    ];
    let own = pairs.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?)));
    let further = request.parameters.iter().flatten().map(|p| (p.name.clone(), p.value.clone()));
    Ok(own.chain(further).collect())
}

/// Rejects settings that only a Bulk Data server understands.
fn refuse_foreign(request: &ExportRequest) -> Result<(), String> {
    let Some(bulk) = &request.bulk_data else { return Ok(()) };
    let field = [
        ("elements", bulk.elements.is_some()),
        ("patientsSecretRef", bulk.patients_secret_ref.is_some()),
        ("patientsBlob", bulk.patients_blob.is_some()),
        ("organizeOutputBy", bulk.organize_output_by.is_some()),
        ("allowPartialManifests", bulk.allow_partial_manifests.is_some()),
    ]
    .into_iter()
    .find_map(|(name, given)| given.then_some(name));
    match field {
        Some(field) => Err(format!("Azure has no counterpart of request.bulkData.{field}; remove it")),
        None => Ok(()),
    }
}

/// Rejects `includeAssociatedData` at Patient and Group level, where Azure silently ignores it
/// and data would be missing.
fn check_associated_data(request: &ExportRequest, filtered: bool) -> Result<(), String> {
    let values = request.include_associated_data.as_deref().unwrap_or_default();
    if values.is_empty() {
        return Ok(());
    }
    if let Some(value) = values.iter().find(|v| !matches!(v.as_str(), "_history" | "_deleted")) {
        return Err(format!("Azure does not know includeAssociatedData {value}; use _history or _deleted"));
    }
    if request.level != Level::System {
        return Err(format!(
            "Azure ignores includeAssociatedData at level {}; use level System, or remove it",
            request.level.as_str()
        ));
    }
    if filtered {
        return Err(
            "Azure refuses includeAssociatedData together with typeFilters; remove one of them".to_owned()
        );
    }
    Ok(())
}

/// Whether a manifest's `request` is the kick-off that was sent. Behind a proxy the host may differ, and so
/// may the order and the encoding of parameters.
pub fn same_request(ours: &str, theirs: &str) -> bool {
    match (Url::parse(ours), Url::parse(theirs)) {
        (Ok(ours), Ok(theirs)) => target(&ours) == target(&theirs) && query(&ours) == query(&theirs),
        _ => false,
    }
}

/// The level and the group of a kick-off URL; `None` for any other URL.
fn target(url: &Url) -> Option<(Level, Option<String>)> {
    let decoded = |s: &str| percent_decode_str(s).decode_utf8_lossy().into_owned();
    let mut segments = url.path().rsplit('/').map(decoded);
    if segments.next()? != "$export" {
        return None;
    }
    let (last, before) = (segments.next(), segments.next());
    Some(match (before.as_deref(), last) {
        (_, Some(last)) if last == "Patient" => (Level::Patient, None),
        (Some("Group"), Some(id)) => (Level::Group, Some(id)),
        _ => (Level::System, None),
    })
}

fn query(url: &Url) -> Vec<(String, String)> {
    let mut pairs: Vec<_> = url.query_pairs().into_owned().collect();
    pairs.sort();
    pairs
}

#[cfg(test)]
#[path = "kick_off_tests.rs"]
mod tests;
