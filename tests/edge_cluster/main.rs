//! Tests of the cluster edge against a real API server: writes, credentials, watches, and the whole operator.
#![allow(missing_docs, clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]

mod credentials;
mod definitions;
mod fair;
mod fake;
mod operate;
mod place;
mod restored;
mod watches;
mod writes;
