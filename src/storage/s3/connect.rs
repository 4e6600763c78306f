//! The stores of `FhirServer`s, each with the credentials that its Secret or its role gives.

use std::sync::Arc;

use kube::ResourceExt;
use secrecy::{ExposeSecret, SecretString};
use url::Url;

use super::bucket::{Account, Bucket, Way};
use super::failure;
use super::keys::{Access, AccessKey};
use crate::api::{FhirServer, NameRef, Reason, S3, S3AuthType, WebIdentity};
use crate::core::bucket::{BucketPlace, endpoint, token_service};
use crate::core::folder;
use crate::core::ledger::{StorageFailure, StorageFailureKind};
use crate::core::reach::Reach;
use crate::credentials::transport::check_address;
use crate::credentials::{CredentialProblem, CredentialSource, Identities, Identity, RoleKey, RoleKeys};
use crate::storage::StorageHosts;

/// The keys of a Secret that hold an access key, named as the variables of AWS's own tools.
const KEY_ID: &str = "AWS_ACCESS_KEY_ID";
const KEY: &str = "AWS_SECRET_ACCESS_KEY";
const SESSION: &str = "AWS_SESSION_TOKEN";
/// The scope of the token of a role, which has only one.
const SCOPE: &str = "s3";

/// Creates the accounts of `FhirServer`s. Each operation reads the credentials, which are cached.
pub(super) struct Connections {
    pub(super) identities: Arc<Identities>,
    pub(super) way: Way,
    pub(super) hosts: StorageHosts,
    pub(super) reach: Reach,
}

impl Connections {
    /// The account of a server.
    pub(super) async fn of(&self, server: &FhirServer) -> Result<Arc<Account>, StorageFailure> {
        let s3 = settings(server)?;
        self.check(s3)?;
        let access = match s3.auth.type_ {
            S3AuthType::Anonymous => Access::Anonymous,
            S3AuthType::AccessKey => self.key(server, s3).await.map_err(|p| failure::of_credential(&p))?,
            S3AuthType::WebIdentity => {
                let token = self.role(server, s3)?.token(SCOPE).await;
                let token = token.map_err(|problem| failure::of_credential(&problem))?;
                of_role(token.token.secret())?
            }
        };
        Ok(Arc::new(Account::new(s3, access, self.way.clone())))
    }

    /// The account with other credentials than those that were just refused, if there are others by now.
    pub(super) async fn instead_of(
        &self,
        server: &FhirServer,
        refused: &Access,
    ) -> Result<Option<Arc<Account>>, StorageFailure> {
        let s3 = settings(server)?;
        match (s3.auth.type_, &s3.auth.secret_ref) {
            (S3AuthType::AccessKey, Some(secret)) => {
                let namespace = server.namespace().unwrap_or_default();
                self.identities.source().forget(&namespace, &secret.name).await;
            }
            (S3AuthType::WebIdentity, _) => {
                let role = self.role(server, s3)?;
                if let Some(held) = role.held_token(SCOPE) {
                    let held = held.token.secret();
                    let renewed = role.token_instead_of(SCOPE, held).await;
                    renewed.map_err(|problem| failure::of_credential(&problem))?;
                }
            }
            (S3AuthType::AccessKey | S3AuthType::Anonymous, _) => return Ok(None),
        }
        let account = self.of(server).await?;
        Ok(Some(account).filter(|account| !account.access.is(refused)))
    }

    /// Rejects an endpoint at an address that the operator does not connect to.
    fn check(&self, s3: &S3) -> Result<(), StorageFailure> {
        let text = endpoint(s3);
        let url = Url::parse(&text)
            .map_err(|_| StorageFailure::permanent(format!("the S3 endpoint {text} is not a URL")))?;
        check_address(&self.reach, &url)
            .map_err(|refused| StorageFailure::permanent(format!("{refused}: correct storage.s3.endpoint")))
    }

