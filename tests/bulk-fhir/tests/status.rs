//! Polls and cancels.

#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

mod common;

use bulk_fhir::{
    AfterCancel, Cancel, Ending, Life, On, Options, Progress, Quirks, Rate, RequestFault, RetryAfter,
    Running, Script, Server, State, Step, Version, outcome, throttled, unavailable,
};
use common::{client, get, issue, manifest, server, started};

#[tokio::test]
async fn a_running_job_says_when_to_come_again() {
    let server = server(Version::Stu2).await;
    for (retry_after, wanted) in [
        (RetryAfter::Seconds(3), Some(3..=3)),
        (RetryAfter::EpochSeconds(5), Some(1_700_000_000_u64..=9_999_999_999)),
        (RetryAfter::EpochMillis(5), Some(1_700_000_000_000..=9_999_999_999_999)),
        (RetryAfter::Date(5), None),
    ] {
        let progress = Some(Progress { texts: vec!["half".into()], retry_after });
        server.script(Script { progress, running: Running::Parameters, ..Script::polls(1) });
        let poll = get(&started(&server, "/$export").await).await;
        assert_eq!((poll.status().as_u16(), &poll.headers()["x-progress"]), (202, &"half".parse().unwrap()));
        let said = poll.headers()["retry-after"].to_str().unwrap().to_owned();
        match wanted {
            Some(wanted) => assert!(wanted.contains(&said.parse().unwrap()), "{said}"),
            None => assert!(said.ends_with(" GMT")),
        }
        assert!(poll.text().await.unwrap().contains("\"Parameters\""));
    }
}

#[tokio::test]
async fn polls_can_fail_before_the_job_does() {
    let server = server(Version::Stu2).await;
    let status_faults = vec![
        Step::times(1, outcome(500, "transient")),
        Step::times(1, outcome(503, "lock-error")),
        Step::times(1, unavailable(&RetryAfter::Seconds(1))),
        Step::times(1, throttled(&RetryAfter::Date(1))),
    ];
    server.script(Script { status_faults, ..Script::polls(0) });
    let status_url = started(&server, "/$export").await;
    assert_eq!(issue(get(&status_url).await).await, (500, "transient".into()));
    assert_eq!(issue(get(&status_url).await).await, (503, "lock-error".into()));
    assert_eq!(get(&status_url).await.status(), 503);
    assert_eq!(get(&status_url).await.status(), 429);
    assert_eq!(get(&status_url).await.status(), 200);
    assert_eq!(server.jobs()[0].polls, 1);
    server.fault(RequestFault::next(On::Status, 1, outcome(500, "timeout")));
    assert_eq!(get(&status_url).await.status(), 500);
}

#[tokio::test]
async fn a_failed_job_goes_on_failing() {
    let server = server(Version::Stu2).await;
    server.script(Script::fails(500, "exception", "It broke."));
    let status_url = started(&server, "/$export").await;
    for _ in 0..2 {
        assert_eq!(issue(get(&status_url).await).await, (500, "exception".into()));
    }
    assert_eq!(server.jobs()[0].state, State::Failed);
    let ending = Ending::Failed { status: 410, outcome: None };
    server.script(Script { life: Life::Polls(0), ending, ..Script::default() });
    assert_eq!(get(&started(&server, "/$export").await).await.status(), 410);
}

#[tokio::test]
async fn a_cancel_is_answered_as_told() {
    let server = server(Version::Stu2).await;
    for status in [200, 202, 204, 404, 405, 500] {
        let cancel = Cancel { running: status, ..Cancel::default() };
        server.script(Script { cancel, ..Script::stuck() });
        let status_url = started(&server, "/$export").await;
        assert_eq!(client().delete(&status_url).send().await.unwrap().status(), status);
        let after = if status < 300 { 404 } else { 202 };
        assert_eq!(get(&status_url).await.status(), after);
    }
    for (after, status) in [(AfterCancel::Running, 202), (AfterCancel::Readable, 200)] {
        server.script(Script { cancel: Cancel { after, ..Cancel::default() }, ..Script::polls(0) });
        let status_url = started(&server, "/$export").await;
        assert_eq!(client().delete(&status_url).send().await.unwrap().status(), 202);
        assert_eq!(get(&status_url).await.status(), status);
    }
    let hapi = Cancel { finished: 404, ..Cancel::default() };
    server.script(Script { cancel: hapi, ..Script::polls(0) });
    let status_url = started(&server, "/$export").await;
    manifest(&status_url).await;
    assert_eq!(client().delete(&status_url).send().await.unwrap().status(), 404);
    assert_eq!(get(&status_url).await.status(), 200);
}

#[tokio::test]
async fn who_comes_too_often_is_told() {
    let quirks = Quirks { rate: Some(Rate { requests: 2, millis: 400 }), ..Quirks::default() };
    let server = Server::start(Options { quirks, ..Options::default() }).await.unwrap();
    let status_url = started(&server, "/$export").await;
    assert_eq!(get(&status_url).await.status(), 202);
    let poll = get(&status_url).await;
    assert_eq!((poll.status().as_u16(), &poll.headers()["retry-after"]), (429, &"1".parse().unwrap()));
    tokio::time::sleep(std::time::Duration::from_millis(450)).await;
    assert_eq!(get(&status_url).await.status(), 200);
}
