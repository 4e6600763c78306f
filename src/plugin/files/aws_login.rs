//! The credential of the person who calls, for the S3 store that the files lie in.

use std::process::Stdio;

use serde::Deserialize;
use tokio::process::Command;

use crate::stop::Stop;
use crate::storage::AccessKey;

/// The environment variable with the id of an access key.
const KEY_ID: &str = "AWS_ACCESS_KEY_ID";
/// The environment variable with the secret of an access key.
const KEY: &str = "AWS_SECRET_ACCESS_KEY";
/// The environment variable with the token of a temporary access key.
const SESSION: &str = "AWS_SESSION_TOKEN";
/// The command of the AWS CLI that prints the key of whatever login it has: a profile, a single sign-on, a role.
const EXPORT: [&str; 4] = ["configure", "export-credentials", "--format", "process"];

/// What the AWS CLI prints, in the form that its documentation names "process".
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Exported {
    access_key_id: String,
    secret_access_key: String,
    session_token: Option<String>,
}

/// The key in the environment. `variable` reads a variable.
fn found(variable: impl Fn(&str) -> Option<String>) -> Option<AccessKey> {
    let set = |name: &str| variable(name).filter(|value| !value.trim().is_empty());
    let (id, secret) = (set(KEY_ID)?, set(KEY)?);
    Some(AccessKey { id, secret: secret.into(), session: set(SESSION).map(Into::into) })
}

/// The key in what the AWS CLI printed.
fn exported(output: &[u8]) -> Option<AccessKey> {
    let Exported { access_key_id, secret_access_key, session_token } = serde_json::from_slice(output).ok()?;
    Some(AccessKey {
        id: access_key_id,
        secret: secret_access_key.into(),
        session: session_token.filter(|token| !token.is_empty()).map(Into::into),
    })
}

/// The key in the environment, or else that of the login of the AWS CLI.
pub async fn of_environment() -> Result<AccessKey, Stop> {
    if let Some(key) = found(|name| std::env::var(name).ok()) {
        return Ok(key);
    }
    let unusable = |what: &str| {
        Stop::because(format!(
            "You are not logged in to AWS ({what}): run aws sso login or aws configure, or set {KEY_ID} and {KEY}."
        ))
    };
    let command = Command::new("aws").args(EXPORT).stdin(Stdio::null()).stderr(Stdio::null()).output().await;
    let output = command.map_err(|_| unusable("the command aws cannot be run"))?;
    // Its errors name profiles and paths; the next step is the same for all.
    if !output.status.success() {
        return Err(unusable("aws configure export-credentials has no key"));
    }
    exported(&output.stdout).ok_or_else(|| unusable("aws configure export-credentials printed no key"))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use secrecy::ExposeSecret;

    use super::*;

    fn told(key: &AccessKey) -> (&str, &str, Option<&str>) {
        (&key.id, key.secret.expose_secret(), key.session.as_ref().map(ExposeSecret::expose_secret))
    }

    #[test]
    fn a_key_of_the_environment_is_whole() {
        let of = |set: &[(&str, &str)]| {
            found(|name| set.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned()))
        };
        assert!(of(&[]).is_none());
        assert!(of(&[(KEY_ID, "AKIA"), (KEY, " ")]).is_none());
        assert_eq!(told(&of(&[(KEY_ID, "AKIA"), (KEY, "hush")]).unwrap()), ("AKIA", "hush", None));
        let temporary = of(&[(KEY_ID, "ASIA"), (KEY, "hush"), (SESSION, "token")]).unwrap();
        assert_eq!(told(&temporary), ("ASIA", "hush", Some("token")));
    }

    #[test]
    fn what_the_aws_cli_prints() {
        let printed =
            br#"{"Version": 1, "AccessKeyId": "ASIA", "SecretAccessKey": "hush", "SessionToken": "token",
            "Expiration": "2026-01-01T00:00:00+00:00"}"#;
        assert_eq!(told(&exported(printed).unwrap()), ("ASIA", "hush", Some("token")));
        let lasting = br#"{"Version": 1, "AccessKeyId": "AKIA", "SecretAccessKey": "hush"}"#;
        assert_eq!(told(&exported(lasting).unwrap()), ("AKIA", "hush", None));
        assert!(exported(b"Unable to locate credentials").is_none());
    }
}
