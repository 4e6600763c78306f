//! A clock that is ahead, for an outage of days without the wait. Only the operator's clock is ahead; the API server
//! and the FHIR server keep the real time. The tests compare no time of theirs with the operator's.

use std::path::Path;
use std::process::Command;

/// The environment variables that set a program's clock ahead by `seconds`. Builds the library for it in `folder`.
pub fn environment(seconds: i64, folder: &Path) -> Vec<(String, String)> {
    let library = folder.join("ahead.so");
    let source = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/e2e/schedules/ahead.c");
    let mut compiler = Command::new("cc");
    let built = compiler.args(["-shared", "-fPIC", "-O1", "-o"]).arg(&library).arg(source).status().unwrap();
    assert!(built.success(), "cc {source}");
    vec![
        ("LD_PRELOAD".to_owned(), library.display().to_string()),
        ("CLOCK_AHEAD".to_owned(), seconds.to_string()),
    ]
}
