//! The manifests that the rules are tried on.

use serde_json::{Value, json};

pub fn export(request: &Value) -> Value {
    json!({
        "apiVersion": "fhirexport.dev/v1alpha1",
        "kind": "FhirExport",
        "metadata": { "name": "run", "namespace": "fhir" },
        "spec": { "serverRef": { "name": "clinic" }, "request": request },
    })
}

pub fn schedule(spec: Value) -> Value {
    let mut whole = json!({ "schedule": "0 2 * * *", "template": template(&json!({ "level": "System" })) });
    merge(&mut whole, spec);
    json!({
        "apiVersion": "fhirexport.dev/v1alpha1",
        "kind": "FhirExportSchedule",
        "metadata": { "name": "nightly", "namespace": "fhir" },
        "spec": whole,
    })
}

pub fn template(request: &Value) -> Value {
    json!({ "spec": { "serverRef": { "name": "clinic" }, "request": request } })
}

pub fn server(spec: Value) -> Value {
    let mut whole =
        json!({ "url": "https://clinic.example.org", "dialect": "Azure", "auth": { "type": "None" } });
    merge(&mut whole, spec);
    json!({
        "apiVersion": "fhirexport.dev/v1alpha1",
        "kind": "FhirServer",
        "metadata": { "name": "clinic", "namespace": "fhir" },
        "spec": whole,
    })
}

pub fn merge(into: &mut Value, from: Value) {
    let Value::Object(from) = from else { panic!("a spec is an object") };
    for (key, value) in from {
        if value.is_null() {
            into.as_object_mut().unwrap().remove(&key);
        } else {
            into.as_object_mut().unwrap().insert(key, value);
        }
    }
}

pub fn key() -> Value {
    json!({ "name": "secret", "key": "key" })
}

/// Old and new, and what is refused of the change.
pub fn changes() -> Vec<(Value, Value, Vec<&'static str>)> {
    let request = json!({ "level": "System" });
    let with = |more: Value| {
        let mut manifest = export(&request);
        merge(&mut manifest["spec"], more);
        manifest
    };
    let other_request = json!({ "request": { "level": "System", "types": ["Patient"] } });
    let no_cancel = "spec.cancel: cancel cannot be taken back: create a new FhirExport instead";
    vec![
        (with(json!({})), with(json!({ "suspend": true, "activeDeadlineSeconds": 60 })), vec![]),
        (with(json!({})), with(json!({ "cancel": true })), vec![]),
        (with(json!({ "cancel": false })), with(json!({ "cancel": true })), vec![]),
        (with(json!({ "cancel": true })), with(json!({ "cancel": true })), vec![]),
        (with(json!({ "cancel": true })), with(json!({ "cancel": false })), vec![no_cancel]),
        (with(json!({ "cancel": true })), with(json!({})), vec![no_cancel]),
        (
            with(json!({})),
            with(other_request),
            vec!["spec.request: a request cannot be changed: create a new FhirExport instead"],
        ),
        (
            with(json!({})),
            with(json!({ "serverRef": { "name": "other" } })),
            vec!["spec.serverRef: serverRef cannot be changed: create a new FhirExport instead"],
        ),
        (
            server(json!({})),
            server(
                json!({ "suspend": true, "auth": { "type": "Basic", "basic": { "secretRef": { "name": "s" } } } }),
            ),
            vec![],
        ),
        // A schedule may be changed as a whole: what that means for its chain is the operator's to see.
        (
            schedule(json!({ "incremental": {} })),
            schedule(json!({ "schedule": "* * * * *", "timeZone": "Europe/Berlin", "suspend": true,
                "template": { "spec": { "serverRef": { "name": "other" },
                    "request": { "level": "Group", "groupID": "g" } } } })),
            vec![],
        ),
        (
            server(json!({})),
            server(json!({ "url": "https://other.example.org" })),
            vec!["spec.url: url cannot be changed: create a new FhirServer instead"],
        ),
        (
            server(json!({ "dialect": "Azure" })),
            server(json!({ "dialect": "BulkData", "storage": { "type": "AzureBlob", "azureBlob": {
                "endpoint": "https://x.blob.core.windows.net",
                "auth": { "type": "SASToken", "secretRef": key() } } } })),
            vec!["spec.dialect: dialect cannot be changed: create a new FhirServer instead"],
        ),
    ]
}

