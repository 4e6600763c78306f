//! Answers about manifests without a cluster: whether the API server would accept them, and which requests they lead
//! to.
//!
//! Uses: api, core, stop.

mod check;
mod definitions;
mod document;
mod files;
mod node;
mod plan;
mod problem;
mod schema;

pub use check::{Checked, is_name};
pub use definitions::{Definition, Definitions};
pub use document::{Document, read};
pub use files::documents;
pub use plan::{Plan, Unplanned, plan};
pub use problem::Problem;
pub use schema::Fault;
