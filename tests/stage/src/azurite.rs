use std::path::Path;
use std::time::Duration;

use url::Url;

use crate::{Error, Folder, Issued, Process, ProcessOptions, Result, free_port, parts, port};

/// The account that Azurite has where no other is asked for.
pub const WELL_KNOWN_ACCOUNT: &str = "devstoreaccount1";
/// The key of that account, which is the same everywhere and no secret.
pub const WELL_KNOWN_KEY: &str =
    "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw==";

const READY_WITHIN: Duration = Duration::from_mins(1);
const STOPPED_WITHIN: Duration = Duration::from_secs(15);

/// How to start Azurite.
#[derive(Debug, Clone, Default)]
pub struct AzuriteOptions {
    accounts: Vec<(String, String)>,
    tls: Option<Issued>,
}

impl AzuriteOptions {
    /// Has this account, with this base64 key, instead of the well known one.
    #[must_use]
    pub fn account(mut self, name: &str, key: &str) -> Self {
        self.accounts.push((name.to_owned(), key.to_owned()));
        self
    }

    /// Serves https and takes bearer tokens, unsigned ones too. It looks at
    /// their issuer, audience and times only.
    #[must_use]
    pub fn oauth(mut self, certificate: Issued) -> Self {
        self.tls = Some(certificate);
        self
    }
}

/// Azure Blob Storage, as Azurite plays it.
#[derive(Debug)]
pub struct Azurite {
    // Before the folder, so that it has ended when the folder is removed.
    process: Option<Process>,
    options: AzuriteOptions,
    port: u16,
    folder: Folder,
}

impl Azurite {
    /// Starts it and waits until it answers.
    pub async fn start(options: AzuriteOptions) -> Result<Self> {
        let mut azurite = Self { process: None, options, port: 0, folder: Folder::new("azurite")? };
        let mut attempt = 1;
        loop {
            azurite.port = free_port()?;
            match azurite.resume().await {
                Err(error) if port::is_taken(&error) && attempt < port::ATTEMPTS => attempt += 1,
                started => return started.map(|()| azurite),
            }
        }
    }

    /// Stops it and keeps its data: an outage.
    pub async fn stop(&mut self) -> Result<()> {
        if let Some(mut process) = self.process.take() {
            process.stop(STOPPED_WITHIN).await?;
        }
        Ok(())
    }

    /// Starts it again, at the same address and with the same data.
    pub async fn resume(&mut self) -> Result<()> {
        if self.process.is_some() {
            return Ok(());
        }
        let program = parts::azurite().await?.program("AZURITE_BLOB")?;
        let log = self.folder.next_log("azurite");
        let mut process = Process::start(&self.command(program, &log))?;
        process.wait_for_log("successfully listens on", READY_WITHIN).await?;
        self.process = Some(process);
        Ok(())
    }

    fn command(&self, program: &Path, log: &Path) -> ProcessOptions {
        let mut command = ProcessOptions::new(program, log)
            .args(["--blobHost", "127.0.0.1", "--blobPort"])
            .arg(self.port.to_string())
            .arg("--location")
            .arg(self.folder.path().join("data"))
            // The clients are newer than what it knows.
            .args(["--skipApiVersionCheck", "--loose"])
            .arg("--disableTelemetry")
            .directory(self.folder.path())
            .env_remove("AZURITE_ACCOUNTS");
        if !self.options.accounts.is_empty() {
            let accounts: Vec<_> =
                self.options.accounts.iter().map(|(name, key)| format!("{name}:{key}")).collect();
            command = command.env("AZURITE_ACCOUNTS", accounts.join(";"));
        }
        if let Some(tls) = &self.options.tls {
            command =
                command.args(["--oauth", "basic", "--cert"]).arg(&tls.certificate).arg("--key").arg(&tls.key);
        }
        command
    }

    /// The first account's name.
    pub fn account(&self) -> &str {
        self.options.accounts.first().map_or(WELL_KNOWN_ACCOUNT, |(name, _)| name)
    }

    /// The first account's key, in base64.
    pub fn key(&self) -> &str {
        self.options.accounts.first().map_or(WELL_KNOWN_KEY, |(_, key)| key)
    }

    /// The address of the first account.
    pub fn endpoint(&self) -> Result<Url> {
        self.endpoint_of(self.account())
    }

    /// The address of an account.
    pub fn endpoint_of(&self, account: &str) -> Result<Url> {
        let scheme = if self.options.tls.is_some() { "https" } else { "http" };
        Ok(Url::parse(&format!("{scheme}://127.0.0.1:{}/{account}", self.port))?)
    }

    /// The process, to kill it or to read its log.
    pub fn process(&mut self) -> Result<&mut Process> {
        self.process.as_mut().ok_or_else(|| Error::Stopped("Azurite".to_owned()))
    }
}
