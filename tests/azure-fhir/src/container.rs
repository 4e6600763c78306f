//! The storage account: containers and blobs, opened with an account SAS as an operator's user would make one.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};

use azure_core::error::ErrorKind;
use azure_core::http::{
    ClientOptions, ExponentialRetryOptions, RequestContent, RetryOptions, Transport, Url,
};
use azure_storage_blob::{BlobContainerClient, BlobContainerClientOptions};
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use hmac::{Hmac, KeyInit, Mac};
use jiff::{Timestamp, ToSpan};
use sha2::Sha256;

use crate::Error;
use crate::failure::{Failure, storage_text};

/// Old enough for every Azurite.
const API_VERSION: &str = "2021-12-02";
const SAS_VERSION: &str = "2021-06-08";

/// The storage account that the service is configured with.
#[derive(Debug, Clone)]
pub struct Storage {
    /// Blob endpoint without a slash at the end, such as `http://127.0.0.1:10000/devstoreaccount1`.
    pub endpoint: String,
    /// The account's name.
    pub account: String,
    /// The account's key, base64.
    pub key: String,
    /// Whether missing containers are made.
    pub create_containers: bool,
    /// PEM of the authority of an https endpoint, if it is a test's own.
    pub ca_pem: Option<String>,
    /// The endpoint that manifests name, where readers reach the account by another way than the service.
    pub named: Option<String>,
}

impl Storage {
    /// An account whose missing containers are made.
    pub fn new(endpoint: &str, account: &str, key: &str) -> Self {
        Self {
            endpoint: endpoint.trim_end_matches('/').to_owned(),
            account: account.to_owned(),
            key: key.to_owned(),
            create_containers: true,
            ca_pem: None,
            named: None,
        }
    }

    /// An account SAS for everything about blobs, good for a day; the part after `?`.
    pub fn sas(&self) -> Result<String, Error> {
        let key = BASE64_STANDARD.decode(&self.key).map_err(|_| Error::StorageKey)?;
        let expiry = (Timestamp::now() + 24.hours()).strftime("%Y-%m-%dT%H:%M:%SZ").to_string();
        let permissions = "rwdlac";
        let to_sign =
            format!("{}\n{permissions}\nb\nsco\n\n{expiry}\n\nhttps,http\n{SAS_VERSION}\n\n", self.account);
        let mut mac = Hmac::<Sha256>::new_from_slice(&key).map_err(|_| Error::StorageKey)?;
        mac.update(to_sign.as_bytes());
        let signature = BASE64_STANDARD.encode(mac.finalize().into_bytes());
        Ok(url::form_urlencoded::Serializer::new(String::new())
            .extend_pairs([
                ("sv", SAS_VERSION),
                ("ss", "b"),
                ("srt", "sco"),
                ("sp", permissions),
                ("se", &expiry),
                ("spr", "https,http"),
                ("sig", &signature),
            ])
            .finish())
    }
}

/// The account, connected.
#[derive(Debug)]
pub(crate) struct Account {
    storage: Storage,
    sas: String,
    transport: Transport,
    /// Containers known to be there.
    known: Mutex<BTreeSet<String>>,
}

impl Account {
    pub(crate) fn connect(storage: Storage) -> Result<Self, Error> {
        let mut builder = reqwest::Client::builder().no_gzip().no_deflate();
        if let Some(pem) = &storage.ca_pem {
            builder = builder.tls_certs_merge(reqwest::Certificate::from_pem_bundle(pem.as_bytes())?);
        }
        let transport = Transport::new(Arc::new(builder.build()?));
        Ok(Self { sas: storage.sas()?, storage, transport, known: Mutex::default() })
    }

    /// What manifests say.
    pub(crate) fn endpoint(&self) -> &str {
        self.storage.named.as_ref().unwrap_or(&self.storage.endpoint)
    }

    fn client(&self, container: &str) -> Result<BlobContainerClient, Failure> {
        let url = format!("{}/{container}?{}", self.storage.endpoint, self.sas);
        let url: Url = url.parse().map_err(|_| Failure::InvalidStorageUri)?;
        let retry = ExponentialRetryOptions { max_retries: 2, ..ExponentialRetryOptions::default() };
        let options = BlobContainerClientOptions {
            client_options: ClientOptions {
                transport: Some(self.transport.clone()),
                retry: RetryOptions::exponential(retry),
                ..ClientOptions::default()
            },
            version: API_VERSION.to_owned(),
        };
        BlobContainerClient::new(url, None, Some(options)).map_err(|_| Failure::InvalidStorageUri)
    }

    /// Makes the container if it is missing and the service may.
    pub(crate) async fn prepare(&self, container: &str) -> Result<(), Failure> {
        if !is_container_name(container) {
            return Err(Failure::InvalidContainerName);
        }
        if self.known.lock().unwrap_or_else(PoisonError::into_inner).contains(container) {
            return Ok(());
        }
        let client = self.client(container)?;
        if !client.exists().await.map_err(|error| refused(&error))? {
            if !self.storage.create_containers {
                return Err(Failure::ContainerNotFound);
            }
            match client.create(None).await {
                Ok(_) => {}
                // Made by somebody else in between.
                Err(error) if error.http_status().is_some_and(|status| status == 409) => {}
                Err(error) => return Err(refused(&error)),
            }
        }
        self.known.lock().unwrap_or_else(PoisonError::into_inner).insert(container.to_owned());
        Ok(())
    }

    /// Writes a blob, over one that is there.
    pub(crate) async fn write(&self, container: &str, blob: &str, body: Vec<u8>) -> Result<(), Failure> {
        let client = self.client(container)?.blob_client(blob);
        let content = RequestContent::from(body);
        let written = client.upload(content, None).await;
        if written.is_err() {
            // A test may have removed the container; the next job looks again.
            self.known.lock().unwrap_or_else(PoisonError::into_inner).remove(container);
        }
        written.map(drop).map_err(|error| refused(&error))
    }
}

/// Azure's rules for containers; the service leaves them to the storage, which refuses.
pub(crate) fn is_container_name(name: &str) -> bool {
    let allowed = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    name == "$root"
        || ((3..=63).contains(&name.len())
            && name.chars().all(allowed)
            && !name.starts_with('-')
            && !name.ends_with('-')
            && !name.contains("--"))
}

fn refused(error: &azure_core::Error) -> Failure {
    match error.kind() {
        ErrorKind::HttpResponse { status, error_code, .. } => {
            let (status, code) = (u16::from(*status), error_code.as_deref().unwrap_or("Unknown"));
            Failure::Other { status, reason: storage_text("The storage refused the request.", status, code) }
        }
        _ => Failure::StorageAccountNotFound,
    }
}
