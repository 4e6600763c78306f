//! A test server for FHIR Bulk Data: its versions 1 to 4, the deviations of real servers, made files of any size and
//! number, and everything that can go wrong between a kick-off and the last byte.
//!
//! ```no_run
//! # async fn example() -> Result<(), bulk_fhir::Error> {
//! use bulk_fhir::{FileScript, Options, Redirect, Script, Server};
//!
//! let server = Server::start(Options::default()).await?;
//! server.script(Script::polls(3).made("Observation", 10, 5_000_000));
//! server.script(Script::polls(1).files(FileScript { redirect: Redirect::Foreign, ..FileScript::default() }));
//! // ... the code under test talks to server.url() ...
//! let jobs = server.jobs();
//! assert!(jobs.iter().all(|job| job.sent_twice().is_empty()));
//! assert!(server.leaked_tokens().is_empty());
//! # Ok(())
//! # }
//! ```

mod access;
mod ask;
mod body;
mod cancel;
mod content;
mod count;
mod expected;
mod faults;
mod file;
mod file_script;
mod job;
mod kickoff;
mod manifest;
mod metadata;
mod options;
mod range;
mod routes;
mod script;
mod select;
mod server;
mod shape;
mod smart;
mod stats;
mod status;
mod test_routes;
mod version;
mod world;

pub use access::{Access, Client, Proof, Smart};
pub use ask::Asked;
pub use azure_fhir::{
    Error, Fault, LOADED, Level, Life, Listener, On, Patients, Progress, Request, RequestFault, RetryAfter,
    Step, TestCa,
};
pub use expected::Expected;
pub use faults::{not_yet, outcome, throttled, token_error, unavailable};
pub use file_script::{Breaks, FileScript, Redirect, Validator};
pub use job::{FileView, JobView, List, State};
pub use options::{Options, Quirks, Rate, SeparateStatus};
pub use script::{AfterCancel, Cancel, Data, Ending, KickOffAnswer, MadeFiles, Matching, Running, Script};
pub use server::Server;
pub use shape::{Count, ExtensionForm, Shape};
pub use version::{Software, Version};
