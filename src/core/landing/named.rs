//! The credentials that a server names, which the pods of its landings get.

use serde_json::Value;

use crate::api::{FhirServerSpec, KeyRef};

/// A credential that a server names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Named {
    /// One key of a Secret.
    Key(KeyRef),
    /// All keys of a Secret.
    Secret(String),
    /// One key of a ConfigMap: its name and the key.
    ConfigMap(String, String),
    /// The token of a ServiceAccount for an Entra identity: the name and the client id.
    EntraToken(String, String),
    /// The token of a ServiceAccount for an AWS role: the name and the ARN.
    AwsToken(String, String),
}

/// The credentials that a server names, wherever its spec does.
pub fn named(spec: &FhirServerSpec) -> Vec<Named> {
    let mut all = Vec::new();
    walk(&serde_json::to_value(spec).unwrap_or_default(), &mut all);
    all
}

fn walk(value: &Value, all: &mut Vec<Named>) {
    match value {
        Value::Array(list) => list.iter().for_each(|item| walk(item, all)),
        Value::Object(members) => {
            for (name, member) in members {
                let text = |key: &str| member.get(key).and_then(Value::as_str).map(str::to_owned);
                let account = || member.pointer("/serviceAccountRef/name").and_then(Value::as_str);
                let of_entra = || members.get("clientID").and_then(Value::as_str);
                all.extend(match name.as_str() {
                    "workloadIdentity" => account()
                        .zip(of_entra())
                        .map(|(account, id)| Named::EntraToken(account.to_owned(), id.to_owned())),
                    "webIdentity" => account()
                        .zip(text("roleARN"))
                        .map(|(account, role)| Named::AwsToken(account.to_owned(), role)),
                    "caBundleRef" if text("kind").as_deref() == Some("ConfigMap") => {
                        text("name").zip(text("key")).map(|(name, key)| Named::ConfigMap(name, key))
                    }
                    _ if name.ends_with("ecretRef") || name == "caBundleRef" => {
                        text("name").map(|name| match text("key") {
                            Some(key) => Named::Key(KeyRef { name, key }),
                            None => Named::Secret(name),
                        })
                    }
                    _ => None,
                });
                walk(member, all);
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn every_credential_is_found_and_nothing_else() {
        let key = |name: &str, key: &str| Named::Key(KeyRef { name: name.into(), key: key.into() });
        let secret = |name: &str| json!({ "name": name, "key": "k" });
        let entra = json!({ "type": "WorkloadIdentity", "tenantID": "t", "clientID": "c",
            "workloadIdentity": { "serviceAccountRef": { "name": "sa" } } });
        for (auth, storage, more, expected) in [
            (json!({ "type": "None" }), json!({ "type": "Volume" }), json!({}), vec![]),
            (
                json!({ "type": "BearerToken", "bearerToken": { "secretRef": secret("token") } }),
                json!({ "type": "S3", "s3": { "region": "eu", "auth": { "type": "AccessKey",
                    "secretRef": { "name": "keys" } } } }),
                json!({}),
                vec![key("token", "k"), Named::Secret("keys".into())],
            ),
            (
                json!({ "type": "Entra", "entra": entra }),
                json!({ "type": "AzureBlob", "azureBlob": { "endpoint": "https://b", "auth":
                    { "type": "SameAsServer" } } }),
                json!({ "headers": [{ "name": "X-Key", "secretRef": secret("api") }] }),
                vec![Named::EntraToken("sa".into(), "c".into()), key("api", "k")],
            ),
            (
                json!({ "type": "SmartBackendServices", "smartBackendServices":
                    { "clientID": "c", "privateKeySecretRef": secret("signing") } }),
                json!({ "type": "S3", "s3": { "region": "eu", "auth": { "type": "WebIdentity", "webIdentity":
                    { "roleARN": "arn:aws:iam::123456789012:role/x", "serviceAccountRef": { "name": "sa" } } } } }),
                json!({ "tls": { "caBundleRef": { "kind": "ConfigMap", "name": "ca", "key": "pem" },
                    "clientCertificateSecretRef": { "name": "cert" } } }),
                vec![
                    key("signing", "k"),
                    Named::AwsToken("sa".into(), "arn:aws:iam::123456789012:role/x".into()),
                    Named::ConfigMap("ca".into(), "pem".into()),
                    Named::Secret("cert".into()),
                ],
            ),
        ] {
            let mut spec =
                json!({ "url": "https://x", "dialect": "BulkData", "auth": auth, "storage": storage });
            spec.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
            let mut found: Vec<String> = named(&serde_json::from_value(spec).unwrap())
                .iter()
                .map(|named| format!("{named:?}"))
                .collect();
            let mut expected: Vec<String> = expected.iter().map(|named| format!("{named:?}")).collect();
            found.sort();
            expected.sort();
            assert_eq!(found, expected);
        }
    }
}
