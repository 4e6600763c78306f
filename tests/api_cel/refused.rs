//! What is refused, and how it is told.

use serde_json::{Value, json};

use crate::manifests::{export, key, merge, schedule, server, template};

/// What is refused, and how it is told.
pub fn refused() -> Vec<(Value, &'static str)> {
    let group =
        "spec.request.groupID: use a FHIR id: 1 to 64 letters, digits, hyphens and dots, but not . or ..";
    let types = "spec.request.types: use names of FHIR resource types, such as Patient or Observation";
    let filters = "spec.request.typeFilters: use FHIR searches that begin with a type, such as \
        Observation?category=laboratory";
    let since = "spec.request.since: use an instant with a time zone, such as 2026-01-01T00:00:00Z";
    let until = "spec.request.until: use an instant with a time zone, such as 2026-01-01T00:00:00Z";
    let container = "spec.request.container: use 3 to 63 lower-case letters, digits and single hyphens";
    let parameters =
        "spec.request.parameters: this parameter has a field of its own in spec.request: use that";
    let mut table = vec![
        (json!({ "level": "Group" }), "spec.request.groupID: groupID is required when level is Group"),
        (
            json!({ "level": "System", "groupID": "g" }),
            "spec.request.groupID: groupID is allowed only when level is Group",
        ),
        (
            json!({ "level": "System", "typeFilters": ["Patient?active=true"] }),
            "spec.request.types: types is required when typeFilters are given: name each type that a filter is for",
        ),
        (
            json!({ "level": "System", "types": [], "typeFilters": ["Patient?active=true"] }),
            "spec.request.types: types is required when typeFilters are given: name each type that a filter is for",
        ),
        (
            json!({ "level": "System", "azure": { "anonymization": { "config": "a.json" } } }),
            "spec.request.container: container is required for an anonymized export",
        ),
        (
            json!({ "level": "System", "container": "lake", "azure": { "anonymization":
                { "config": "a.json", "etag": "1", "collectionReference": "registry/image:1" } } }),
            "spec.request.azure.anonymization.collectionReference: collectionReference and etag exclude each other",
        ),
        (
            json!({ "level": "System", "container": "lake",
                "azure": { "anonymization": { "config": "../a.json" } } }),
            "spec.request.azure.anonymization.config: a path without ..",
        ),
        (
            json!({ "level": "System", "outputFormat": "csv" }),
            "spec.request.outputFormat: use application/fhir+ndjson, application/ndjson or ndjson",
        ),
        (
            json!({ "level": "System", "bulkData": { "patientsSecretRef": key(),
                "patientsBlob": { "path": "c/p.txt", "sha256": "0".repeat(64) } } }),
            "spec.request.bulkData.patientsBlob: patientsSecretRef and patientsBlob exclude each other",
        ),
    ];
    let level = |field: &str, value: Value| json!({ "level": "System", field: value });
    for id in [".", "..", "a/b", "a b", "a_b", "größe"] {
        table.push((json!({ "level": "Group", "groupID": id }), group));
    }
    for type_ in ["patient", "Patient ", "Patient?x", "P", "Obs2"] {
        table.push((level("types", json!([type_])), types));
    }
    for filter in ["Observation", "Observation?", "observation?a=b", "?a=b"] {
        table
            .push((json!({ "level": "System", "types": ["Observation"], "typeFilters": [filter] }), filters));
    }
    for instant in [
        "yesterday",
        "2026",
        "2026-01-01",
        "2026-01-01T00:00:00",
        "2026-13-01T00:00:00Z",
        "2026-01-32T00:00:00Z",
        "2026-01-01T24:00:00Z",
        "2026-01-01T00:00:00+1:00",
        "2026-01-01 00:00:00Z",
        "2026-01-01T00:00:00z",
    ] {
        table.push((level("since", json!(instant)), since));
        table.push((level("until", json!(instant)), until));
    }
    for name in ["My_Data", "ab", "-ab", "ab-", "a--b", "$root", "a.b"] {
        table.push((level("container", json!(name)), container));
    }
    for name in
        ["_since", "_SINCE", "_typeFilter", "_isParallel", "patient", "_maxCount", "_till", "_container"]
    {
        table.push((level("parameters", json!([{ "name": name, "value": "x" }])), parameters));
    }
    let exports = table.into_iter().map(|(request, told)| (export(&request), told));
    exports.chain(refused_servers()).chain(refused_schedules()).collect()
}

