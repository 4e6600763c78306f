//! Jobs: their life, their ends, their cancel.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::cast_possible_truncation)]

mod common;

use azure_fhir::{
    CancelProfile, Ending, Failure, Fault, Layout, Life, ManifestQuirk, Options, Progress, RetryAfter,
    Script, Server, State, Step,
};
use common::{delete, finished, get, issue, manifest, started};
use serde_json::{Value, json};

async fn server() -> Server {
    Server::start(Options::default()).await.unwrap()
}

#[tokio::test]
async fn an_immediate_poll_gets_202_and_nothing_else() {
    let server = server().await;
    let url = started(&server, "/$export").await;
    let response = get(&url).await;
    assert_eq!(response.status(), 202);
    assert!(response.headers().get("retry-after").is_none());
    assert!(response.headers().get("x-progress").is_none());
    assert!(response.bytes().await.unwrap().is_empty());
}

#[tokio::test]
async fn unknown_jobs_are_not_found() {
    let server = server().await;
    for id in ["0a1b2c3d-0000-4000-a000-000000000000", "7"] {
        let url = format!("{}/_operations/export/{id}", server.url());
        let text = format!("The requested job \"{id}\" was not found.");
        assert_eq!(issue(get(&url).await).await, (404, "not-found".into(), text.clone()));
        assert_eq!(issue(delete(&url).await).await, (404, "not-found".into(), text));
    }
}

#[tokio::test]
async fn the_manifest_lists_what_the_server_holds() {
    let server = server().await;
    server.script(Script { lines_per_file: 100, ..Script::polls(3) });
    let url = started(&server, "/$export?_container=lake").await;
    for _ in 0..3 {
        assert_eq!(get(&url).await.status(), 202);
    }
    let body = manifest(&url).await;
    assert_eq!(body["request"], format!("{}/$export?_container=lake", server.url()));
    assert_eq!(body["requiresAccessToken"], false);
    assert_eq!((&body["error"], &body["issues"]), (&json!([]), &json!([])));
    let output = body["output"].as_array().unwrap();
    let observations: Vec<&Value> = output.iter().filter(|entry| entry["type"] == "Observation").collect();
    assert!(observations.len() > 1, "several files of one type");
    let lines: u64 = observations.iter().map(|entry| entry["count"].as_u64().unwrap()).sum();
    assert_eq!(lines as usize, server.patients().ids("Observation").len());
    let job = &server.jobs()[0];
    let folder = format!("/lake/{}-{}/", job.created.strftime("%Y%m%dT%H%M%S"), job.id);
    assert!(output.iter().all(|entry| entry["url"].as_str().unwrap().contains(&folder)));
    assert!(output.windows(2).all(|two| two[0]["type"].as_str() <= two[1]["type"].as_str()));
    assert_eq!((job.polls, job.state.clone()), (4, State::Completed));
    assert_eq!(manifest(&url).await, body, "it stays");
}

#[tokio::test]
async fn levels_types_filters_and_times_choose_resources() {
    let server = server().await;
    let females = server.patients().ids("Patient").into_iter();
    let females =
        females.filter(|id| server.patients().get("Patient", id).unwrap()["gender"] == "female").count();
    let count = async |path: &str, kind: &str| {
        let body = manifest(&started(&server, path).await).await;
        let entries = body["output"].as_array().unwrap().clone();
        entries.iter().filter(|e| e["type"] == kind).map(|e| e["count"].as_u64().unwrap()).sum::<u64>()
            as usize
    };
    assert_eq!(count("/Group/cohort-42/$export", "Patient").await, 3);
    assert_eq!(count("/Group/cohort-42/$export?_type=Condition", "Patient").await, 0);
    assert_eq!(count("/Patient/$export", "Medication").await, 0, "in nobody's compartment");
    assert!(count("/$export", "Medication").await > 0);
    let filtered = "?_type=Patient,Observation&_typeFilter=Patient%3Fgender%3Dfemale";
    assert_eq!(count(&format!("/$export{filtered}"), "Patient").await, females);
    assert_eq!(count("/$export?_since=2026-06-01", "Patient").await, 0);
    let id = server.patients().ids("Observation").remove(0);
    let mut changed = server.patients().get("Observation", &id).unwrap().clone();
    changed["status"] = json!("amended");
    server.patients().put(changed, "2026-07-01T00:00:00Z".parse().unwrap()).unwrap();
    assert_eq!(count("/$export?_since=2026-06-01", "Observation").await, 1);
    assert_eq!(
        count("/$export?_till=2026-07-01", "Observation").await + 1,
        server.patients().ids("Observation").len()
    );
    assert_eq!(
        count("/Patient/$export?_since=2026-06-01", "Observation").await,
        0,
        "its patient is unchanged"
    );
    let all = server.patients().ids("Observation").len();
    assert_eq!(count("/$export?includeAssociatedData=_history", "Observation").await, all + 1);
    server.patients().delete("Observation", &id, "2026-07-02T00:00:00Z".parse().unwrap());
    assert_eq!(count("/$export", "Observation").await, all - 1);
    assert_eq!(count("/$export?includeAssociatedData=_deleted", "Observation").await, all);
}

