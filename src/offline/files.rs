//! The files that commands are given.

use std::io::Read as _;
use std::path::{Path, PathBuf};

use super::document::{Document, read};
use super::problem::Problem;
use crate::stop::Stop;

/// Reads the documents of all files. `-` is standard input, and a directory stands for the YAML and JSON files in it.
/// What is not YAML is returned as a problem.
///
/// # Errors
///
/// Fails if a file cannot be read.
pub fn documents(files: &[PathBuf]) -> Result<(Vec<Document>, Vec<Problem>), Stop> {
    let (mut documents, mut problems) = (Vec::new(), Vec::new());
    for file in files {
        for (name, text) in texts(file)? {
            match read(&name, &text) {
                Ok(found) => documents.extend(found),
                Err(problem) => problems.push(*problem),
            }
        }
    }
    Ok((documents, problems))
}

/// The texts of a file, of standard input or of the files in a directory, each with its name.
fn texts(file: &Path) -> Result<Vec<(String, String)>, Stop> {
    let unreadable =
        |file: &Path, e: &std::io::Error| Stop::because(format!("{} cannot be read: {e}.", file.display()));
    if file == Path::new("-") {
        let mut text = String::new();
        std::io::stdin()
            .read_to_string(&mut text)
            .map_err(|e| unreadable(Path::new("Standard input"), &e))?;
        return Ok(vec![("Standard input".into(), text)]);
    }
    let mut files = vec![file.to_owned()];
    if file.is_dir() {
        let entries = std::fs::read_dir(file).map_err(|e| unreadable(file, &e))?;
        let is_manifest =
            |path: &PathBuf| path.extension().is_some_and(|e| e == "yaml" || e == "yml" || e == "json");
        files = entries.filter_map(|entry| Some(entry.ok()?.path())).filter(is_manifest).collect();
        files.sort();
    }
    let read = |file: PathBuf| {
        let text = std::fs::read_to_string(&file).map_err(|e| unreadable(&file, &e))?;
        Ok((file.display().to_string(), text))
    };
    files.into_iter().map(read).collect()
}
