//! Which file uses which: every `use`, and every path in the code that begins at `crate`, `self`, `super`, a child
//! module or an imported module. A name that a module passes on with `use` is followed to the file that defines it.
//!
//! A child may name the types and traits of the modules that it lies in: they are its vocabulary. Calling a function of
//! one counts, since that is how circles hide.

use std::collections::{BTreeMap, BTreeSet};

use syn::visit::{self, Visit};
use syn::{Item, ItemMod, Path, UseTree};

use crate::source::{Sources, folder, for_tests, items};

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
        for (file, tree) in &sources.0 {
            let here = module_of(file);
            let mut paths = Paths::default();
            for item in items(tree) {
                paths.visit_item(item);
            }
            for path in paths.0 {
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
        for (file, tree) in &sources.0 {
            let mut bound = BTreeMap::new();
            for item in items(tree) {
                if let Item::Use(import) = item {
                    flatten(&import.tree, &mut Vec::new(), &mut |name, path| {
                        bound.insert(name, path);
                    });
                }
            }
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

/// Each name that a tree of imports binds, with its path.
fn flatten(tree: &UseTree, before: &mut Segments, take: &mut impl FnMut(String, Segments)) {
    match tree {
        UseTree::Path(path) => {
            before.push(path.ident.to_string());
            flatten(&path.tree, before, take);
            before.pop();
        }
        UseTree::Group(group) => group.items.iter().for_each(|item| flatten(item, before, take)),
        UseTree::Glob(_) => take("*".to_owned(), before.clone()),
        UseTree::Name(name) if name.ident == "self" => {
            take(before.last().cloned().unwrap_or_default(), before.clone());
        }
        UseTree::Name(name) => {
            take(name.ident.to_string(), [before.as_slice(), &[name.ident.to_string()]].concat());
        }
        UseTree::Rename(rename) => {
            take(rename.rename.to_string(), [before.as_slice(), &[rename.ident.to_string()]].concat());
        }
    }
}

/// All paths of a file.
#[derive(Default)]
struct Paths(Vec<Segments>);

impl<'ast> Visit<'ast> for Paths {
    fn visit_item_use(&mut self, import: &'ast syn::ItemUse) {
        flatten(&import.tree, &mut Vec::new(), &mut |_, path| self.0.push(path));
    }

    fn visit_path(&mut self, path: &'ast Path) {
        if path.segments.len() > 1 {
            self.0.push(path.segments.iter().map(|segment| segment.ident.to_string()).collect());
        }
        visit::visit_path(self, path);
    }

    fn visit_item_mod(&mut self, module: &'ast ItemMod) {
        if !for_tests(&module.attrs) {
            visit::visit_item_mod(self, module);
        }
    }
}