#[tokio::test]
async fn what_the_kick_off_did_not_check_fails_the_job() {
    let server = server().await;
    let cases = [
        ("/Group/nobody/$export", 400, "Group nobody was not found."),
        ("/$export?_type=nothing", 400, "Resource type 'nothing' is not supported."),
        ("/$export?_container=Not_Allowed", 400, "The specified resource name contains invalid characters."),
    ];
    for (path, status, reason) in cases {
        let url = started(&server, path).await;
        for _ in 0..2 {
            let (found, code, text) = issue(finished(&url).await).await;
            assert_eq!((found, code.as_str()), (status, "processing"));
            assert!(text.starts_with(&format!("export operation failed for reason: {reason}")), "{text}");
        }
    }
    let empty = manifest(&started(&server, "/Group/empty/$export").await).await;
    assert_eq!(empty["output"], json!([]));
}

#[tokio::test]
async fn a_failure_s_status_says_little_and_its_code_all() {
    let server = server().await;
    for (failure, status) in [
        (Failure::StorageAccessDenied, 403),
        (Failure::StorageAccountNotFound, 404),
        (Failure::DatabaseThrottled, 429),
        (Failure::OutOfMemory { max_count: 10_000 }, 413),
        (Failure::Unknown, 500),
    ] {
        server.script(Script::fails(failure.clone()));
        let url = started(&server, "/$export").await;
        let response = get(&url).await;
        assert!(response.headers().get("retry-after").is_none());
        let (found, code, text) = issue(response).await;
        assert_eq!((found, code.as_str()), (status, "processing"));
        assert_eq!(text, format!("export operation failed for reason: {}", failure.reason()));
    }
    // The same three statuses in their other meaning.
    let faults = [Fault::Forbidden, Fault::JobNotFound, Fault::Throttled { seconds: 2, millis: 1500 }];
    server.script(Script {
        status_faults: faults.map(|fault| Step::times(1, fault)).to_vec(),
        ..Script::polls(0)
    });
    let url = started(&server, "/$export").await;
    for (status, code) in [(403, "forbidden"), (404, "not-found"), (429, "throttled")] {
        let (found, found_code, _) = issue(get(&url).await).await;
        assert_eq!((found, found_code.as_str()), (status, code));
    }
    assert_eq!(get(&url).await.status(), 200);
}

#[tokio::test]
async fn cancel_follows_the_age_of_the_build() {
    let server = server().await;
    // Profile, whether the job is finished, then what DELETE, GET, GET, GET, DELETE answer.
    let cases = [
        (CancelProfile::Build2026, false, [202, 404, 404, 404, 404]),
        (CancelProfile::Build2026, true, [202, 404, 404, 404, 404]),
        (CancelProfile::Build2022, false, [202, 202, 200, 200, 409]),
        (CancelProfile::Build2022, true, [409, 200, 200, 200, 409]),
        (CancelProfile::Build2025, true, [409, 200, 200, 200, 409]),
        (CancelProfile::Buggy, false, [202, 202, 200, 200, 500]),
        (CancelProfile::Buggy, true, [500, 200, 200, 200, 500]),
        (CancelProfile::Slow { polls: 2 }, false, [202, 202, 202, 404, 404]),
    ];
    for (cancel, done, expected) in cases {
        let life = if done { Life::Polls(0) } else { Life::Stuck };
        server.script(Script { cancel, life, ..Script::default() });
        let url = started(&server, "/$export?_type=Patient").await;
        let before = if done { Some(manifest(&url).await) } else { None };
        let mut found = vec![delete(&url).await.status().as_u16()];
        for _ in 0..3 {
            let response = get(&url).await;
            found.push(response.status().as_u16());
            if response.status() == 200 {
                let body: Value = response.json().await.unwrap();
                assert_eq!(body["output"], before.as_ref().map_or(json!([]), |b| b["output"].clone()));
            }
        }
        found.push(delete(&url).await.status().as_u16());
        assert_eq!(found, expected, "{cancel:?}, finished: {done}");
    }
}

