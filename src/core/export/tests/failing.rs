//! A job fails, is lost, or gets unreadable answers: how the run ends, and what its server is told.

use serde_json::json;

use super::fake::{Ending, Fake};
use super::following::running;
use super::said::{answer, body, html, job_failure, manifest, outcome};
use super::world::World;
use super::{at, azure_server, bulk_server};
use crate::api::ConditionType::{Failed, ServerReachable};
use crate::core::export::Followers;
use crate::core::wire::Answer;

#[test]
fn every_failure_of_a_job_has_a_reason_of_its_own() {
    for (code, cause, reason) in [
        (403, "ErrorCode: AuthorizationPermissionMismatch", "StorageAccessDenied"),
        (401, "Unable to get access token for storage account.", "StorageIdentityMissing"),
        (404, "The storage account not found.", "StorageAccountNotFound"),
        (409, "The specified container is being deleted.", "StorageRejected"),
        (400, "The given storage uri is invalid", "StorageNotConfigured"),
        (400, "Storage account connection string was updated during an export job.", "StorageChanged"),
        (400, "Group g was not found.", "GroupNotFound"),
        (400, "Anonymization configuration 'x' not found.", "AnonymizationFailed"),
        (413, "Out of memory; set _maxCount below 1000.", "OutOfMemory"),
        (413, "The record is too large.", "JobTooLarge"),
    ] {
        let mut world = running();
        world.fake.jobs[0].ending =
            Ending::Answer(job_failure(code, &format!("{cause} Patient/4711 x?sig=abc")));
        world.run();
        assert_eq!(world.says(Failed), format!("True/{reason}"), "{cause}");
        let message = world.message(Failed);
        assert!(
            message.contains(" (the server says: ") && message.contains("); "),
            "words and advice: {message}"
        );
        assert!(!message.contains("4711") && !message.contains("sig="), "{message}");
        assert_eq!((world.fake.kick_offs_sent(), world.fake.deletes_sent()), (1, 0));
        assert_eq!(world.status().job.unwrap().id.as_deref(), Some("7"), "the job stays for people to find");
    }
}

#[test]
fn what_may_pass_is_tried_again_with_a_new_job() {
    for (code, cause, reason) in [
        (429, "The request rate is too large.", "DatabaseThrottled"),
        (500, "Job has been retried too many times.", "JobRestartedTooOften"),
        (500, "Processing job had no results", "JobDied"),
        (500, "Unknown Error.", "ExportFailed"),
    ] {
        let mut world = running();
        world.fake.jobs[0].ending = Ending::Answer(job_failure(code, cause));
        world.run();
        let status = world.status();
        assert_eq!(
            (world.state().as_str(), world.fake.kick_offs_sent(), status.attempts),
            ("Complete", 2, Some(2))
        );
        assert_eq!(
            (status.previous_jobs[0].reason.as_str(), status.previous_jobs[0].id.as_deref()),
            (reason, Some("7"))
        );
        assert_eq!(status.job.unwrap().id.as_deref(), Some("8"));
        let mut world = running();
        world.fake.jobs[0].ending = Ending::Answer(job_failure(code, cause));
        world.fake.endings.extend(vec![Ending::Answer(job_failure(code, cause)); 9]);
        world.run();
        assert_eq!((world.says(Failed), world.fake.kick_offs_sent()), (format!("True/{reason}"), 3));
        assert_eq!(world.status().previous_jobs.len(), 2);
    }
}

