//! The test server as a program, for trials by hand and for benchmarks.

use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use bulk_fhir::{
    Access, Client, Data, FileScript, Life, MadeFiles, Options, Proof, Quirks, Rate, Script, SeparateStatus,
    Server, Smart, Software, TestCa, Version,
};
use clap::{Parser, ValueEnum};
use tokio::signal::unix::{SignalKind, signal};

/// A FHIR Bulk Data server for tests.
#[derive(Debug, Parser)]
#[command(version)]
struct Arguments {
    /// Port for http; 0 is any free one.
    #[arg(long, default_value_t = 0)]
    port: u16,
    /// Version of the Bulk Data guide.
    #[arg(long, value_enum, default_value_t = Guide::Stu2)]
    guide: Guide,
    /// Whose name the CapabilityStatement has.
    #[arg(long, value_enum, default_value_t = Name::Generic)]
    software: Name,
    /// Made files instead of the patients: how many.
    #[arg(long)]
    files: Option<u64>,
    /// Bytes of each made file.
    #[arg(long, default_value_t = 5_000_000)]
    file_bytes: u64,
    /// Bytes of each line of a made file.
    #[arg(long, default_value_t = 1000)]
    line_bytes: usize,
    /// Resource type of the made files.
    #[arg(long, default_value = "Observation")]
    file_type: String,
    /// How long jobs run.
    #[arg(long, default_value_t = 5)]
    job_seconds: u64,
    /// Milliseconds that every answer takes.
    #[arg(long, default_value_t = 0)]
    latency_ms: u64,
    /// Requests a minute of one caller; more get 429.
    #[arg(long)]
    rate: Option<usize>,
    /// Honour `Prefer: separate-export-status`.
    #[arg(long)]
    separate_status: bool,
    /// Never compress.
    #[arg(long)]
    no_gzip: bool,
    /// A script for all jobs as JSON, instead of the options for files and jobs.
    #[arg(long)]
    script: Option<String>,
    /// The bearer token that may export.
    #[arg(long, env = "BULK_FHIR_TOKEN", hide_env_values = true)]
    token: Option<String>,
    /// User and password that may export, `user:password`.
    #[arg(long, env = "BULK_FHIR_BASIC", hide_env_values = true, conflicts_with = "token")]
    basic: Option<String>,
    /// Client id of the token endpoint; needs a secret or a key.
    #[arg(long, conflicts_with_all = ["token", "basic"])]
    client: Option<String>,
    /// The client's secret.
    #[arg(long, env = "BULK_FHIR_CLIENT_SECRET", hide_env_values = true, requires = "client")]
    client_secret: Option<String>,
    /// File with the client's public JWK or JWKS.
    #[arg(long, requires = "client", conflicts_with = "client_secret")]
    jwks: Option<PathBuf>,
    /// Seconds for which tokens are good.
    #[arg(long, default_value_t = 300)]
    token_seconds: u64,
    /// Also listen for https, and write the authority's certificate to this file.
    #[arg(long)]
    ca_file: Option<PathBuf>,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Guide {
    Stu1,
    Stu2,
    Stu3,
    Stu4,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Name {
    Generic,
    Hapi,
    Epic,
    Cerner,
}

#[tokio::main]
async fn main() -> ExitCode {
    match run(Arguments::parse()).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // Nothing is left to do if this cannot be written.
            let _ = writeln!(std::io::stderr(), "bulk-fhir: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn run(arguments: Arguments) -> Result<(), Box<dyn std::error::Error>> {
    let mut terminate = signal(SignalKind::terminate())?;
    let tls = match &arguments.ca_file {
        Some(file) => {
            let ca = Arc::new(TestCa::new()?);
            std::fs::write(file, ca.pem())?;
            Some(ca)
        }
        None => None,
    };
    let options = Options {
        port: arguments.port,
        tls,
        version: match arguments.guide {
            Guide::Stu1 => Version::Stu1,
            Guide::Stu2 => Version::Stu2,
            Guide::Stu3 => Version::Stu3,
            Guide::Stu4 => Version::Stu4,
        },
        software: match arguments.software {
            Name::Generic => Software::Generic,
            Name::Hapi => Software::Hapi,
            Name::Epic => Software::Epic,
            Name::Cerner => Software::Cerner,
        },
        access: access(&arguments)?,
        script: script(&arguments)?,
        quirks: Quirks {
            rate: arguments.rate.map(|requests| Rate { requests, millis: 60_000 }),
            separate_status: if arguments.separate_status {
                SeparateStatus::List
            } else {
                SeparateStatus::No
            },
            ..Quirks::default()
        },
        latency: Duration::from_millis(arguments.latency_ms),
        ..Options::default()
    };
    let server = Server::start(options).await?;
    let mut out = std::io::stdout();
    writeln!(out, "url={}", server.url())?;
    writeln!(out, "foreign={}", server.foreign_url())?;
    writeln!(out, "token={}", server.token_url())?;
    if let Some(url) = server.tls_url() {
        writeln!(out, "tls={url}")?;
    }
    out.flush()?;
    tokio::select! {
        _ = terminate.recv() => {}
        ended = tokio::signal::ctrl_c() => ended?,
    }
    Ok(())
}

fn script(arguments: &Arguments) -> Result<Script, serde_json::Error> {
    if let Some(json) = &arguments.script {
        return serde_json::from_str(json);
    }
    let data = arguments.files.map(|files| {
        Data::Made(vec![MadeFiles {
            kind: arguments.file_type.clone(),
            files,
            file_bytes: arguments.file_bytes,
            line_bytes: arguments.line_bytes,
        }])
    });
    Ok(Script {
        life: Life::Millis(arguments.job_seconds.saturating_mul(1000)),
        data: data.unwrap_or_default(),
        files: FileScript { gzip: !arguments.no_gzip, ..FileScript::default() },
        ..Script::default()
    })
}

fn access(arguments: &Arguments) -> Result<Access, Box<dyn std::error::Error>> {
    if let Some(token) = &arguments.token {
        return Ok(Access::Bearer(token.clone()));
    }
    if let Some(basic) = &arguments.basic {
        let (user, password) = basic.split_once(':').ok_or("--basic is user:password")?;
        return Ok(Access::Basic(user.to_owned(), password.to_owned()));
    }
    let Some(id) = &arguments.client else { return Ok(Access::Open) };
    let proof = match (&arguments.client_secret, &arguments.jwks) {
        (Some(secret), _) => Proof::Secret(secret.clone()),
        (None, Some(file)) => {
            let keys: serde_json::Value = serde_json::from_str(&std::fs::read_to_string(file)?)?;
            match keys.get("keys").and_then(serde_json::Value::as_array) {
                Some(keys) => Proof::Keys(keys.clone()),
                None => Proof::Keys(vec![keys]),
            }
        }
        (None, None) => return Err("--client needs --client-secret or --jwks".into()),
    };
    let clients = vec![Client::new(id, proof)];
    Ok(Access::Smart(Smart { clients, lifetime_seconds: arguments.token_seconds, ..Smart::default() }))
}
