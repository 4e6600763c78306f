//! The commands in the pages name what exists: kinds, fields, conditions, files, values of the chart, flags, targets.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use serde_json::Value;

use crate::known::{Kind, conditions, has_field, has_value, kind, wrong_fragment};
use crate::nothing;
use crate::pages::{blocks_in, read, root};

/// The kinds of others that the pages name to kubectl.
const OTHERS: [&str; 19] = [
    "cm",
    "configmap",
    "crd",
    "deploy",
    "deployment",
    "events",
    "lease",
    "namespace",
    "node",
    "nodes",
    "ns",
    "pod",
    "pods",
    "pvc",
    "rolebinding",
    "sa",
    "secret",
    "secrets",
    "serviceaccount",
];

/// The flags of kubectl that a word follows, as far as the pages use them.
const WITH_WORD: [&str; 10] = ["-n", "-f", "-o", "-l", "-p", "-c", "--as", "--type", "--for", "--timeout"];

/// One command of a page, as its words.
struct Command {
    place: String,
    words: Vec<String>,
}

/// The commands of a block. A line that ends with a backslash goes on, `$` stands for the prompt, and what follows a
/// pipe is a command of its own.
fn commands(place: &str, text: &str) -> Vec<Command> {
    let text = text.replace("\\\n", " ");
    let lines = text.lines().map(|line| line.trim_start().trim_start_matches("$ "));
    let words = lines.filter_map(shlex::split).map(|words| {
        let end = words.iter().position(|word| word.starts_with('#')).unwrap_or(words.len());
        words[..end].to_vec()
    });
    words
        .flat_map(|words| {
            let parts =
                words.split(|word| matches!(word.as_str(), "|" | "&&" | ">" | "<")).map(<[String]>::to_vec);
            parts.collect::<Vec<_>>()
        })
        .filter(|words| !words.is_empty())
        .map(|words| Command { place: place.to_owned(), words })
        .collect()
}

/// What is wrong with a command; `None` if it is right, or of a program that is not ours to check.
fn wrong(words: &[String]) -> Option<String> {
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    match words[0] {
        "kubectl" => wrong_kubectl(&words[1..]),
        "helm" => wrong_helm(&words[1..]),
        "make" => wrong_make(&words[1..]),
        "fhir-export-operator" => wrong_operator(&words[1..]),
        _ => None,
    }
}

/// The words that are neither flags nor follow one.
fn plain<'a>(words: &[&'a str]) -> Vec<&'a str> {
    let follows = |at: usize| at > 0 && WITH_WORD.contains(&words[at - 1]);
    (0..words.len()).filter(|at| !words[*at].starts_with('-') && !follows(*at)).map(|at| words[at]).collect()
}

/// The words behind these flags, as `--flag word`, `--flag=word` or `-f word word`.
fn values<'a>(words: &[&'a str], flags: &[&str]) -> Vec<&'a str> {
    let behind = words.iter().enumerate().filter(|(_, word)| flags.contains(word));
    let next = behind.filter_map(|(at, _)| words.get(at + 1).copied());
    let joined =
        words.iter().filter_map(|word| word.split_once('=').filter(|(flag, _)| flags.contains(flag)));
    next.chain(joined.map(|(_, value)| value)).collect()
}

