//! The kick-off requests that manifests lead to.

use serde::de::DeserializeOwned;

use super::document::Document;
use super::problem::Problem;
use crate::api::{ExportRequest, FhirExport, FhirExportSchedule, FhirServer, ServerRef};
use crate::core::allow;
use crate::core::kick_off;
use crate::core::wire::Request;

/// The kick-off request of an export, or of the first run of a schedule.
#[derive(Clone, Debug, PartialEq)]
pub struct Plan {
    /// The kind of the manifest: FhirExport or FhirExportSchedule.
    pub kind: String,
    /// The namespace and name of the object.
    pub export: String,
    /// The server that receives the request.
    pub server: FhirServer,
    /// The request.
    pub request: Request,
    /// Whether later runs of the schedule add `_since`.
    pub adds_since: bool,
}

/// Why an export has no request.
pub type Unplanned = Box<Problem>;

/// Plans each export and schedule among `documents`, in their order. The FhirServers that they name must be among
/// `documents`, too. A manifest without a namespace is in `default`.
pub fn plan(documents: &[Document]) -> Vec<Result<Plan, Unplanned>> {
    let servers: Vec<FhirServer> = documents
        .iter()
        .filter(|one| one.kind() == "FhirServer")
        .filter_map(|one| parsed(one).ok())
        .collect();
    let plans = documents.iter().filter_map(|document| match document.kind() {
        "FhirExport" => Some(parsed::<FhirExport>(document).and_then(|export| {
            let spec = &export.spec;
            planned(&servers, document, (&spec.server_ref, "spec"), &namespace(&export), &spec.request)
        })),
        "FhirExportSchedule" => Some(parsed::<FhirExportSchedule>(document).and_then(|schedule| {
            let spec = &schedule.spec.template.spec;
            let server = (&spec.server_ref, "spec.template.spec");
            let plan = planned(&servers, document, server, &namespace(&schedule), &spec.request)?;
            Ok(Plan { adds_since: schedule.spec.incremental.is_some(), ..plan })
        })),
        _ => None,
    });
    plans.collect()
}

fn planned(
    servers: &[FhirServer],
    document: &Document,
    (server, path): (&ServerRef, &str),
    namespace_of_export: &str,
    request: &ExportRequest,
) -> Result<Plan, Unplanned> {
    let wanted = (server.namespace.as_deref().unwrap_or(namespace_of_export), server.name.as_str());
    let found = servers.iter().find(|one| (namespace(*one).as_str(), name(*one)) == wanted);
    let found = found.ok_or_else(|| {
        let (namespace, name) = wanted;
        let message = format!("FhirServer {namespace}/{name} is not in the files: name its file, too");
        Box::new(document.problem(&format!("{path}.serverRef"), message))
    })?;
    let refused = |message: String| Box::new(document.problem(&format!("{path}.request"), message));
    allow::admits_request(&found.spec, request)
        .map_err(|why| refused(format!("FhirServer {} does not allow this export: {why}", name(found))))?;
    let request = kick_off::request(found, request, namespace_of_export).map_err(refused)?;
    Ok(Plan {
        kind: document.kind().to_owned(),
        export: format!("{namespace_of_export}/{}", document.name()),
        server: found.clone(),
        request,
        adds_since: false,
    })
}

fn parsed<K: DeserializeOwned>(document: &Document) -> Result<K, Unplanned> {
    serde_json::from_value(document.node.to_value())
        .map_err(|error| Box::new(document.problem("", format!("cannot be read: {error}; try validate"))))
}

fn namespace(object: &impl kube::ResourceExt) -> String {
    object.namespace().unwrap_or_else(|| "default".to_owned())
}

fn name(object: &impl kube::ResourceExt) -> &str {
    object.meta().name.as_deref().unwrap_or_default()
}
