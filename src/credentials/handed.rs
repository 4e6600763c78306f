//! Credentials that the operator hands to a pod of a landing, which has no access to the API server.

use std::collections::BTreeMap;
use std::path::PathBuf;

use async_trait::async_trait;
use secrecy::SecretString;
use serde::{Deserialize, Serialize};

use super::{CredentialProblem, CredentialSource, Federated};
use crate::api::{KeyRef, Reason};

/// Values by object and key.
type Objects = BTreeMap<String, BTreeMap<String, String>>;

/// Credentials of one server, as they lie in the Secret of a landing.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Handed {
    secrets: Objects,
    config_maps: Objects,
    /// Tokens by ServiceAccount and audience.
    tokens: Objects,
}

impl Handed {
    /// Adds a key of a Secret.
    pub fn add_key(&mut self, key: &KeyRef, value: &str) {
        add(&mut self.secrets, &key.name, &key.key, value);
    }

    /// Adds a key of a ConfigMap.
    pub fn add_config_map_key(&mut self, name: &str, key: &str, value: &str) {
        add(&mut self.config_maps, name, key, value);
    }

    /// Adds the token of a ServiceAccount for the identity `of`.
    pub fn add_token(&mut self, account: &str, of: &Federated, value: &str) {
        add(&mut self.tokens, account, of.audience(), value);
    }
}

fn add(objects: &mut Objects, name: &str, key: &str, value: &str) {
    objects.entry(name.to_owned()).or_default().insert(key.to_owned(), value.to_owned());
}

/// Reads the credentials in a file that is replaced when they are renewed. It knows no namespaces, because all of them
/// are of one server.
pub struct HandedSource {
    file: PathBuf,
}

impl HandedSource {
    /// Reads `file` at each use.
    pub fn new(file: PathBuf) -> Self {
        Self { file }
    }

    async fn read(&self) -> Result<Handed, CredentialProblem> {
        let broken = |what: String| CredentialProblem::passing(Reason::DependencyMissing, what);
        let content = tokio::fs::read(&self.file).await.map_err(|error| {
            broken(format!("the credentials of the pod cannot be read ({}); check its Secret", error.kind()))
        })?;
        serde_json::from_slice(&content)
            .map_err(|_| broken("the credentials of the pod are not JSON; check its Secret".to_owned()))
    }
}

fn of(objects: &Objects, kind: &str, name: &str, key: &str) -> Result<String, CredentialProblem> {
    objects.get(name).and_then(|keys| keys.get(key)).cloned().ok_or_else(|| {
        CredentialProblem::passing(
            Reason::DependencyMissing,
            format!("the operator handed key {key} of {kind} {name} to no pod; it does so with the next Job"),
        )
    })
}

#[async_trait]
impl CredentialSource for HandedSource {
    async fn secret_key(&self, _namespace: &str, key: &KeyRef) -> Result<SecretString, CredentialProblem> {
        Ok(of(&self.read().await?.secrets, "Secret", &key.name, &key.key)?.into())
    }

    async fn secret(
        &self,
        _namespace: &str,
        name: &str,
    ) -> Result<BTreeMap<String, SecretString>, CredentialProblem> {
        let keys = self.read().await?.secrets.remove(name).unwrap_or_default();
        Ok(keys.into_iter().map(|(key, value)| (key, value.into())).collect())
    }

    async fn config_map_key(
        &self,
        _namespace: &str,
        name: &str,
        key: &str,
    ) -> Result<String, CredentialProblem> {
        of(&self.read().await?.config_maps, "ConfigMap", name, key)
    }

    async fn service_account_token(
        &self,
        _namespace: &str,
        name: &str,
        of_identity: &Federated,
    ) -> Result<SecretString, CredentialProblem> {
        Ok(of(&self.read().await?.tokens, "ServiceAccount", name, of_identity.audience())?.into())
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use secrecy::ExposeSecret;

    use super::*;

    #[tokio::test]
    async fn what_was_handed_is_read_and_nothing_else() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("credentials.json");
        let source = HandedSource::new(file.clone());
        let key = |name: &str, key: &str| KeyRef { name: name.into(), key: key.into() };
        assert!(source.secret_key("ns", &key("a", "k")).await.unwrap_err().passing, "no file yet");
        let of = Federated::AwsRole("role".into());
        let mut handed = Handed::default();
        handed.add_key(&key("a", "k"), "one");
        handed.add_config_map_key("ca", "pem", "PEM");
        handed.add_token("sa", &of, "t1");
        std::fs::write(&file, serde_json::to_vec(&handed).unwrap()).unwrap();
        assert_eq!(source.secret_key("ns", &key("a", "k")).await.unwrap().expose_secret(), "one");
        assert_eq!(source.secret("ns", "a").await.unwrap().len(), 1);
        assert_eq!(source.config_map_key("ns", "ca", "pem").await.unwrap(), "PEM");
        assert!(source.secret_key("ns", &key("ca", "pem")).await.is_err());
        assert!(source.service_account_token("ns", "sa", &Federated::Entra("id".into())).await.is_err());
        handed.add_token("sa", &of, "t2");
        std::fs::write(&file, serde_json::to_vec(&handed).unwrap()).unwrap();
        assert_eq!(source.service_account_token("ns", "sa", &of).await.unwrap().expose_secret(), "t2");
    }
}
