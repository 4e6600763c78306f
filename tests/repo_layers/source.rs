//! The files of `src/`, as tokens, without comments, strings and tests.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

/// A file: its module documentation, and its tokens.
pub struct Source {
    /// The lines that begin with `//!`, without that.
    pub documentation: String,
    /// Names, `::` and single characters.
    pub tokens: Vec<String>,
}

/// Files by their path below `src/`.
pub struct Sources(pub BTreeMap<String, Source>);

impl Sources {
    /// Reads all files below `src` that are not tests.
    pub fn read(src: &Path) -> Self {
        let mut files = Vec::new();
        let mut folders = vec![src.to_path_buf()];
        while let Some(folder) = folders.pop() {
            for entry in fs::read_dir(&folder).unwrap() {
                let path = entry.unwrap().path();
                let below = |path: &PathBuf| path.strip_prefix(src).unwrap().to_str().unwrap().to_owned();
                if path.is_dir() {
                    folders.push(path);
                } else if path.extension().is_some_and(|ending| ending == "rs") {
                    files.push((below(&path), fs::read_to_string(&path).unwrap()));
                }
            }
        }
        Self::of(files.iter().map(|(name, text)| (name.as_str(), text.as_str())))
    }

    /// These files, by name and text; tests among them are left out.
    pub fn of<'a>(files: impl IntoIterator<Item = (&'a str, &'a str)>) -> Self {
        let sources = files.into_iter().filter(|(name, _)| !is_test(name)).map(|(name, text)| {
            let documentation: Vec<&str> = text.lines().map_while(|line| line.strip_prefix("//!")).collect();
            let tokens = without_tests(&tokens(text));
            (name.to_owned(), Source { documentation: documentation.join("\n"), tokens })
        });
        Self(sources.collect())
    }

    /// The module documentation of each top-level folder or file, by its name.
    pub fn top_level_documentation(&self) -> impl Iterator<Item = (String, &str)> {
        self.0.iter().filter_map(|(name, source)| {
            let module = name.strip_suffix("/mod.rs").or_else(|| name.strip_suffix(".rs"))?;
            let door = matches!(module, "lib" | "main");
            (!module.contains('/') && !door).then(|| (module.to_owned(), source.documentation.as_str()))
        })
    }
}

/// The top-level folder, or file, that a file belongs to.
pub fn folder(file: &str) -> &str {
    file.split('/').next().unwrap_or(file).trim_end_matches(".rs")
}

fn is_test(file: &str) -> bool {
    file.split('/').any(|part| part == "tests" || part == "tests.rs" || part.ends_with("_tests.rs"))
}

/// Names, `::` and single characters; what a comment or a literal says is left out.
fn tokens(text: &str) -> Vec<String> {
    let mut tokens = Vec::new();
    let mut rest = text;
    while let Some(next) = rest.chars().next() {
        let length = if rest.starts_with("//") {
            rest.find('\n').unwrap_or(rest.len())
        } else if let Some(literal) = literal(rest) {
            literal
        } else if next.is_alphanumeric() || next == '_' {
            let end = rest.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(rest.len());
            tokens.push(rest[..end].to_owned());
            end
        } else if rest.starts_with("::") {
            tokens.push("::".to_owned());
            2
        } else {
            if !next.is_whitespace() {
                tokens.push(next.to_string());
            }
            next.len_utf8()
        };
        rest = &rest[length..];
    }
    tokens
}

/// The length of the string or character that the text begins with, if it does. The project writes no block comments.
fn literal(text: &str) -> Option<usize> {
    let raw = text.trim_start_matches('b');
    if let Some(raw) = raw.strip_prefix('r') {
        let hashes = raw.len() - raw.trim_start_matches('#').len();
        if raw[hashes..].starts_with('"') {
            let end = format!("\"{}", "#".repeat(hashes));
            let body = &raw[hashes + 1..];
            let length = body.find(&end).unwrap_or(body.len()) + end.len();
            return Some(text.len() - body.len() + length);
        }
    }
    let quoted = |text: &str, quote: char| {
        let mut escaped = false;
        text.char_indices().skip(1).find(|(_, c)| {
            let ends = *c == quote && !escaped;
            escaped = *c == '\\' && !escaped;
            ends
        })
    };
    let prefix = usize::from(text.starts_with("b\""));
    if text[prefix..].starts_with('"') {
        return quoted(&text[prefix..], '"').map(|(at, _)| prefix + at + 1);
    }
    // A lifetime is no character.
    let character =
        text.starts_with('\'') && (text[1..].starts_with('\\') || text.chars().nth(2) == Some('\''));
    if character { quoted(text, '\'').map(|(at, _)| at + 1) } else { None }
}

/// Leaves out each item that is marked `#[cfg(test)]`.
fn without_tests(tokens: &[String]) -> Vec<String> {
    const MARK: [&str; 7] = ["#", "[", "cfg", "(", "test", ")", "]"];
    let mut kept = Vec::new();
    let mut at = 0;
    while at < tokens.len() {
        if tokens[at..].iter().zip(MARK).filter(|(token, mark)| token == mark).count() == MARK.len() {
            at += MARK.len();
            at += length_of_item(&tokens[at..]);
        } else {
            kept.push(tokens[at].clone());
            at += 1;
        }
    }
    kept
}

/// How many tokens the first item takes: to the end of its block, its semicolon, or, of a field, its comma.
fn length_of_item(tokens: &[String]) -> usize {
    let mut depth = 0_usize;
    for (at, token) in tokens.iter().enumerate() {
        match token.as_str() {
            "{" | "(" | "[" => depth += 1,
            // What it lies in ends: the item was the last field.
            "}" | ")" | "]" if depth == 0 => return at,
            "}" if depth == 1 => return at + 1,
            "}" | ")" | "]" => depth -= 1,
            ";" | "," if depth == 0 => return at + 1,
            _ => {}
        }
    }
    tokens.len()
}
