//! The way to the API server, against a real one: writes, credentials, watches, the whole operator.
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