    async fn key(&self, server: &FhirServer, s3: &S3) -> Result<Access, CredentialProblem> {
        let namespace = server.namespace().unwrap_or_default();
        let missing = || {
            CredentialProblem::lasting(Reason::InvalidSpec, "storage.s3.auth names no secretRef".to_owned())
        };
        let NameRef { name } = s3.auth.secret_ref.as_ref().ok_or_else(missing)?;
        let secret = self.identities.source().secret(&namespace, name).await?;
        let value = |key: &str| -> Option<SecretString> {
            let text = secret.get(key)?.expose_secret().trim();
            (!text.is_empty()).then(|| text.into())
        };
        let (Some(id), Some(key)) = (value(KEY_ID), value(KEY)) else {
            // A repair takes effect at the next look.
            self.identities.source().forget(&namespace, name).await;
            return Err(CredentialProblem::lasting(
                Reason::SecretKeyMissing,
                format!("Secret {namespace}/{name} has no {KEY_ID} or no {KEY}; add both"),
            ));
        };
        let id = id.expose_secret().to_owned();
        Ok(Access::Key(AccessKey { id, secret: key, session: value(SESSION) }))
    }

    /// The role of a server, whose ServiceAccount is in the server's own namespace.
    fn role(&self, server: &FhirServer, s3: &S3) -> Result<Arc<Identity>, StorageFailure> {
        let Some(WebIdentity { role_arn, service_account_ref, sts_endpoint }) = &s3.auth.web_identity else {
            return Err(StorageFailure::permanent("storage.s3.auth names no webIdentity"));
        };
        let text = sts_endpoint.clone().unwrap_or_else(|| token_service(&s3.region));
        let endpoint = Url::parse(&text)
            .map_err(|_| StorageFailure::permanent(format!("the STS endpoint {text} is not a URL")))?;
        if sts_endpoint.is_some() {
            self.hosts.admit_token_service(&endpoint)?;
        }
        let key = RoleKey {
            namespace: server.namespace().unwrap_or_default(),
            service_account: service_account_ref.name.clone(),
            role_arn: role_arn.clone(),
            endpoint,
        };
        self.identities.role(&key).map_err(|problem| failure::of_credential(&problem))
    }
}

fn of_role(token: &str) -> Result<Access, StorageFailure> {
    let keys = RoleKeys::of_token(token)
        .ok_or_else(|| StorageFailure::transient("the role has no access key yet; it is tried again"))?;
    let RoleKeys { id, secret, session } = keys;
    Ok(Access::Role(AccessKey { id, secret, session: Some(session) }))
}

/// The settings of the store of a server.
pub(super) fn settings(server: &FhirServer) -> Result<&S3, StorageFailure> {
    server.spec.storage.as_ref().and_then(|storage| storage.s3.as_ref()).ok_or_else(|| StorageFailure {
        kind: StorageFailureKind::NotConfigured,
        message: format!("the FhirServer {} names no S3 store; set storage.s3", server.name_any()),
    })
}

/// A container in the store of a server.
pub(super) fn container(
    server: &FhirServer,
    account: &Arc<Account>,
    name: &str,
) -> Result<Bucket, StorageFailure> {
    // Other names could lead to another host or another folder.
    if !folder::is_container(name) {
        return Err(StorageFailure::permanent(format!(
            "{name:?} cannot be the name of a container; it is refused"
        )));
    }
    Bucket::new(account, BucketPlace::of(settings(server)?, name))
}

/// The folder of all containers, if the server names a bucket.
pub(super) fn all(server: &FhirServer, account: &Arc<Account>) -> Result<Option<Bucket>, StorageFailure> {
    BucketPlace::of_all(settings(server)?).map(|place| Bucket::new(account, place)).transpose()
}

/// The store itself, whose buckets are the containers.
pub(super) fn store(server: &FhirServer, account: &Arc<Account>) -> Result<Bucket, StorageFailure> {
    let endpoint = endpoint(settings(server)?);
    let place = BucketPlace { endpoint, bucket: String::new(), path_style: true, base: String::new() };
    Bucket::new(account, place)
}
