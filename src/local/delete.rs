//! `local delete`: deletes an object, and cancels the jobs that this ends.

use std::collections::BTreeSet;
use std::path::PathBuf;

use serde_json::Value;

use super::api::NAMESPACE;
use super::container::Container;
use super::manifests::Manifests;
use super::objects::{Objects, Preconditions, meta};
use super::session::{open, work_until};
use crate::config::Config;
use crate::operator::signals::Signals;
use crate::serve::logs;
use crate::show::{Key, ObjectKind};
use crate::stop::Stop;

/// What to delete.
#[derive(Debug)]
pub struct Deletion {
    /// The name of the object.
    pub name: String,
    /// The namespace of the object; `None` for the default.
    pub namespace: Option<String>,
    /// Files with the Secrets that a cancel needs.
    pub files: Vec<PathBuf>,
    /// A directory with a subdirectory for each Secret.
    pub secret_dir: Option<PathBuf>,
    /// The state file.
    pub state: PathBuf,
    /// How the operator works.
    pub config: Config,
}

/// Deletes an export, schedule or server, and runs the operator until the object is gone: until the server has
/// confirmed the cancel of a running job. Returns a line for standard output.
pub async fn delete(deletion: Deletion) -> Result<String, Stop> {
    let mut signals = Signals::listen()?;
    let mut secrets = Manifests::read(&deletion.files)?.secrets;
    if let Some(directory) = deletion.secret_dir {
        secrets.read_also(directory);
    }
    let (objects, _) = open(&deletion.state)?;
    let namespace = deletion.namespace.as_deref().unwrap_or(NAMESPACE);
    let key = find(&objects, namespace, &deletion.name)?;
    let object = objects.find(&key).unwrap_or_default();
    let scope = scope(&objects, &key, &object)?;
    objects.work_on(scope.iter().cloned());
    objects
        .delete(&key, &Preconditions::default())
        .map_err(|refusal| Stop::because(format!("{key} cannot be deleted: {refusal}.")))?;
    if remaining(&objects, &key).is_empty() {
        return Ok(format!("{} {} deleted\n", key.kind, key.name));
    }
    logs::begin(None, "error");
    let container = scope.iter().find_map(|key| Container::of(&objects.find(key)?));
    let watch = async |signals: &mut Signals| {
        let mut versions = objects.version();
        while !remaining(&objects, &key).is_empty() {
            tokio::select! {
                _ = versions.changed() => {}
                _ = signals.next() => return false,
            }
        }
        true
    };
    let gone = work_until(deletion.config, &objects, secrets, container, &mut signals, watch).await?;
    if gone {
        return Ok(format!("{} {} deleted\n", key.kind, key.name));
    }
    Err(Stop::because(format!(
        "The deletion of {key} is not finished, and its job may still run on the server: run the command again."
    )))
}

/// The object of this name. An export comes before a schedule, and a schedule before a server.
fn find(objects: &Objects, namespace: &str, name: &str) -> Result<Key, Stop> {
    let kinds = [ObjectKind::Export, ObjectKind::Schedule, ObjectKind::Server];
    let keys = kinds.map(|kind| Key { kind, namespace: namespace.to_owned(), name: name.to_owned() });
    keys.into_iter().find(|key| objects.find(key).is_some()).ok_or_else(|| {
        Stop::because(format!("There is no {namespace}/{name} in the state file; see `local get`."))
    })
}

/// The object and the servers that its deletion needs. A server whose exports have not ended is not deleted.
fn scope(objects: &Objects, key: &Key, object: &Value) -> Result<BTreeSet<Key>, Stop> {
    let mut scope = BTreeSet::from([key.clone()]);
    match key.kind {
        ObjectKind::Export => {
            scope.extend(server_of(key, object.pointer("/spec/serverRef")));
        }
        ObjectKind::Schedule => {
            scope.extend(server_of(key, object.pointer("/spec/template/spec/serverRef")));
        }
        ObjectKind::Server => {
            objects.work_on(objects.keys());
            let uses = |export: &Value| {
                let user = Key::of(export)?;
                let server = server_of(&user, export.pointer("/spec/serverRef"))?;
                let ended = export.pointer("/status/completionTime").is_some();
                (server == *key && !ended).then_some(user)
            };
            if let Some(user) = objects.list(ObjectKind::Export, None).1.iter().find_map(uses) {
                return Err(Stop::because(format!(
                    "{key} cannot be deleted: {user} has not ended; wait for it or delete it first."
                )));
            }
        }
    }
    Ok(scope)
}

/// The server that a reference in an object names.
fn server_of(key: &Key, reference: Option<&Value>) -> Option<Key> {
    let text = |member: &str| reference?.get(member)?.as_str();
    let namespace = text("namespace").unwrap_or(&key.namespace).to_owned();
    Some(Key { kind: ObjectKind::Server, namespace, name: text("name")?.to_owned() })
}

/// What is still there of the object and of what it owns.
fn remaining(objects: &Objects, key: &Key) -> Vec<Key> {
    let being_deleted = |object: &Value| meta(object, "deletionTimestamp").is_some();
    let listed = ObjectKind::ALL.into_iter().flat_map(|kind| objects.list(kind, None).1);
    listed
        .filter(|o| being_deleted(o) || Key::of(o).as_ref() == Some(key))
        .filter_map(|o| Key::of(&o))
        .collect()
}
