//! A storage account with the credentials of the person who calls, instead of those that a `FhirServer` names.

use std::sync::Arc;

use azure_core::credentials::TokenCredential;
use azure_core::http::Transport;
use secrecy::{ExposeSecret, SecretString};

use super::account::{Access, Account, BlobEndpoint};
use super::bounded::Bounded;
use super::outgoing::Outgoing;
use super::signature::SasToken;
use super::{BlobStorage, Source, listing};
use crate::core::ledger::StorageFailure;
use crate::ports::Tenure;
use crate::storage::hosts::{EndpointFrom, is_azure};

/// How a person proves who they are to a storage account.
pub enum CallerCredential {
    /// A shared access signature, with or without a leading `?`.
    Sas(SecretString),
    /// A token of Microsoft Entra ID.
    Identity(Arc<dyn TokenCredential>),
}

impl BlobStorage {
    /// The account at `endpoint` with the caller's credential, whatever `FhirServer` an operation names. `http` is that
    /// of [`http_client`](super::http_client).
    ///
    /// # Errors
    ///
    /// The endpoint is not a URL, is not for this credential, or the signature cannot be read.
    pub fn of_caller(
        endpoint: &str,
        from: EndpointFrom,
        credential: CallerCredential,
        http: reqwest::Client,
    ) -> Result<Self, StorageFailure> {
        let endpoint = BlobEndpoint::parse(endpoint)?;
        let url = endpoint.url();
        let shown = url.origin().ascii_serialization();
        let encrypted = url.scheme() == "https";
        if from == EndpointFrom::Cluster && !(is_azure(url) && encrypted) {
            return Err(StorageFailure::permanent(format!(
                "the files are at {shown}, which is no blob endpoint of Azure: name the endpoint with --endpoint if your \
                 credential may go there"
            )));
        }
        let access = match credential {
            CallerCredential::Identity(_) if !encrypted => {
                return Err(StorageFailure::permanent(format!(
                    "a token of Microsoft Entra ID may not go to {shown} without TLS: use https, or a SAS token"
                )));
            }
            CallerCredential::Identity(credential) => Access::Identity(credential),
            CallerCredential::Sas(token) => {
                let token = SasToken::parse(token.expose_secret());
                Access::Sas(token.ok_or_else(|| {
                    StorageFailure::permanent(
                        "the SAS token holds no signature (sig=…), or is a URL".to_owned(),
                    )
                })?)
            }
        };
        let outgoing = Outgoing { http: Bounded(http), tenure: Tenure::default() };
        let account = Account::new(endpoint, access, Transport::new(Arc::new(outgoing)));
        Ok(Self { source: Source::Caller(Arc::new(account)), page: listing::PAGE })
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn of(endpoint: &str, from: EndpointFrom, sas: &str) -> Result<BlobStorage, String> {
        let credential = CallerCredential::Sas(SecretString::from(sas));
        BlobStorage::of_caller(endpoint, from, credential, reqwest::Client::new())
            .map_err(|failure| failure.message)
    }

    #[test]
    fn a_credential_goes_where_its_owner_sends_it_or_to_azure() {
        for (endpoint, admitted) in [
            ("https://clinicexports.blob.core.windows.net", true),
            ("http://clinicexports.blob.core.windows.net", false),
            ("https://clinicexports.blob.core.windows.net.evil.example", false),
            ("http://127.0.0.1:10000/devstoreaccount1", false),
        ] {
            let made = of(endpoint, EndpointFrom::Cluster, "sig=a&se=2030-01-01");
            assert_eq!(made.is_ok(), admitted, "{endpoint}");
            if let Err(message) = made {
                assert!(message.contains("--endpoint") && !message.contains("sig="), "{message}");
            }
            assert!(of(endpoint, EndpointFrom::Caller, "?sig=a").is_ok(), "{endpoint}");
        }
        for sas in ["", "se=2030-01-01", "https://x.blob.core.windows.net/?sig=a"] {
            let message = of("https://x.blob.core.windows.net", EndpointFrom::Cluster, sas).err().unwrap();
            assert!(message.starts_with("the SAS token holds no signature"), "{message}");
        }
    }
}
