//! Whatever a comment or a document refers to is in the repository: documents, their sections, invariants by name, and
//! the paths and tests that CONTRIBUTING.md and SECURITY.md name.
#![allow(missing_docs, clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// What comments once cited although nobody who reads them has it.
const NOT_HERE: [&str; 4] = ["the design", "(design", "azure page", "of its page"];

/// Documents at the top level that comments may cite; all others are under `docs/`.
const TOP: [&str; 5] = ["ARCHITECTURE.md", "CHANGELOG.md", "CONTRIBUTING.md", "README.md", "SECURITY.md"];

/// The folders at the top level in which documents name files.
const FOLDERS: [&str; 8] = [".github", "charts", "crds", "docs", "examples", "fuzz", "src", "tests"];

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

/// The path below the root, with slashes.
fn name(path: &Path) -> String {
    path.strip_prefix(root()).unwrap().display().to_string()
}

/// All files below `folder` with this extension, without what is built or belongs to git.
fn files(folder: &Path, extension: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut open = vec![folder.to_path_buf()];
    while let Some(folder) = open.pop() {
        for entry in fs::read_dir(&folder).unwrap().map(Result::unwrap) {
            let path = entry.path();
            let file_name = entry.file_name().to_string_lossy().into_owned();
            let skipped = file_name.starts_with('.') && file_name != ".github" || file_name == "target";
            if entry.file_type().unwrap().is_dir() && !skipped {
                open.push(path);
            } else if path.extension().is_some_and(|e| e == extension) {
                found.push(path);
            }
        }
    }
    found.sort();
    found
}

/// The comments of a Rust file, each with the number of its first line; lines that follow each other are one.
fn comments(code: &str) -> Vec<(usize, String)> {
    let mut all: Vec<(usize, String)> = Vec::new();
    let mut last = 0;
    for (number, line) in code.lines().enumerate().map(|(i, line)| (i + 1, line.trim())) {
        let whole_line = line.starts_with("//");
        let begin = if whole_line { Some(0) } else { line.find(" // ") };
        let Some(at) = begin else { continue };
        let text = line[at..].trim_start().trim_start_matches(['/', '!']).trim();
        match all.last_mut().filter(|_| whole_line && last + 1 == number) {
            Some((_, comment)) => *comment = format!("{comment} {text}"),
            None => all.push((number, text.to_owned())),
        }
        last = if whole_line { number } else { 0 };
    }
    all
}

/// The headings of a document, without code blocks.
fn headings(document: &str) -> Vec<String> {
    prose(document)
        .iter()
        .filter_map(|(_, line)| line.strip_prefix('#'))
        .map(|heading| heading.trim_start_matches('#').trim().to_owned())
        .collect()
}

/// The lines outside code blocks, numbered.
fn prose(document: &str) -> Vec<(usize, &str)> {
    let mut code = false;
    let mut lines = Vec::new();
    for (i, line) in document.lines().enumerate() {
        let fence = line.trim_start().starts_with("```");
        code ^= fence;
        if !code && !fence {
            lines.push((i + 1, line));
        }
    }
    lines
}

/// The anchors that a forge gives to headings: small letters, digits, hyphens and underscores; spaces become hyphens.
fn anchors(document: &str) -> BTreeSet<String> {
    let mut anchors = BTreeSet::new();
    for heading in headings(document) {
        let slug: String = heading
            .to_lowercase()
            .chars()
            .filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_'))
            .map(|c| if c == ' ' { '-' } else { c })
            .collect();
        let mut anchor = slug.clone();
        let mut copy = 0;
        while !anchors.insert(anchor) {
            copy += 1;
            anchor = format!("{slug}-{copy}");
        }
    }
    anchors
}

/// The names of the invariants, in the order of ARCHITECTURE.md.
fn invariants() -> Vec<String> {
    let document = read(&root().join("ARCHITECTURE.md"));
    let names = document.lines().filter_map(|line| line.strip_prefix("- **")?.split_once("**:"));
    names.map(|(name, _)| name.to_owned()).collect()
}

