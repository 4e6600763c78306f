#![allow(clippy::unwrap_used)]

use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::core::export::tests::{azure_server, request};

fn verdict(allow: Value, of: Value) -> Result<(), String> {
    let mut server = azure_server();
    server.spec.allow = Some(serde_json::from_value(allow).unwrap());
    admits_request(&server.spec, &request(of))
}

/// Each row holds what is allowed, what is requested, and what the message names if the request is denied.
fn table(rows: &[(Value, Value, Option<&str>)]) {
    for (allow, of, wanted) in rows {
        let mut of = of.clone();
        if of.get("level").is_none() {
            of["level"] = "System".into();
        }
        let got = verdict(allow.clone(), of.clone());
        match (wanted, &got) {
            (None, Ok(())) => {}
            (Some(words), Err(why)) if why.contains(words) => {}
            _ => panic!("{allow} for {of}: wanted {wanted:?}, got {got:?}"),
        }
    }
}

#[test]
fn without_allow_all_is_allowed() {
    let all = json!({"level": "System", "parameters": [{"name": "x", "value": "1"}],
        "includeAssociatedData": ["_history"],
        "types": ["Patient"], "typeFilters": ["Patient?identifier=1"]});
    assert_eq!(admits_request(&azure_server().spec, &request(all)), Ok(()));
}

#[test]
fn the_own_container_of_a_run_is_nobody_else_s() {
    let uid = "export-0123abcd-0000-4000-8000-00112233aabb";
    let ask = |name: &str| json!({"container": name});
    table(&[
        (json!({}), ask(uid), Some("reserved for the run 0123abcd-")),
        (json!({}), ask("export-4711"), Some("reserved for the run 4711")),
        (json!({"containers": ["export-*"]}), ask(uid), Some("reserved for the run")),
        (json!({"containers": [uid]}), ask(uid), None),
        (json!({}), ask("export-lake"), None),
        (json!({}), ask("export-2026-01"), None),
        (json!({}), ask("exports"), None),
    ]);
    let squatting = request(json!({"level": "System", "container": uid}));
    assert!(admits_request(&azure_server().spec, &squatting).is_err(), "without allow, too");
}

#[test]
fn levels_and_groups() {
    let g = |id: &str| json!({"level": "Group", "groupID": id});
    table(&[
        (json!({}), json!({}), None),
        (json!({"levels": ["Group"]}), json!({}), Some("allowed: Group")),
        (json!({"levels": ["Group", "Patient"]}), json!({"level": "Patient"}), None),
        (json!({"levels": []}), json!({}), Some("allowed: none")),
        (json!({"groupIDs": ["cohort-*"]}), g("cohort-42"), None),
        (json!({"groupIDs": ["cohort-*"]}), g("xcohort-42"), Some("allowed: cohort-*")),
        (json!({"groupIDs": ["a", "b"]}), g("c"), Some("a, b")),
        (json!({"groupIDs": []}), g("c"), Some("none")),
        (json!({"groupIDs": ["*"]}), json!({}), Some("level System is not allowed")),
        (json!({"groupIDs": ["*"]}), json!({"level": "Patient"}), Some("level Patient is not allowed")),
        (json!({"levels": ["System", "Group"], "groupIDs": ["*"]}), json!({}), Some("level System")),
        (json!({"levels": ["System"], "groupIDs": ["*"]}), g("c"), Some("level Group")),
    ]);
}

#[test]
fn types_and_containers() {
    table(&[
        (json!({"types": ["Patient"]}), json!({"types": ["Patient"]}), None),
        (json!({"types": ["Patient"]}), json!({}), Some("name types among: Patient")),
        (json!({"types": ["Patient"]}), json!({"types": []}), Some("all types")),
        (json!({"types": ["Patient"]}), json!({"types": ["Patient", "Observation"]}), Some("Observation")),
        (json!({"types": ["Patient"]}), json!({"types": ["patient"]}), Some("patient")),
        (json!({"containers": ["research-*"]}), json!({"container": "research-lake"}), None),
        (json!({"containers": ["research-*"]}), json!({"container": "lake"}), Some("research-*")),
        (json!({"containers": ["*"]}), json!({}), Some("must name a container")),
    ]);
    let mut server = azure_server();
    server.spec.default_container = Some("research-lake".into());
    server.spec.allow = Some(serde_json::from_value(json!({"containers": ["research-*"]})).unwrap());
    assert!(
        admits_request(&server.spec, &request(json!({"level": "System"}))).is_err(),
        "a default is no choice of the run"
    );
}

