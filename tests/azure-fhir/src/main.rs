//! The test server as a program, for the demonstration.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use azure_fhir::{
    Access, Entra, EntraOptions, KnownToken, Life, Options, Script, Secret, Server, Storage, TestCa,
};
use clap::Parser;
use tokio::signal::unix::{SignalKind, signal};

/// A FHIR server for tests that speaks the export dialect of Azure's FHIR service.
#[derive(Debug, Parser)]
#[command(version)]
struct Arguments {
    /// Port for http; 0 is any free one.
    #[arg(long, default_value_t = 0)]
    port: u16,
    /// Blob endpoint, such as <http://127.0.0.1:10000/devstoreaccount1>; without it URLs are made up.
    #[arg(long, requires_all = ["account", "key"])]
    blob_endpoint: Option<String>,
    /// Name of the storage account.
    #[arg(long)]
    account: Option<String>,
    /// Key of the storage account, base64.
    #[arg(long, env = "AZURE_FHIR_KEY", hide_env_values = true)]
    key: Option<String>,
    /// Fail jobs whose container does not exist.
    #[arg(long)]
    no_create_containers: bool,
    /// Bearer tokens that may export; none is an open server.
    #[arg(long = "token", env = "AZURE_FHIR_TOKEN", hide_env_values = true, conflicts_with = "audience")]
    tokens: Vec<String>,
    /// Accept any JWT for this audience that has not expired.
    #[arg(long)]
    audience: Option<String>,
    /// How long jobs run.
    #[arg(long, default_value_t = 20)]
    job_seconds: u64,
    /// Where a file ends.
    #[arg(long, default_value_t = 500)]
    lines_per_file: usize,
    /// Milliseconds that every answer takes.
    #[arg(long, default_value_t = 0)]
    latency_ms: u64,
    /// A script for all jobs as JSON, instead of the two options above.
    #[arg(long)]
    script: Option<String>,
    /// Files in the container `anonymization`, `name=etag`; without any, every name is taken.
    #[arg(long = "anonymization-config")]
    anonymization_configs: Vec<String>,
    /// Also listen for https, and write the authority's certificate to this file.
    #[arg(long)]
    ca_file: Option<PathBuf>,
    /// Also start a token server (needs --ca-file and --audience), for this tenant.
    #[arg(long, requires_all = ["ca_file", "audience"])]
    entra_tenant: Option<String>,
    /// The token server's client.
    #[arg(long, default_value = "99999999-8888-7777-6666-555555555555")]
    entra_client: String,
    /// The client's secret; without it any secret or assertion is taken.
    #[arg(long, env = "AZURE_FHIR_CLIENT_SECRET", hide_env_values = true)]
    entra_secret: Option<String>,
    /// Seconds for which its tokens are good.
    #[arg(long, default_value_t = 3600)]
    token_seconds: i64,
}

#[tokio::main]
async fn main() -> ExitCode {
    match run(Arguments::parse()).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // Nothing is left to do if this cannot be written.
            let _ = writeln!(std::io::stderr(), "azure-fhir: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn run(arguments: Arguments) -> Result<(), Box<dyn std::error::Error>> {
    let mut terminate = signal(SignalKind::terminate())?;
    let ca = match &arguments.ca_file {
        Some(file) => {
            let ca = Arc::new(TestCa::new()?);
            std::fs::write(file, ca.pem())?;
            Some(ca)
        }
        None => None,
    };
    let server = Server::start(options(&arguments, ca.clone())?).await?;
    let mut out = std::io::stdout();
    writeln!(out, "url={}", server.url())?;
    writeln!(out, "foreign={}", server.foreign_url())?;
    if let Some(url) = server.tls_url() {
        writeln!(out, "tls={url}")?;
    }
    let entra = match (&arguments.entra_tenant, ca) {
        (Some(tenant), Some(ca)) => Some(Entra::start(entra_options(&arguments, tenant), ca).await?),
        _ => None,
    };
    if let Some(entra) = &entra {
        writeln!(out, "entra={}", entra.url())?;
    }
    out.flush()?;
    tokio::select! {
        _ = terminate.recv() => {}
        ended = tokio::signal::ctrl_c() => ended?,
    }
    Ok(())
}

fn options(arguments: &Arguments, tls: Option<Arc<TestCa>>) -> Result<Options, Box<dyn std::error::Error>> {
    let script = match &arguments.script {
        Some(json) => serde_json::from_str(json)?,
        None => Script {
            life: Life::Millis(arguments.job_seconds.saturating_mul(1000)),
            lines_per_file: arguments.lines_per_file,
            ..Script::default()
        },
    };
    let storage = match (&arguments.blob_endpoint, &arguments.account, &arguments.key) {
        (Some(endpoint), Some(account), Some(key)) => Some(Storage {
            create_containers: !arguments.no_create_containers,
            ..Storage::new(endpoint, account, key)
        }),
        _ => None,
    };
    let access = match &arguments.audience {
        Some(audience) => Access::Jwt { audience: audience.clone() },
        None if arguments.tokens.is_empty() => Access::Open,
        None => Access::Tokens(arguments.tokens.iter().map(|token| KnownToken::exporter(token)).collect()),
    };
    let configs: BTreeMap<String, String> = arguments
        .anonymization_configs
        .iter()
        .map(|config| config.split_once('=').unwrap_or((config, "")))
        .map(|(name, etag)| (name.to_owned(), etag.to_owned()))
        .collect();
    Ok(Options {
        port: arguments.port,
        tls,
        access,
        script,
        storage,
        anonymization_configs: (!configs.is_empty()).then_some(configs),
        latency: Duration::from_millis(arguments.latency_ms),
        ..Options::default()
    })
}

fn entra_options(arguments: &Arguments, tenant: &str) -> EntraOptions {
    let mut audiences = EntraOptions::default().audiences;
    audiences.extend(arguments.audience.clone());
    EntraOptions {
        tenant: tenant.to_owned(),
        client_id: arguments.entra_client.clone(),
        secret: arguments.entra_secret.clone().map_or(Secret::Any, Secret::Text),
        audiences,
        lifetime: arguments.token_seconds,
        ..EntraOptions::default()
    }
}
