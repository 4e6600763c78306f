//! The layers of `src/`: each top-level folder states in its own documentation which others it may use, as
//! `Uses: api, core.`, and this test holds every `use` and every path against that. It also shows that no two folders,
//! and no two files within a folder, use each other in a circle.
//!
//! `make layers` prints the graph.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod circles;
mod imports;
mod source;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use imports::Imports;
use source::Sources;

type Folders = BTreeMap<String, BTreeSet<String>>;

fn sources() -> Sources {
    Sources::read(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"))
}

/// Which top-level folders each top-level folder uses. `main.rs`, `lib.rs` and `bin/` are the doors, not rooms.
fn used(imports: &Imports) -> Folders {
    let mut folders = Folders::new();
    for (from, to) in imports.between_files() {
        let (from, to) = (source::folder(from), source::folder(to));
        let used = folders.entry(from.to_owned()).or_default();
        if from != to {
            used.insert(to.to_owned());
        }
    }
    folders.retain(|folder, _| !matches!(folder.as_str(), "lib" | "main" | "bin"));
    folders
}

/// What each folder says of itself, in the line `Uses: …` of its module documentation.
fn stated(sources: &Sources) -> Folders {
    let mut folders = Folders::new();
    for (module, documentation) in sources.top_level_documentation() {
        let line = documentation.lines().find_map(|line| line.trim().strip_prefix("Uses: "));
        let Some(line) = line else {
            panic!("src/{module} does not state what it uses: `//! Uses: api, core.`")
        };
        let names = line.trim_end_matches('.').split(", ").filter(|name| *name != "nothing of its own crate");
        folders.insert(module, names.map(str::to_owned).collect());
    }
    folders
}

#[test]
fn each_folder_uses_what_it_states_and_nothing_else() {
    let sources = sources();
    let (used, stated) = (used(&Imports::of(&sources)), stated(&sources));
    let mut wrong = Vec::new();
    for (folder, uses) in &used {
        let states = &stated[folder];
        for other in uses.difference(states) {
            let witness = Imports::of(&sources).witness(folder, other);
            wrong.push(format!("src/{folder} uses {other} and does not state it: {witness}"));
        }
        for other in states.difference(uses) {
            wrong.push(format!("src/{folder} states that it uses {other}, and does not"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn no_folders_use_each_other_in_a_circle() {
    let circles = circles::of(&used(&Imports::of(&sources())));
    assert!(circles.is_empty(), "circles of folders: {circles:?}");
}

#[test]
fn no_files_use_each_other_in_a_circle() {
    let imports = Imports::of(&sources());
    let circles = circles::of(&imports.by_file());
    let told: Vec<String> = circles.iter().map(|circle| imports.explain(circle)).collect();
    assert!(circles.is_empty(), "{} circles of files:\n{}", circles.len(), told.join("\n"));
}

#[test]
fn the_edges_know_neither_the_reconciles_nor_the_process() {
    let used = used(&Imports::of(&sources()));
    for below in ["api", "core", "ports", "metrics", "credentials", "fhir", "storage", "cluster"] {
        for above in ["controller", "operator", "cli", "config", "serve"] {
            assert!(!used[below].contains(above), "src/{below} uses {above}");
        }
    }
}

#[test]
fn a_circle_and_a_use_that_is_not_stated_would_be_seen() {
    let sources = Sources::of([
        ("api/mod.rs", "//! Uses: nothing of its own crate.\npub struct Kind;"),
        ("core/mod.rs", "//! Uses: api.\nmod a;\nmod b;\npub use a::first;"),
        ("core/a.rs", "use super::b::second; pub fn first() { second(); let _ = crate::storage::Blob; }"),
        ("core/b.rs", "pub fn second() { super::a::first(); }"),
        ("storage/mod.rs", "//! Uses: core.\npub struct Blob; fn f() { crate::core::first() }"),
        ("lib.rs", "pub mod api; pub mod core; pub mod storage;"),
    ]);
    let imports = Imports::of(&sources);
    assert!(used(&imports)["core"].contains("storage") && !stated(&sources)["core"].contains("storage"));
    assert_eq!(circles::of(&used(&imports)), vec![vec!["core".to_owned(), "storage".to_owned()]]);
    let circles = circles::of(&imports.by_file());
    let pair = ["core/a.rs".to_owned(), "core/b.rs".to_owned()];
    assert!(circles.iter().any(|circle| pair.iter().all(|file| circle.contains(file))), "{circles:?}");
}

/// Prints the graph of the folders, lowest first, and the number of circles.
#[test]
fn the_graph() {
    let sources = sources();
    let imports = Imports::of(&sources);
    let used = used(&imports);
    let stated = stated(&sources);
    println!("folder        uses");
    for folder in circles::from_below(&used) {
        let uses: Vec<&str> = used[&folder].iter().map(String::as_str).collect();
        println!("{folder:<13} {}", uses.join(", "));
    }
    let upward = used.iter().flat_map(|(f, uses)| uses.difference(&stated[f])).count();
    let by_file = imports.by_file();
    println!("imports that no folder states: {upward}");
    println!("circles of folders: {}", circles::of(&used).len());
    for room in ["core/export/", "core/schedule/", ""] {
        let inside =
            circles::of(&by_file).into_iter().filter(|c| c.iter().all(|file| file.starts_with(room)));
        println!("circles of files in src/{room}: {}", inside.count());
    }
}
