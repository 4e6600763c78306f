//! The cluster of the person who calls, with their own rights.

use std::path::PathBuf;

use clap::Args;
use kube::api::{ApiResource, DynamicObject, ListParams, Patch, PatchParams, PostParams};
use kube::{Api, Client, ResourceExt};
use serde_json::Value;

use crate::api::{FhirExport, FhirExportSchedule, FhirServer};
use crate::cluster::{CallError, Choice, call, chosen};
use crate::show::ObjectKind;
use crate::stop::Stop;

/// The name of this program as field manager and in its `User-Agent`.
pub const NAME: &str = "kubectl-fhirexport";
/// How similar a name must be to be suggested, between 0 and 1.
const SIMILAR: f64 = 0.8;

/// Which cluster and namespace a command works on: the flags of kubectl.
#[derive(Clone, Debug, Args)]
pub struct Connection {
    /// Namespace of the objects [default: that of the context]
    #[arg(short, long, global = true, value_name = "NAMESPACE", help_heading = "Cluster")]
    namespace: Option<String>,
    /// Context of the kubeconfig to use [default: the current one]
    #[arg(long, global = true, value_name = "NAME", help_heading = "Cluster")]
    context: Option<String>,
    /// Kubeconfig to use [default: KUBECONFIG, else ~/.kube/config]
    #[arg(long, global = true, value_name = "FILE", help_heading = "Cluster")]
    kubeconfig: Option<PathBuf>,
}

/// A connection to a cluster.
#[derive(Clone)]
pub struct Connected {
    /// The client.
    pub client: Client,
    /// The namespace of the objects.
    pub namespace: String,
}

impl Connection {
    /// Reads the kubeconfig. Sends nothing yet.
    pub async fn open(&self) -> Result<Connected, Stop> {
        let choice = Choice { kubeconfig: self.kubeconfig.clone(), context: self.context.clone() };
        let (client, current) =
            chosen(&choice, concat!("kubectl-fhirexport/", env!("CARGO_PKG_VERSION"))).await?;
        Ok(Connected { client, namespace: self.namespace.clone().unwrap_or(current) })
    }

    /// The namespace that a flag names.
    pub fn named_namespace(&self) -> Option<&str> {
        self.namespace.as_deref()
    }
}

/// The plural of a kind for sentences, such as `FhirExports`.
fn plural(kind: ObjectKind) -> String {
    format!("{kind}s")
}

fn resource(kind: ObjectKind) -> ApiResource {
    match kind {
        ObjectKind::Server => ApiResource::erase::<FhirServer>(&()),
        ObjectKind::Export => ApiResource::erase::<FhirExport>(&()),
        ObjectKind::Schedule => ApiResource::erase::<FhirExportSchedule>(&()),
    }
}

/// An object without `managedFields`, which kubectl hides, too.
fn value(mut object: DynamicObject) -> Result<Value, Stop> {
    object.metadata.managed_fields = None;
    serde_json::to_value(object).map_err(|e| Stop::because(format!("An object cannot be read: {e}.")))
}

impl Connected {
    /// The objects of a kind in the namespace.
    pub fn objects(&self, kind: ObjectKind) -> Api<DynamicObject> {
        Api::namespaced_with(self.client.clone(), &self.namespace, &resource(kind))
    }

    /// Reads an object. If there is none of that name, the sentence names a similar one.
    pub async fn get(&self, kind: ObjectKind, name: &str) -> Result<Value, Stop> {
        let api = self.objects(kind);
        match call(|| api.get(name)).await {
            Ok(object) => value(object),
            Err(CallError::NotFound) => Err(self.nothing_named(kind, name).await),
            Err(error) => Err(self.refused(&error, "get", kind, name)),
        }
    }

    /// Lists the objects of a kind in the namespace, or in all.
    pub async fn list(&self, kind: ObjectKind, all: bool, which: &ListParams) -> Result<Vec<Value>, Stop> {
        let api = if all { Api::all_with(self.client.clone(), &resource(kind)) } else { self.objects(kind) };
        let listed = call(|| api.list(which)).await.map_err(|error| {
            let place =
                if all { "in all namespaces".to_owned() } else { format!("in namespace {}", self.namespace) };
            match error {
                CallError::NotFound => not_installed(kind),
                other => Stop::because(other.told(&format!("list {} {place}", plural(kind)))),
            }
        })?;
        listed.items.into_iter().map(value).collect()
    }

