//! `Content-Location` of an accepted kick-off: where the operator goes, with a token, for days.

use fhir_export_operator::core::export::ServerView;
use fhir_export_operator::fhir::origin::{Origin, is_trusted};
use serde_json::Value;
use url::Url;

use super::server;

/// The status URL is of an origin that may have the token, short, and stays what it is when it is read again.
pub fn content_location(data: &[u8]) {
    let header = String::from_utf8_lossy(data);
    for dialect in ["Azure", "BulkData"] {
        let server = server(dialect, Value::Null);
        let view = ServerView::new(&server);
        let Some((url, id)) = view.status_url(&header) else { continue };
        let parsed = Url::parse(&url).expect("a URL");
        let origin = Origin::of(&parsed).expect("of http or https, without a password");
        assert!(is_trusted(&server, &origin), "{dialect}: {url}");
        assert!(origin.is_encrypted() && parsed.fragment().is_none() && url.len() <= 2048, "{url}");
        assert!(!url.contains(char::is_control), "{url:?}");
        if let Some(id) = &id {
            let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
            assert!((1..=128).contains(&id.len()) && id.chars().all(plain), "{id:?}");
            assert!(id != "." && id != "..", "{id:?}");
        }
        assert_eq!(view.status_url(&url), Some((url.clone(), id)), "read again");
        if dialect == "Azure" && view.is_job(&url) {
            assert!(parsed.path().contains("/_operations/export/"), "{url}");
        }
    }
}