#[tokio::test]
async fn a_refused_cancel_leaves_the_job() {
    let server = server().await;
    server.script(Script {
        cancel_faults: vec![
            Step::times(1, Fault::Unauthorized),
            Step::always(Fault::Internal { outcome: true }),
        ],
        ..Script::stuck()
    });
    let url = started(&server, "/$export").await;
    assert_eq!(delete(&url).await.status(), 401);
    assert_eq!(delete(&url).await.status(), 500);
    assert_eq!(delete(&url).await.status(), 500);
    assert_eq!(get(&url).await.status(), 202);
    let job = &server.jobs()[0];
    assert_eq!((job.cancel_requests, job.cancelled_at), (3, None));
}

#[tokio::test]
async fn other_servers_say_how_far_they_are() {
    let server = server().await;
    let progress = Progress { texts: vec!["10%".into(), "90%".into()], retry_after: RetryAfter::Seconds(3) };
    server.script(Script { progress: Some(progress), ..Script::stuck() });
    let url = started(&server, "/$export").await;
    for text in ["10%", "90%", "90%"] {
        let response = get(&url).await;
        assert_eq!(response.headers()["x-progress"], text);
        assert_eq!(response.headers()["retry-after"], "3");
    }
}

#[tokio::test]
async fn ends_and_layouts_and_the_settling_time() {
    let server = server().await;
    server.script(Script { ending: Ending::CancelledBySystem, ..Script::polls(0) });
    assert_eq!(manifest(&started(&server, "/$export").await).await["output"], json!([]));
    server.script(Script { ending: Ending::Expired, ..Script::polls(0) });
    assert_eq!(get(&started(&server, "/$export").await).await.status(), 404);
    server.script(Script { layout: Layout::GuidBare, ..Script::polls(0) });
    let url = started(&server, "/$export?_type=Patient").await;
    let id = url.rsplit('/').next().unwrap();
    assert_eq!(id.len(), 36);
    let body = manifest(&url).await;
    assert!(body["output"][0]["url"].as_str().unwrap().ends_with(&format!("/{id}/Patient.ndjson")));
    server.script(Script { settle_factor: 0.01, ..Script::polls(0) });
    let url = started(&server, "/$export?_type=Patient").await;
    assert_eq!(get(&url).await.status(), 202);
    tokio::time::sleep(std::time::Duration::from_millis(200)).await;
    assert_eq!(get(&url).await.status(), 200);
}

#[tokio::test]
async fn manifests_have_their_oddities() {
    let server = server().await;
    let foreign = "http://other.example:1/x".to_owned();
    let script = Script::polls(0)
        .with(ManifestQuirk::WrongCount(5))
        .with(ManifestQuirk::ForeignUrls(foreign.clone()))
        .with(ManifestQuirk::ErrorEntries(2))
        .with(ManifestQuirk::NoIssues)
        .with(ManifestQuirk::ManyFiles(3000))
        .with(ManifestQuirk::OffsetTime)
        .with(ManifestQuirk::ForeignRequest);
    server.script(script);
    let body = manifest(&started(&server, "/$export?_type=Patient").await).await;
    let output = body["output"].as_array().unwrap();
    assert_eq!(output.len(), 3001);
    assert_eq!(output[0]["count"], server.patients().ids("Patient").len() + 5);
    assert!(output[0]["url"].as_str().unwrap().starts_with(&foreign));
    assert_eq!(body["error"][0]["count"], 2);
    assert!(body.get("issues").is_none());
    assert!(body["transactionTime"].as_str().unwrap().ends_with("+00:00"));
    assert!(body["request"].as_str().unwrap().contains("not-ours"));
    server.script(Script::polls(0).with(ManifestQuirk::ZeroFiles).with(ManifestQuirk::NoError));
    let body = manifest(&started(&server, "/$export").await).await;
    assert_eq!((&body["output"], body.get("error")), (&json!([]), None));
}
