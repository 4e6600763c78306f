use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::error::at;
use crate::{Error, Folder, Process, ProcessOptions, Result};

/// A command line tool that is about to be run, such as kubectl.
#[derive(Debug)]
pub struct Tool {
    options: ProcessOptions,
    folder: Folder,
    command: String,
    timeout: Duration,
}

/// How a command ended.
#[derive(Debug, Clone)]
pub struct Output {
    /// The command, as a person would type it.
    pub command: String,
    /// Its exit code.
    pub code: i32,
    /// What it gave.
    pub stdout: String,
    /// What it said besides.
    pub stderr: String,
}

impl Output {
    /// Whether the command did what it was asked.
    pub fn succeeded(&self) -> bool {
        self.code == 0
    }

    /// What the command gave, or an error with what it said.
    pub fn ok(self) -> Result<String> {
        if self.succeeded() {
            return Ok(self.stdout);
        }
        Err(Error::Command { command: self.command, code: self.code, stderr: self.stderr })
    }
}

impl Tool {
    /// `program` with `args`.
    pub fn new<A: Into<OsString>>(program: &Path, args: impl IntoIterator<Item = A>) -> Result<Self> {
        let folder = Folder::new("tool")?;
        let args: Vec<OsString> = args.into_iter().map(Into::into).collect();
        let mut command = program.file_name().unwrap_or_default().to_owned();
        for arg in &args {
            command.push(" ");
            command.push(arg);
        }
        Ok(Self {
            options: ProcessOptions::new(program, folder.path().join("stderr"))
                .args(args)
                .stdout(folder.path().join("stdout")),
            command: command.to_string_lossy().into_owned(),
            timeout: Duration::from_mins(2),
            folder,
        })
    }

    /// What the command reads.
    pub fn stdin(mut self, text: &str) -> Result<Self> {
        let file = self.folder.write("stdin", text)?;
        self.options = self.options.stdin(file);
        Ok(self)
    }

    /// Sets a variable of the environment.
    #[must_use]
    pub fn env(mut self, name: &str, value: impl Into<OsString>) -> Self {
        self.options = self.options.env(name, value);
        self
    }

    /// Who the command is run as; the last one counts.
    #[must_use]
    pub fn kubeconfig(self, path: impl Into<PathBuf>) -> Self {
        self.env("KUBECONFIG", path.into())
    }

    /// The folder to run in.
    #[must_use]
    pub fn directory(mut self, folder: &Path) -> Self {
        self.options = self.options.directory(folder);
        self
    }

    /// How long the command may take, instead of two minutes.
    #[must_use]
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// Runs the command to its end.
    pub async fn run(self) -> Result<Output> {
        let mut process = Process::start(&self.options)?;
        let Some(code) = process.wait_at_most(self.timeout).await? else {
            return Err(Error::Timeout { what: self.command, waited: self.timeout, last: process.log_end() });
        };
        let read = |name: &str| {
            let path = self.folder.path().join(name);
            let bytes = std::fs::read(&path).map_err(at("reading", &path))?;
            Ok::<_, Error>(String::from_utf8_lossy(&bytes).into_owned())
        };
        Ok(Output { code, stdout: read("stdout")?, stderr: read("stderr")?, command: self.command })
    }
}