#[test]
fn parameters_and_associated_data_once_allow_is_there() {
    let p = |name: &str| json!({"parameters": [{"name": name, "value": "1"}]});
    table(&[
        (json!({}), p("_format"), Some("_format")),
        (json!({"parameters": ["_format"]}), p("_format"), None),
        (json!({"parameters": ["_Format"]}), p("_fORMAT"), None),
        (json!({"parameters": ["_format"]}), p("_formats"), Some("allowed: _format")),
        (json!({}), json!({"includeAssociatedData": ["_history"]}), Some("_history")),
        (json!({"associatedData": ["_history"]}), json!({"includeAssociatedData": ["_history"]}), None),
        (
            json!({"associatedData": ["_history"]}),
            json!({"includeAssociatedData": ["_history", "_deleted"]}),
            Some("_deleted"),
        ),
        (json!({}), json!({"includeAssociatedData": [], "parameters": []}), None),
    ]);
}

#[test]
fn identifying_search_parameters() {
    let denied = |filter: &str, name: &'static str| {
        (json!({}), json!({"types": ["Patient"], "typeFilters": [filter]}), Some(name))
    };
    let rows: Vec<_> = IDENTIFYING
        .iter()
        .map(|name| denied(&format!("Patient?{name}=1"), name))
        .chain([
            denied("Patient?gender=male&Identifier=1", "identifier"),
            denied("Patient?family:exact=x", "family"),
            denied("Patient?name:missing=true", "name"),
            denied("Patient?address-city=x", "address-city"),
            denied("Patient?address-postalcode:exact=x", "address-postalcode"),
            denied("Observation?patient.name=x", "name"),
            denied("Observation?subject:Patient.birthdate=gt2000", "birthdate"),
            denied("Observation?patient:identifier=1", "identifier"),
            denied("Patient?_has:Observation:patient:identifier=1", "identifier"),
            denied("Patient?_has:Observation:patient:_has:AuditEvent:entity:_id=1", "_id"),
            denied("Patient?%69dentifier=1", "identifier"),
            denied("Patient?%2569dentifier=1", "identifier"),
            denied("Patient?gender=male%26identifier=1", "identifier"),
            denied("Patient?gender=male%2526identifier=1", "identifier"),
            denied("Patient?gender=male;identifier=1", "identifier"),
            denied("Patient?gender=male%2CPatient?identifier=1", "identifier"),
            denied("Patient?%5Fid=1", "_id"),
            denied("Patient?identifier", "identifier"),
            denied("Patient? identifier =1", "identifier"),
        ])
        .collect();
    table(&rows);
    let allowed = |filter: &str, list: Value| {
        (json!({"searchParameters": list}), json!({"types": ["Patient"], "typeFilters": [filter]}), None)
    };
    table(&[
        allowed("Patient?gender=male", json!([])),
        allowed("Observation?patient=Patient/1", json!([])),
        allowed("Observation?category=laboratory&code=name", json!([])),
        allowed("Patient?identifier=1", json!(["identifier"])),
        allowed("Patient?IDENTIFIER:of-type=1", json!(["Identifier"])),
        allowed("Patient?_has:Observation:patient:identifier=1", json!(["identifier"])),
    ]);
    table(&[(
        json!({"searchParameters": ["identifier"]}),
        json!({"types": ["P"], "typeFilters": ["P?identifier=1&name=2"]}),
        Some("name"),
    )]);
}

#[test]
fn a_filters_values_are_not_repeated() {
    let why =
        verdict(json!({}), json!({"level": "System", "types": ["P"], "typeFilters": ["P?identifier=4711"]}))
            .unwrap_err();
    assert!(!why.contains("4711"), "{why}");
}

#[test]
fn anonymization() {
    let with = |value: Value| json!({"container": "lake", "azure": {"anonymization": value}});
    let rule = |value: Value| json!({"anonymization": value});
    let configs = rule(
        json!({"required": true, "configs": [{"config": "deid.json", "etag": "e1"}, {"config": "b.json"}]}),
    );
    table(&[
        (rule(json!({})), json!({}), None),
        (rule(json!({"required": false})), json!({}), None),
        (rule(json!({"required": true})), json!({}), Some("de-identified")),
        (rule(json!({"required": true})), json!({"azure": {"maxCount": 1}}), Some("de-identified")),
        (rule(json!({"required": true})), with(json!({"config": "any.json"})), None),
        (configs.clone(), with(json!({"config": "deid.json", "etag": "e1"})), None),
        (configs.clone(), with(json!({"config": "b.json"})), None),
        (configs.clone(), with(json!({"config": "b.json", "etag": "any"})), None),
        (configs.clone(), with(json!({"config": "deid.json"})), Some("deid.json with etag e1, b.json")),
        (configs.clone(), with(json!({"config": "deid.json", "etag": "e2"})), Some("e1")),
        (
            configs.clone(),
            with(json!({"config": "b.json", "collectionReference": "acr.example/x:1"})),
            Some("b.json"),
        ),
        (configs.clone(), with(json!({"config": "B.json"})), Some("b.json")),
        (configs, json!({}), Some("set azure.anonymization; allowed: deid.json with etag e1, b.json")),
        (rule(json!({"configs": []})), with(json!({"config": "a"})), Some("none")),
        (rule(json!({"configs": [{"config": "a"}]})), json!({}), None),
    ]);
}

