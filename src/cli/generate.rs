//! Output that is generated from the code: the custom resource definitions and docs/reasons.md.

use std::fmt::Write as _;
use std::fs;
use std::io::Write as _;
use std::path::Path;

use crate::api::{Reason, crds_yaml};
use crate::stop::Stop;

/// Prints the definitions as a stream of YAML documents, or writes each to `<plural>.yaml` in `folder`.
pub fn crds(folder: Option<&Path>) -> Result<(), Stop> {
    let all =
        crds_yaml().map_err(|e| Stop::because(format!("The definitions cannot be written as YAML: {e}.")))?;
    match folder {
        Some(folder) => {
            all.iter().try_for_each(|(name, yaml)| write(&folder.join(format!("{name}.yaml")), yaml))
        }
        None => print(&all.iter().fold(String::new(), |text, (_, yaml)| format!("{text}---\n{yaml}"))),
    }
}

/// Prints the page of reasons, or writes it to `file`.
pub fn reasons(file: Option<&Path>) -> Result<(), Stop> {
    let text = reasons_markdown();
    file.map_or_else(|| print(&text), |file| write(file, &text))
}

/// The page of reasons, as Markdown.
pub fn reasons_markdown() -> String {
    let mut text = String::from(
        "# Reasons\n\n\
         Each condition and each event carries one of these words. They are part of the API: scripts and alerts may\n\
         rely on them. The message beside the word has the details. This page is written by\n\
         `fhir-export-operator reasons`.\n\n\
         | Reason | What it means | What to do |\n|---|---|---|\n",
    );
    for reason in Reason::ALL {
        // Writing to a String cannot fail.
        let _ = writeln!(text, "| `{reason}` | {} | {} |", reason.meaning(), reason.advice());
    }
    text
}

/// Prints `text` to standard output.
pub fn print(text: &str) -> Result<(), Stop> {
    match std::io::stdout().write_all(text.as_bytes()) {
        // The reader has closed the pipe, as `head` does.
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => {
            Err(Stop::because(format!("Standard output cannot be written: {error}.")))
        }
        _ => Ok(()),
    }
}

fn write(file: &Path, text: &str) -> Result<(), Stop> {
    let failed = |e: std::io::Error| Stop::because(format!("{} cannot be written: {e}.", file.display()));
    if let Some(folder) = file.parent() {
        fs::create_dir_all(folder).map_err(failed)?;
    }
    fs::write(file, text).map_err(failed)
}
