//! The release: its workflows, the scripts that they run, and what these make.
#![allow(missing_docs, clippy::unwrap_used, clippy::indexing_slicing, clippy::panic)]

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use serde_json::Value;
use stage::{Folder, Output, Tool};

const WORKFLOWS: [&str; 2] = [".github/workflows/ci.yaml", ".github/workflows/release.yaml"];
const PLATFORMS: [&str; 4] = ["linux-amd64", "linux-arm64", "darwin-amd64", "darwin-arm64"];
const REPOSITORY: &str = "https://git.example.org/team/operator";

fn file(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

fn read(path: &str) -> String {
    std::fs::read_to_string(file(path)).unwrap_or_else(|e| panic!("{path}: {e}"))
}

async fn script(name: &str, args: &[&str]) -> Output {
    Tool::new(&file(name), args).unwrap().directory(&file("")).run().await.unwrap()
}

#[tokio::test]
async fn actionlint_finds_nothing_in_the_workflows() {
    let parts = stage::actionlint().await.unwrap();
    // Other linters, where the machine happens to have them, are left out: the result is the same everywhere.
    let args = ["-shellcheck=", "-pyflakes=", WORKFLOWS[0], WORKFLOWS[1]];
    let tool = Tool::new(parts.program("ACTIONLINT").unwrap(), args).unwrap().directory(&file(""));
    let output = tool.run().await.unwrap();
    assert!(output.succeeded(), "{}{}", output.stdout, output.stderr);
}

/// A tag of an action can be moved by whoever owns the action; a commit cannot.
#[test]
fn every_action_is_pinned_by_commit_and_says_its_version() {
    let mut known: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for path in WORKFLOWS {
        for line in
            read(path).lines().filter_map(|l| l.trim().trim_start_matches("- ").strip_prefix("uses: "))
        {
            let (action, version) =
                line.split_once(" # v").unwrap_or_else(|| panic!("{path}: {line} has no version"));
            let (action, commit) = action.split_once('@').unwrap();
            assert!(commit.len() == 40 && commit.chars().all(|c| c.is_ascii_hexdigit()), "{path}: {line}");
            assert_eq!(version.split('.').count(), 3, "{path}: {line}");
            known.entry(action.into()).or_default().insert(format!("{commit} {version}"));
        }
    }
    assert!(known.len() > 8, "{known:?}");
    for (action, pins) in known {
        assert_eq!(pins.len(), 1, "{action}: {pins:?}");
    }
}

/// Only the job that publishes may write, and no job keeps the token of the checkout.
#[test]
fn jobs_have_the_rights_that_they_need() {
    for path in WORKFLOWS {
        let workflow: Value = serde_saphyr::from_str(&read(path)).unwrap();
        assert_eq!(workflow["permissions"], serde_json::json!({ "contents": "read" }), "{path}");
        for (name, job) in workflow["jobs"].as_object().unwrap() {
            assert!(job["permissions"].is_null() || name == "publish", "{path}: {name}");
            assert!(job["timeout-minutes"].is_number(), "{path}: {name}");
            for step in job["steps"].as_array().unwrap() {
                if step["uses"].as_str().is_some_and(|action| action.starts_with("actions/checkout@")) {
                    assert_eq!(step["with"]["persist-credentials"], false, "{path}: {name}");
                }
            }
        }
    }
}

/// The scripts that the workflows run are there.
#[test]
fn what_the_workflows_run_is_there() {
    let mut found = 0;
    for path in WORKFLOWS {
        for word in read(path).split_whitespace() {
            if (word.starts_with(".ci/") || word.starts_with("charts/p")) && !word.ends_with("/*.tgz") {
                assert!(file(word).exists(), "{path}: {word}");
                found += 1;
            }
        }
    }
    assert!(found > 5, "{found}");
}

#[test]
fn the_platforms_are_the_same_everywhere() {
    let workflow: Value = serde_saphyr::from_str(&read(WORKFLOWS[1])).unwrap();
    let built = workflow["jobs"]["programs"]["strategy"]["matrix"]["include"].as_array().unwrap();
    let built: Vec<_> = built.iter().map(|entry| entry["platform"].as_str().unwrap()).collect();
    assert_eq!(built, PLATFORMS);
}

#[tokio::test]
async fn release_notes_are_the_section_of_the_changelog() {
    let folder = Folder::new("notes").unwrap();
    let text = "# Changelog\n\n## [Unreleased]\n\n## [1.10.0] - 2026-12-01\n\n### Added\n\n- **Breaking:** one \
        [page](docs/a.md).\n  It has more lines.\n\n- Two: `a \"b\"`\n\n### Fixed\n\n- Three.\n\n## [1.1.0] - 2026-11-01\n\n- Old.\n";
    folder.write("CHANGELOG.md", text).unwrap();
    let notes = async |args: &[&str]| {
        let tool = Tool::new(&file(".ci/release-notes"), args).unwrap();
        tool.env("CHANGELOG", folder.path().join("CHANGELOG.md")).run().await.unwrap()
    };
    let said = notes(&["1.10.0"]).await.ok().unwrap();
    assert!(said.starts_with("### Added\n") && said.trim_end().ends_with("- Three."), "{said}");
    assert!(!said.contains("Old"), "{said}");
    let changes: Value = serde_saphyr::from_str(&notes(&["1.10.0", "--chart"]).await.ok().unwrap()).unwrap();
    let told: Vec<_> = changes
        .as_array()
        .unwrap()
        .iter()
        .map(|c| (c["kind"].as_str().unwrap(), c["description"].as_str().unwrap()))
        .collect();
    assert_eq!(told, [("added", "Breaking: one page."), ("added", "Two: a \"b\""), ("fixed", "Three.")]);
    for (version, status) in [("1.1.0", true), ("Unreleased", false), ("1.1", false), ("1x10.0", false)] {
        assert_eq!(notes(&[version]).await.succeeded(), status, "{version}");
    }
}

/// The kinds of changes are those that Artifact Hub knows (helm_annotations in the documentation of its repository).
#[tokio::test]
async fn the_changelog_of_today_becomes_an_annotation() {
    let said = script(".ci/release-notes", &["Unreleased", "--chart"]).await.ok().unwrap();
    let changes: Vec<Value> = serde_saphyr::from_str(&said).unwrap();
    assert!(changes.len() > 10, "{said}");
    for change in changes {
        let kind = change["kind"].as_str().unwrap();
        let known = ["added", "changed", "deprecated", "removed", "fixed", "security"];
        assert!(
            known.contains(&kind) && change["description"].as_str().is_some_and(|d| !d.is_empty()),
            "{change}"
        );
    }
}

/// The rules are those of krew (`internal/index/validation` of its repository, v0.5.0) and of its guide for authors.
fn assert_krew_takes(manifest: &Value) {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    assert_eq!(manifest["apiVersion"], "krew.googlecontainertools.github.com/v1alpha2");
    assert_eq!(manifest["kind"], "Plugin");
    let name = text(&manifest["metadata"]["name"]);
    assert!(
        !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_' || c == '-'),
        "{name}"
    );
    let spec = &manifest["spec"];
    let short = text(&spec["shortDescription"]);
    assert!(
        !short.is_empty() && !short.contains(['\r', '\n']) && short.len() <= 50 && !short.ends_with('.'),
        "{short}"
    );
    let version = text(&spec["version"]);
    let numbers: Vec<_> = version.strip_prefix('v').unwrap().split('.').collect();
    assert!(numbers.len() == 3 && numbers.iter().all(|n| n.parse::<u32>().is_ok()), "{version}");
    let mut platforms = BTreeSet::new();
    for platform in spec["platforms"].as_array().unwrap() {
        let sum = text(&platform["sha256"]);
        assert!(
            sum.len() == 64 && sum.chars().all(|c| c.is_ascii_digit() || ('a'..='f').contains(&c)),
            "{sum}"
        );
        assert!(text(&platform["uri"]).starts_with("https://"), "{platform}");
        let labels = platform["selector"]["matchLabels"].as_object().unwrap();
        assert_eq!(labels.keys().map(String::as_str).collect::<BTreeSet<_>>(), ["arch", "os"].into());
        let files = platform["files"].as_array().unwrap();
        assert!(
            files.iter().all(|f| !text(&f["from"]).is_empty() && !text(&f["to"]).is_empty()),
            "{platform}"
        );
        let from: Vec<_> = files.iter().map(|f| text(&f["from"])).collect();
        // The program is named after the plugin, and its licence is installed with it.
        assert_eq!(from, [format!("kubectl-{name}"), "LICENSE".into()]);
        assert_eq!(text(&platform["bin"]), format!("kubectl-{name}"));
        platforms.insert(format!("{}-{}", text(&labels["os"]), text(&labels["arch"])));
    }
    assert_eq!(platforms, PLATFORMS.map(str::to_owned).into());
}

#[tokio::test]
async fn krew_takes_the_manifest_of_the_plugin() {
    let folder = Folder::new("krew").unwrap();
    let sums = |platforms: &[&str]| {
        let line =
            |(n, platform): (usize, &&str)| format!("{n:064x}  kubectl-fhirexport-1.2.3-{platform}.tar.gz\n");
        let lines: String = platforms.iter().enumerate().map(line).collect();
        folder
            .write(
                "SHA256SUMS",
                lines + &format!("{:064x}  fhir-export-operator-1.2.3-linux-amd64.tar.gz\n", 99),
            )
            .unwrap();
    };
    let path = folder.path().join("SHA256SUMS");
    let krew = async || script(".ci/krew", &["1.2.3", REPOSITORY, path.to_str().unwrap()]).await;
    sums(&PLATFORMS);
    let manifest: Value = serde_saphyr::from_str(&krew().await.ok().unwrap()).unwrap();
    assert_krew_takes(&manifest);
    let last = &manifest["spec"]["platforms"][3];
    assert_eq!(last["sha256"], format!("{:064x}", 3));
    let uri = format!("{REPOSITORY}/releases/download/v1.2.3/kubectl-fhirexport-1.2.3-darwin-arm64.tar.gz");
    assert_eq!(last["uri"], uri);

    sums(&PLATFORMS[..3]);
    let refused = krew().await.ok().unwrap_err().to_string();
    assert!(refused.contains("no checksum of kubectl-fhirexport-1.2.3-darwin-arm64.tar.gz"), "{refused}");
}

/// What the Dockerfile copies is what the script lays out.
#[tokio::test]
async fn the_image_is_built_from_the_programs_of_the_release() {
    let folder = Folder::new("image").unwrap();
    for arch in ["amd64", "arm64"] {
        folder.write("fhir-export-operator", format!("the program for {arch}")).unwrap();
        folder.write("LICENSE", "").unwrap();
        let archive = folder.path().join(format!("fhir-export-operator-1.2.3-linux-{arch}.tar.gz"));
        let args = [
            "-C",
            folder.path().to_str().unwrap(),
            "-czf",
            archive.to_str().unwrap(),
            "fhir-export-operator",
            "LICENSE",
        ];
        Tool::new(Path::new("/bin/tar"), args).unwrap().run().await.unwrap().ok().unwrap();
    }
    let context = folder.path().join("context");
    let args = ["1.2.3", folder.path().to_str().unwrap(), context.to_str().unwrap()];
    let tool = Tool::new(&file(".ci/image-context"), args).unwrap();
    tool.run().await.unwrap().ok().unwrap();

    let dockerfile = read("Dockerfile");
    let copied: Vec<&str> =
        dockerfile.lines().filter_map(|l| l.strip_prefix("COPY ")?.split(' ').next()).collect();
    assert_eq!(copied.len(), 2, "{copied:?}");
    for arch in ["amd64", "arm64"] {
        for source in &copied {
            let path = context.join(source.replace("${TARGETARCH}", arch));
            assert!(path.is_file(), "{}", path.display());
        }
        let program = std::fs::read_to_string(context.join(arch).join("fhir-export-operator")).unwrap();
        assert_eq!(program, format!("the program for {arch}"));
    }
    let authorities = std::fs::read(context.join("ca-certificates.crt")).unwrap();
    let count = reqwest::Certificate::from_pem_bundle(&authorities).unwrap().len();
    assert!(count > 100, "{count} authorities");
    assert!(dockerfile.contains("\nFROM scratch\n") && dockerfile.contains("\nUSER 65532:65532\n"));
    for label in ["title", "description", "licenses", "version", "revision", "source"] {
        assert!(dockerfile.contains(&format!("org.opencontainers.image.{label}=")), "{label}");
    }
}
