//! `validate` and `plan`, which need no cluster: the same tables, and what the schema refuses.

use std::process::Command;

use fhir_export_operator::offline::{Checked, Definitions, Problem, plan, read};
use serde_json::{Value, json};

use crate::manifests::{accepted, export, merge, schedule, server};
use crate::refused::refused;

fn check(manifest: &Value) -> Vec<Problem> {
    check_text(&manifest.to_string()).pop().unwrap()
}

/// The problems of each document.
fn check_text(text: &str) -> Vec<Vec<Problem>> {
    let documents = read("file.yaml", text).unwrap();
    let check = |document| match DEFINITIONS.with(|definitions| definitions.check(document)) {
        Checked::Refused(problems) => problems,
        Checked::Valid | Checked::Foreign => Vec::new(),
    };
    documents.iter().map(check).collect()
}

thread_local! {
    static DEFINITIONS: Definitions = Definitions::load().unwrap();
}

/// Manifests that the schema does not permit, the field, and the last words of the message.
pub fn mismatched() -> Vec<(Value, &'static str, &'static str)> {
    let request = |more: Value| {
        let mut request = json!({ "level": "System" });
        merge(&mut request, more);
        export(&request)
    };
    let with = |more: Value| {
        let mut manifest = export(&json!({ "level": "System" }));
        merge(&mut manifest["spec"], more);
        manifest
    };
    vec![
        (request(json!({ "typs": ["Patient"] })), "spec.request.typs", "did you mean types?"),
        (
            request(json!({ "level": "Everything" })),
            "spec.request.level",
            "must be System, Patient or Group, not \"Everything\"",
        ),
        (request(json!({ "types": "Patient" })), "spec.request.types", "must be a list, not a string"),
        (request(json!({ "types": [5] })), "spec.request.types[0]", "must be a string, not a number"),
        (
            request(json!({ "types": vec!["Patient"; 161] })),
            "spec.request.types",
            "must have at most 160 items, not 161",
        ),
        (request(json!({ "since": 2026 })), "spec.request.since", "must be a string, not a number"),
        (request(json!({ "level": null })), "spec.request.level", "is required"),
        (with(json!({ "serverRef": null })), "spec.serverRef", "is required"),
        (
            with(json!({ "serverRef": "clinic" })),
            "spec.serverRef",
            "must be an object with fields, not a string",
        ),
        (
            with(json!({ "activeDeadlineSeconds": "60" })),
            "spec.activeDeadlineSeconds",
            "must be a whole number, not a string",
        ),
        (
            with(json!({ "activeDeadlineSeconds": 0.5 })),
            "spec.activeDeadlineSeconds",
            "must be a whole number, not a number",
        ),
        (
            with(json!({ "activeDeadlineSeconds": 0 })),
            "spec.activeDeadlineSeconds",
            "must be at least 1, not 0",
        ),
        (with(json!({ "cancel": "yes" })), "spec.cancel", "must be true or false, not a string"),
        (server(json!({ "url": "" })), "spec.url", "must have at least 1 character, not 0"),
        (
            server(json!({ "auth": { "type": "None", "none": {} } })),
            "spec.auth.none",
            "there is no such field",
        ),
        (schedule(json!({ "schedule": null })), "spec.schedule", "is required"),
    ]
}

#[test]
fn what_breaks_a_rule_is_refused_in_the_same_words() {
    for (manifest, told) in refused() {
        let problems = check(&manifest);
        let found: Vec<String> = problems.iter().map(|p| format!("{}: {}", p.field, p.message)).collect();
        assert_eq!(found, [told], "{manifest}");
        assert!(problems[0].rule.is_some(), "{manifest}");
    }
}

#[test]
fn what_keeps_the_rules_is_valid() {
    for manifest in accepted() {
        assert_eq!(check(&manifest), [], "{manifest}");
    }
}

#[test]
fn what_the_schema_does_not_permit_is_named_by_its_field() {
    for (manifest, field, told) in mismatched() {
        let problems = check(&manifest);
        let about = problems.iter().find(|problem| problem.field == field);
        assert!(about.is_some_and(|problem| problem.message.ends_with(told)), "{field}: {problems:?}");
        assert!(problems.iter().all(|problem| problem.rule.is_none()), "{problems:?}");
    }
}

