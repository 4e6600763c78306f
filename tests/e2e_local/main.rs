//! Exports without a cluster: the program `local` on the Bulk Data test server and a directory.

#![allow(missing_docs, clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]

mod interrupts;
mod kills;
mod place;
mod refusals;
mod runs;
mod schedules;
mod terminal;