#[test]
fn a_job_that_the_server_forgot() {
    let servers = [(azure_server(), 0), (bulk_server(json!({"finishedJobs": "Keep"})), 1)];
    for ((server, cleaned), code) in servers.iter().flat_map(|server| [(server, 404), (server, 410)]) {
        let running = || {
            let mut world =
                World::new(server.clone(), json!({"request": {"level": "System", "container": "lake"}}));
            world.fake.lasts = 3600;
            assert!(world.run_until(|w| w.state() == "Running"));
            world
        };
        let reply = outcome(code, "not-found", "The requested job \"7\" was not found.");
        let mut world = running();
        world.fake.polls.extend(vec![Ok(reply.clone()); 3]);
        world.run();
        assert_eq!(
            (world.state().as_str(), world.fake.kick_offs_sent()),
            ("Complete", 1),
            "a replica had to learn it"
        );

        let mut world = running();
        let before = world.now;
        world.fake.polls.extend(vec![Ok(reply); 40]);
        assert!(world.run_until(|w| w.says(ServerReachable) == "False/JobLost"), "{code}");
        world.run();
        assert_eq!(
            (world.says(Failed).as_str(), world.fake.kick_offs_sent()),
            ("True/JobLost", 1),
            "never restarted silently"
        );
        let took = world.now.duration_since(before).as_secs();
        assert!((600..700).contains(&took), "twice maxPollSeconds: {took}");
        // A DELETE would discard the manifest of an Azure job that is finished after all.
        assert_eq!(world.fake.cleaned.len(), *cleaned, "{code}");
    }
}

#[test]
fn an_ingress_that_is_deployed_is_not_the_end_of_a_job() {
    for (server, reply) in [
        (azure_server(), html(404)),
        (azure_server(), answer(410)),
        (bulk_server(json!({"finishedJobs": "Keep"})), html(410)),
        (bulk_server(json!({"finishedJobs": "Keep"})), answer(404)),
    ] {
        let running = || {
            let mut world =
                World::new(server.clone(), json!({"request": {"level": "System", "container": "lake"}}));
            world.fake.lasts = 20_000;
            assert!(world.run_until(|w| w.state() == "Running"));
            world
        };
        let mut world = running();
        let before = world.now;
        world.fake.polls.extend(vec![Ok(reply.clone()); 15]);
        assert!(world.run_until(|w| w.fake.polls.is_empty()));
        let took = world.now.duration_since(before).as_secs();
        assert!(took > 1800, "half an hour of it is survived: {took}");
        assert_eq!(world.says(ServerReachable), "False/JobLost");
        world.run();
        assert_eq!((world.state().as_str(), world.fake.kick_offs_sent()), ("Complete", 1), "{reply:?}");
        assert!(world.fake.cleaned.is_empty());

        let mut world = running();
        let before = world.now;
        world.fake.polls.extend(vec![Ok(reply.clone()); 60]);
        world.run();
        assert_eq!(world.says(Failed), "True/JobLost", "{reply:?}");
        let took = world.now.duration_since(before).as_secs();
        assert!((3600..3700).contains(&took), "twelve times maxPollSeconds: {took}");
        assert_eq!(world.fake.cleaned.len(), 1, "whatever finishedJobs says: it may run");
        assert!(!Fake::works_on(&world.fake.jobs[0], world.now));
        assert_eq!(world.status().unsettled_jobs.len(), 1, "its end is not known");
    }
    // With an answer in between, failures do not add up.
    let mut world = running();
    let turns = (0..60).map(|n| Ok(if n % 3 == 2 { html(503) } else { html(404) }));
    world.fake.polls.extend(turns);
    world.run();
    assert_eq!(world.state(), "Complete");
}

/// The reason of an end, the spec, and the events that lead to it.
type Case<'a> = (&'static str, serde_json::Value, Box<dyn Fn(&mut World) + 'a>);