/// The documents that a comment cites, each with the text behind it.
fn cited(comment: &str) -> Vec<(&str, &str)> {
    let in_path = |c: char| c.is_ascii_alphanumeric() || matches!(c, '/' | '-' | '_' | '.');
    comment
        .match_indices(".md")
        .filter_map(|(at, end)| {
            let end = at + end.len();
            let begin = comment[..at].rfind(|c| !in_path(c)).map_or(0, |i| i + 1);
            let path = comment[begin..end].trim_start_matches("./");
            (TOP.contains(&path) || path.starts_with("docs/")).then_some((path, &comment[end..]))
        })
        .collect()
}

/// What is wrong with the citations of one comment.
fn wrong_citations(comment: &str, invariants: &[String]) -> Vec<String> {
    let mut wrong: Vec<String> = NOT_HERE
        .iter()
        .filter(|words| comment.to_lowercase().contains(*words))
        .map(|words| format!("cites \"{words}\", which is not in the repository"))
        .collect();
    for (path, rest) in cited(comment) {
        let file = root().join(path);
        if !file.is_file() {
            wrong.push(format!("cites {path}, which does not exist"));
            continue;
        }
        let Some(rest) = rest.strip_prefix(',').map(str::trim_start) else { continue };
        if let Some((section, _)) = rest.strip_prefix('"').and_then(|rest| rest.split_once('"')) {
            if !headings(&read(&file)).iter().any(|heading| heading == section) {
                wrong.push(format!("cites {path}, \"{section}\", and there is no such section"));
            }
        } else if path == "ARCHITECTURE.md" && rest.contains('-') {
            let word: String = rest.chars().take_while(|c| c.is_ascii_lowercase() || *c == '-').collect();
            if word.contains('-') && !invariants.contains(&word) {
                wrong.push(format!("cites the invariant {word}, and there is none of that name"));
            }
        }
    }
    wrong
}

/// The link targets of a line of Markdown.
fn links(line: &str) -> Vec<&str> {
    line.match_indices("](").filter_map(|(at, _)| Some(line[at + 2..].split_once(')')?.0)).collect()
}

fn wrong_link(document: &Path, target: &str) -> Option<String> {
    if target.contains("://") || target.starts_with("mailto:") {
        return None;
    }
    let (path, anchor) = target.split_once('#').unwrap_or((target, ""));
    let file = if path.is_empty() { document.to_path_buf() } else { document.parent().unwrap().join(path) };
    if !file.exists() {
        return Some(format!("links to {target}, which does not exist"));
    }
    let known = anchor.is_empty() || file.is_dir() || anchors(&read(&file)).contains(anchor);
    (!known).then(|| format!("links to {target}, and there is no such section"))
}

/// The words of a document in backticks, with the number of their line.
fn code_spans(document: &str) -> Vec<(usize, &str)> {
    prose(document)
        .into_iter()
        .flat_map(|(number, line)| line.split('`').skip(1).step_by(2).map(move |span| (number, span)))
        .collect()
}

/// Whether this names a file or folder of the repository, and not a command, a module, a quota or a URL.
fn is_path(span: &str) -> bool {
    let top = span.split('/').next().unwrap_or_default();
    let in_folder = span.contains('/') && FOLDERS.contains(&top);
    let extension = Path::new(span).extension().and_then(|e| e.to_str());
    let has_extension =
        extension.is_some_and(|e| matches!(e, "md" | "rs" | "toml" | "yaml" | "json" | "tpl"));
    !span.contains([' ', '<', '*', '{', '$', '~']) && !span.contains("://") && (in_folder || has_extension)
}

/// What is wrong with `path` or `path::test`.
fn wrong_path(span: &str) -> Option<String> {
    let (path, test) = span.split_once("::").unwrap_or((span, ""));
    let file = root().join(path);
    if !file.exists() {
        return Some(format!("names {path}, which does not exist"));
    }
    let has = |file: &Path| read(file).contains(&format!("fn {test}("));
    let found =
        test.is_empty() || if file.is_dir() { files(&file, "rs").iter().any(|f| has(f)) } else { has(&file) };
    (!found).then(|| format!("names the test {test}, which {path} does not have"))
}

