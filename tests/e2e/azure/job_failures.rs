//! Jobs that fail: every failure of the service that the operator knows, and answers that only look like a failure.

use azure_fhir::{Ending, Failure, Fault, ManifestQuirk, On, RequestFault, Script, Step};
use serde_json::json;

use crate::site::{Site, condition};

/// Every permanent failure has a reason of its own and a next step, and takes one kick-off.
#[tokio::test]
async fn every_failure_of_a_job_has_its_own_reason() {
    let site = Site::start("rows").await;
    site.apply_server(json!({"limits": {"maxConcurrentExports": 50, "maxConcurrentPerGroup": 50}})).await;
    let rows: Vec<(Failure, &str)> = vec![
        (Failure::StorageAccessDenied, "StorageAccessDenied"),
        (Failure::NoManagedIdentity, "StorageIdentityMissing"),
        (Failure::StorageAccountNotFound, "StorageAccountNotFound"),
        (Failure::InvalidContainerName, "StorageRejected"),
        (Failure::ContainerNotFound, "StorageRejected"),
        (Failure::ContainerBeingDeleted, "StorageRejected"),
        (Failure::InvalidStorageUri, "StorageNotConfigured"),
        (Failure::InvalidConnectionSettings, "StorageNotConfigured"),
        (Failure::StorageAccountChanged, "StorageChanged"),
        (Failure::AnonymizationConfigInvalid, "AnonymizationFailed"),
        (Failure::AnonymizationFailed, "AnonymizationFailed"),
        (Failure::RecordTooLarge, "JobTooLarge"),
    ];
    for (n, (failure, _)) in rows.iter().enumerate() {
        site.fhir.script(Script::fails(failure.clone()).container(&format!("row-{n:02}")));
        let request = json!({"level": "System", "container": format!("row-{n:02}")});
        site.export(&format!("row-{n:02}"), request, json!({})).await;
    }
    for (n, (failure, reason)) in rows.iter().enumerate() {
        let object = site.failed(&format!("row-{n:02}"), reason).await;
        let (_, _, message) = condition(&object, "Failed").unwrap();
        assert!(message.contains("(the server says: "), "{failure:?}: {message}");
        assert!(!message.contains('\n') && message.len() < 1024, "{message}");
        assert_eq!(condition(&object, "Stalled").unwrap().0, "True");
    }
    assert_eq!(site.kick_offs(), rows.len());
}

#[tokio::test]
async fn an_unknown_group_and_out_of_memory_say_what_to_do() {
    let site = Site::start("say").await;
    site.export("group", json!({"level": "Group", "groupID": "nobody", "container": "say"}), json!({})).await;
    let object = site.failed("group", "GroupNotFound").await;
    assert!(condition(&object, "Failed").unwrap().2.contains("groupID"));

    site.fhir.script(Script::fails(Failure::OutOfMemory { max_count: 1000 }).container("say-memory"));
    site.export("memory", json!({"level": "System", "container": "say-memory"}), json!({})).await;
    let object = site.failed("memory", "OutOfMemory").await;
    assert!(condition(&object, "Failed").unwrap().2.contains("maxCount"));
}

#[tokio::test]
async fn a_failure_that_may_pass_is_tried_again() {
    let site = Site::start("again").await;
    for failure in [Failure::DatabaseThrottled, Failure::Unknown] {
        site.fhir.script(Script::fails(failure).container("again"));
    }
    site.export("third", json!({"level": "System", "container": "again"}), json!({})).await;
    let object = site.complete("third").await;
    let status = object.status.unwrap();
    assert_eq!(status.attempts, Some(3));
    let reasons: Vec<&str> = status.previous_jobs.iter().map(|j| j.reason.as_str()).collect();
    assert_eq!(reasons, ["DatabaseThrottled", "ExportFailed"]);
    assert_eq!(site.kick_offs(), 3);

    site.fhir.script(Script::fails(Failure::NoResults).container("never").every_time());
    site.export("never", json!({"level": "System", "container": "never"}), json!({"backoffLimit": 1})).await;
    let object = site.failed("never", "JobDied").await;
    assert!(condition(&object, "Failed").unwrap().2.contains("2 attempts"));
    assert_eq!(site.kick_offs(), 5);
}

