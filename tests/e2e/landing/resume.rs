//! Downloads that do not succeed at once: cut, late, refused, expired or corrupted, or interrupted by the end of the
//! operator.

use std::collections::BTreeMap;

use bulk_fhir::{
    Breaks, Count, Fault, FileScript, Options, Quirks, Rate, RetryAfter, Script, Shape, Step, Validator,
    not_yet, throttled, unavailable,
};
use serde_json::json;

use crate::place::Place;
use crate::site::condition;

const MIB: u64 = 1 << 20;

/// A script for an uncompressed file, so that the bytes sent can be compared with the file's length.
fn plain() -> FileScript {
    FileScript { gzip: false, ..FileScript::default() }
}

/// A job with one generated file for each of these scripts.
fn each(bytes: u64, files: Vec<FileScript>) -> Script {
    let script = Script::polls(0).made("Observation", files.len() as u64, bytes);
    Script { file_overrides: files.into_iter().enumerate().collect(), ..script }
}

#[tokio::test]
async fn a_cut_file_goes_on_where_it_broke_off() {
    let place = Place::start("cut", Options::default(), json!({})).await;
    let cut = FileScript { cut: Some(Breaks::after(1_500_000, 3)), ..plain() };
    let (_, job) = place.lands(Script::polls(0).made("Observation", 1, 6_000_000).files(cut)).await;
    let file = &job.files[0];
    assert_eq!((file.whole, file.ranges, file.completed), (1, 3, 1));
    assert!(file.bytes_sent < file.bytes + 400_000, "{} of {}", file.bytes_sent, file.bytes);
    let requests = place.file_requests();
    assert_eq!(requests[0].headers["accept"], "application/fhir+ndjson");
    for (number, request) in requests.iter().enumerate().skip(1) {
        let headers = &request.headers;
        let from: u64 =
            headers["range"].strip_prefix("bytes=").unwrap().trim_end_matches('-').parse().unwrap();
        assert!(from > 0 && from <= 1_500_000 * number as u64, "{from}");
        assert!(headers["if-range"].starts_with('"'), "{headers:?}");
        assert_eq!(headers["accept-encoding"], "identity");
        assert_eq!(request.status, Some(206));
    }
}

#[tokio::test]
async fn what_cannot_be_gone_on_with_begins_anew() {
    let place = Place::start("anew", Options::default(), json!({})).await;
    let cut = FileScript { cut: Some(Breaks::after(2_500_000, 1)), ..plain() };
    let ways = [Validator::None, Validator::Weak, Validator::LastModified, Validator::Changing];
    let mut files: Vec<FileScript> =
        ways.into_iter().map(|validator| FileScript { validator, ..cut.clone() }).collect();
    files.push(FileScript { ranges: false, ..cut });
    let (_, job) = place.lands(each(4_000_000, files)).await;
    for file in &job.files {
        assert_eq!((file.whole, file.ranges, file.completed), (2, 0, 1), "{}", file.index);
    }
}

#[tokio::test]
async fn compressed_files_land_as_they_were_before() {
    let place = Place::start("gzip", Options::default(), json!({})).await;
    let whole = FileScript::default();
    let cut = FileScript { cut: Some(Breaks::after(2_500_000, 2)), ..whole.clone() };
    let (_, job) = place.lands(each(5_000_000, vec![whole, cut])).await;
    assert_eq!((job.files[0].whole, job.files[0].completed), (1, 1));
    assert_eq!(job.files[1].completed, 1);
    assert!(place.file_requests().iter().any(|r| r.headers["accept-encoding"] == "gzip"));
}

#[tokio::test]
async fn a_connection_that_always_cuts_a_compressed_file_ends_in_ranges() {
    let place = Place::start("cutgzip", Options::default(), json!({})).await;
    let cut = FileScript { cut: Some(Breaks { after: 1_500_000, times: None }), ..FileScript::default() };
    let (_, job) = place.lands(Script::polls(0).made("Observation", 1, 6_000_000).files(cut)).await;
    assert_eq!((job.files[0].whole, job.files[0].ranges, job.files[0].completed), (2, 3, 1));
}

#[tokio::test]
async fn what_was_spoiled_on_the_way_is_fetched_once_more() {
    let place = Place::start("spoiled", Options::default(), json!({})).await;
    let short = FileScript { short: Some(Breaks::after(1_000_000, 1)), ..plain() };
    let (object, job) = place.lands(each(2_500_000, vec![plain(), short])).await;
    assert_eq!((job.files[0].whole, job.files[1].whole), (1, 2));
    assert_eq!(condition(&object, "Verified").unwrap().1, "CountsMatch");
}

