#![allow(clippy::needless_pass_by_value)] // they are given a json! each time

use proptest::prelude::*;
use serde_json::json;

use super::*;

const AT: &str = "https://server.example/base/status/1";

fn read(value: &Value) -> Result<Pages, &'static str> {
    Pages::read(None, value.to_string().as_bytes(), AT)
}

fn with(members: Value) -> Value {
    let mut value =
        json!({"transactionTime": "2026-01-01T00:00:00Z", "requiresAccessToken": false, "output": []});
    value.as_object_mut().unwrap().extend(members.as_object().unwrap().clone());
    value
}

#[test]
fn all_versions() {
    let v1 = read(&with(
        json!({"request": "https://x/$export", "error": [{"type": "OperationOutcome", "url": "e"}],
        "output": [{"type": "Patient", "url": "/files/1", "count": 5}]}),
    ))
    .unwrap();
    assert_eq!(v1.next, None);
    let v1 = v1.into_manifest();
    assert_eq!(v1.output[0].url, "https://server.example/files/1");
    assert_eq!(v1.errors[0].url, "https://server.example/base/status/e");
    assert_eq!(v1.request, "https://x/$export");
    let v4 = read(&with(
        json!({"outcome": [{"url": "https://x/o", "countSeverity": [{"code": "error", "count": 1}]}],
        "manifestType": "x", "outputFormat": "y",
        "output": [{"type": "Patient", "url": "https://x/1", "fileSize": 77}]}),
    ))
    .unwrap()
    .into_manifest();
    assert_eq!(v4.errors[0].type_, "OperationOutcome");
    assert_eq!(v4.output[0].bytes, Some(77));
    // Nothing matched: STU4 omits the list, and HAPI adds a message.
    let empty =
        json!({"transactionTime": "2026-01-01T00:00:00Z", "requiresAccessToken": true, "message": "none"});
    assert_eq!(read(&empty).unwrap().into_manifest().files(), 0);
}

#[test]
fn what_servers_add() {
    let sum = "ab".repeat(32);
    for extension in [
        json!([{"url": "https://ab2d.cms.gov/checksum", "valueString": format!("sha256:{sum}")},
               {"url": "https://ab2d.cms.gov/file_length", "valueDecimal": 123.0}]),
        json!({"https://x/checksum": format!("sha256:{}", sum.to_uppercase()), "https://x/file_length": 123}),
        json!({"https://x/checksum": format!("sha256:{sum}"), "https://x/file_length": "123"}),
    ] {
        let manifest = read(&with(json!({"output": [{"type": "A", "url": "u", "extension": extension}]})))
            .unwrap()
            .into_manifest();
        let file = &manifest.output[0];
        assert_eq!((file.sha256.as_deref(), file.bytes), (Some(sum.as_str()), Some(123)));
    }
    for strange in
        [json!([]), json!({}), json!("x"), json!([{"url": "https://x/checksum", "valueString": "md5:1"}])]
    {
        let manifest = read(&with(json!({"output": [{"type": "A", "url": "u", "extension": strange}]})))
            .unwrap()
            .into_manifest();
        assert_eq!((manifest.output[0].sha256.as_deref(), manifest.output[0].bytes), (None, None));
    }
    let organized = with(
        json!({"outputOrganizedBy": "Patient", "output": [{"url": "a", "continuesInFile": "b"}, {"url": "b"}]}),
    );
    let organized = read(&organized).unwrap().into_manifest();
    assert_eq!(organized.organized_by.as_deref(), Some("Patient"));
    assert_eq!(organized.output[0].type_, MIXED);
    assert_eq!(organized.output[0].continues_in, Some(organized.output[1].url.clone()));
    // This is not an instant, but it can be displayed.
    let mut odd = with(json!({}));
    odd["transactionTime"] = "2026-01-01 00:00:00".into();
    assert!(read(&odd).is_ok());
}