#[tokio::test]
async fn a_job_that_is_gone_is_lost() {
    let site = Site::start("gone").await;
    site.fhir.script(Script { ending: Ending::Expired, ..Script::polls(2) });
    site.export("gone", json!({"level": "System", "container": "gone"}), json!({})).await;
    site.failed("gone", "JobLost").await;
    assert_eq!((site.kick_offs(), site.cancels()), (1, 0));
}

/// The job continues after 401, 403 and 429 that concern the caller, after 503, gateway errors and connection resets.
#[tokio::test]
async fn what_passes_does_not_end_a_job() {
    let site = Site::start("passes").await;
    let faults = [
        Fault::Unavailable { outcome: true },
        Fault::Unavailable { outcome: false },
        Fault::GatewayPage { status: 502 },
        Fault::Reset,
        Fault::Close,
        Fault::Forbidden,
        Fault::Unauthorized,
        Fault::Throttled { seconds: 1, millis: 100 },
        Fault::TruncatedJson,
        Fault::TruncatedBody,
        Fault::EmptyBody,
        Fault::GatewayPage { status: 200 },
    ];
    site.fhir.script(Script {
        status_faults: faults.into_iter().map(|fault| Step::times(1, fault)).collect(),
        ..Script::polls(1)
    });
    site.export("tough", json!({"level": "System", "container": "passes"}), json!({})).await;
    site.complete("tough").await;
    assert_eq!(site.kick_offs(), 1);
}

#[tokio::test]
async fn a_caller_without_the_role_is_told_and_goes_on_after_the_repair() {
    let site = Site::start("role").await;
    site.fhir.script(Script { status_faults: vec![Step::times(6, Fault::Forbidden)], ..Script::polls(0) });
    site.export("role", json!({"level": "System", "container": "role"}), json!({})).await;
    let object = site.until_condition("role", "ServerReachable", "False", "Forbidden").await;
    assert!(condition(&object, "ServerReachable").unwrap().2.contains("FHIR Data Exporter"));
    let object = site.complete("role").await;
    assert_eq!(condition(&object, "ServerReachable").unwrap().0, "True");
}

#[tokio::test]
async fn nonsense_for_a_manifest_never_ends_complete() {
    let site = Site::start("nonsense").await;
    site.apply_server(json!({"limits": {"maxConcurrentExports": 50}})).await;
    let faults = [
        ("empty", Fault::EmptyBody),
        ("html", Fault::GatewayPage { status: 200 }),
        ("cut", Fault::TruncatedJson),
        ("broken", Fault::TruncatedBody),
        ("wrong", Fault::WrongJson),
    ];
    for (name, fault) in &faults {
        site.fhir.script(
            Script { status_faults: vec![Step::times(1000, fault.clone())], ..Script::polls(0) }
                .container(&format!("nonsense-{name}")),
        );
        let request = json!({"level": "System", "container": format!("nonsense-{name}")});
        site.export(name, request, json!({})).await;
    }
    for (name, _) in &faults {
        let object = site.failed(name, "InvalidManifest").await;
        let status = object.status.unwrap();
        assert_eq!(status.unsettled_jobs.len(), 1, "{name}");
        assert!(status.job.unwrap().status_url.is_some(), "{name}");
    }
    assert_eq!(site.kick_offs(), faults.len());
}

#[tokio::test]
async fn what_is_in_the_container_must_be_what_the_manifest_says() {
    let site = Site::start("verify").await;
    site.apply_server(json!({"limits": {"maxConcurrentExports": 50}})).await;
    let rows = [
        ("count", ManifestQuirk::WrongCount(5), "CountMismatch"),
        ("missing", ManifestQuirk::MissingFile, "FileMissing"),
    ];
    for (name, quirk, _) in &rows {
        let container = format!("verify-{name}");
        site.fhir.script(Script::polls(1).container(&container).with(quirk.clone()));
        site.export(name, json!({"level": "System", "container": container}), json!({})).await;
    }
    for (name, _, reason) in &rows {
        let object = site.failed(name, "VerificationFailed").await;
        let verified = condition(&object, "Verified").unwrap();
        assert_eq!((verified.0.as_str(), verified.1.as_str()), ("False", *reason), "{name}");
        assert!(condition(&object, "Complete").is_none(), "{name}");
    }
    site.fhir.script(
        Script::polls(1)
            .container("verify-elsewhere")
            .with(ManifestQuirk::ForeignUrls("https://other.blob.core.windows.net".into())),
    );
    site.export("elsewhere", json!({"level": "System", "container": "verify-elsewhere"}), json!({})).await;
    let object = site.failed("elsewhere", "StorageMismatch").await;
    assert!(condition(&object, "Failed").unwrap().2.contains("other.blob.core.windows.net"));
}

