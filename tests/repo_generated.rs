//! What is generated from the code and committed is current.
#![allow(missing_docs, clippy::unwrap_used, clippy::panic)]

use std::fs;
use std::path::Path;

use fhir_export_operator::{api, cli};

fn committed(path: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
    fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

#[test]
fn the_definitions_are_current() {
    let all = api::crds_yaml().unwrap();
    assert_eq!(all.len(), 3);
    for (name, yaml) in all {
        assert!(
            committed(&format!("crds/{name}.yaml")) == yaml,
            "crds/{name}.yaml is stale: run `make generate`"
        );
    }
}

#[test]
fn the_page_of_reasons_is_current() {
    assert!(
        committed("docs/reasons.md") == cli::reasons_markdown(),
        "docs/reasons.md is stale: run `make generate`"
    );
}

#[test]
fn the_page_of_states_is_current() {
    assert!(
        committed("docs/states.md") == cli::states_markdown(),
        "docs/states.md is stale: run `make generate`"
    );
}

#[test]
fn the_page_of_kinds_is_current() {
    assert!(
        committed("docs/reference/kinds.md") == cli::kinds_markdown().unwrap(),
        "docs/reference/kinds.md is stale: run `make generate`"
    );
}

#[test]
fn the_page_of_flags_is_current() {
    assert!(
        committed("docs/reference/flags.md") == cli::flags_markdown(),
        "docs/reference/flags.md is stale: run `make generate`"
    );
}
