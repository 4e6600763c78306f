//! Output that is generated from the code: the custom resource definitions, and pages of the documentation.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use crate::api::{Reason, crds_yaml};
use crate::core::export::PhaseName;
use crate::core::export::states::{SHOWN, TRANSITIONS, Transition};
use crate::show::Page;
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

/// Prints a page of the documentation, or writes it to `file`.
pub fn page(text: &str, file: Option<&Path>) -> Result<(), Stop> {
    file.map_or_else(|| print(text), |file| write(file, text))
}

/// A text as it stands in a cell of a table.
pub fn cell(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ").replace('|', "\\|")
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

/// The page of states: the phases of a run, what moves it from one to the next, and what it shows in each.
pub fn states_markdown() -> String {
    let mut text = String::from(
        "# States of a FhirExport\n\n\
         A run goes through the phases below. `status.state` shows a word for people; programs use the conditions.\n\
         The phase is derived from the object and from what the operator remembers, so that a restart at any point\n\
         goes on from the status alone. This page is written by `fhir-export-operator states`.\n\n\
         ```mermaid\nstateDiagram-v2\n    [*] --> Waiting\n",
    );
    // Writing to a String cannot fail.
    for Transition { from, to, .. } in TRANSITIONS {
        let _ = writeln!(text, "    {} --> {}", from.as_str(), to.as_str());
    }
    let _ = writeln!(text, "    Leaving --> [*]\n    Ended --> [*]\n```");
    for phase in PhaseName::ALL {
        of_phase(&mut text, phase);
    }
    text
}

/// Appends the section of one phase to `text`.
fn of_phase(text: &mut String, phase: PhaseName) {
    let _ = writeln!(text, "\n## {}\n\n{}\n", phase.as_str(), phase.meaning());
    if phase == PhaseName::Leaving {
        let _ = writeln!(text, "`status.state` keeps the word that it had.");
    } else {
        let words: Vec<String> = phase.words().iter().map(|word| format!("`{word}`")).collect();
        let _ = writeln!(text, "`status.state` shows {}.", words.join(", "));
    }
    if phase.after_restart() != phase {
        let after = phase.after_restart().as_str();
        let _ = writeln!(
            text,
            "After a restart of the operator the run is in phase {after} and goes on from there."
        );
    }
    let mut moves = TRANSITIONS.iter().filter(|transition| transition.from == phase).peekable();
    if moves.peek().is_some() {
        let _ = writeln!(text, "\n| Next phase | When |\n|---|---|");
    }
    for Transition { to, when, .. } in moves {
        let _ = writeln!(text, "| {} | {when} |", to.as_str());
    }
    let _ = writeln!(text, "\n| Condition set here | Status | Reasons |\n|---|---|---|");
    for shown in SHOWN.iter().filter(|shown| shown.phase == phase) {
        let mut reasons: Vec<String> = shown.reasons.iter().map(|reason| format!("`{reason}`")).collect();
        if shown.or_of_a_failure {
            reasons.push("the reason of what failed".to_owned());
        }
        let _ = writeln!(text, "| {} | {:?} | {} |", shown.condition, shown.status, reasons.join(", "));
    }
}

/// Prints `text`, whose line ends are this program's own, to standard output.
pub fn print(text: &str) -> Result<(), Stop> {
    Page::of(text).print()
}

fn write(file: &Path, text: &str) -> Result<(), Stop> {
    let failed = |e: std::io::Error| Stop::because(format!("{} cannot be written: {e}.", file.display()));
    if let Some(folder) = file.parent() {
        fs::create_dir_all(folder).map_err(failed)?;
    }
    fs::write(file, text).map_err(failed)
}
