//! A clock that is ahead: an outage of days, without waiting for them. Only the operator has it; the API server and the
//! FHIR server stay in the present, which is where no date of theirs is compared with the operator's.

use std::path::Path;
use std::process::Command;

/// The environment of a program whose clock is so many seconds ahead.
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