#[test]
fn whatever_ends_a_run_the_server_is_told_and_what_may_run_is_cancelled() {
    let epic = || bulk_server(json!({"finishedJobs": "Delete"}));
    let ran = |server: crate::api::FhirServer, spec: serde_json::Value, change: &dyn Fn(&mut World)| {
        let mut whole = json!({"request": {"level": "System", "container": "lake"}, "backoffLimit": 0});
        whole.as_object_mut().unwrap().extend(spec.as_object().unwrap().clone());
        let mut world = World::new(server, whole);
        change(&mut world);
        world.run();
        world
    };
    let polls = |reply: Answer| move |w: &mut World| w.fake.polls.extend(vec![Ok(reply.clone()); 60]);
    let errors = json!({"transactionTime": "2026-01-01T00:00:00Z", "requiresAccessToken": false, "output": [],
        "error": [{"type": "OperationOutcome", "url": "https://x/e"}]});
    let reported = |w: &mut World| {
        w.fake.polls.push_back(Ok(body(&errors.to_string())));
        w.fake.spoil = |landed| landed[0].issues.errors = 1;
    };
    let fail = json!({"errorFilePolicy": "Fail"});
    let none = json!({});
    let cases: Vec<Case<'_>> = vec![
        ("ServerReportedErrors", fail, Box::new(reported)),
        ("ExportFailed", none.clone(), Box::new(polls(outcome(400, "invalid", "no")))),
        ("ExportFailed", none.clone(), Box::new(polls(outcome(500, "processing", "no")))),
        ("InvalidManifest", none.clone(), Box::new(polls(body("nonsense")))),
        ("StatusRefused", none.clone(), Box::new(polls(html(418)))),
        ("JobLost", none.clone(), Box::new(polls(html(404)))),
        (
            "VerificationFailed",
            none,
            Box::new(|w: &mut World| w.fake.spoil = |landed| landed[0].sum.lines += 1),
        ),
    ];
    for (reason, spec, change) in &cases {
        let told = ran(epic(), spec.clone(), change);
        assert_eq!(told.says(Failed), format!("True/{reason}"));
        assert_eq!((told.fake.cleaned.len(), told.held()), (1, false), "{reason}: {:?}", told.fake.cleaned);
        // A server that wants to keep finished jobs is only told about jobs that may still run.
        let kept = ran(bulk_server(json!({"finishedJobs": "Keep"})), spec.clone(), change);
        let may_run = matches!(*reason, "StatusRefused" | "JobLost");
        assert_eq!(kept.fake.cleaned.len(), usize::from(may_run), "{reason}");
        // Only the last export that follows a job tells the server.
        let contested = ran(epic(), spec.clone(), &|w: &mut World| {
            change(w);
            w.followers = Followers::Wanting;
        });
        assert!(contested.fake.cleaned.is_empty(), "{reason}");
    }
    // The server is told before each further attempt, too: it may run one job at a time.
    let again = ran(epic(), json!({"backoffLimit": 2}), &|w: &mut World| {
        w.fake.endings.extend(vec![Ending::Answer(outcome(500, "processing", "no")); 2]);
    });
    assert_eq!(
        (again.state().as_str(), again.fake.kick_offs_sent(), again.fake.cleaned.len()),
        ("Complete", 3, 3)
    );
}

#[test]
fn nonsense_is_transient_first_and_never_complete() {
    let request = "https://clinic.example/$export";
    let whole = manifest(request, &json!([]));
    for reply in [
        html(200),
        body(""),
        body(" \n"),
        body("nonsense"),
        body(r#"{"transactionTime":"2026-11-23T0"#),
        body(r#"{"output":[]}"#),
        body("[]"),
        Answer { truncated: true, ..whole },
    ] {
        let mut world = running();
        world.fake.polls.extend(vec![Ok(reply.clone()); 4]);
        world.run();
        assert_eq!(world.state(), "Complete", "it passed: {reply:?}");
        let mut world = running();
        world.fake.polls.extend(vec![Ok(reply.clone()); 40]);
        world.run();
        assert_eq!(world.says(Failed), "True/InvalidManifest", "{reply:?}");
        assert!(world.fake.polls.len() >= 30 && world.now < at(3600), "bounded");
        assert_eq!(world.status().unsettled_jobs.len(), 1, "its end is not known");
    }
    for reply in [outcome(400, "invalid", "x"), answer(302), html(418)] {
        let mut world = running();
        world.fake.polls.extend(vec![Ok(reply.clone()); 40]);
        world.run();
        assert_eq!(world.says(Failed), "True/StatusRefused", "{reply:?}");
        assert_eq!(world.status().unsettled_jobs.len(), 1, "its end is not known");
        assert!(!Fake::works_on(&world.fake.jobs[0], world.now), "it is cancelled, to be sure");
    }
}