fn nothing(wrong: &[String]) {
    assert!(wrong.is_empty(), "\n{}\n", wrong.join("\n"));
}

#[test]
fn comments_cite_what_is_in_the_repository() {
    let invariants = invariants();
    let mut wrong = Vec::new();
    for file in ["src", "tests", "fuzz"].iter().flat_map(|folder| files(&root().join(folder), "rs")) {
        for (line, comment) in comments(&read(&file)) {
            let found = wrong_citations(&comment, &invariants);
            wrong.extend(found.iter().map(|problem| format!("{}:{line}: {problem}", name(&file))));
        }
    }
    nothing(&wrong);
}

#[test]
fn links_between_documents_lead_somewhere() {
    let mut wrong = Vec::new();
    for document in files(&root(), "md") {
        let text = read(&document);
        for (line, target) in
            prose(&text).into_iter().flat_map(|(n, l)| links(l).into_iter().map(move |t| (n, t)))
        {
            wrong.extend(wrong_link(&document, target).map(|p| format!("{}:{line}: {p}", name(&document))));
        }
    }
    nothing(&wrong);
}

fn names_what_exists(document: &str, at_least: usize) {
    let text = read(&root().join(document));
    let spans = code_spans(&text);
    let paths: Vec<&(usize, &str)> = spans.iter().filter(|(_, span)| is_path(span)).collect();
    assert!(paths.len() >= at_least, "{document} names more than {} files", paths.len());
    let wrong = paths.iter().filter_map(|(n, span)| Some(format!("{document}:{n}: {}", wrong_path(span)?)));
    nothing(&wrong.collect::<Vec<_>>());
}

#[test]
fn contributing_names_what_exists() {
    names_what_exists("CONTRIBUTING.md", 50);
}

#[test]
fn the_threat_model_names_what_exists() {
    names_what_exists("SECURITY.md", 40);
}

#[test]
fn invariants_have_names_of_their_own() {
    let names = invariants();
    assert!(names.len() > 20, "{names:?}");
    assert_eq!(names.iter().collect::<BTreeSet<_>>().len(), names.len(), "{names:?}");
}

/// The checks find what they are made to find.
#[test]
fn what_is_not_there_is_found() {
    let invariants = invariants();
    let wrong = |comment: &str| wrong_citations(comment, &invariants).len();
    assert_eq!(
        wrong("As docs/azure-behaviour.md, \"Cancelling\" says; see also ARCHITECTURE.md, intent-first."),
        0
    );
    assert_eq!(wrong("As docs/nowhere.md says."), 1);
    assert_eq!(wrong("As docs/azure-behaviour.md, \"No such section\" says."), 1);
    assert_eq!(wrong("By ARCHITECTURE.md, intent-never."), 1);
    assert_eq!(wrong("As the Azure page, 3.3, and the design say."), 2);
    let code = "/// One\n/// two.\nlet x = 1; // three\n// four\n";
    let three = [(1, "One two.".to_owned()), (3, "three".to_owned()), (4, "four".to_owned())];
    assert_eq!(comments(code), three);

    let readme = root().join("README.md");
    assert_eq!(wrong_link(&readme, "docs/servers.md#epic"), None);
    assert!(wrong_link(&readme, "docs/servers.md#nowhere").is_some());
    assert!(wrong_link(&readme, "docs/nowhere.md").is_some());
    assert_eq!(anchors("# A `b`, c\n# A `b`, c\n"), ["a-b-c", "a-b-c-1"].map(str::to_owned).into());

    assert_eq!(wrong_path("tests/repo_citations.rs::what_is_not_there_is_found"), None);
    assert!(wrong_path("tests/repo_citations.rs::nowhere_at_all").is_some());
    assert!(wrong_path("src/nowhere.rs").is_some());
    assert!(
        is_path("src/lib.rs")
            && is_path("Makefile.toml")
            && !is_path("make check")
            && !is_path("core::export")
    );
}