fn refused_schedules() -> Vec<(Value, &'static str)> {
    let metadata = |metadata: Value| {
        let spec = template(&json!({ "level": "System" }))["spec"].clone();
        schedule(json!({ "template": { "metadata": metadata, "spec": spec } }))
    };
    let request = |request: Value| schedule(json!({ "template": template(&request) }));
    let mut long = schedule(json!({}));
    long["metadata"]["name"] = "n".repeat(53).into();
    vec![
        (
            schedule(json!({ "incremental": {}, "concurrencyPolicy": "Allow" })),
            "spec.concurrencyPolicy: incremental runs build on each other: use Forbid or Replace",
        ),
        (
            schedule(json!({ "incremental": { "initialSince": "2026-11-01" } })),
            "spec.incremental.initialSince: use an instant with a time zone, such as 2026-01-01T00:00:00Z",
        ),
        (
            metadata(json!({ "labels": { "fhirexport.dev/chain": "x" } })),
            "spec.template.metadata.labels: labels of fhirexport.dev are the schedule's to set",
        ),
        (
            metadata(json!({ "annotations": { "fhirexport.dev/slot-time": "x" } })),
            "spec.template.metadata.annotations: annotations of fhirexport.dev are the schedule's to set",
        ),
        (
            request(json!({ "level": "System", "since": "2026-01-01T00:00:00Z" })),
            "spec.template.spec.request.since: since is the schedule's to set: use incremental",
        ),
        (
            request(json!({ "level": "System", "until": "2026-01-01T00:00:00Z" })),
            "spec.template.spec.request.until: until is not for runs that repeat",
        ),
        (
            request(json!({ "level": "Group" })),
            "spec.template.spec.request.groupID: groupID is required when level is Group",
        ),
        (long, ": a name of at most 52 characters: the names of the runs begin with it"),
    ]
}

