//! The runs of a schedule, loaded one after the other as the documentation tells users to, and what is known after
//! them compared with what a server has: to prove that nothing is lost between runs.
//!
//! ```
//! use std::collections::BTreeMap;
//! use replay::{Mode, Run, State};
//!
//! let files = |lines: &str| BTreeMap::from([("Patient-1.ndjson".to_owned(), lines.as_bytes().to_vec())]);
//! let mut state = State::default();
//! let all = Run::of(&files(r#"{"resourceType":"Patient","id":"a","meta":{"versionId":"1"}}"#))?;
//! let changes = Run::of(&files(r#"{"resourceType":"Patient","id":"a","meta":{"versionId":"2"}}"#))?;
//! state.load(Mode::Full, &all);
//! state.load(Mode::Incremental, &changes);
//! assert_eq!(state.version("Patient/a"), Some("2"));
//! # Ok::<(), replay::Error>(())
//! ```

mod changes;
mod compare;
mod lake;
mod run;
mod state;

pub use changes::{Change, Changes};
pub use compare::{Differences, Journal};
pub use lake::folder;
pub use run::Run;
pub use state::{Mode, State};

/// Why a folder cannot be loaded.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The manifest names a file that is not there, or the file is not what the manifest says.
    #[error("{0} is not as the manifest says")]
    File(String),
    /// A file or the manifest is not JSON.
    #[error("{name}: {error}")]
    Json {
        /// The file.
        name: String,
        /// Why.
        error: serde_json::Error,
    },
    /// A line is no resource with type and id, or no Bundle of deletions.
    #[error("{0} has a line that is not what it should be")]
    Line(String),
    /// A compressed file is broken.
    #[error("{name}: {error}")]
    Compressed {
        /// The file.
        name: String,
        /// Why.
        error: std::io::Error,
    },
    /// The storage account does not give it.
    #[error("the storage account: {0}")]
    Storage(String),
}
