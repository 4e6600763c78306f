//! An S3 store with the access key of the person who calls, instead of the credentials that a `FhirServer` names.

use std::sync::Arc;

use super::S3Storage;
use super::bucket::{Account, Way};
use super::connect::{Connections, settings};
use super::keys::{Access, AccessKey};
use super::proof::Proven;
use crate::api::{FhirServer, S3};
use crate::core::bucket::{aws_region, endpoint};
use crate::core::ledger::StorageFailure;
use crate::ports::Tenure;
use crate::storage::EndpointFrom;

/// Where the credentials for a store come from.
pub(super) enum Source {
    /// From what the `FhirServer` of an operation names.
    Servers(Connections),
    /// From the person who calls.
    Caller { key: AccessKey, way: Way },
}

impl Source {
    /// The account of a server.
    pub(super) async fn of(&self, server: &FhirServer) -> Result<Arc<Account>, StorageFailure> {
        match self {
            Self::Servers(connections) => connections.of(server).await,
            Self::Caller { key, way } => {
                let access = Access::Caller(key.clone());
                Ok(Arc::new(Account::new(settings(server)?, access, way.clone())))
            }
        }
    }

    /// The account with other credentials than those that were just refused, if there are others by now.
    pub(super) async fn instead_of(
        &self,
        server: &FhirServer,
        refused: &Access,
    ) -> Result<Option<Arc<Account>>, StorageFailure> {
        match self {
            Self::Servers(connections) => connections.instead_of(server, refused).await,
            Self::Caller { .. } => Ok(None),
        }
    }
}

impl S3Storage {
    /// The store that the `FhirServer` of each operation names, with the caller's access key. The key signs requests to
    /// the endpoint of `settings` only, which `from` has chosen. `http` is that of [`s3_client`](super::s3_client).
    ///
    /// # Errors
    ///
    /// The key may not be used at this endpoint.
    pub fn of_caller(
        settings: &S3,
        from: EndpointFrom,
        key: AccessKey,
        http: reqwest::Client,
    ) -> Result<Self, StorageFailure> {
        let endpoint = endpoint(settings);
        if from == EndpointFrom::Cluster && aws_region(&endpoint).is_none() {
            return Err(StorageFailure::permanent(format!(
                "the files are at {endpoint}, which is no S3 endpoint of AWS: name the endpoint with --endpoint if your \
                 credential may go there"
            )));
        }
        let way = Way { http, tenure: Tenure::default() };
        Ok(Self { source: Arc::new(Source::Caller { key, way }), proven: Proven::default() })
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_key_is_used_where_its_owner_says_or_at_aws() {
        let key = || AccessKey { id: "AKIA".into(), secret: "hush".into(), session: None };
        let settings = |endpoint: Option<&str>| -> S3 {
            let auth = json!({ "type": "Anonymous" });
            serde_json::from_value(json!({ "region": "eu-central-1", "endpoint": endpoint, "auth": auth }))
                .unwrap()
        };
        for (endpoint, admitted) in [
            (None, true),
            (Some("https://s3.eu-central-1.amazonaws.com"), true),
            (Some("http://s3.eu-central-1.amazonaws.com"), false),
            (Some("https://s3.evil.example"), false),
            (Some("https://s3.ec2-1-2-3-4.compute-1.amazonaws.com"), false),
            (Some("https://s3.evil%2Eexample\\.amazonaws.com"), false),
            (Some("https://s3.dev/x.amazonaws.com"), false),
            (Some("http://127.0.0.1:9000"), false),
        ] {
            let made = |from| {
                let storage = S3Storage::of_caller(&settings(endpoint), from, key(), reqwest::Client::new());
                storage.map(drop).map_err(|failure| failure.message)
            };
            let of_cluster = made(EndpointFrom::Cluster);
            assert_eq!(of_cluster.is_ok(), admitted, "{endpoint:?}");
            assert!(of_cluster.err().is_none_or(|message| message.contains("--endpoint")));
            assert_eq!(made(EndpointFrom::Caller), Ok(()), "{endpoint:?}");
        }
    }
}
