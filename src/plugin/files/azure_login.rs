//! The credential of the person who calls, for the storage account that the files lie in.

use std::sync::Arc;

use azure_core::credentials::{Secret, TokenCredential};
use azure_identity::{ClientSecretCredential, DeveloperToolsCredential, WorkloadIdentityCredential};
use secrecy::SecretString;

use crate::stop::Stop;
use crate::storage::CallerCredential;

/// The environment variable with a SAS token: the one that the Azure CLI reads, too.
pub const SAS: &str = "AZURE_STORAGE_SAS_TOKEN";
/// The scope of a token for storage.
const SCOPE: &str = "https://storage.azure.com/.default";

/// Which credential the environment holds.
#[derive(Debug, PartialEq, Eq)]
enum Found {
    /// A SAS token.
    Sas(String),
    /// A client secret.
    ClientSecret { tenant: String, client: String, secret: String },
    /// The token of a pod's ServiceAccount.
    Workload,
    /// A login by a tool, such as `az login`.
    Tools,
}

/// The first of: a SAS token, a client secret, a workload identity, the login of a tool. `variable` reads the
/// environment.
fn found(variable: impl Fn(&str) -> Option<String>) -> Found {
    let set = |name: &str| variable(name).filter(|value| !value.trim().is_empty());
    if let Some(token) = set(SAS) {
        return Found::Sas(token);
    }
    let (tenant, client) = (set("AZURE_TENANT_ID"), set("AZURE_CLIENT_ID"));
    match (tenant, client, set("AZURE_CLIENT_SECRET"), set("AZURE_FEDERATED_TOKEN_FILE")) {
        (Some(tenant), Some(client), Some(secret), _) => Found::ClientSecret { tenant, client, secret },
        (Some(_), Some(_), None, Some(_)) => Found::Workload,
        _ => Found::Tools,
    }
}

/// The credential of the environment. A token is obtained at once, so that a missing login is told before any work.
pub async fn of_environment() -> Result<CallerCredential, Stop> {
    let unusable = |what: &str| {
        Stop::because(format!(
            "You are not logged in to Azure ({what}): run az login, or set {SAS} to a SAS token that may read and list."
        ))
    };
    let made: azure_core::Result<Arc<dyn TokenCredential>> = match found(|name| std::env::var(name).ok()) {
        Found::Sas(token) => return Ok(CallerCredential::Sas(SecretString::from(token))),
        Found::ClientSecret { tenant, client, secret } => {
            ClientSecretCredential::new(&tenant, client, Secret::new(secret), None).map(|made| made as _)
        }
        Found::Workload => WorkloadIdentityCredential::new(None).map(|made| made as _),
        Found::Tools => DeveloperToolsCredential::new(None).map(|made| made as _),
    };
    let credential = made.map_err(|_| unusable("the environment names an identity that cannot be used"))?;
    // The errors of tools name paths and accounts; the next step is the same for all.
    credential.get_token(&[SCOPE], None).await.map_err(|_| unusable("there is no token for storage"))?;
    Ok(CallerCredential::Identity(credential))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_said_first_counts() {
        let of = |set: &[(&str, &str)]| {
            found(|name| set.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned()))
        };
        let identity = [("AZURE_TENANT_ID", "t"), ("AZURE_CLIENT_ID", "c")];
        let with = |name, value| [&identity[..], &[(name, value)]].concat();
        assert_eq!(of(&[]), Found::Tools);
        assert_eq!(of(&[(SAS, " ")]), Found::Tools);
        assert_eq!(of(&with(SAS, "sig=a")), Found::Sas("sig=a".into()));
        assert_eq!(of(&with("AZURE_FEDERATED_TOKEN_FILE", "/f")), Found::Workload);
        let secret = Found::ClientSecret { tenant: "t".into(), client: "c".into(), secret: "s".into() };
        assert_eq!(of(&with("AZURE_CLIENT_SECRET", "s")), secret);
        assert_eq!(of(&[("AZURE_CLIENT_SECRET", "s")]), Found::Tools, "of no known identity");
    }
}