/// What passes: each rule is met by one of these.
pub fn accepted() -> Vec<Value> {
    let requests = [
        json!({ "level": "System" }),
        json!({ "level": "Patient", "types": ["Patient", "ExplanationOfBenefit"] }),
        json!({ "level": "Group", "groupID": "cohort-4.2" }),
        json!({ "level": "Group", "groupID": "..." }),
        json!({ "level": "System", "types": ["Observation"],
            "typeFilters": ["Observation?category=laboratory&date=ge2026-01-01T00:00:00+01:00"] }),
        json!({ "level": "System", "since": "2026-01-01T00:00:00Z", "until": "2026-02-28T23:59:60.1234567+14:00" }),
        json!({ "level": "System", "container": "lake" }),
        json!({ "level": "System", "container": "a1-b2-c3" }),
        json!({ "level": "System", "container": "a".repeat(63) }),
        json!({ "level": "System", "outputFormat": "application/fhir+ndjson" }),
        json!({ "level": "System", "container": "lake",
            "azure": { "anonymization": { "config": "deid/a.json", "etag": "\"0x8D\"" } } }),
        json!({ "level": "System", "container": "lake",
            "azure": { "anonymization": { "config": "a.json", "collectionReference": "registry/image:1" } } }),
        json!({ "level": "System", "bulkData": { "patientsSecretRef": key() } }),
        json!({ "level": "System", "parameters": [{ "name": "_bulkExportVersion", "value": "2" }] }),
    ];
    let blob = |auth: Value| {
        json!({ "type": "AzureBlob", "azureBlob":
        { "endpoint": "https://x.blob.core.windows.net", "auth": auth } })
    };
    let entra = json!({ "type": "Entra", "entra": { "type": "ClientSecret", "tenantID": "t", "clientID": "c",
        "clientSecretRef": key() } });
    let servers = [
        json!({}),
        json!({ "url": "http://127.0.0.1:8080/fhir", "allowInsecureHTTP": true }),
        json!({ "auth": entra, "storage": blob(json!({ "type": "SameAsServer" })), "defaultContainer": "exports" }),
        json!({ "auth": { "type": "Entra", "entra": { "type": "ManagedIdentity" } } }),
        json!({ "auth": { "type": "Entra", "entra": { "type": "WorkloadIdentity", "tenantID": "t", "clientID": "c",
            "workloadIdentity": { "serviceAccountRef": { "name": "s" } } } } }),
        json!({ "storage": blob(json!({ "type": "SASToken", "secretRef": key() })) }),
        json!({ "storage": blob(json!({ "type": "Entra", "entra": { "type": "ManagedIdentity" } })) }),
        json!({ "dialect": "BulkData", "storage": { "type": "Volume", "volume": { "claimName": "lake.v2" } } }),
        json!({ "dialect": "BulkData", "storage": { "type": "S3", "s3": { "bucket": "data.clinic", "prefix": "a/b",
            "region": "eu-central-1", "serverSideEncryption": { "type": "KMS", "keyID": "alias/exports" },
            "auth": { "type": "WebIdentity", "webIdentity": { "roleARN": "arn:aws:iam::123456789012:role/exports",
                "serviceAccountRef": { "name": "s" } } } } } }),
        json!({ "dialect": "BulkData", "storage": { "type": "S3", "s3": { "region": "eu-central-1",
            "expectedBucketOwner": "123456789012",
            "auth": { "type": "AccessKey", "secretRef": { "name": "s" } } } } }),
        json!({ "dialect": "BulkData", "url": "http://127.0.0.1:8080/fhir", "allowInsecureHTTP": true,
            "storage": { "type": "S3", "s3": { "region": "us-east-1", "endpoint": "http://127.0.0.1:9000",
                "auth": { "type": "Anonymous" } } } }),
        json!({ "dialect": "BulkData",
            "storage": { "type": "Volume", "volume": { "claimName": "lake", "path": "clinic/_in.v1/b-2" } } }),
        json!({ "dialect": "BulkData", "bulkData": { "preset": "HAPI" },
            "storage": blob(json!({ "type": "AccountKey", "secretRef": key() })),
            "auth": { "type": "SmartBackendServices",
                "smartBackendServices": { "clientID": "c", "privateKeySecretRef": key() } } }),
        json!({ "auth": { "type": "OAuthClientSecret", "oauthClientSecret":
            { "tokenURL": "https://x.example.org/token", "clientID": "c", "secretRef": key() } } }),
        json!({ "auth": { "type": "BearerToken", "bearerToken": { "secretRef": key() } } }),
        json!({ "auth": { "type": "Basic", "basic": { "secretRef": { "name": "s" } } } }),
        json!({ "headers": [{ "name": "Ocp-Apim-Subscription-Key", "secretRef": key() }] }),
        json!({ "consumers": { "namespaces": { "from": "Selector", "selector": { "matchLabels": { "a": "b" } } } } }),
    ];
    let mut long = schedule(json!({ "concurrencyPolicy": "Allow", "startingDeadlineSeconds": 3600 }));
    long["metadata"]["name"] = "n".repeat(52).into();
    let schedules = [
        schedule(
            json!({ "incremental": { "fullSchedule": "0 2 * * 0", "overlapSeconds": 0, "acceptLoss": true,
            "initialSince": "2026-11-01T00:00:00.1234567+01:00" }, "concurrencyPolicy": "Replace" }),
        ),
        schedule(
            json!({ "template": { "metadata": { "labels": { "team": "a" }, "annotations": { "a/b": "c" } },
            "spec": template(&json!({ "level": "Patient" }))["spec"] } }),
        ),
        long,
    ];
    let exports = requests.iter().map(export);
    exports.chain(servers.into_iter().map(server)).chain(schedules).collect()
}
