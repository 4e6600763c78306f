//! The operator's log as the person on call reads it: one line for each transition, with the message of its event or
//! condition.

use azure_fhir::{Access, Failure, KnownToken, Options, Script};
use serde_json::{Value, json};
use stage::wait_for;

use crate::site::{PATIENCE, Site, condition};

/// The lines about an object, in order.
fn lines(site: &Site, kind: &str, name: &str) -> Vec<Value> {
    let log = std::fs::read_to_string(site.operator.as_ref().unwrap().log()).unwrap();
    // The last line may be incomplete.
    let whole = log.rfind('\n').map_or("", |end| &log[..end]);
    let all = whole
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap_or_else(|e| panic!("{line}: {e}")));
    all.filter(|line| line["kind"] == kind && line["name"] == name && line["level"] != "DEBUG").collect()
}

fn text<'a>(line: &'a Value, member: &str) -> &'a str {
    line[member].as_str().unwrap_or_default()
}

#[tokio::test]
async fn each_transition_is_one_line_in_the_words_of_its_event_or_condition() {
    let access = Access::Tokens(vec![KnownToken::exporter("good-token-1835")]);
    let mut site = Site::without_server("lines", Options { access, ..Options::default() }).await;
    site.flags.push("--log-format=json".into());
    let auth =
        json!({"type": "BearerToken", "bearerToken": {"secretRef": {"name": "token", "key": "token"}}});
    site.apply_server(json!({"auth": auth})).await;
    site.start_operator().await;
    site.fhir.script(Script::fails(Failure::Unknown).container("lines"));
    site.export("run", json!({"level": "System", "container": "lines"}), json!({})).await;
    let waiting = site.until_condition("run", "Reconciling", "True", "SecretNotFound").await;
    site.secret("token", json!({"token": "good-token-1835"}), true).await;
    let object = site.complete("run").await;

    let lines_of_run = lines(&site, "FhirExport", "run");
    let told: Vec<(&str, &str, &str)> =
        lines_of_run.iter().map(|l| (text(l, "level"), text(l, "state"), text(l, "reason"))).collect();
    assert_eq!(
        told,
        [
            ("INFO", "Waiting", "SecretNotFound"),
            ("INFO", "Starting", "Starting"),
            ("INFO", "Running", "KickedOff"),
            ("WARN", "Waiting", "WaitingToRetry"),
            ("INFO", "Starting", "Starting"),
            ("INFO", "Running", "KickedOff"),
            ("INFO", "Complete", "Exported"),
        ]
    );
    for line in &lines_of_run {
        assert_eq!(text(line, "namespace"), site.namespace);
        assert_eq!(line["uid"], json!(object.metadata.uid));
    }
    let missing = &lines_of_run[0];
    assert_eq!(text(missing, "message"), condition(&waiting, "Reconciling").unwrap().2);
    assert_eq!(text(missing, "condition"), "Reconciling=True");
    let notes: Vec<String> = site.events("run").await.into_iter().map(|(_, note)| note).collect();
    for line in [&lines_of_run[2], &lines_of_run[6]] {
        assert!(notes.iter().any(|note| note == text(line, "message")), "{line} is not in {notes:?}");
    }

    // The probe of the server is independent of the run, so its line may follow the end of the run.
    let of_server = wait_for("both lines about the server", PATIENCE, || async {
        let of_server = lines(&site, "FhirServer", "clinic");
        if of_server.len() < 2 { Err(format!("{of_server:?}")) } else { Ok(of_server) }
    });
    let of_server = of_server.await.unwrap();
    let told: Vec<(&str, &str)> =
        of_server.iter().map(|l| (text(l, "level"), text(l, "condition"))).collect();
    assert_eq!(told, [("WARN", "Ready=False"), ("INFO", "Ready=True")], "{of_server:?}");
}
