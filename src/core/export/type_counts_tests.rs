#![allow(clippy::needless_pass_by_value)] // they are given a json! each time

use serde_json::json;

use super::*;
use crate::core::bulk::manifest::Pages;
use crate::core::wire::Answer;

fn spec() -> FhirServerSpec {
    let fields = json!({"url": "https://x.example", "dialect": "BulkData", "auth": {"type": "None"}});
    serde_json::from_value(fields).unwrap()
}

fn manifest(time: &str) -> Manifest {
    let body = json!({"transactionTime": time, "requiresAccessToken": false, "output": []});
    Pages::read(None, body.to_string().as_bytes(), "https://x.example/status/1").unwrap().into_manifest()
}

const TIME: &str = "2026-01-01T00:00:00.5+01:00";

fn ask(request: Value, asked: &TypeCounts) -> Option<(String, String)> {
    let request = serde_json::from_value(request).unwrap();
    question(&spec(), &manifest(TIME), &request, asked).map(|(type_, request)| (type_, request.url))
}

#[test]
fn the_server_is_asked_only_where_its_answer_tells() {
    let patients = json!({"level": "System", "types": ["Patient"]});
    let at = |query: &str| {
        Some(("Patient".to_owned(), format!("https://x.example/Patient?_summary=count{query}")))
    };
    assert_eq!(ask(patients.clone(), &TypeCounts::new()), at(""));
    let asked = TypeCounts::from([("Patient".to_owned(), TypeCount::Now)]);
    assert_eq!(ask(patients.clone(), &asked), at("&_lastUpdated=le2026-01-01T00%3A00%3A00.5%2B01%3A00"));
    let asked = TypeCounts::from([("Patient".to_owned(), TypeCount::Unproven(7))]);
    assert_eq!(ask(patients.clone(), &asked), at("&_lastUpdated=gt2999-12-31"));
    for settled in [TypeCount::None, TypeCount::AtTransaction(1), TypeCount::NotAsOf, TypeCount::Untold] {
        let asked = TypeCounts::from([("Patient".to_owned(), settled)]);
        assert_eq!(ask(patients.clone(), &asked), None, "{settled:?}");
    }
    for narrowed in [
        json!({"level": "System"}),
        json!({"level": "Patient", "types": ["Patient"]}),
        json!({"level": "System", "types": ["Patient"], "since": "2026-01-01T00:00:00Z"}),
        json!({"level": "System", "types": ["Patient"], "typeFilters": ["Patient?active=true"]}),
        json!({"level": "System", "types": ["Patient"], "parameters": [{"name": "x", "value": "y"}]}),
    ] {
        assert_eq!(ask(narrowed.clone(), &TypeCounts::new()), None, "{narrowed}");
    }
    let many: Vec<String> = (0..50).map(|n| format!("T{n}")).collect();
    let asked = many.iter().take(MAX_ASKED).map(|t| (t.clone(), TypeCount::Untold)).collect();
    assert_eq!(ask(json!({"level": "System", "types": many}), &asked), None);
}

fn searchset(total: u64, searched: Option<&str>) -> Answer {
    let link = searched.map_or(json!([]), |url| json!([{"relation": "self", "url": url}]));
    let body = json!({"resourceType": "Bundle", "total": total, "link": link}).to_string();
    Answer { status: 200, body: body.into(), ..Answer::default() }
}

fn told(before: Option<TypeCount>, time: &str, reply: Reply) -> TypeCount {
    let mut asked: TypeCounts = before.map(|count| ("T".to_owned(), count)).into_iter().collect();
    answered(&mut asked, &manifest(time), "T".to_owned(), reply);
    asked["T"]
}

#[test]
fn what_was_made_or_changed_since_is_not_missing() {
    let (now, unproven) = (Some(TypeCount::Now), Some(TypeCount::Unproven(7)));
    let timed = Some("https://x/T?_summary=count&_lastUpdated=le2026");
    for (before, reply, wanted) in [
        (None, Ok(searchset(0, None)), TypeCount::None),
        (None, Ok(searchset(7, timed)), TypeCount::Now),
        (None, Ok(Answer { status: 403, ..Answer::default() }), TypeCount::Untold),
        (now, Ok(searchset(7, timed)), TypeCount::AtTransaction(7)),
        (now, Ok(searchset(0, timed)), TypeCount::ChangedSince),
        // The server ignored the time, or does not say whether it did.
        (now, Ok(searchset(7, Some("https://x/T?_summary=count"))), TypeCount::Unproven(7)),
        (now, Ok(searchset(7, None)), TypeCount::Unproven(7)),
        (unproven, Ok(searchset(0, None)), TypeCount::AtTransaction(7)),
        (unproven, Ok(searchset(9, None)), TypeCount::NotAsOf),
        (unproven, Ok(Answer { status: 400, ..Answer::default() }), TypeCount::NotAsOf),
        (now, Ok(Answer { status: 400, ..Answer::default() }), TypeCount::NotAsOf),
    ] {
        assert_eq!(told(before, TIME, reply.clone()), wanted, "{before:?} {reply:?}");
    }
    assert_eq!(told(None, "yesterday", Ok(searchset(7, None))), TypeCount::NotAsOf, "no time to ask for");
}

#[test]
fn a_count_is_the_total_of_a_searchset() {
    assert_eq!(Counted::read(br#"{"resourceType":"Bundle","total":7}"#).map(|c| c.total), Some(7));
    for body in ["", "{}", r#"{"resourceType":"Patient","total":7}"#, r#"{"resourceType":"Bundle"}"#] {
        assert_eq!(Counted::read(body.as_bytes()), None, "{body}");
    }
}
