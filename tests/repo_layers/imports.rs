//! Which file uses which: every `use`, and every path in the code that begins at `crate`, `self`, `super`, a child
//! module or an imported module. A name that a module passes on with `use` is followed to the file that defines it.
//!
//! A child may name the types and traits of the modules that it lies in: they are its vocabulary. Calling a function of
//! one counts, since that is how circles hide.

use std::collections::{BTreeMap, BTreeSet};

use crate::source::{Sources, folder};

type Segments = Vec<String>;

/// Which file uses which, with the paths that show it.
pub struct Imports(BTreeMap<(String, String), BTreeSet<String>>);

/// One module: its file, its children, and what its `use` items bind.
#[derive(Default)]
struct Module {
    file: String,
    bound: BTreeMap<String, Segments>,
}

struct Modules(BTreeMap<Segments, Module>);

impl Imports {
    /// Of all files.
    pub fn of(sources: &Sources) -> Self {
        let modules = Modules::of(sources);
        let mut imports = BTreeMap::<(String, String), BTreeSet<String>>::new();
        for (file, source) in &sources.0 {
            let here = module_of(file);
            let imported = uses(&source.tokens).into_iter().map(|(_, path)| path);
            for path in imported.chain(paths(&source.tokens)) {
                let Some((module, rest)) = modules.resolve(&here, &path) else { continue };
                let to = &modules.0[&module].file;
                let vocabulary = here.starts_with(&module) && !is_function(&rest);
                if to != file && !vocabulary {
                    imports.entry((file.clone(), to.clone())).or_default().insert(path.join("::"));
                }
            }
        }
        Self(imports)
    }

    /// All pairs of files of which the first uses the second.
    pub fn between_files(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.keys().map(|(from, to)| (from.as_str(), to.as_str()))
    }

    /// The files that each file uses.
    pub fn by_file(&self) -> BTreeMap<String, BTreeSet<String>> {
        let mut files = BTreeMap::<String, BTreeSet<String>>::new();
        for (from, to) in self.0.keys() {
            files.entry(from.clone()).or_default().insert(to.clone());
        }
        files
    }

    /// One place where a folder uses another.
    pub fn witness(&self, from: &str, to: &str) -> String {
        let seen = self.0.iter().find(|((a, b), _)| folder(a) == from && folder(b) == to);
        seen.map(|((file, _), paths)| format!("{file}: {paths:?}")).unwrap_or_default()
    }

    /// The files of a circle with what ties them.
    pub fn explain(&self, circle: &[String]) -> String {
        let ties = self.0.iter().filter(|((a, b), _)| circle.contains(a) && circle.contains(b));
        let lines = ties.map(|((a, b), paths)| format!("  {a} -> {b}: {paths:?}"));
        format!("{circle:?}\n{}", lines.collect::<Vec<_>>().join("\n"))
    }
}

impl Modules {
    fn of(sources: &Sources) -> Self {
        let mut modules = BTreeMap::new();
        for (file, source) in &sources.0 {
            let bound = uses(&source.tokens).into_iter().collect();
            modules.insert(module_of(file), Module { file: file.clone(), bound });
        }
        Self(modules)
    }

    /// The module that defines what a path names, and what is left of the path behind it.
    fn resolve(&self, here: &[String], path: &[String]) -> Option<(Segments, Segments)> {
        let mut module = here.to_vec();
        let mut rest = path;
        match path.first().map(String::as_str)? {
            "crate" => module.clear(),
            "self" => {}
            "super" => drop(module.pop()?),
            _ => return self.descend(here.to_vec(), path, 8),
        }
        rest = rest.get(1..)?;
        while rest.first().is_some_and(|segment| segment == "super") {
            module.pop()?;
            rest = &rest[1..];
        }
        self.descend(module, rest, 8)
    }

