//! The end of a run: the check of the files, the stored manifest, the verdict.

use serde_json::{Value, json};

use super::fake::Ending;
use super::said::{body, manifest, storage_failure};
use super::world::{Broken, World};
use super::{azure_server, stored_server};
use crate::api::ConditionType::{Complete, Failed, Verified};
use crate::api::{CheckResult, FhirServer};
use crate::core::ledger::StorageFailureKind as Kind;

fn finished(server: FhirServer, change: impl FnOnce(&mut World)) -> World {
    let mut world = World::new(
        server,
        json!({"request": {"level": "System", "container": "lake", "types": ["Observation", "Patient"]}}),
    );
    change(&mut world);
    world.run();
    world
}

fn file(type_: &str, url: &str) -> Value {
    json!({"type": type_, "url": url, "count": 1})
}

fn with_manifest(files: &Value) -> impl FnOnce(&mut World) {
    let reply = manifest("https://clinic.example/$export", files);
    move |w: &mut World| w.fake.polls.push_back(Ok(reply))
}

#[test]
fn all_is_there_and_counted() {
    let world = finished(stored_server(), |_| {});
    assert_eq!(
        (world.says(Complete).as_str(), world.says(Verified).as_str()),
        ("True/Exported", "True/CountsMatch")
    );
    let output = world.status().output.unwrap();
    let checks = output.checks.unwrap();
    assert_eq!(
        (checks.files, checks.counts, checks.checksums, checks.requested_types),
        (CheckResult::Passed, CheckResult::Passed, CheckResult::Unknown, CheckResult::Passed)
    );
    assert_eq!((output.files, output.resources, output.bytes), (Some(2), Some(25), Some(2500)));
    assert_eq!(
        output.types.iter().map(|t| (t.type_.as_str(), t.files, t.resources, t.bytes)).collect::<Vec<_>>(),
        [("Observation", 1, Some(20), Some(2000)), ("Patient", 1, Some(5), Some(500))]
    );
    assert_eq!(
        (output.container.as_deref(), output.folder.as_deref()),
        (Some("lake"), Some("20261123T020000-7"))
    );
    assert_eq!(output.manifest.unwrap().path, "20261123T020000-7/manifest.json");
}

#[test]
fn what_is_missing_or_wrong_is_failed_and_stays() {
    let missing = finished(stored_server(), |w| assert!(w.fake.missing.insert(1)));
    assert_eq!(
        (missing.says(Failed).as_str(), missing.says(Verified).as_str()),
        ("True/VerificationFailed", "False/FileMissing")
    );
    assert!(missing.message(Failed).contains("Patient-1.ndjson"), "{}", missing.message(Failed));
    let wrong = finished(stored_server(), |w| assert!(w.fake.wrong_count.insert(0)));
    assert_eq!(
        (wrong.says(Failed).as_str(), wrong.says(Verified).as_str()),
        ("True/VerificationFailed", "False/CountMismatch")
    );
    assert!(
        wrong.message(Failed).contains("holds 21 lines, the manifest says 20"),
        "{}",
        wrong.message(Failed)
    );
    let output = wrong.status().output.unwrap();
    assert_eq!(
        (output.checks.unwrap().files, output.checks.unwrap().counts),
        (CheckResult::Passed, CheckResult::Failed)
    );
    assert_eq!(wrong.fake.deletes_sent(), 0);
    let nothing = finished(stored_server(), |w| w.fake.storage_down = Some(storage_failure(Kind::NotFound)));
    assert_eq!(
        (nothing.says(Failed).as_str(), nothing.says(Verified).as_str()),
        ("True/VerificationFailed", "False/FileMissing"),
        "no container, no files"
    );
}

