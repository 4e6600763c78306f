//! The pages, their code blocks, and the table of contents.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use crate::nothing;

pub fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

pub fn read(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap_or_else(|e| panic!("{path}: {e}"))
}

/// The files below a folder with this extension, as paths below the root.
pub fn files(folder: &str, extension: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut open = vec![root().join(folder)];
    while let Some(folder) = open.pop() {
        for path in fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path()) {
            if path.is_dir() {
                open.push(path);
            } else if path.extension().is_some_and(|e| e == extension) {
                found.push(path.strip_prefix(root()).unwrap().display().to_string());
            }
        }
    }
    found.sort();
    found
}

/// The README and all pages, each with its text.
pub fn pages() -> Vec<(String, String)> {
    let all = std::iter::once("README.md".to_owned()).chain(files("docs", "md"));
    all.map(|path| (path.clone(), read(&path))).collect()
}

/// A block of code in a page.
pub struct Block {
    /// The page and the line of the fence, for messages.
    pub place: String,
    /// The word behind the fence.
    pub language: String,
    /// The text, without the indentation of the fence.
    pub text: String,
}

pub fn blocks(page: &str, text: &str) -> Vec<Block> {
    let mut found = Vec::new();
    let mut open: Option<(Block, usize)> = None;
    for (number, line) in text.lines().enumerate() {
        let fence = line.trim_start().strip_prefix("```");
        open = match (open, fence) {
            (None, Some(language)) => {
                let place = format!("{page}:{}", number + 1);
                let block = Block { place, language: language.trim().to_owned(), text: String::new() };
                Some((block, line.len() - line.trim_start().len()))
            }
            (Some((block, _)), Some(_)) => {
                found.push(block);
                None
            }
            (Some((mut block, indent)), None) => {
                block.text += line.get(indent.min(line.len())..).unwrap_or_default();
                block.text.push('\n');
                Some((block, indent))
            }
            (None, None) => None,
        };
    }
    found
}

/// All blocks of all pages in one of these languages.
pub fn blocks_in(languages: &[&str]) -> Vec<Block> {
    let all = pages().into_iter().flat_map(|(page, text)| blocks(&page, &text));
    all.filter(|block| languages.contains(&block.language.as_str())).collect()
}

/// The targets of the links in a line.
fn links(line: &str) -> impl Iterator<Item = &str> {
    line.match_indices("](").filter_map(|(at, _)| Some(line[at + 2..].split_once(')')?.0))
}

/// Resolves `..` in a path below `docs`.
fn below_docs(target: &str) -> String {
    target.strip_prefix("../").map_or_else(|| format!("docs/{target}"), str::to_owned)
}

#[test]
fn the_summary_names_every_page_once() {
    let summary = read("docs/SUMMARY.md");
    let named: Vec<String> = summary.lines().flat_map(links).map(below_docs).collect();
    let mut wrong = Vec::new();
    let pages = pages().into_iter().map(|(page, _)| page).filter(|page| page != "docs/SUMMARY.md");
    for page in pages {
        let times = named.iter().filter(|name| **name == page).count();
        if times != 1 {
            wrong.push(format!("docs/SUMMARY.md names {page} {times} times"));
        }
    }
    wrong.extend(
        named
            .iter()
            .filter(|name| !root().join(name).is_file())
            .map(|name| format!("docs/SUMMARY.md names {name}")),
    );
    nothing(&wrong);
}

/// A page is read as a part of the book, so its first line names it.
#[test]
fn every_page_has_a_title_of_its_own() {
    let titles: Vec<String> =
        pages().into_iter().map(|(_, text)| text.lines().next().unwrap_or_default().to_owned()).collect();
    assert!(titles.iter().all(|title| title.starts_with("# ")), "{titles:?}");
    assert_eq!(titles.iter().collect::<BTreeSet<_>>().len(), titles.len(), "{titles:?}");
}

#[test]
fn blocks_are_found_with_their_language_and_indentation() {
    let found = blocks("p", "a\n```yaml\nx: 1\n```\n  ```\n  one\n    two\n  ```\n");
    let found: Vec<_> =
        found.iter().map(|b| (b.place.as_str(), b.language.as_str(), b.text.as_str())).collect();
    assert_eq!(found, [("p:2", "yaml", "x: 1\n"), ("p:5", "", "one\n  two\n")]);
    assert!(Path::new(&below_docs("../README.md")).is_relative());
    assert_eq!((below_docs("a/b.md"), below_docs("../c.md")), ("docs/a/b.md".into(), "c.md".into()));
}