#[test]
fn patterns() {
    for (pattern, text, fits) in [
        ("", "", true),
        ("", "a", false),
        ("*", "", true),
        ("*", "abc", true),
        ("abc", "abc", true),
        ("abc", "abcd", false),
        ("abc", "xabc", false),
        ("a*", "a", true),
        ("a*", "ba", false),
        ("*a", "ba", true),
        ("*a", "ab", false),
        ("a*c", "abbc", true),
        ("a*c", "ac", true),
        ("a*c", "acb", false),
        ("a*a", "a", false),
        ("*b*", "abc", true),
        ("a*b*c", "aXbYbZc", true),
        ("a*bc*bc", "abcbc", true),
        ("a*bc*bc", "abc", false),
        ("**", "x", true),
        ("A*", "abc", false),
        ("a.c", "abc", false),
    ] {
        assert_eq!(matches(pattern, text), fits, "{pattern} {text}");
    }
}

#[test]
fn who_may_name_a_server() {
    let labels: BTreeMap<String, String> =
        [("team".to_owned(), "a".to_owned()), ("x".to_owned(), "y".to_owned())].into();
    let with = |consumers: Value| {
        let mut server = azure_server();
        server.spec.consumers = serde_json::from_value(consumers).unwrap();
        server.spec
    };
    let selector =
        |labels: Value| json!({"namespaces": {"from": "Selector", "selector": {"matchLabels": labels}}});
    for (consumers, namespace, labels, admitted) in [
        (Value::Null, "fhir", None, true),
        (Value::Null, "other", Some(&labels), false),
        (json!({"namespaces": {"from": "Same"}}), "other", Some(&labels), false),
        (selector(json!({"team": "a"})), "fhir", None, true),
        (selector(json!({"team": "a"})), "other", Some(&labels), true),
        (selector(json!({"team": "a", "x": "y"})), "other", Some(&labels), true),
        (selector(json!({"team": "b"})), "other", Some(&labels), false),
        (selector(json!({"team": "a", "z": "y"})), "other", Some(&labels), false),
        (selector(json!({"team": "a"})), "other", None, false),
        (selector(json!({})), "other", Some(&labels), false),
        (json!({"namespaces": {"from": "Selector"}}), "other", Some(&labels), false),
        (
            json!({"namespaces": {"from": "Same", "selector": {"matchLabels": {"team": "a"}}}}),
            "other",
            Some(&labels),
            false,
        ),
    ] {
        assert_eq!(
            admits_namespace(&with(consumers.clone()), "fhir", namespace, labels),
            admitted,
            "{consumers} {namespace}"
        );
    }
}

proptest! {
    #[test]
    fn an_identifying_parameter_is_found_anywhere(
        name in proptest::sample::select(IDENTIFYING.to_vec()),
        before in "(_has:[A-Z][a-z]{2,8}:[a-z]{2,8}:|[b-d]{3}\\.|[b-d]{3}:[A-Z][a-z]{2,6}\\.)?",
        after in "(:exact|:missing|:contains)?", other in "([q-z]{3}=[0-9]{1,3}&)?", encode in 0_usize..3,
    ) {
        let mut query = format!("{other}{before}{name}{after}=1");
        for _ in 0..encode {
            query = percent_encoding::utf8_percent_encode(&query, percent_encoding::NON_ALPHANUMERIC).to_string();
        }
        let of = json!({"level": "System", "types": ["Patient"], "typeFilters": [format!("Patient?{query}")]});
        let (denied, allowed) = (verdict(json!({}), of.clone()), verdict(json!({"searchParameters": [name]}), of));
        prop_assert!(denied.is_err() && allowed.is_ok());
    }

    #[test]
    fn a_text_fits_itself_with_stars_in_it(a in "[a-z]{0,6}", b in "[a-z]{0,6}", c in "[a-z]{0,6}") {
        let (text, ends, middle) = (format!("{a}{b}{c}"), format!("{a}*{c}"), format!("*{b}*"));
        prop_assert!(matches(&ends, &text) && matches(&middle, &text));
    }
}