#[test]
fn what_could_not_be_checked_is_said() {
    let partly = finished(stored_server(), |w| assert!(w.fake.uncounted.insert(1)));
    assert_eq!(
        (partly.says(Complete).as_str(), partly.says(Verified).as_str()),
        ("True/Exported", "Unknown/PartlyChecked")
    );
    let mut server = stored_server();
    server.spec.storage.as_mut().unwrap().verify_max_bytes = Some(0);
    let looked = finished(server, |_| {});
    assert_eq!(
        (looked.state().as_str(), looked.says(Verified).as_str()),
        ("Complete", "Unknown/PartlyChecked")
    );
    let none = finished(azure_server(), |_| {});
    assert_eq!(
        (none.state().as_str(), none.says(Verified).as_str()),
        ("Complete", "Unknown/NoStorageAccess")
    );
    assert_eq!((none.fake.verifications, none.status().output.unwrap().manifest), (0, None));
    for (kind, reason) in [
        (Kind::Denied, "NoStorageAccess"),
        (Kind::Permanent, "NoStorageAccess"),
        (Kind::Missing, "NoStorageAccess"),
        (Kind::Transient { retry_after: None }, "StorageUnreachable"),
    ] {
        let world = finished(stored_server(), |w| w.fake.storage_down = Some(storage_failure(kind)));
        assert_eq!(
            (world.state().as_str(), world.says(Verified)),
            ("Complete", format!("Unknown/{reason}")),
            "{kind:?}"
        );
        let tries = match kind {
            Kind::Missing => 100,
            Kind::Transient { .. } => 10,
            _ => 1,
        };
        assert_eq!(world.fake.verifications, tries, "{kind:?}");
        assert!(world.message(Complete).contains("manifest was not stored"), "{}", world.message(Complete));
    }
}

#[test]
fn storage_that_is_down_for_a_while_is_waited_for() {
    let mut world = World::new(stored_server(), json!({}));
    world.fake.storage_down = Some(storage_failure(Kind::Transient { retry_after: None }));
    assert!(world.run_until(|w| w.fake.verifications == 3));
    assert_eq!(world.state(), "Verifying", "what takes long is shown");
    world.fake.storage_down = None;
    world.run();
    assert_eq!(
        (world.says(Complete).as_str(), world.says(Verified).as_str()),
        ("True/Exported", "True/CountsMatch")
    );
}

#[test]
fn a_check_that_panics_is_started_again_and_told() {
    let mut world = World::new(stored_server(), json!({}));
    world.fake.panics = 3;
    assert!(world.run_until(|w| w.fake.verifications == 3));
    assert_eq!(world.says(Verified), "Unknown/TaskPanicked");
    world.run();
    assert_eq!(world.says(Verified), "True/CountsMatch");
    assert_eq!(world.noted().iter().filter(|reason| **reason == "TaskPanicked").count(), 1);
    let for_good = finished(stored_server(), |w| w.fake.panics = 1000);
    assert_eq!((for_good.state().as_str(), for_good.fake.verifications), ("Complete", 10));
    assert_eq!(for_good.says(Verified), "Unknown/TaskPanicked");
}

#[test]
fn the_deadline_and_a_cancel_end_a_check_that_does_not() {
    for cancel in [true, false] {
        let mut world = World::new(stored_server(), json!({"activeDeadlineSeconds": 7200}));
        world.fake.checks_for_ever = true;
        assert!(world.run_until(|w| w.state() == "Verifying"));
        let asked = if cancel {
            world.edit(|spec| spec.cancel = Some(true));
            world.now
        } else {
            super::at(7200)
        };
        world.run();
        // The server had finished the job, and its data exists.
        assert_eq!(
            (world.state().as_str(), world.says(Verified)),
            ("Complete", "Unknown/PartlyChecked".into())
        );
        assert!(world.message(Verified).contains("given up before its end"), "{}", world.message(Verified));
        let took = world.now.duration_since(asked).as_secs();
        assert!((300..400).contains(&took) && world.fake.deletes_sent() == 0, "{cancel}: {took}");
    }
    // A check that ends within the grace counts.
    let mut world = World::new(stored_server(), json!({}));
    world.fake.storage_down = Some(storage_failure(Kind::Transient { retry_after: None }));
    assert!(world.run_until(|w| w.fake.verifications == 2));
    world.edit(|spec| spec.cancel = Some(true));
    world.look();
    world.fake.storage_down = None;
    world.run();
    assert_eq!((world.state().as_str(), world.says(Verified).as_str()), ("Complete", "True/CountsMatch"));
}

