//! `validate` and `plan`: manifests without a cluster.

use std::fmt::Write as _;
use std::path::PathBuf;

use clap::{Args, ValueEnum};
use kube::ResourceExt;
use serde_json::json;

use super::generate;
use crate::api::{AuthType, FhirServer};
use crate::core::wire::{Method, Patients, Request};
use crate::offline::{Checked, Definitions, Plan, documents, plan as planned};
use crate::stop::Stop;

/// The files that a command reads, and the form of its output.
#[derive(Debug, Args)]
pub struct Manifests {
    /// Files or directories with YAML or JSON manifests; - for standard input
    #[arg(value_name = "FILE", required = true)]
    files: Vec<PathBuf>,
    /// The form of the output
    #[arg(long, short, value_enum, default_value_t = Output::Text)]
    output: Output,
}

/// The form of the output.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Output {
    /// Lines for people.
    Text,
    /// One JSON document for programs.
    Json,
}

/// Checks manifests by the schema and the rules of the definitions, and prints every problem. Fails if there is one.
pub fn validate(manifests: &Manifests) -> Result<(), Stop> {
    let (documents, mut problems) = documents(&manifests.files)?;
    let definitions = definitions()?;
    let (mut checked, mut foreign) = (0_usize, 0_usize);
    for document in &documents {
        match definitions.check(document) {
            Checked::Foreign => foreign += 1,
            Checked::Valid => checked += 1,
            Checked::Refused(found) => {
                checked += 1;
                problems.extend(found);
            }
        }
    }
    let text = match manifests.output {
        Output::Json => {
            format!("{:#}\n", json!({ "checked": checked, "skipped": foreign, "problems": problems }))
        }
        Output::Text => problems.iter().fold(String::new(), |text, problem| format!("{text}{problem}\n")),
    };
    generate::print(&text)?;
    if !problems.is_empty() {
        return Err(Stop::because(format!("{}.", count(problems.len(), "problem"))));
    }
    if manifests.output == Output::Text {
        let skipped = if foreign == 0 {
            String::new()
        } else {
            format!("; {} of other kinds skipped", count(foreign, "manifest"))
        };
        generate::print(&format!("{} valid{skipped}\n", count(checked, "manifest")))?;
    }
    Ok(())
}

/// Prints the kick-off request of each FhirExport and FhirExportSchedule. Fails if one has none.
pub fn plan(manifests: &Manifests) -> Result<(), Stop> {
    let (documents, mut problems) = documents(&manifests.files)?;
    let definitions = definitions()?;
    for document in &documents {
        if let Checked::Refused(found) = definitions.check(document) {
            problems.extend(found);
        }
    }
    let mut plans = Vec::new();
    if problems.is_empty() {
        for result in planned(&documents) {
            match result {
                Ok(plan) => plans.push(plan),
                Err(problem) => problems.push(*problem),
            }
        }
    }
    let text = match manifests.output {
        Output::Json => {
            let plans: Vec<_> = plans.iter().map(as_json).collect();
            format!("{:#}\n", json!({ "requests": plans, "problems": problems }))
        }
        Output::Text => {
            let plans: Vec<String> = plans.iter().map(as_text).collect();
            problems.iter().fold(plans.join("\n"), |text, problem| format!("{text}{problem}\n"))
        }
    };
    generate::print(&text)?;
    match (problems.len(), plans.len()) {
        (0, 0) => {
            Err(Stop::because("There is no FhirExport and no FhirExportSchedule in the files.".to_owned()))
        }
        (0, _) => Ok(()),
        (several, _) => Err(Stop::because(format!("{}.", count(several, "problem")))),
    }
}

fn definitions() -> Result<Definitions, Stop> {
    Definitions::load().map_err(|e| Stop::because(format!("The definitions cannot be written as JSON: {e}.")))
}

fn count(n: usize, of: &str) -> String {
    if n == 1 { format!("1 {of}") } else { format!("{n} {of}s") }
}

/// The request in the form of HTTP/1.1, with a place in the stead of each secret.
fn as_text(plan: &Plan) -> String {
    let mut text = format!("# {} {} on FhirServer {}\n", plan.kind, plan.export, plan.server.name_any());
    if plan.adds_since {
        text.push_str("# The first run. Later runs add the parameter _since.\n");
    }
    let _ = writeln!(text, "{} {}", method(&plan.request), plan.request.url);
    for (name, value) in headers(plan) {
        let _ = writeln!(text, "{name}: {value}");
    }
    if let Some(body) = &plan.request.body {
        let _ = writeln!(text, "\n{body:#}");
    }
    if let Some(patients) = plan.request.patients.as_ref().map(patients) {
        let _ = writeln!(text, "# The body gets a parameter patient for each line of {patients}.");
    }
    text
}

fn as_json(plan: &Plan) -> serde_json::Value {
    let headers: serde_json::Map<_, _> =
        headers(plan).into_iter().map(|(name, value)| (name, value.into())).collect();
    json!({
        "kind": plan.kind, "export": plan.export, "method": method(&plan.request), "url": plan.request.url,
        "headers": headers, "body": plan.request.body, "patientsFrom": plan.request.patients.as_ref().map(patients),
    })
}

fn method(request: &Request) -> &'static str {
    match request.method {
        Method::Get => "GET",
        Method::Post => "POST",
        Method::Delete => "DELETE",
    }
}

fn headers(plan: &Plan) -> Vec<(String, String)> {
    let mut all = vec![("Accept".to_owned(), plan.request.accept.to_owned())];
    let mut add = |name: &str, value: String| all.push((name.to_owned(), value));
    if let Some(prefer) = plan.request.prefer {
        add("Prefer", prefer.to_owned());
    }
    if plan.request.no_cache {
        add("Cache-Control", "no-cache".to_owned());
    }
    if plan.request.body.is_some() {
        add("Content-Type", plan.request.accept.to_owned());
    }
    if let Some(value) = authorization(&plan.server) {
        add("Authorization", value.to_owned());
    }
    for header in plan.server.spec.headers.iter().flatten() {
        add(&header.name, format!("<key {} of Secret {}>", header.secret_ref.key, header.secret_ref.name));
    }
    all
}

/// The `Authorization` header without its secret; `None` if the server is open.
fn authorization(server: &FhirServer) -> Option<&'static str> {
    match server.spec.auth.type_ {
        AuthType::None => None,
        AuthType::Entra => Some("Bearer <token of Entra>"),
        AuthType::SmartBackendServices => Some("Bearer <token for a signed assertion>"),
        AuthType::OAuthClientSecret => Some("Bearer <token for the client secret>"),
        AuthType::BearerToken => Some("Bearer <token in the Secret>"),
        AuthType::Basic => Some("Basic <user and password in the Secret>"),
    }
}

fn patients(patients: &Patients) -> String {
    match patients {
        Patients::Secret { namespace, key } => format!("key {} of Secret {namespace}/{}", key.key, key.name),
        Patients::Blob { container, path, .. } => format!("{container}/{path}"),
    }
}