    fn descend(&self, mut module: Segments, mut rest: &[String], hops: u8) -> Option<(Segments, Segments)> {
        let began = module.clone();
        while let Some(next) = rest.first() {
            module.push(next.clone());
            if !self.0.contains_key(&module) {
                module.pop();
                break;
            }
            rest = &rest[1..];
        }
        let name = rest.first();
        let passed_on = name.and_then(|name| self.0.get(&module)?.bound.get(name));
        match passed_on {
            Some(path) if hops > 0 && path.first() != rest.first() => {
                let whole: Segments = path.iter().chain(&rest[1..]).cloned().collect();
                let first = whole.first().map(String::as_str);
                if matches!(first, Some("crate" | "self" | "super")) {
                    self.resolve(&module, &whole)
                } else {
                    self.descend(module, &whole, hops - 1)
                }
            }
            // The path led nowhere: another crate, or an item of this file.
            _ if module == began && rest.len() > 1 => None,
            _ => Some((module, rest.to_vec())),
        }
    }
}

/// What is left of a path behind its module names a function, not a type, a trait, a constant or the module itself.
fn is_function(rest: &[String]) -> bool {
    rest.len() == 1 && rest[0].chars().next().is_some_and(char::is_lowercase)
}

fn module_of(file: &str) -> Segments {
    let path = file.strip_suffix(".rs").unwrap_or(file);
    let path = path.strip_suffix("/mod").unwrap_or(path);
    if matches!(path, "lib" | "main") {
        return Vec::new();
    }
    path.split('/').map(str::to_owned).collect()
}

/// Each name that a `use` binds, with its path.
fn uses(tokens: &[String]) -> Vec<(String, Segments)> {
    let mut bound = Vec::new();
    for (at, _) in tokens.iter().enumerate().filter(|(_, token)| *token == "use") {
        let end =
            tokens[at..].iter().position(|token| token == ";").map_or(tokens.len(), |length| at + length);
        // `use<…>` in a return type binds nothing.
        if tokens.get(at + 1).is_some_and(|next| next != "<") {
            flatten(&tokens[at + 1..end], &[], &mut bound);
        }
    }
    bound
}

/// The names that one tree of imports binds; `before` is the path that leads to it.
fn flatten(tree: &[String], before: &[String], bound: &mut Vec<(String, Segments)>) {
    let group = tree.iter().position(|token| token == "{").unwrap_or(tree.len());
    let (path, group) = tree.split_at(group);
    let mut path: Segments = path.iter().filter(|token| *token != "::").cloned().collect();
    if let [_open, inside @ .., _close] = group {
        let before = [before, &path].concat();
        let mut depth = 0_usize;
        for one in inside.split(|token| {
            match token.as_str() {
                "{" => depth += 1,
                "}" => depth -= 1,
                _ => {}
            }
            token == "," && depth == 0
        }) {
            flatten(one, &before, bound);
        }
        return;
    }
    let renamed = path.iter().position(|token| token == "as").map(|at| path.split_off(at));
    if path.last().is_some_and(|last| last == "self") && !before.is_empty() {
        path.pop();
    }
    let whole = [before, &path].concat();
    let name = renamed.and_then(|mut renamed| renamed.pop()).or_else(|| whole.last().cloned());
    bound.extend(name.map(|name| (name, whole)));
}

/// All paths of two names and more.
fn paths(tokens: &[String]) -> Vec<Segments> {
    let is_name = |at: usize| {
        tokens.get(at).is_some_and(|token| token.starts_with(|c: char| c == '_' || c.is_alphabetic()))
    };
    let joined = |at: usize| tokens.get(at).is_some_and(|token| token == "::");
    let mut paths = Vec::new();
    let mut at = 0;
    while at < tokens.len() {
        let mut path = Segments::new();
        while is_name(at) && (path.is_empty() || joined(at - 1)) {
            path.push(tokens[at].clone());
            at += if joined(at + 1) && is_name(at + 2) { 2 } else { 1 };
        }
        at += usize::from(path.is_empty());
        if path.len() > 1 {
            paths.push(path);
        }
    }
    paths
}
