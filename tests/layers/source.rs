//! The files of `src/` as syntax trees, without their tests.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use syn::{Attribute, Expr, Item, Lit, Meta};

/// Files by their path below `src/`.
pub struct Sources(pub BTreeMap<String, syn::File>);

impl Sources {
    /// Reads all files below `src` that are not tests.
    pub fn read(src: &Path) -> Self {
        let mut files = BTreeMap::new();
        let mut folders = vec![src.to_path_buf()];
        while let Some(folder) = folders.pop() {
            for entry in fs::read_dir(&folder).unwrap() {
                let path = entry.unwrap().path();
                let below = |path: &PathBuf| path.strip_prefix(src).unwrap().to_str().unwrap().to_owned();
                if path.is_dir() {
                    folders.push(path);
                } else if path.extension().is_some_and(|ending| ending == "rs") {
                    let file = syn::parse_file(&fs::read_to_string(&path).unwrap());
                    files.insert(below(&path), file.unwrap_or_else(|e| panic!("{}: {e}", path.display())));
                }
            }
        }
        files.retain(|file, _| !is_test(file));
        Self(files)
    }

    /// These files, for tests of the test.
    pub fn of(files: &[(&str, &str)]) -> Self {
        let parsed = files.iter().map(|(name, text)| ((*name).to_owned(), syn::parse_file(text).unwrap()));
        Self(parsed.collect())
    }

    /// The module documentation of each top-level folder or file, by its name.
    pub fn top_level_documentation(&self) -> impl Iterator<Item = (String, String)> {
        let roots = self.0.iter().filter_map(|(name, file)| {
            let module = name.strip_suffix("/mod.rs").or_else(|| name.strip_suffix(".rs"))?;
            let door = matches!(module, "lib" | "main");
            (!module.contains('/') && !door).then(|| (module.to_owned(), documentation(&file.attrs)))
        });
        roots
    }
}

/// The top-level folder, or file, that a file belongs to.
pub fn folder(file: &str) -> &str {
    file.split('/').next().unwrap_or(file).trim_end_matches(".rs")
}

/// Whether an item is compiled for tests only.
pub fn for_tests(attributes: &[Attribute]) -> bool {
    attributes.iter().any(|attribute| match &attribute.meta {
        Meta::List(list) => list.path.is_ident("cfg") && list.tokens.to_string() == "test",
        _ => false,
    })
}

/// The items of a file that are not for tests.
pub fn items(file: &syn::File) -> impl Iterator<Item = &Item> {
    file.items.iter().filter(|item| match item {
        Item::Mod(module) => !for_tests(&module.attrs),
        Item::Use(import) => !for_tests(&import.attrs),
        Item::Fn(function) => !for_tests(&function.attrs),
        Item::Impl(block) => !for_tests(&block.attrs),
        _ => true,
    })
}

fn is_test(file: &str) -> bool {
    file.split('/').any(|part| part == "tests" || part == "tests.rs" || part.ends_with("_tests.rs"))
}

fn documentation(attributes: &[Attribute]) -> String {
    let lines = attributes.iter().filter_map(|attribute| match &attribute.meta {
        Meta::NameValue(pair) if pair.path.is_ident("doc") => match &pair.value {
            Expr::Lit(literal) => match &literal.lit {
                Lit::Str(text) => Some(text.value()),
                _ => None,
            },
            _ => None,
        },
        _ => None,
    });
    lines.collect::<Vec<_>>().join("\n")
}