#[tokio::test]
async fn expired_links_are_refreshed_and_landed_files_stay() {
    let place =
        Place::start("expired", Options::default(), json!({"limits": {"maxParallelDownloads": 2}})).await;
    let cut = |expired_status| FileScript {
        cut: Some(Breaks::after(9_000_000, 1)),
        expires_requests: Some(1),
        expired_status,
        ..plain()
    };
    let files = vec![plain(), cut(403), plain(), cut(404), plain(), cut(410)];
    let (object, job) = place.lands(each(12_000_000, files)).await;
    // One fresh manifest has fresh links for all of them.
    assert!(job.polls >= 2, "the manifest is fetched again for fresh links: {}", job.polls);
    assert_eq!(object.status.as_ref().unwrap().attempts, Some(1));
    for file in &job.files {
        let broken = file.index % 2 == 1;
        assert_eq!((file.completed, file.refused > 0), (1, broken), "{file:?}");
        assert!(broken || file.whole == 1, "{file:?}");
        // A block is 4 MiB. At most the bytes after the last whole block are downloaded again.
        assert!(file.bytes_sent < file.bytes + 3 * MIB / 2, "{file:?}");
    }
}

#[tokio::test]
async fn links_that_live_shorter_than_the_landing_are_refreshed() {
    let place =
        Place::start("moments", Options::default(), json!({"limits": {"maxParallelDownloads": 1}})).await;
    let slow = FileScript { expires_millis: Some(700), trickle: Some(1_000_000), ..plain() };
    let (_, job) = place.lands(Script::polls(0).made("Condition", 8, 400_000).files(slow)).await;
    assert!(job.polls >= 3, "{}", job.polls);
    assert!(job.sent_twice().is_empty(), "{:?}", job.sent_twice());
}

#[tokio::test]
async fn links_that_are_never_good_are_told_and_waited_for() {
    let place = Place::start("never", Options::default(), json!({})).await;
    let never = FileScript { expires_requests: Some(0), ..plain() };
    place.fhir.script(Script::polls(0).files(never));
    place.export("run", json!({}), json!({"backoffLimit": 0})).await;
    let object = place.site.until_condition("run", "Reconciling", "True", "LinkExpired").await;
    let message = condition(&object, "Reconciling").unwrap().2;
    assert_eq!(object.status.as_ref().unwrap().completion_time, None);
    assert!(message.contains("under the link of its manifest") && !message.contains("sig="), "{message}");
    assert!(place.last_job().polls >= 3);
    assert!(place.blobs(&object).await.is_empty());
}

#[tokio::test]
async fn a_server_that_is_not_ready_or_busy_is_waited_for() {
    let place = Place::start("busy", Options::default(), json!({})).await;
    let failing = |fault| FileScript { faults: vec![Step::times(2, fault)], ..plain() };
    let files = vec![
        failing(not_yet()),
        failing(throttled(&RetryAfter::Seconds(1))),
        failing(unavailable(&RetryAfter::Date(1))),
        failing(unavailable(&RetryAfter::EpochMillis(1))),
        failing(Fault::Reset),
        failing(Fault::TruncatedBody),
    ];
    let (object, job) = place.lands(each(100_000, files)).await;
    assert!(job.files.iter().all(|file| file.refused >= 2 && file.completed == 1), "{:?}", job.files);
    assert_eq!(object.status.unwrap().attempts, Some(1));
}

#[tokio::test]
async fn a_limit_of_requests_slows_a_landing_and_does_not_stop_it() {
    let rate = Some(Rate { requests: 6, millis: 1000 });
    let options = Options { quirks: Quirks { rate, ..Quirks::default() }, ..Options::default() };
    let place = Place::start("rate", options, json!({})).await;
    let (object, job) = place.lands(Script::polls(0).made("Condition", 40, 1_000)).await;
    assert!(job.sent_twice().is_empty(), "{:?}", job.sent_twice());
    let status = object.status.unwrap();
    assert_eq!((status.attempts, job.polls), (Some(1), 1));
    let refused = place.file_requests().iter().filter(|r| r.status == Some(429)).count();
    assert!((1..40).contains(&refused), "{refused} refusals: one is told to all");
    let reachable = status.conditions.iter().find(|c| c.type_ == "ServerReachable").unwrap();
    assert!(Some(reachable.last_transition_time) <= status.accepted_time, "nobody is alarmed");
}

