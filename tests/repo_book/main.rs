//! What the README and the pages of `docs` show works: every page is in the book, manifests are valid, commands name
//! what exists, and sentences of the product are its own.
#![allow(missing_docs, clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]

mod commands;
mod known;
mod manifests;
mod pages;
mod symptoms;

fn nothing(wrong: &[String]) {
    assert!(wrong.is_empty(), "\n{}\n", wrong.join("\n"));
}
