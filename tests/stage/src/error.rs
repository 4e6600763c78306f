use std::path::Path;
use std::time::Duration;

/// What went wrong on the stage.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A file, a folder or a process could not be used.
    #[error("{what}: {source}")]
    Io {
        /// What was tried.
        what: String,
        /// Why it failed.
        source: std::io::Error,
    },
    /// The real parts are not there and could not be built.
    #[error("the parts for the tests are not there: {0} (tests/parts/fetch says more)")]
    Parts(String),
    /// A program ended instead of getting ready.
    #[error("{program} ended with {status} instead of getting ready; the end of its log:\n{log}")]
    Ended {
        /// The program.
        program: String,
        /// What it ended with.
        status: String,
        /// The end of its log.
        log: String,
    },
    /// A program did not end, not even when killed.
    #[error("{0} did not end")]
    Unending(String),
    /// A part was asked for something while it was stopped.
    #[error("{0} is stopped")]
    Stopped(String),
    /// Something that was waited for did not happen in time.
    #[error("waited {waited:?} for {what}: {last}")]
    Timeout {
        /// What was waited for.
        what: String,
        /// For how long.
        waited: Duration,
        /// How things were when it was last looked at.
        last: String,
    },
    /// A command ended with an error.
    #[error("{command} ended with {code}: {stderr}")]
    Command {
        /// The command.
        command: String,
        /// Its exit code.
        code: i32,
        /// What it said.
        stderr: String,
    },
    /// The Kubernetes API refused something.
    #[error("the Kubernetes API: {0}")]
    Kube(Box<kube::Error>),
    /// A kubeconfig could not be used.
    #[error("kubeconfig: {0}")]
    Kubeconfig(Box<kube::config::KubeconfigError>),
    /// Something could not be read or written as JSON.
    #[error("JSON: {0}")]
    Json(#[from] serde_json::Error),
    /// A certificate could not be made.
    #[error("certificate: {0}")]
    Certificate(#[from] rcgen::Error),
    /// An address is not a URL.
    #[error("address: {0}")]
    Url(#[from] url::ParseError),
}

/// What the stage gives, or why not.
pub type Result<T, E = Error> = std::result::Result<T, E>;

impl From<kube::Error> for Error {
    fn from(error: kube::Error) -> Self {
        Self::Kube(Box::new(error))
    }
}

impl From<kube::config::KubeconfigError> for Error {
    fn from(error: kube::config::KubeconfigError) -> Self {
        Self::Kubeconfig(Box::new(error))
    }
}

/// Says on which path something failed: an I/O error itself does not.
pub(crate) fn at<'a>(doing: &'a str, path: &'a Path) -> impl FnOnce(std::io::Error) -> Error + use<'a> {
    move |source| Error::Io { what: format!("{doing} {}", path.display()), source }
}