    /// Merges `change` into an object, and returns it as it is then.
    pub async fn change(&self, kind: ObjectKind, name: &str, change: &Value) -> Result<Value, Stop> {
        let api = self.objects(kind);
        let parameters = PatchParams { field_manager: Some(NAME.into()), ..PatchParams::default() };
        let patch = Patch::Merge(change);
        match call(|| api.patch(name, &parameters, &patch)).await {
            Ok(object) => value(object),
            Err(CallError::NotFound) => Err(self.nothing_named(kind, name).await),
            Err(error) => Err(self.refused(&error, "change", kind, name)),
        }
    }

    /// Creates an object, or with `dry_run` only asks the API server whether it would.
    pub async fn create(&self, kind: ObjectKind, object: &Value, dry_run: bool) -> Result<Value, Stop> {
        let unreadable =
            |e: serde_json::Error| Stop::because(format!("The manifest cannot be written: {e}."));
        let object: DynamicObject = serde_json::from_value(object.clone()).map_err(unreadable)?;
        let name = object.name_any();
        let parameters = PostParams { dry_run, field_manager: Some(NAME.into()) };
        // It is sent once: a second call after a lost answer would fail, and say that the name is taken.
        match self.objects(kind).create(&parameters, &object).await {
            Ok(object) => value(object),
            Err(error) => Err(match CallError::of(&error) {
                CallError::NotFound => self.no_place(kind).await,
                CallError::AlreadyExists => Stop::because(format!(
                    "There is a {kind} {}/{name} already: choose another name, or look at it with kubectl fhirexport \
                     describe {name} -n {}.",
                    self.namespace, self.namespace
                )),
                other => self.refused(&other, "create", kind, &name),
            }),
        }
    }

    /// The sentence for a call that the API server refused, or did not answer.
    fn refused(&self, error: &CallError, verb: &str, kind: ObjectKind, name: &str) -> Stop {
        Stop::because(error.told(&format!("{verb} {kind} {}/{name}", self.namespace)))
    }

    /// Why an object could not be created where the API server finds nothing: the kind or the namespace is missing.
    async fn no_place(&self, kind: ObjectKind) -> Stop {
        let (api, one) = (self.objects(kind), ListParams::default().limit(1));
        match call(|| api.list_metadata(&one)).await {
            Err(CallError::NotFound) => not_installed(kind),
            Ok(_) | Err(_) => Stop::because(format!(
                "There is no namespace {}: create it, or name another one with -n.",
                self.namespace
            )),
        }
    }

    /// The sentence for a name that no object has.
    async fn nothing_named(&self, kind: ObjectKind, name: &str) -> Stop {
        let (api, all) = (self.objects(kind), ListParams::default());
        let listed = call(|| api.list_metadata(&all)).await;
        let names: Vec<String> = match listed {
            Ok(list) => list.items.iter().map(ResourceExt::name_any).collect(),
            Err(CallError::NotFound) => return not_installed(kind),
            // Whoever may not list gets no suggestion.
            Err(_) => Vec::new(),
        };
        Stop::because(nothing_named(kind, &self.namespace, name, &names))
    }
}

fn not_installed(kind: ObjectKind) -> Stop {
    Stop::because(format!(
        "This cluster knows no {}: install fhir-export-operator, or choose another context with --context.",
        plural(kind)
    ))
}

/// The sentence for a name that none of `names` is.
fn nothing_named(kind: ObjectKind, namespace: &str, name: &str, names: &[String]) -> String {
    let close = names
        .iter()
        .map(|other| (strsim::jaro_winkler(name, other), other))
        .filter(|(similarity, _)| *similarity >= SIMILAR)
        .max_by(|(one, _), (other, _)| one.total_cmp(other));
    let next = match (close, names.is_empty()) {
        (Some((_, close)), _) => format!("did you mean {close}?"),
        (None, false) => "name another one, or another namespace with -n.".to_owned(),
        (None, true) => "name another namespace with -n.".to_owned(),
    };
    format!("There is no {kind} {name} in namespace {namespace}: {next}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_that_is_nearly_right_is_suggested() {
        let said = |name: &str, names: &[&str]| {
            let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
            nothing_named(ObjectKind::Export, "research", name, &names)
        };
        assert_eq!(
            said("cohrt-42", &["nightly", "cohort-42", "cohort-43"]),
            "There is no FhirExport cohrt-42 in namespace research: did you mean cohort-42?"
        );
        assert_eq!(
            said("x", &["nightly"]),
            "There is no FhirExport x in namespace research: name another one, or another namespace with -n."
        );
        assert_eq!(
            said("x", &[]),
            "There is no FhirExport x in namespace research: name another namespace with -n."
        );
    }
}
