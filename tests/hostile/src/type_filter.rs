//! `_typeFilter`: what a user writes, and what the server reads of it.

use fhir_export_operator::api::ExportRequest;
use fhir_export_operator::core::allow;
use fhir_export_operator::core::kick_off;
use serde_json::{Value, json};
use url::Url;

use super::{decoded, server};

/// One filter a line. Nothing of a filter gets out of its parameter, whichever way it is escaped: the server reads as
/// many filters as there are, each as it was written. What is admitted finds nobody by name.
pub fn type_filter(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let filters: Vec<&str> =
        text.split('\n').filter(|f| (1..=1024).contains(&f.chars().count())).take(64).collect();
    let request: ExportRequest = serde_json::from_value(json!({
        "level": "Group", "groupID": "cohort-42", "types": ["Patient", "Observation"], "typeFilters": filters,
    }))
    .unwrap();
    for (dialect, style, escape) in [
        ("BulkData", "Repeat", "Auto"),
        ("BulkData", "Comma", "Backslash"),
        ("BulkData", "Comma", "Percent"),
        ("Azure", "", ""),
    ] {
        let bulk = match dialect {
            "BulkData" => json!({"listStyle": style, "typeFilterEscape": escape, "kickOffMethod": "Get"}),
            _ => Value::Null,
        };
        let mut server = server(dialect, bulk);
        let Ok(sent) = kick_off::request(&server, &request, "fhir") else { continue };
        let url = Url::parse(&sent.url).expect("a URL");
        assert_eq!(
            url.as_str().split('?').next(),
            Some("https://clinic.example/fhir/Group/cohort-42/$export")
        );
        assert!(url.fragment().is_none());
        let pairs: Vec<(String, String)> = url.query_pairs().into_owned().collect();
        assert!(
            pairs.iter().all(|(name, _)| matches!(name.as_str(), "_type" | "_typeFilter")),
            "{}",
            sent.url
        );
        let read: Vec<String> =
            pairs.into_iter().filter(|(name, _)| name == "_typeFilter").map(|(_, v)| v).collect();
        let read: Vec<String> = match (style, escape) {
            ("Repeat", _) => read,
            (_, "Backslash") => read.iter().flat_map(|list| unescaped(list)).collect(),
            _ => read.iter().flat_map(|list| list.split(',').map(str::to_owned)).collect(),
        };
        match escape {
            "Percent" => {
                let decode =
                    |list: Vec<String>| list.iter().map(|filter| decoded(filter)).collect::<Vec<_>>();
                assert_eq!(decode(read.clone()), decode(filters.iter().map(|f| (*f).to_owned()).collect()));
            }
            _ => assert_eq!(read, filters, "{dialect} {style} {escape}"),
        }
        server.spec.allow = Some(serde_json::from_value(json!({})).unwrap());
        if allow::admits_request(&server.spec, &request).is_ok() {
            for filter in &read {
                finds_nobody(filter);
            }
        }
    }
}

/// As a server reads it that knows the escape by backslash.
fn unescaped(list: &str) -> Vec<String> {
    let mut filters = vec![String::new()];
    let mut letters = list.chars();
    while let Some(letter) = letters.next() {
        match letter {
            ',' => filters.push(String::new()),
            '\\' => filters.last_mut().unwrap().extend(letters.next()),
            other => filters.last_mut().unwrap().push(other),
        }
    }
    filters
}

/// A plainer look than that of `allow`: no parameter of the query has such a name.
fn finds_nobody(filter: &str) {
    let plain = decoded(filter).to_ascii_lowercase();
    let Some((_, query)) = plain.split_once('?') else { return };
    for pair in query.split('&') {
        let name = pair.split('=').next().unwrap_or_default();
        let parameter = name.split([':', '.']).next().unwrap_or_default().trim();
        assert!(
            !matches!(parameter, "_id" | "identifier" | "name" | "family" | "given" | "birthdate"),
            "{filter}"
        );
    }
}