#[test]
fn a_manifest_that_cannot_be_stored_fails_nothing() {
    let world = finished(stored_server(), |w| w.fake.store_fails = Some(storage_failure(Kind::Denied)));
    assert_eq!(
        (world.says(Complete).as_str(), world.says(Verified).as_str()),
        ("True/Exported", "True/CountsMatch")
    );
    assert!(world.message(Complete).contains("not stored beside the data"));
    assert_eq!(world.status().output.unwrap().manifest, None);
}

#[test]
fn zero_files_is_success_with_a_note() {
    for server in [stored_server(), azure_server()] {
        let world = finished(server, |w| w.fake.endings.push_back(Ending::Files(vec![])));
        assert_eq!(world.says(Complete), "True/Exported");
        assert!(world.message(Complete).contains("no resources matched"), "{}", world.message(Complete));
        assert_eq!(world.notes.last().unwrap().type_, crate::core::effect::NoteType::Warning);
        assert_eq!((world.status().output.unwrap().files, world.fake.verifications), (Some(0), 0));
    }
    // An increment without changes is normal.
    let since = json!({"request": {"level": "System", "container": "lake", "since": "2026-11-22T00:00:00Z"}});
    let mut quiet = World::new(stored_server(), since);
    quiet.fake.endings.push_back(Ending::Files(vec![]));
    quiet.run();
    assert_eq!(quiet.message(Complete), "nothing changed since then, so there are no files");
    assert_eq!(quiet.notes.last().unwrap().type_, crate::core::effect::NoteType::Normal);
    let empty_file =
        finished(stored_server(), |w| w.fake.endings.push_back(Ending::Files(vec![("Patient", 0)])));
    assert_eq!(empty_file.says(Verified), "True/CountsMatch");
}

#[test]
fn error_files_by_policy() {
    let with_errors = |w: &mut World| {
        let url = |n: &str| format!("https://acct.blob.example/lake/f/{n}.ndjson");
        let text = json!({"transactionTime": "2026-11-23T01:59:59Z", "output": [file("Patient", &url("p"))],
            "error": [file("OperationOutcome", &url("e1")), file("OperationOutcome", &url("e2"))],
            "deleted": [file("Bundle", &url("d"))]});
        w.fake.polls.push_back(Ok(body(&text.to_string())));
    };
    let tolerated = finished(stored_server(), with_errors);
    assert_eq!(tolerated.says(Complete), "True/CompletedWithErrors");
    let output = tolerated.status().output.unwrap();
    assert_eq!(
        (output.files, output.error_files, output.error_issues, output.deleted_files),
        (Some(1), Some(2), Some(2), Some(1))
    );
    let failed = finished(stored_server(), |w| {
        with_errors(w);
        w.export.spec.error_file_policy = Some(crate::api::ErrorFilePolicy::Fail);
    });
    assert_eq!(
        (failed.says(Failed).as_str(), failed.says(Verified).as_str()),
        ("True/ServerReportedErrors", "True/CountsMatch")
    );
}

