//! The operator comes into the cluster, and goes.

use std::time::Duration;

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::Api;
use stage::service_account_user;

use crate::cluster::{Cluster, OPERATOR, repository};
use crate::operator::Operator;
use crate::tell::Tell;
use crate::{Error, Result};

const DEFINITIONS: [&str; 3] = ["fhirexports", "fhirexportschedules", "fhirservers"];
const GROUP: &str = "fhirexport.dev";

/// Installs it, and starts it as a process.
pub async fn install(tell: &Tell, cluster: &mut Cluster) -> Result<Operator> {
    if cluster.own.is_some() {
        by_helm(tell, cluster).await?;
    } else {
        into_namespace(tell, cluster).await?;
    }
    let names = DEFINITIONS.map(|name| format!("crd/{name}.{GROUP}")).join(" ");
    cluster.run(&format!("wait --for=condition=Established --timeout=60s {names}")).await?;
    let watched = cluster.context.is_some().then_some(cluster.namespace.as_str());
    let kubeconfig = cluster.operator_kubeconfig().await?;
    let operator = Operator::start(cluster.folder(), &kubeconfig, watched).await?;
    let user = service_account_user(OPERATOR, &cluster.operator_namespace);
    tell.command(&operator.command_line())?;
    tell.verbatim(&format!(
        "process {}, with the token of the chart's ServiceAccount {user}",
        operator.pid()
    ))?;
    tell.fact(true, "it is ready: /readyz answers")?;
    Ok(operator)
}

/// As a person would.
async fn by_helm(tell: &Tell, cluster: &Cluster) -> Result<()> {
    cluster.run(&format!("create namespace {}", cluster.namespace)).await?;
    let line = format!(
        "install {OPERATOR} charts/{OPERATOR} -n {} --create-namespace --set image.repository=localhost/{OPERATOR} \
         --set credentialNamespaces={{{}}}",
        cluster.operator_namespace, cluster.namespace
    );
    tell.command(&format!("helm {line}"))?;
    let said = cluster.helm(&line).await?;
    let heads = ["NAME:", "NAMESPACE:", "STATUS:"];
    said.lines()
        .filter(|line| heads.iter().any(|head| line.starts_with(head)))
        .try_for_each(|line| tell.verbatim(line))?;
    tell.fact(said.contains("STATUS: deployed"), "Helm says that the chart is deployed")?;
    tell.say("")?;
    tell.say("  This cluster has no nodes to run the chart's pod, so the same program runs here beside it:\n")
}

/// With what is missing of the definitions, and the chart's ServiceAccount and Roles for one namespace.
async fn into_namespace(tell: &Tell, cluster: &mut Cluster) -> Result<()> {
    let definitions: Api<CustomResourceDefinition> = Api::all(cluster.client().await?);
    for name in DEFINITIONS {
        let full = format!("{name}.{GROUP}");
        if definitions.get_opt(&full).await?.is_some() {
            tell.say(format!("  The definition {full} is there already, and stays as it is."))?;
            continue;
        }
        // Before the request: an interrupt must not leave it.
        cluster.made_definitions.push(full.clone());
        let file = repository().join(format!("crds/{name}.yaml"));
        let said = cluster.run(&format!("create -f {}", file.display())).await?;
        tell.verbatim(&said)?;
    }
    cluster.made_namespace = true;
    let said = cluster.run(&format!("create namespace {}", cluster.namespace)).await?;
    tell.verbatim(&said)?;
    if cluster.made_definitions.len() < DEFINITIONS.len() && somebody_else_serves(cluster).await? {
        return Err(Error::Cluster(
            "another operator serves this cluster already, and two would export everything twice; choose a cluster \
             without one"
                .into(),
        ));
    }
    let line = format!(
        "template {OPERATOR} charts/{OPERATOR} -n {0} --set watchNamespaces={{{0}}} \
         --set image.repository=localhost/{OPERATOR} --show-only templates/rbac.yaml \
         --show-only templates/serviceaccount.yaml",
        cluster.namespace
    );
    tell.command(&format!("helm {line} | kubectl apply -f -"))?;
    let manifest = cluster.helm(&line).await?;
    let said = cluster.apply(&manifest).await?;
    tell.verbatim(&said)
}

/// Whether somebody else's operator works on the objects of our namespace.
async fn somebody_else_serves(cluster: &Cluster) -> Result<bool> {
    let probe = format!(
        "apiVersion: {GROUP}/v1alpha1\nkind: FhirServer\nmetadata: {{ name: is-anybody-there }}\nspec: {{ url: \
         'https://fhir.invalid', dialect: Azure, auth: {{ type: None }} }}\n"
    );
    cluster.apply(&probe).await?;
    let mut served = false;
    for _ in 0..20 {
        tokio::time::sleep(Duration::from_millis(250)).await;
        let said = cluster.run("get fhirserver is-anybody-there -o jsonpath={.status.conditions}").await?;
        served |= !said.trim().is_empty();
        if served {
            break;
        }
    }
    cluster.run("delete fhirserver is-anybody-there").await?;
    Ok(served)
}

/// Takes back what was put into somebody's cluster. The operator must still run, so that its objects can go.
pub async fn uninstall(tell: &Tell, cluster: &Cluster) -> Result<()> {
    let namespace = &cluster.namespace;
    if cluster.made_namespace {
        tell.say(format!("  Removing namespace {namespace} and what is in it."))?;
        for kinds in ["fexp", "fserver"] {
            // Without the definitions there is nothing of theirs.
            let line = format!("delete {kinds} --all -n {namespace} --timeout=60s");
            let _ = cluster.run(&line).await;
        }
        cluster.run(&format!("delete namespace {namespace} --ignore-not-found --timeout=120s")).await?;
    }
    for definition in &cluster.made_definitions {
        let line = format!("get {definition} -A -o name --ignore-not-found");
        let left = cluster.run(&line).await.unwrap_or_default();
        if left.trim().is_empty() {
            tell.say(format!("  Removing the definition {definition}."))?;
            cluster.run(&format!("delete crd {definition} --ignore-not-found --timeout=60s")).await?;
        } else {
            tell.say(format!(
                "  The definition {definition} stays: somebody has made objects of it meanwhile."
            ))?;
        }
    }
    Ok(())
}

/// What is left to do by hand if that failed.
pub fn by_hand(cluster: &Cluster, error: &Error) -> Error {
    let context = cluster.context.as_deref().unwrap_or_default();
    let definitions = cluster.made_definitions.join(" ");
    let definitions = if definitions.is_empty() {
        String::new()
    } else {
        format!(" && kubectl --context {context} delete crd {definitions}")
    };
    Error::Cluster(format!(
        "not all could be removed ({error}); do it by hand: kubectl --context {context} delete namespace \
         {}{definitions}",
        cluster.namespace
    ))
}
