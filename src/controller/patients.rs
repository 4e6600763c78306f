//! Lists of patients: read from a Secret or a blob when they are sent, and kept nowhere.

use std::sync::Arc;

use secrecy::ExposeSecret;
use serde_json::{Value, json};

use super::world::World;
use crate::api::{FhirServer, Reason};
use crate::core::ledger::{StorageFailure, StorageFailureKind};
use crate::core::manifest::sha256_hex;
use crate::core::wire::{Failure, FailureKind, Patients, Request, Sent};
use crate::ports::{ObjectStore, Target, Wire};

/// The largest list in a blob, in bytes.
const MAX_BLOB: usize = 16 << 20;

/// Adds the patients of `request` to its body.
pub(super) async fn add<W: World>(
    world: &W,
    server: &Arc<FhirServer>,
    mut request: Request,
) -> Result<Request, Failure> {
    let Some(list) = request.patients.take() else { return Ok(request) };
    let references = read(world, server, &list).await?;
    if let Some(parameters) =
        request.body.as_mut().and_then(|body| body.get_mut("parameter")).and_then(Value::as_array_mut)
    {
        let patient = |reference| json!({"name": "patient", "valueReference": {"reference": reference}});
        parameters.extend(references.into_iter().map(patient));
    }
    Ok(request)
}

/// Reads the references of a list. No error message repeats any of them.
pub(super) async fn read<W: World>(
    world: &W,
    server: &Arc<FhirServer>,
    list: &Patients,
) -> Result<Vec<String>, Failure> {
    let (text, place) = match list {
        Patients::Secret { namespace, key } => {
            let secret = world.wire().secret(namespace, key).await?;
            let place = format!("key {} of Secret {namespace}/{}", key.key, key.name);
            (secret.expose_secret().to_owned(), place)
        }
        Patients::Blob { container, path, sha256 } => {
            let place = format!("the blob {container}/{path}");
            let content = world.objects().read(Target::new(server, container), path, MAX_BLOB).await;
            let content = content.map_err(|failure| of_storage(&failure))?;
            let content =
                content.ok_or_else(|| invalid(format!("{place} does not exist; put the list there")))?;
            if sha256_hex(&content) != *sha256 {
                return Err(invalid(format!(
                    "{place} does not match patientsBlob.sha256; restore it, or create a new FhirExport"
                )));
            }
            let text = String::from_utf8(content)
                .map_err(|_| invalid(format!("{place} is not text; it must hold one reference per line")))?;
            (text, place)
        }
    };
    // Some editors start files with a byte order mark.
    let references: Result<Vec<String>, usize> = text
        .trim_start_matches('\u{feff}')
        .lines()
        .enumerate()
        .filter(|(_, line)| !line.trim().is_empty())
        .map(|(number, line)| reference(line.trim()).ok_or(number + 1))
        .collect();
    match references {
        Ok(references) if references.is_empty() => {
            Err(invalid(format!("{place} names no patient; it must hold one reference per line")))
        }
        Ok(references) => Ok(references),
        Err(line) => Err(invalid(format!(
            "line {line} of {place} is not a reference to a patient; use Patient/<id> or <id>"
        ))),
    }
}

/// A reference `Patient/<id>` from a line with that reference or only the id.
fn reference(line: &str) -> Option<String> {
    let id = line.strip_prefix("Patient/").unwrap_or(line);
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '.');
    ((1..=64).contains(&id.len()) && id.chars().all(plain)).then(|| format!("Patient/{id}"))
}

fn invalid(message: String) -> Failure {
    Failure { sent: Sent::No, reason: Reason::PatientsInvalid, message, kind: FailureKind::Missing }
}

fn of_storage(failure: &StorageFailure) -> Failure {
    let kind = match failure.kind {
        StorageFailureKind::Transient { .. } => FailureKind::Unreachable,
        StorageFailureKind::NotConfigured
        | StorageFailureKind::Missing
        | StorageFailureKind::HostNotAllowed
        | StorageFailureKind::NotGranted
        | StorageFailureKind::NotMounted
        | StorageFailureKind::Denied
        | StorageFailureKind::NotFound
        | StorageFailureKind::Full
        | StorageFailureKind::ReadOnly
        | StorageFailureKind::Permanent => FailureKind::Missing,
    };
    Failure { sent: Sent::No, reason: failure.access_reason(), message: failure.message.clone(), kind }
}

#[cfg(test)]
mod tests {
    use super::reference;

    #[test]
    fn references() {
        for (line, wanted) in [
            ("Patient/1", Some("Patient/1")),
            ("a-b.C9", Some("Patient/a-b.C9")),
            ("Group/1", None),
            ("Patient/", None),
            ("Patient/a b", None),
            ("https://x/Patient/1", None),
        ] {
            assert_eq!(reference(line).as_deref(), wanted, "{line}");
        }
        assert_eq!(reference(&"1".repeat(65)), None);
    }
}