#[test]
fn problems_are_told_by_file_line_and_field() {
    let text = "# ours\n\
        apiVersion: fhirexport.dev/v1alpha1\nkind: FhirExport\nmetadata: { name: one }\nspec:\n  serverRef:\n    \
        name: clinic\n  request:\n    level: Group\n    types:\n      - Patient\n      - patient\n---\n\
        apiVersion: v1\nkind: Secret\nmetadata: { name: [] }\n---\n---\n\
        apiVersion: fhirexport.dev/v1\nkind: FhirExport\n---\nkind: FhirExport\n---\n\
        apiVersion: fhirexport.dev/v1alpha1\nkind: FhirExprot\n---\n\
        apiVersion: fhirexport.dev/v1alpha1\nkind: FhirServer\nmetadata: { name: A_b }\nspce: {}\n";
    let problems = check_text(text).concat();
    let told: Vec<String> =
        problems.iter().map(|p| format!("{} {}: {}", p.line, p.field, p.message)).collect();
    let expected = [
        "8 spec.request.groupID: groupID is required when level is Group",
        "10 spec.request.types: use names of FHIR resource types, such as Patient or Observation",
        "19 apiVersion: there is no version v1: use fhirexport.dev/v1alpha1",
        "22 apiVersion: is required: fhirexport.dev/v1alpha1",
        "25 kind: there is no such kind; did you mean FhirExport?",
        "29 metadata.name: use lower-case letters, digits, hyphens and dots, with a letter or digit at both ends",
        "27 spec: is required",
        "30 spce: there is no such field; did you mean spec?",
    ];
    assert_eq!(told, expected);
    assert!(problems.iter().all(|problem| problem.file == "file.yaml"));

    let broken = read("file.yaml", "a: 1\nb: [\n").unwrap_err();
    assert_eq!((broken.line, broken.message.starts_with("this is not YAML: ")), (2, true), "{broken:?}");
}

#[test]
fn an_export_is_planned_with_its_server() {
    let documents = |manifests: &[Value]| {
        let text = manifests.iter().fold(String::new(), |text, manifest| format!("{text}---\n{manifest}\n"));
        read("file.yaml", &text).unwrap()
    };
    let run = export(&json!({ "level": "System", "types": ["Patient"] }));
    let plans = plan(&documents(&[run.clone(), server(json!({})), schedule(json!({ "incremental": {} }))]));
    let [Ok(once), Ok(nightly)] = plans.as_slice() else { panic!("{plans:?}") };
    assert_eq!((once.export.as_str(), once.adds_since), ("fhir/run", false));
    assert_eq!(once.request.url, "https://clinic.example.org/$export?_type=Patient");
    assert_eq!((nightly.export.as_str(), nightly.adds_since), ("fhir/nightly", true));

    let alone = plan(&documents(std::slice::from_ref(&run)));
    let [Err(alone)] = alone.as_slice() else { panic!("{alone:?}") };
    let told = "FhirServer fhir/clinic is not in the files: name its file, too";
    assert_eq!((alone.field.as_str(), alone.message.as_str()), ("spec.serverRef", told));

    let strict = server(json!({ "allow": { "types": ["Observation"] } }));
    let refused = plan(&documents(&[run, strict]));
    let [Err(refused)] = refused.as_slice() else { panic!("{refused:?}") };
    assert!(refused.message.starts_with("FhirServer clinic does not allow this export: "), "{refused:?}");
}

#[test]
fn the_program_tells_problems_by_lines_and_as_json_and_shows_no_secret() {
    let program = env!("CARGO_BIN_EXE_fhir-export-operator");
    let folder = stage::Folder::new("offline").unwrap();
    let file = folder.path().join("a.yaml");
    let file = file.to_str().unwrap();
    let run = |arguments: &[&str], manifest: &Value| {
        std::fs::write(file, manifest.to_string()).unwrap();
        let output = Command::new(program).args(arguments).output().unwrap();
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
        (output.status.code().unwrap(), text(output.stdout), text(output.stderr))
    };
    let wrong = export(&json!({ "level": "Group" }));
    let line =
        format!("{file}:1: FhirExport run: spec.request.groupID: groupID is required when level is Group\n");
    let (code, stdout, stderr) = run(&["validate", file], &wrong);
    assert_eq!((code, stdout, stderr.as_str()), (1, line, "error: 1 problem.\n"));
    let (code, stdout, _) = run(&["validate", "--output", "json", file], &wrong);
    let told: Value = serde_json::from_str(&stdout).unwrap();
    assert_eq!((code, &told["checked"], &told["skipped"]), (1, &json!(1), &json!(0)));
    assert_eq!(told["problems"][0]["rule"], "self.level != 'Group' || has(self.groupID)");
    let (code, stdout, _) = run(&["validate", file], &export(&json!({ "level": "System" })));
    assert_eq!((code, stdout.as_str()), (0, "1 manifest valid\n"));
    let (code, _, stderr) = run(&["validate", "nowhere.yaml"], &wrong);
    assert!(code == 1 && stderr.starts_with("error: nowhere.yaml cannot be read: "), "{stderr}");

    let basic = server(json!({ "auth": { "type": "Basic", "basic": { "secretRef": { "name": "s" } } },
        "headers": [{ "name": "X-Key", "secretRef": { "name": "keys", "key": "k" } }] }));
    let both = json!([basic, export(&json!({ "level": "System" }))]);
    let text = both.as_array().unwrap().iter().fold(String::new(), |text, one| format!("{text}---\n{one}\n"));
    let other = folder.path().join("b.yaml");
    std::fs::write(&other, text).unwrap();
    let (code, stdout, _) = run(&["plan", other.to_str().unwrap()], &wrong);
    let expected = "# FhirExport fhir/run on FhirServer clinic\nGET https://clinic.example.org/$export\n\
        Accept: application/fhir+json\nPrefer: respond-async\n\
        Authorization: Basic <user and password in the Secret>\nX-Key: <key k of Secret keys>\n";
    assert_eq!((code, stdout.as_str()), (0, expected));
}
