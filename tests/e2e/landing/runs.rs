//! Exports that succeed, at all levels and with all versions of the specification.

use bulk_fhir::{Options, Script, Version};
use kube::ResourceExt;
use serde_json::json;

use crate::place::{Place, output};
use crate::site::condition;

#[tokio::test]
async fn system_patient_and_group_land_whole() {
    let place = Place::start("levels", Options::default(), json!({})).await;
    for (name, request) in [
        ("system", json!({})),
        ("patient", json!({"level": "Patient", "types": ["Patient", "Observation"]})),
        ("group", json!({"level": "Group", "groupID": "cohort-42"})),
    ] {
        let object = place.landed(name, request).await;
        assert_eq!(condition(&object, "Verified").unwrap().1, "CountsMatch", "{name}");
        let job = place.fhir.jobs().last().unwrap().clone();
        place.assert_same(&object, &job.id).await;
        let lines: u64 = place.fhir.expected(&job.id).iter().map(|f| f.lines).sum();
        assert_eq!(output(&object).resources, i64::try_from(lines).ok(), "{name}");
        place.site.until(name, "let go", |o| o.finalizers().is_empty()).await;
        let job = place.fhir.job(&job.id).unwrap();
        assert!(job.cancelled_at.is_some(), "the server is told that the job is done with");
    }
    assert!(place.fhir.leaked_tokens().is_empty());
}

#[tokio::test]
async fn each_version_is_asked_as_it_wants() {
    for version in [Version::Stu1, Version::Stu2, Version::Stu3, Version::Stu4] {
        let options = Options { version, ..Options::default() };
        let place = Place::start("versions", options, json!({})).await;
        place.fhir.script(Script::polls(1));
        let object = place.landed("all", json!({"types": ["Patient", "Condition"]})).await;
        let job = place.fhir.jobs()[0].clone();
        place.assert_same(&object, &job.id).await;
        assert_eq!(output(&object).types.len(), 2, "{version:?}");
    }
}
