//! What fails is told in one sentence, and what is wrong is refused before anything happens.

use bulk_fhir::Script;
use serde_json::json;

use crate::place::{Place, export};

#[tokio::test]
async fn a_failed_export_ends_with_one_sentence_and_code_1() {
    let mut place = Place::start().await;
    let group = json!({ "request": { "level": "Group", "groupID": "42" } });
    place.write("all.yaml", &[place.secret(), place.server(), export("cohort", group)]);
    let ended = place.local(&[]).await;
    assert_eq!(ended.code, 1, "{}", ended.said);
    let last = ended.said.lines().last().unwrap();
    assert!(last.starts_with("FhirExport cohort: failed: "), "{last}");
    assert!(last.contains("The group 42 was not found") && last.contains("correct the request"), "{last}");
}

#[tokio::test]
async fn a_wrong_manifest_is_refused_with_file_document_and_field() {
    let mut place = Place::start().await;
    let mut wrong = export("cohort", json!({ "request": { "groupId": "42", "level": "Group" } }));
    for (field, said) in [
        (
            "groupId",
            ": FhirExport cohort: spec.request.groupId: there is no such field; did you mean groupID?",
        ),
        ("", ": FhirExport cohort: spec.request.groupID: groupID is required when level is Group"),
    ] {
        if field.is_empty() {
            wrong["spec"]["request"].as_object_mut().unwrap().remove("groupId");
        }
        place.write("all.yaml", &[place.secret(), place.server(), wrong.clone()]);
        let refused = place.local(&[]).await;
        assert_eq!((refused.code, &*refused.stdout), (1, ""), "{}", refused.said);
        let line = refused.said.lines().find(|line| line.contains(said));
        let line = line.unwrap_or_else(|| panic!("{}", refused.said)).trim_start_matches("error: ");
        let number = line.strip_prefix("all.yaml:").and_then(|rest| rest.split(": ").next()).unwrap();
        let written = std::fs::read_to_string(place.path("all.yaml")).unwrap();
        let written = written.lines().nth(number.parse::<usize>().unwrap() - 1).unwrap();
        assert!(
            written.contains(if field.is_empty() { "request" } else { field }),
            "line {number}: {written}"
        );
    }
    assert_eq!((&*place.state(), place.fhir.requests().len()), ("", 0), "nothing was stored or sent");
}

#[tokio::test]
async fn what_a_directory_cannot_replace_is_refused() {
    let mut place = Place::start().await;
    let mut server = place.server();
    server["spec"]["dialect"] = json!("Azure");
    place.write("all.yaml", &[place.secret(), server, export("cohort", json!({}))]);
    let refused = place.local(&[]).await;
    assert_eq!(refused.code, 1);
    let said =
        "FhirServer clinic: spec.dialect: Azure's FHIR service writes the files into its own storage account";
    assert!(refused.said.contains(said), "{}", refused.said);
    place.write("all.yaml", &[place.secret(), place.server()]);
    let refused = place.local(&[]).await;
    assert!(refused.said.starts_with("error: There is nothing to export: "), "{}", refused.said);
}

#[tokio::test]
async fn an_attempt_is_not_continued_in_another_directory() {
    let mut place = Place::start().await;
    place.fhir.script(Script::stuck());
    let mut program = place.start_local(&[]);
    place.until_running().await;
    program.sigkill().await.unwrap();
    let job = place.fhir.jobs()[0].id.clone();
    place.fhir.rescript(&job, |script| script.life = bulk_fhir::Life::Polls(0));
    let mut elsewhere = place.start_program(&["local", "-f", "all.yaml", "--container", "other"]);
    elsewhere.wait_for_log("no longer names it", crate::place::PATIENCE).await.unwrap();
    elsewhere.sigkill().await.unwrap();
    assert!(place.files_in("other").is_empty());
    let ended = place.local(&[]).await;
    assert_eq!(ended.code, 0, "{}", ended.said);
    place.assert_whole();
}