#[tokio::test]
async fn odd_manifests_are_read() {
    let site = Site::start("odd").await;
    site.apply_server(json!({"limits": {"maxConcurrentExports": 50}})).await;
    let odd = Script::polls(0)
        .container("odd")
        .with(ManifestQuirk::NoError)
        .with(ManifestQuirk::EmptyFile)
        .with(ManifestQuirk::NoIssues)
        .with(ManifestQuirk::ExtraKeys)
        .with(ManifestQuirk::OffsetTime)
        .with(ManifestQuirk::Unsorted)
        .with(ManifestQuirk::SignedUrls);
    site.fhir.script(Script { crlf: true, ..odd });
    site.export("odd", json!({"level": "System", "container": "odd"}), json!({})).await;
    let object = site.complete("odd").await;
    let text = serde_json::to_string(&object.status).unwrap();
    assert!(!text.contains("sig="), "{text}");
    assert!(object.status.unwrap().transaction_time.unwrap().ends_with("+00:00"));

    site.fhir.script(Script::polls(0).container("odd-zero").with(ManifestQuirk::ZeroFiles));
    site.export("zero", json!({"level": "System", "container": "odd-zero"}), json!({})).await;
    let object = site.complete("zero").await;
    assert_eq!(object.status.as_ref().unwrap().output.as_ref().unwrap().files, Some(0));
    assert!(condition(&object, "Complete").unwrap().2.contains("no resources matched"));

    site.fhir.script(Script::polls(0).container("odd-uncounted").with(ManifestQuirk::NoCounts));
    site.export("uncounted", json!({"level": "System", "container": "odd-uncounted"}), json!({})).await;
    let object = site.complete("uncounted").await;
    let verified = condition(&object, "Verified").unwrap();
    assert_eq!((verified.0.as_str(), verified.1.as_str()), ("Unknown", "PartlyChecked"));

    site.fhir
        .script(Script::polls(0).container("odd-errors").with(ManifestQuirk::ErrorEntries(2)).every_time());
    site.export("errors", json!({"level": "System", "container": "odd-errors"}), json!({})).await;
    let object = site.complete("errors").await;
    assert_eq!(condition(&object, "Complete").unwrap().1, "CompletedWithErrors");
    let strict = json!({"errorFilePolicy": "Fail"});
    site.export("strict", json!({"level": "System", "container": "odd-errors"}), strict).await;
    site.failed("strict", "ServerReportedErrors").await;
}

#[tokio::test]
async fn without_storage_nothing_is_claimed_to_be_checked() {
    let site = Site::start("blind").await;
    site.apply_server_named("blind", {
        let mut spec = site.server_spec(json!({})).await;
        spec.as_object_mut().unwrap().remove("storage");
        spec
    })
    .await;
    site.export(
        "blind",
        json!({"level": "System", "container": "blind"}),
        json!({"serverRef": {"name": "blind"}}),
    )
    .await;
    let object = site.complete("blind").await;
    let verified = condition(&object, "Verified").unwrap();
    assert_eq!((verified.0.as_str(), verified.1.as_str()), ("Unknown", "NoStorageAccess"));
}

#[tokio::test]
async fn patience_asked_for_by_the_server_is_given() {
    let site = Site::start("patience").await;
    site.fhir.script(Script::polls(2));
    site.fhir.fault(RequestFault::next(On::Status, 1, Fault::Throttled { seconds: 2, millis: 2000 }));
    site.export("wait", json!({"level": "System", "container": "patience"}), json!({})).await;
    site.complete("wait").await;
    let polls: Vec<_> =
        site.fhir.requests().into_iter().filter(|r| r.is_poll() && !r.path.ends_with("/0")).collect();
    let at = polls.iter().position(|r| r.status == Some(429));
    if let Some(at) = at {
        let gap = polls[at + 1].at.duration_since(polls[at].at);
        assert!(gap.as_millis() >= 1900, "{gap}");
    }
}