#[test]
fn pages_and_circles() {
    let page = |file: &str, next: Option<&str>| {
        let link = next.map_or(json!([]), |url| json!([{"relation": "next", "url": url}]));
        with(json!({"output": [{"type": "A", "url": file}], "link": link})).to_string()
    };
    let first = Pages::read(None, page("1", Some("p2")).as_bytes(), AT).unwrap();
    let at = first.next.clone().unwrap();
    assert_eq!(at, "https://server.example/base/status/p2");
    let second = Pages::read(Some(&first), page("2", None).as_bytes(), &at).unwrap();
    assert!(Arc::ptr_eq(&first.read[0], &second.read[0]), "the first page was copied");
    assert_eq!(second.next, None);
    let whole = second.into_manifest();
    assert_eq!(
        whole.output.iter().map(|file| file.url.rsplit('/').next().unwrap()).collect::<Vec<_>>(),
        ["1", "2"]
    );
    assert_eq!(whole.pages, 2);
    for back in [AT, "p2"] {
        let circle = Pages::read(Some(&first), page("2", Some(back)).as_bytes(), &at);
        assert_eq!(circle.unwrap_err(), "a manifest whose links form a loop");
    }
    let mut other: Value = serde_json::from_str(&page("2", None)).unwrap();
    other["transactionTime"] = "2026-01-02T00:00:00Z".into();
    assert!(Pages::read(Some(&first), other.to_string().as_bytes(), &at).is_err());
}

#[test]
fn nonsense_is_refused() {
    for value in [
        json!([]),
        json!({"transactionTime": "2026-01-01T00:00:00Z"}),
        json!({"resourceType": "Parameters", "transactionTime": "2026-01-01T00:00:00Z", "output": []}),
        with(json!({"output": [{"type": "../../etc", "url": "u"}]})),
        with(json!({"output": [{"type": "Patient/1", "url": "u"}]})),
        with(json!({"output": [{"url": "u"}]})),
        with(json!({"output": [{"type": "A"}]})),
        with(json!({"output": [{"type": "A", "url": "file:///etc/passwd"}]})),
        with(json!({"output": [{"type": "A", "url": "ftp://x/y"}]})),
        with(json!({"output": [{"type": "A", "url": "u".repeat(9000)}]})),
        with(json!({"transactionTime": "<b>"})),
    ] {
        assert!(read(&value).is_err(), "{value}");
    }
}

#[test]
fn what_does_not_fit_into_memory_is_refused() {
    let list = |entry: &str, n: usize| vec![entry; n].join(",");
    let body = |list: &str| {
        format!(r#"{{"transactionTime":"2026-01-01T00:00:00Z","requiresAccessToken":true,"error":[{list}]}}"#)
    };
    // An entry of two bytes becomes one of two thousand once its URL is resolved.
    let at = format!("https://server.example/{}/", "d".repeat(2000));
    for (list, refused) in [
        (list(r#"{"url":"f"}"#, MAX_FILES + 1), Some(TOO_MANY)),
        (list(r#"{"url":"f"}"#, 20_000), Some(TOO_MANY)),
        (list(r#"{"url":"f"}"#, 10_000), None),
    ] {
        assert_eq!(Pages::read(None, body(&list).as_bytes(), &at).err(), refused);
    }
    let swollen = format!(r#"{{"url":"f","extension":[{}]}}"#, list("{}", MAX_EXTENSION));
    let manifest = Pages::read(None, body(&swollen).as_bytes(), AT).unwrap().into_manifest();
    assert_eq!(manifest.errors[0].bytes, None);
    for member in ["x", "output", "link", "transactionTime"] {
        let deep = format!(r#"{{"{member}":{}1{}}}"#, "[".repeat(100_000), "]".repeat(100_000));
        assert!(Pages::read(None, deep.as_bytes(), AT).is_err());
    }
}

proptest! {
    #[test]
    fn any_bytes_are_survived(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
        let _ = Pages::read(None, &bytes, AT);
    }
}
