use std::path::Path;
use std::time::Duration;

use kube::config::{KubeConfigOptions, Kubeconfig};
use serde_json::{Value, json};

use crate::{Issued, Result};

/// How a client says who it is.
pub(crate) enum Identity<'a> {
    Certificate(&'a Issued),
    Token(&'a str),
}

/// A kubeconfig with one cluster, one user and one context.
pub(crate) fn kubeconfig(server: &str, authority: &Path, namespace: &str, identity: &Identity<'_>) -> String {
    let user = match identity {
        Identity::Certificate(issued) => json!({
            "client-certificate": issued.certificate,
            "client-key": issued.key,
        }),
        Identity::Token(token) => json!({ "token": token }),
    };
    let named = |kind: &str, value: Value| json!([{ "name": "stage", kind: value }]);
    // kubectl and kube read JSON as the YAML that it is.
    json!({
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": named("cluster", json!({ "server": server, "certificate-authority": authority })),
        "users": named("user", user),
        "contexts": named("context", json!({
            "cluster": "stage",
            "user": "stage",
            "namespace": namespace,
        })),
        "current-context": "stage",
    })
    .to_string()
}

/// A client of the current runtime.
pub(crate) async fn client(kubeconfig: &Path) -> Result<kube::Client> {
    let read = Kubeconfig::read_from(kubeconfig)?;
    let mut config = kube::Config::from_custom_kubeconfig(read, &KubeConfigOptions::default()).await?;
    config.connect_timeout = Some(Duration::from_secs(5));
    Ok(kube::Client::try_from(config)?)
}
