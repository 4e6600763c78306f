//! ARCHITECTURE.md has the only list of invariants. Everything that checks them uses its names, and each one
//! is checked.
#![allow(missing_docs, clippy::unwrap_used, clippy::panic)]

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use fhir_export_operator::core::planted::{CAN_PLANT, Fault};
use sim::Law;

/// The invariants that neither the simulation nor a property test checks, and the tests that do.
const ELSEWHERE: [(&str, &str, &str); 4] = [
    (
        "container-is-ledger",
        "tests/e2e/landing/kills.rs",
        "killed_at_twenty_moments_it_lands_the_same_and_fetches_no_landed_file_twice",
    ),
    ("pods-before-end", "tests/e2e/landing/jobs.rs", "a_cancel_and_a_deletion_leave_no_pod"),
    ("address-checked", "src/core/reach.rs", "the_node_and_its_cloud_are_never_reached"),
    (
        "volume-of-one-namespace",
        "tests/edge_storage/volumes.rs",
        "what_another_namespace_was_granted_is_out_of_reach",
    ),
];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../..")
}

fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The names of the invariants in ARCHITECTURE.md: list items that begin with `**name**:`.
fn invariants() -> BTreeSet<String> {
    let text = read(&root().join("ARCHITECTURE.md"));
    let names = text.lines().filter_map(|line| line.strip_prefix("- **")?.split_once("**:"));
    names.map(|(name, _)| name.to_owned()).filter(|name| is_name(name)).collect()
}

/// Whether a text is lower-case words joined by hyphens, or `liveness`, the only name of a single word.
fn is_name(text: &str) -> bool {
    let words = |c: char| c.is_ascii_lowercase() || c == '-';
    text == "liveness" || text.contains('-') && !text.starts_with('-') && text.chars().all(words)
}

/// All Rust files below src/.
fn sources() -> Vec<PathBuf> {
    let (mut found, mut open) = (Vec::new(), vec![root().join("src")]);
    while let Some(folder) = open.pop() {
        for entry in fs::read_dir(folder).unwrap().map(Result::unwrap) {
            let path = entry.path();
            if entry.file_type().unwrap().is_dir() {
                open.push(path);
            } else if path.extension().is_some_and(|end| end == "rs") {
                found.push(path);
            }
        }
    }
    found
}

/// The files with the laws of property tests: `law.rs`, `world.rs`, `*_law.rs`, and those in `tests/world`.
fn property_laws() -> Vec<PathBuf> {
    let states = |path: &PathBuf| {
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        let of_a_world = path.parent().is_some_and(|folder| folder.ends_with("tests/world"));
        of_a_world || ["law.rs", "world.rs"].contains(&name.as_str()) || name.ends_with("_law.rs")
    };
    sources().into_iter().filter(states).collect()
}

/// The names that begin the message of an assertion: `"one-job: …"`.
fn named(code: &str) -> BTreeSet<String> {
    let messages = code.split('"').filter_map(|text| text.split_once(": "));
    messages.map(|(name, _)| name.to_owned()).filter(|name| is_name(name)).collect()
}

#[test]
fn laws_and_faults_use_the_names_of_the_list() {
    let list = invariants();
    assert!(list.len() > 20, "{list:?}");
    let mut used: BTreeSet<String> = Law::INVARIANTS.iter().map(|law| law.name().to_owned()).collect();
    for fault in Fault::ALL {
        assert!(used.contains(fault.breaks()), "no law of the simulation can find {}", fault.name());
    }
    let files = property_laws();
    assert!(files.len() > 2, "{files:?}");
    for file in files {
        let names = named(&read(&file));
        let unknown: Vec<&String> = names.difference(&list).collect();
        assert!(unknown.is_empty(), "{} names {unknown:?}", file.display());
        used.extend(names);
    }
    for (name, path, test) in ELSEWHERE {
        assert!(!used.contains(name), "{name} is stated by a law");
        assert!(read(&root().join(path)).contains(&format!("fn {test}(")), "{path} has no test {test}");
        used.insert(name.to_owned());
    }
    let unknown: Vec<&String> = used.difference(&list).collect();
    assert!(unknown.is_empty(), "not in ARCHITECTURE.md: {unknown:?}");
    let unproven: Vec<&String> = list.difference(&used).collect();
    assert!(unproven.is_empty(), "nothing checks {unproven:?}");
}

#[test]
fn each_law_and_each_fault_has_a_name_of_its_own() {
    let laws: BTreeSet<&str> = Law::INVARIANTS.iter().map(|law| law.name()).collect();
    assert_eq!(laws.len(), Law::INVARIANTS.len());
    let faults: BTreeSet<&str> = Fault::ALL.iter().map(|fault| fault.name()).collect();
    assert_eq!(faults.len(), Fault::ALL.len());
    for (number, fault) in Fault::ALL.into_iter().enumerate() {
        assert_eq!(fault as usize, number, "{} is planted by its place in the list", fault.name());
    }
}

#[test]
fn each_fault_has_a_switch_in_the_operator() {
    let code: String =
        sources().iter().filter(|path| !path.ends_with("core/planted.rs")).map(|p| read(p)).collect();
    for fault in Fault::ALL {
        let switch = format!("planted(Fault::{fault:?})");
        assert!(code.contains(&switch), "nothing in src/ asks for {}: {switch}", fault.name());
    }
}

#[test]
fn no_usual_build_can_plant_a_fault() {
    assert_eq!(CAN_PLANT, cfg!(feature = "planted"), "another package turns the feature on");
    for manifest in ["Cargo.toml", "tests/proofs/sim/Cargo.toml"] {
        let text = read(&root().join(manifest));
        let (_, features) = text.split_once("[features]\n").unwrap();
        let features = features.split("\n[").next().unwrap();
        assert!(features.contains("planted = ["), "{manifest}");
        assert!(!features.contains("default"), "{manifest}");
    }
    let main = read(&root().join("src/main.rs"));
    assert!(
        main.contains("#[cfg(feature = \"planted\")]\ncompile_error!("),
        "the operator must not compile with it"
    );
}
