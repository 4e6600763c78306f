//! The requests of a run: that of the template, and those of the stages before it.

use serde_json::json;

use super::names::digest;
use crate::api::{BulkDataRequest, ExportRequest, FhirExport, Handling, PatientsBlob, Version};
use crate::core::allow;
use crate::core::bulk::Deviations;
use crate::core::export::ServerView;

/// A hash of the server and the request. The order of types and filters does not matter, and `since` is left out.
pub(super) fn fingerprint(server_uid: &str, url: &str, request: &ExportRequest) -> String {
    let sorted = |list: &Option<Vec<String>>| {
        list.clone().map(|mut list| {
            list.sort_unstable();
            list.dedup();
            list
        })
    };
    let asked = ExportRequest {
        since: None,
        types: sorted(&request.types),
        type_filters: sorted(&request.type_filters),
        include_associated_data: sorted(&request.include_associated_data),
        ..request.clone()
    };
    let whole = json!({ "server": server_uid, "url": url, "request": asked });
    digest(whole.to_string().as_bytes(), 8)
}

/// The hash for a request and the server that an export ran on. `None` if the export has not reached a server.
pub(super) fn fingerprint_on_server_of(run: &FhirExport, request: &ExportRequest) -> Option<String> {
    let server = run.status.as_ref()?.server.as_ref()?;
    Some(fingerprint(&server.uid, &server.url, request))
}

/// The request that finds the members of the group. It asks for as few fields of each patient as the server supports.
pub(super) fn of_members(ways: &Deviations, template: &ExportRequest) -> ExportRequest {
    let little = ways.may_know(Version::Stu2);
    ExportRequest {
        types: Some(vec!["Patient".to_owned()]),
        type_filters: None,
        since: None,
        include_associated_data: None,
        // If a server ignores a parameter, the list of members is the same.
        handling: if little { Some(Handling::Lenient) } else { template.handling },
        bulk_data: little
            .then(|| BulkDataRequest { elements: Some(vec!["id".to_owned()]), ..BulkDataRequest::default() }),
        ..template.clone()
    }
}

/// The request for all data of the patients that joined the group.
pub(super) fn of_newcomers(template: &ExportRequest, list: PatientsBlob) -> ExportRequest {
    let bulk = template.bulk_data.clone().unwrap_or_default();
    ExportRequest {
        since: None,
        bulk_data: Some(BulkDataRequest { patients_blob: Some(list), ..bulk }),
        ..template.clone()
    }
}

/// Why patients that join the group cannot be exported in full, as half a sentence. `None` if they can.
pub(super) fn hindrance(server: &ServerView<'_>, request: &ExportRequest) -> Option<String> {
    let ways = server.deviations();
    let bulk = request.bulk_data.as_ref();
    if bulk.is_some_and(|bulk| bulk.patients_secret_ref.is_some() || bulk.patients_blob.is_some()) {
        return Some("the request has a list of patients of its own".to_owned());
    }
    if !ways.patient {
        return Some(format!(
            "FhirServer {} is not known to take lists of patients (bulkData.supportsPatient)",
            server.name()
        ));
    }
    let any = PatientsBlob { path: "any/any".to_owned(), sha256: String::new() };
    let asked = [of_members(&ways, request), of_newcomers(request, any)];
    let refused = asked.iter().find_map(|request| allow::admits_request(server.spec(), request).err());
    refused.map(|why| {
        format!(
            "spec.allow of FhirServer {} does not admit what finds out who is in the group: {why}",
            server.name()
        )
    })
}