fn wrong_kubectl(words: &[&str]) -> Option<String> {
    let plain = plain(words);
    let verb = *plain.first()?;
    let mut ours: Option<&Kind> = None;
    if words.contains(&"--raw") {
        return None;
    }
    if matches!(verb, "get" | "describe" | "delete" | "wait" | "patch" | "label" | "annotate" | "explain") {
        for named in plain.get(1).into_iter().flat_map(|word| word.split(',')) {
            let (name, path) = named.split_once('.').unwrap_or((named, ""));
            let name = name.split('/').next().unwrap_or(name);
            match kind(name).or_else(|| kind(named)) {
                Some(known) => {
                    ours = Some(known);
                    if verb == "explain" && !has_field(&known.schema, path) {
                        return Some(format!("{} has no field {path}", known.kind));
                    }
                }
                None if OTHERS.contains(&name) => {}
                None => return Some(format!("there is no kind {name}")),
            }
        }
    }
    let files = values(words, &["-f", "--filename"]);
    let missing =
        files.into_iter().find(|file| file.starts_with("examples/") && !root().join(file).is_file());
    if let Some(missing) = missing {
        return Some(format!("there is no {missing}"));
    }
    let ours = ours?;
    let patch = values(words, &["-p", "--patch"]).into_iter().find_map(|patch| {
        let patch: Value = serde_json::from_str(patch).ok()?;
        wrong_fragment(&patch["spec"])
    });
    let wrong_wait = values(words, &["--for"]).into_iter().find_map(|wanted| wrong_wait(ours, wanted));
    let outputs = values(words, &["-o", "--output"]).into_iter().chain(values(words, &["--sort-by"]));
    patch.or(wrong_wait).or_else(|| outputs.into_iter().find_map(|path| wrong_path(ours, path)))
}

fn wrong_wait(kind: &Kind, wanted: &str) -> Option<String> {
    if let Some(condition) = wanted.strip_prefix("condition=") {
        return wrong_condition(condition.split('=').next().unwrap_or_default());
    }
    wanted.strip_prefix("jsonpath=").and_then(|path| wrong_path(kind, path))
}

fn wrong_condition(name: &str) -> Option<String> {
    (!conditions().any(|known| known == name)).then(|| format!("there is no condition {name}"))
}

/// What a JSON path names that objects of this kind do not have.
fn wrong_path(kind: &Kind, path: &str) -> Option<String> {
    let condition = path.split("@.type==\"").nth(1).and_then(|rest| rest.split('"').next());
    if let Some(wrong) = condition.and_then(wrong_condition) {
        return Some(wrong);
    }
    let is_end = |c: char| !(c.is_ascii_alphanumeric() || matches!(c, '.' | '[' | ']' | '*'));
    for top in [".spec", ".status"] {
        for (at, _) in path.match_indices(top) {
            let named = path[at..].split(is_end).next().unwrap_or(top).trim_end_matches(['.', '[']);
            if !has_field(&kind.schema, named) {
                return Some(format!("{} has no field {named}", kind.kind));
            }
        }
    }
    None
}

fn wrong_helm(words: &[&str]) -> Option<String> {
    let chart = words.iter().find(|word| word.starts_with("charts/"));
    if let Some(chart) = chart.filter(|chart| !root().join(chart).join("Chart.yaml").is_file()) {
        return Some(format!("there is no chart {chart}"));
    }
    let set = values(words, &["--set", "--set-string"]);
    // A comma in braces separates the items of a list.
    let names = set.into_iter().flat_map(|set| {
        let mut depth = 0;
        set.split(move |c: char| {
            depth += i32::from(c == '{') - i32::from(c == '}');
            c == ',' && depth == 0
        })
        .filter_map(|pair| pair.split_once('='))
    });
    let mut names = names.map(|(name, _)| name);
    names.find(|name| !has_value(name)).map(|name| format!("the chart has no value {name}"))
}

fn wrong_make(words: &[&str]) -> Option<String> {
    static TARGETS: LazyLock<String> =
        LazyLock::new(|| format!("\n{}\n{}", read("Makefile"), read("tests/parts/parts.mk")));
    let target = words.iter().find(|word| !word.contains('='))?;
    (!TARGETS.contains(&format!("\n{target}:"))).then(|| format!("there is no target {target}"))
}

/// The commands of the program with the rows of their flags, from the page that is generated from them.
static PROGRAM: LazyLock<BTreeMap<String, String>> = LazyLock::new(|| {
    let page = read("docs/reference/flags.md");
    let sections = page.split("\n## ").skip(1).filter_map(|section| section.split_once('\n'));
    sections.map(|(command, rows)| (command.to_owned(), rows.to_owned())).collect()
});