#[test]
fn files_elsewhere() {
    let elsewhere = json!([file("Patient", "https://other.blob.example/lake/f/p.ndjson?sig=abc")]);
    let world = finished(stored_server(), with_manifest(&elsewhere));
    assert_eq!(world.says(Failed), "True/StorageMismatch");
    let message = world.message(Failed);
    assert!(message.contains("https://other.blob.example") && !message.contains("sig"), "{message}");
    assert_eq!(
        finished(azure_server(), with_manifest(&elsewhere)).state(),
        "Complete",
        "without storage nobody says where"
    );
    let two = json!([
        file("Patient", "https://acct.blob.example/lake/p.ndjson"),
        file("Group", "https://acct.blob.example/pond/g.ndjson")
    ]);
    assert_eq!(finished(stored_server(), with_manifest(&two)).says(Failed), "True/StorageMismatch");
    assert_eq!(
        finished(stored_server(), with_manifest(&json!([file("Patient", "p.ndjson")]))).says(Failed),
        "True/StorageMismatch"
    );
}

#[test]
fn a_manifest_leads_into_no_container_but_the_run_s_own() {
    let at = |container: &str| {
        json!([file("Patient", &format!("https://acct.blob.example/{container}/f/p.ndjson"))])
    };
    let asking = |container: &'static str| {
        move |w: &mut World| {
            w.export.spec.request.container = Some(container.to_owned());
            with_manifest(&at("pond"))(w);
        }
    };
    let foreign = finished(stored_server(), asking("lake"));
    assert_eq!(foreign.says(Failed), "True/StorageMismatch");
    assert!(
        foreign.message(Failed).contains("container pond, but lake was asked for"),
        "{}",
        foreign.message(Failed)
    );
    assert_eq!(finished(stored_server(), asking("pond")).state(), "Complete");
    // Without a requested container, nothing is written into one that the service did not create.
    for (container, stored) in [("pond", false), ("export-7", true)] {
        let world = finished(stored_server(), |w| {
            w.export.spec.request.container = None;
            with_manifest(&at(container))(w);
        });
        let output = world.status().output.unwrap();
        assert_eq!((world.state().as_str(), output.manifest.is_some()), ("Complete", stored), "{container}");
    }
}

#[test]
fn without_its_server_the_end_waits() {
    let mut world = World::new(stored_server(), json!({}));
    world.fake.storage_down = Some(storage_failure(Kind::Transient { retry_after: None }));
    world.run_until(|w| w.fake.verifications == 1);
    let server = world.server.take();
    world.run_for(std::time::Duration::from_secs(3600));
    assert!(!world.ended(), "unchecked only because the server is away: {:#?}", world.status());
    (world.server, world.fake.storage_down) = (server, None);
    world.run();
    assert_eq!(
        (world.says(Complete).as_str(), world.says(Verified).as_str()),
        ("True/Exported", "True/CountsMatch")
    );
}

#[test]
fn killed_anywhere_on_the_way_to_the_end() {
    for step in 0..8 {
        for how in [Broken::BeforeWrite, Broken::AfterWrite, Broken::AfterEffect, Broken::Conflict] {
            let mut world = World::new(stored_server(), json!({}));
            world.run_until(|w| w.state() == "Running");
            world.pass(200);
            world.look_broken(Some((step, how)));
            world.run();
            assert_eq!(
                (world.says(Complete).as_str(), world.held()),
                ("True/Exported", false),
                "{step} {how:?}"
            );
            let ends = world.noted().iter().filter(|r| **r == "Exported").count();
            assert!(ends <= 1 && world.fake.kick_offs_sent() == 1);
        }
    }
}

#[test]
fn two_hundred_types_fit_into_a_status() {
    let files: Vec<Value> = (0..200)
        .map(|n| {
            file(
                &format!("Type{n}{}", "x".repeat(50)),
                &format!("https://acct.blob.example/lake/f/{n}.ndjson"),
            )
        })
        .collect();
    let world = finished(stored_server(), with_manifest(&Value::from(files)));
    let output = world.status().output.unwrap();
    assert_eq!((world.state().as_str(), output.files, output.resources), ("Complete", Some(200), Some(200)));
    assert!((40..=60).contains(&output.types.len()), "{}", output.types.len());
}