#[tokio::test]
async fn a_slow_file_lands_as_long_as_something_comes() {
    let change = json!({"limits": {"requestTimeoutSeconds": 1}});
    let place = Place::start("slow", Options::default(), change).await;
    let slow = FileScript { trickle: Some(100_000), ..plain() };
    let (_, job) = place.lands(Script::polls(0).made("Observation", 1, 300_000).files(slow)).await;
    assert_eq!(job.files[0].whole, 1);
}

#[tokio::test]
async fn a_web_page_never_lands() {
    let place = Place::start("page", Options::default(), json!({})).await;
    let disguised = Fault::Custom {
        status: 200,
        headers: vec![("Content-Type".into(), "application/fhir+ndjson".into())],
        body: "\r\n <!DOCTYPE html><html>Sign in</html>\n".into(),
    };
    let page = FileScript { html_pages: 2, ..plain() };
    let files = vec![page, FileScript { faults: vec![Step::times(2, disguised)], ..plain() }];
    let absent = Shape { count: Count::Absent, ..Shape::default() };
    let (_, job) = place.lands(each(100_000, files).manifest(absent)).await;
    assert!(job.files.iter().all(|file| file.refused == 2 && file.completed == 1), "{:?}", job.files);
}

#[tokio::test]
async fn a_part_that_nobody_asked_for_is_not_the_whole() {
    let place = Place::start("part", Options::default(), json!({})).await;
    let line = format!("{{\"resourceType\":\"Observation\",\"id\":\"1\"}}{}\n", " ".repeat(20));
    let part = Fault::Custom {
        status: 206,
        headers: vec![
            ("Content-Type".into(), "application/fhir+ndjson".into()),
            ("Content-Range".into(), format!("bytes 0-{}/100000", line.len() - 1)),
        ],
        body: line,
    };
    let files = FileScript { faults: vec![Step::times(1, part)], ..plain() };
    let absent = Shape { count: Count::Absent, ..Shape::default() };
    place.lands(Script::polls(0).made("Observation", 1, 100_000).files(files).manifest(absent)).await;
}

#[tokio::test]
async fn a_killed_operator_goes_on_inside_the_file() {
    let mut place = Place::start("killed", Options::default(), json!({})).await;
    let slow = FileScript { trickle: Some(12_000_000), ..plain() };
    place.fhir.script(Script::polls(0).made("Observation", 1, 24_000_000).files(slow));
    place.export("run", json!({}), json!({})).await;
    place.until_sent(0, 9_000_000).await;
    place.site.kill_operator().await;
    let job = place.last_job();
    place.fhir.rescript_files(&job.id, |file| file.trickle = None);
    place.site.start_operator().await;
    let object = place.site.complete("run").await;
    place.assert_same(&object, &job.id).await;
    let offsets: Vec<u64> = place
        .file_requests()
        .iter()
        .filter_map(|r| r.headers.get("range")?.strip_prefix("bytes=")?.strip_suffix('-')?.parse().ok())
        .collect();
    assert!(matches!(offsets.as_slice(), [from] if *from >= 4 * MIB && from % (4 * MIB) == 0), "{offsets:?}");
    let file = &place.last_job().files[0];
    assert_eq!((file.whole, file.ranges), (1, 1));
    assert_eq!(place.fhir.jobs().len(), 1);
}

#[tokio::test]
async fn a_killed_operator_fetches_no_landed_file_again() {
    let change = json!({"limits": {"maxParallelDownloads": 1}});
    let mut place = Place::start("ledger", Options::default(), change).await;
    let slow = FileScript { trickle: Some(500_000), ..plain() };
    let files: BTreeMap<usize, FileScript> = [(3, slow)].into();
    let script = Script::polls(0).made("Condition", 6, 300_000).files(plain());
    place.fhir.script(Script { file_overrides: files, ..script });
    place.export("run", json!({}), json!({})).await;
    place.until_sent(3, 1).await;
    place.site.kill_operator().await;
    place.site.start_operator().await;
    let object = place.site.complete("run").await;
    let job = place.last_job();
    place.assert_same(&object, &job.id).await;
    let wholes: Vec<u32> = job.files.iter().map(|file| file.whole).collect();
    assert_eq!(wholes, [1, 1, 1, 2, 1, 1]);
}