fn wrong_operator(words: &[&str]) -> Option<String> {
    let called = words.iter().take_while(|word| !word.starts_with('-')).copied().collect::<Vec<_>>();
    let names = (1..=called.len()).map(|n| format!("fhir-export-operator {}", called[..n].join(" ")));
    let Some((name, rows)) = names.rev().find_map(|name| PROGRAM.get_key_value(&name)) else {
        return Some(format!("there is no command {}", called.join(" ")));
    };
    let flags = words.iter().filter(|word| word.starts_with('-') && **word != "-" && **word != "--help");
    let mut flags = flags.map(|flag| flag.split('=').next().unwrap_or(flag));
    let has = |flag: &str| {
        [format!("`{flag}"), format!(", {flag}")].iter().any(|form| {
            rows.match_indices(form.as_str())
                .any(|(at, _)| rows[at + form.len()..].starts_with([' ', ',', '`']))
        })
    };
    flags.find(|flag| !has(flag)).map(|flag| format!("{name} has no flag {flag}"))
}

#[test]
fn every_command_in_the_pages_names_what_exists() {
    let blocks = blocks_in(&["", "sh"]);
    let commands: Vec<Command> =
        blocks.iter().flat_map(|block| commands(&block.place, &block.text)).collect();
    let of = |program: &str| commands.iter().filter(|command| command.words[0] == program).count();
    for program in ["kubectl", "helm", "make", "fhir-export-operator"] {
        assert!(of(program) > 0, "no command of {program} was found");
    }
    let wrong = commands.iter().filter_map(|command| {
        Some(format!("{}: {}: {}", command.place, command.words.join(" "), wrong(&command.words)?))
    });
    nothing(&wrong.collect::<Vec<_>>());
}

#[test]
fn a_command_that_names_what_does_not_exist_is_found() {
    let problems = |line: &str| {
        commands("p:1", line).iter().filter_map(|command| wrong(&command.words)).collect::<Vec<_>>()
    };
    for right in [
        "$ kubectl get fexp,secret -A -o wide   # all",
        "kubectl get fexp a -o jsonpath='{.status.output.container}/{.status.conditions[?(@.type==\"Failed\")].message}'",
        "kubectl patch fexp a --type=merge -p '{\"spec\":{\"cancel\":true}}'",
        "kubectl wait --for=condition=Ready fserver/a \\\n  --timeout=2m",
        "kubectl apply -f examples/azure/server.yaml",
        "helm install a charts/fhir-export-operator --set 'watchNamespaces={a,b}',crds.install=false",
        "fhir-export-operator local -f a.yaml b.yaml --container lake | cat",
        "fhir-export-operator local get",
        "make sim SEEDS=3",
    ] {
        assert_eq!(problems(right), Vec::<String>::new(), "{right}");
    }
    for wrong in [
        "kubectl get fexps",
        "kubectl get fexp -A && kubectl get fexport",
        "kubectl get fexp a -o jsonpath='{.status.output.place}'",
        "kubectl get fexp a -o jsonpath='{.status.conditions[?(@.type==\"Broken\")].message}'",
        "kubectl patch fexp a -p '{\"spec\":{\"cancelled\":true}}'",
        "kubectl wait --for=condition=Done fexp/a",
        "kubectl wait --for=jsonpath='{.status.endTime}' fexp/a",
        "kubectl explain fexp.spec.limits",
        "kubectl apply -f examples/azure/nowhere.yaml",
        "helm install a charts/nowhere",
        "helm install a charts/fhir-export-operator --set crds.instal=false",
        "fhir-export-operator locally -f a.yaml",
        "fhir-export-operator local --containers lake",
        "make everything",
    ] {
        assert_eq!(problems(wrong).len(), 1, "{wrong}: {:?}", problems(wrong));
    }
}