#[allow(clippy::too_many_lines)] // a table
fn refused_servers() -> Vec<(Value, &'static str)> {
    let auth = |auth: Value| json!({ "auth": auth });
    let entra = |entra: Value| json!({ "auth": { "type": "Entra", "entra": entra } });
    let blob = |endpoint: &str, auth: Value| {
        json!({ "storage": { "type": "AzureBlob",
        "azureBlob": { "endpoint": endpoint, "auth": auth } } })
    };
    let ids = |type_: &str| json!({ "type": type_, "tenantID": "t", "clientID": "c" });
    let with = |mut base: Value, more: Value| {
        merge(&mut base, more);
        base
    };
    let on_volume = |more: Value| {
        let mut volume = json!({ "claimName": "lake" });
        merge(&mut volume, more);
        json!({ "dialect": "BulkData", "storage": { "type": "Volume", "volume": volume } })
    };
    let on_s3 = |more: Value| {
        let auth = json!({ "type": "AccessKey", "secretRef": { "name": "s" } });
        let mut s3 = json!({ "bucket": "lake", "region": "eu-central-1", "auth": auth });
        merge(&mut s3, more);
        json!({ "dialect": "BulkData", "storage": { "type": "S3", "s3": s3 } })
    };
    let in_s3 = "spec.storage.s3.prefix: use a relative path of letters, digits, dots, hyphens and underscores, in \
        which no name begins with a dot or hyphen";
    let bucket = "spec.storage.s3.bucket: use a bucket name of lower-case letters, digits, and single hyphens and \
        dots between them";
    let both = |type_: &str| {
        let auth = json!({ "type": "SASToken", "secretRef": key() });
        json!({ "dialect": "BulkData", "storage": { "type": type_, "volume": { "claimName": "lake" },
            "azureBlob": { "endpoint": "https://x.blob.core.windows.net", "auth": auth } } })
    };
    let path = "spec.storage.volume.path: use a relative path of letters, digits, dots, hyphens and underscores, in \
        which no name begins with a dot or hyphen";
    let url = "spec.url: use a URL of scheme, host and path only";
    let container = "spec.defaultContainer: use 3 to 63 lower-case letters, digits and single hyphens";
    let table = vec![
        (
            json!({ "url": "http://clinic.example.org" }),
            "spec.url: use https (allowInsecureHTTP: true permits http, for tests only)",
        ),
        (json!({ "url": "https://clinic.example.org?x=y" }), url),
        (json!({ "url": "https://user@clinic.example.org" }), url),
        (json!({ "url": "https://clinic.example.org/#x" }), url),
        (
            blob("http://127.0.0.1:10000/x", json!({ "type": "SASToken", "secretRef": key() })),
            "spec.storage.azureBlob.endpoint: use https (allowInsecureHTTP: true permits http, for the storage \
             emulator only)",
        ),
        (
            json!({ "dialect": "BulkData" }),
            "spec.storage: storage is required when dialect is BulkData: the operator lands the files there",
        ),
        (json!({ "bulkData": {} }), "spec.bulkData: bulkData is allowed only when dialect is BulkData"),
        (
            blob("https://x.blob.core.windows.net", json!({ "type": "SameAsServer" })),
            "spec.storage.azureBlob.auth: auth type SameAsServer needs auth type Entra at the server",
        ),
        (
            json!({ "storage": { "type": "AzureBlob" } }),
            "spec.storage.azureBlob: azureBlob is required when type is AzureBlob, and forbidden otherwise",
        ),
        (
            json!({ "dialect": "BulkData", "storage": { "type": "Volume" } }),
            "spec.storage.volume: volume is required when type is Volume, and forbidden otherwise",
        ),
        (
            both("Volume"),
            "spec.storage.azureBlob: azureBlob is required when type is AzureBlob, and forbidden otherwise",
        ),
        (
            both("AzureBlob"),
            "spec.storage.volume: volume is required when type is Volume, and forbidden otherwise",
        ),
        (
            json!({ "transfer": { "mode": "Operator" } }),
            "spec.transfer: transfer is allowed only when dialect is BulkData: Azure's FHIR service writes the files \
             itself",
        ),
        (
            with(on_volume(json!({})), json!({ "transfer": { "mode": "Operator", "parallelism": 2 } })),
            "spec.transfer.mode: parallelism, resources, serviceAccountName and labels are allowed only when mode is Job",
        ),
        (
            with(
                on_volume(json!({})),
                json!({ "transfer": { "mode": "Job", "labels": { "kueue.x-k8s.io/priority-class": "x" } } }),
            ),
            "spec.transfer.labels: the only label is kueue.x-k8s.io/queue-name",
        ),
        (
            with(on_volume(json!({})), json!({ "dialect": "Azure" })),
            "spec.storage.type: type Volume needs dialect BulkData: Azure's FHIR service writes only to its storage \
             account",
        ),
        (
            json!({ "dialect": "BulkData", "storage": { "type": "S3" } }),
            "spec.storage.s3: s3 is required when type is S3, and forbidden otherwise",
        ),
        (
            with(on_s3(json!({})), json!({ "dialect": "Azure" })),
            "spec.storage.type: type S3 needs dialect BulkData: Azure's FHIR service writes only to its storage account",
        ),
        (
            on_s3(json!({ "bucket": null, "prefix": "a", "expectedBucketOwner": "123456789012" })),
            "spec.storage.s3.prefix: prefix needs bucket: without bucket, each container is a bucket",
        ),
        (
            on_s3(json!({ "bucket": null })),
            "spec.storage.s3.expectedBucketOwner: set expectedBucketOwner or bucket: without both, exports may name \
             the bucket of any AWS account",
        ),
        (on_s3(json!({ "prefix": "a/../b" })), in_s3),
        (on_s3(json!({ "prefix": "/a" })), in_s3),
        (on_s3(json!({ "bucket": "My_Data" })), bucket),
        (on_s3(json!({ "bucket": "a..b" })), bucket),
        (
            on_s3(json!({ "endpoint": "http://127.0.0.1:9000" })),
            "spec.storage.s3.endpoint: use https (allowInsecureHTTP: true permits http, for test stores only)",
        ),
        (
            on_s3(json!({ "auth": { "type": "Anonymous" } })),
            "spec.storage.s3.auth.type: auth type Anonymous is for tests only: it needs allowInsecureHTTP: true",
        ),
        (
            on_s3(json!({ "auth": { "type": "AccessKey" } })),
            "spec.storage.s3.auth.secretRef: secretRef is required when type is AccessKey, and forbidden otherwise",
        ),
        (
            on_s3(json!({ "auth": { "type": "WebIdentity" } })),
            "spec.storage.s3.auth.webIdentity: webIdentity is required when type is WebIdentity, and forbidden \
             otherwise",
        ),
        (
            on_s3(json!({ "serverSideEncryption": { "type": "AES256", "keyID": "alias/a" } })),
            "spec.storage.s3.serverSideEncryption.keyID: keyID is allowed only when type is KMS",
        ),
        (on_volume(json!({ "path": "../other" })), path),
        (on_volume(json!({ "path": "/etc" })), path),
        (on_volume(json!({ "path": "a/../b" })), path),
        (on_volume(json!({ "path": "a//b" })), path),
        (on_volume(json!({ "path": "a/" })), path),
        (on_volume(json!({ "path": "." })), path),
        (on_volume(json!({ "path": "a/.hidden" })), path),
        (on_volume(json!({ "path": "a\nb" })), path),
        (
            blob("https://x.blob.core.windows.net", json!({ "type": "Entra" })),
            "spec.storage.azureBlob.auth.entra: entra is required when type is Entra, and forbidden otherwise",
        ),
        (
            blob("https://x.blob.core.windows.net", json!({ "type": "AccountKey" })),
            "spec.storage.azureBlob.auth.secretRef: secretRef is required when type is SASToken or AccountKey, and \
             forbidden otherwise",
        ),
        (
            json!({ "limits": { "minPollSeconds": 60, "maxPollSeconds": 30 } }),
            "spec.limits.minPollSeconds: minPollSeconds must not be above maxPollSeconds",
        ),
        (json!({ "defaultContainer": "My_Data" }), container),
        (json!({ "defaultContainer": "ab" }), container),
        (
            json!({ "headers": [{ "name": "AUTHORIZATION", "secretRef": key() }] }),
            "spec.headers: this header is the operator's own; credentials belong in auth",
        ),
        (
            json!({ "consumers": { "namespaces": { "from": "Selector" } } }),
            "spec.consumers.namespaces.selector: selector is required when from is Selector, and forbidden otherwise",
        ),
        (
            json!({ "consumers": { "namespaces": { "from": "Same", "selector": { "matchLabels": { "a": "b" } } } } }),
            "spec.consumers.namespaces.selector: selector is required when from is Selector, and forbidden otherwise",
        ),
        (
            auth(json!({ "type": "Entra" })),
            "spec.auth.entra: entra is required when type is Entra, and forbidden otherwise",
        ),
        (
            auth(json!({ "type": "None", "basic": { "secretRef": { "name": "s" } } })),
            "spec.auth.basic: basic is required when type is Basic, and forbidden otherwise",
        ),
        (
            auth(json!({ "type": "BearerToken" })),
            "spec.auth.bearerToken: bearerToken is required when type is BearerToken, and forbidden otherwise",
        ),
        (
            auth(json!({ "type": "SmartBackendServices" })),
            "spec.auth.smartBackendServices: smartBackendServices is required when type is SmartBackendServices, and \
             forbidden otherwise",
        ),
        (
            auth(json!({ "type": "OAuthClientSecret" })),
            "spec.auth.oauthClientSecret: oauthClientSecret is required when type is OAuthClientSecret, and forbidden \
             otherwise",
        ),
        (
            entra(json!({ "type": "WorkloadIdentity", "clientID": "c" })),
            "spec.auth.entra.tenantID: tenantID is required",
        ),
        (
            entra(json!({ "type": "WorkloadIdentity", "tenantID": "t" })),
            "spec.auth.entra.clientID: clientID is required",
        ),
        (
            entra(with(
                ids("ManagedIdentity"),
                json!({ "workloadIdentity": { "serviceAccountRef": { "name": "s" } } }),
            )),
            "spec.auth.entra.workloadIdentity: workloadIdentity is forbidden unless type is WorkloadIdentity",
        ),
        (
            entra(ids("ClientSecret")),
            "spec.auth.entra.clientSecretRef: clientSecretRef is required when type is ClientSecret, and forbidden \
             otherwise",
        ),
    ];
    table.into_iter().map(|(spec, told)| (server(spec), told)).collect()
}
