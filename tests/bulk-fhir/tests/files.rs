//! How files are served.

#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

mod common;

use std::io::Read;

use aws_lc_rs::digest::{SHA256, digest};
use bulk_fhir::{
    Access, Breaks, Count, FileScript, Options, Redirect, Script, Server, Shape, Step, Validator, Version,
    not_yet,
};
use common::{client, get, run, server, started, url};

fn served(files: FileScript) -> Script {
    Script::polls(0).made("Observation", 1, 600_000).files(files)
}

#[tokio::test]
async fn made_files_have_the_promised_digest_lines_and_ids() {
    let server = server(Version::Stu2).await;
    let (id, manifest) = run(&server, Script::polls(0).made("Observation", 3, 1_000_000)).await;
    let mut ids = std::collections::BTreeSet::new();
    for (index, expected) in server.expected(&id).iter().enumerate() {
        assert_eq!((expected.size, expected.lines), (1_000_000, 1000));
        let response = get(&url(&manifest, index)).await;
        assert_eq!(response.headers()["content-type"], "application/fhir+ndjson");
        let bytes = response.bytes().await.unwrap();
        assert_eq!(
            format!("{:?}", digest(&SHA256, &bytes)).to_lowercase(),
            format!("sha256:{}", expected.sha256())
        );
        assert!(bytes == expected.bytes());
        for line in std::str::from_utf8(&bytes).unwrap().lines() {
            let resource: serde_json::Value = serde_json::from_str(line).unwrap();
            assert!(ids.insert(resource["id"].as_str().unwrap().to_owned()));
        }
    }
    assert_eq!(ids.len(), 3000);
    assert!(server.job(&id).unwrap().sent_twice().is_empty());
    get(&url(&manifest, 1)).await.bytes().await.unwrap();
    assert_eq!(server.job(&id).unwrap().sent_twice().len(), 1);
}

#[tokio::test]
async fn a_cut_download_can_go_on_where_it_broke() {
    let server = server(Version::Stu2).await;
    let (id, manifest) =
        run(&server, served(FileScript { cut: Some(Breaks::after(300_123, 1)), ..FileScript::default() }))
            .await;
    let url = url(&manifest, 0);
    let mut response = get(&url).await;
    let etag = response.headers()["etag"].clone();
    let mut bytes = Vec::new();
    let error = loop {
        match response.chunk().await {
            Ok(chunk) => bytes.extend_from_slice(&chunk.unwrap()),
            Err(error) => break error,
        }
    };
    assert!(error.is_decode() || error.is_body(), "{error:?}");
    assert_eq!(bytes.len(), 300_123);
    let rest = client()
        .get(&url)
        .header("Range", format!("bytes={}-", bytes.len()))
        .header("If-Range", etag)
        .send()
        .await
        .unwrap();
    assert_eq!(rest.status(), 206);
    assert_eq!(rest.headers()["content-range"], "bytes 300123-599999/600000");
    bytes.extend_from_slice(&rest.bytes().await.unwrap());
    assert!(bytes == server.expected(&id)[0].bytes());
    let file = server.job(&id).unwrap().files.remove(0);
    assert_eq!((file.whole, file.ranges, file.completed, file.bytes_sent), (1, 1, 1, 600_000));
    assert!(!file.sent_twice());
}

#[tokio::test]
async fn if_range_holds_only_for_a_strong_tag_that_is_still_there() {
    let server = server(Version::Stu2).await;
    for (validator, status) in [
        (Validator::Strong, 206),
        (Validator::LastModified, 206),
        (Validator::Weak, 200),
        (Validator::Changing, 200),
    ] {
        let (_, manifest) = run(&server, served(FileScript { validator, ..FileScript::default() })).await;
        let first = get(&url(&manifest, 0)).await;
        let tag = first.headers().get("etag").or(first.headers().get("last-modified")).unwrap().clone();
        first.bytes().await.unwrap();
        let request = client().get(url(&manifest, 0)).header("Range", "bytes=10-19").header("If-Range", tag);
        assert_eq!(request.send().await.unwrap().status(), status, "{validator:?}");
    }
    let (_, manifest) = run(&server, served(FileScript { ranges: false, ..FileScript::default() })).await;
    let request = client().get(url(&manifest, 0)).header("Range", "bytes=10-19");
    assert_eq!(request.send().await.unwrap().status(), 200);
    let (_, manifest) = run(&server, served(FileScript::default())).await;
    let request = client().get(url(&manifest, 0)).header("Range", "bytes=600000-");
    assert_eq!(request.send().await.unwrap().status(), 416);
}

#[tokio::test]
async fn gzip_is_for_those_who_take_it() {
    let server = server(Version::Stu2).await;
    let (id, manifest) = run(&server, served(FileScript::default())).await;
    let response = client().get(url(&manifest, 0)).header("Accept-Encoding", "gzip").send().await.unwrap();
    assert_eq!(response.headers()["content-encoding"], "gzip");
    let packed = response.bytes().await.unwrap();
    assert!(packed.len() < 100_000);
    let mut bytes = Vec::new();
    flate2::read::GzDecoder::new(&packed[..]).read_to_end(&mut bytes).unwrap();
    assert!(bytes == server.expected(&id)[0].bytes());
    let (_, manifest) = run(&server, served(FileScript { gzip: false, ..FileScript::default() })).await;
    let response = client().get(url(&manifest, 0)).header("Accept-Encoding", "gzip").send().await.unwrap();
    assert!(response.headers().get("content-encoding").is_none());
}

#[tokio::test]
async fn the_foreign_host_gives_files_to_those_without_a_token_only() {
    let options = Options { access: Access::Bearer("secret".into()), ..Options::default() };
    let server = Server::start(options).await.unwrap();
    server.script(served(FileScript { redirect: Redirect::Foreign, ..FileScript::default() }));
    let with = |request: reqwest::RequestBuilder| request.bearer_auth("secret").send();
    let kick_off = client().get(format!("{}/$export", server.url()));
    let status_url = common::location(with(common::headers(kick_off)).await.unwrap());
    assert_eq!(get(&status_url).await.status(), 401);
    let manifest = with(client().get(&status_url)).await.unwrap().json().await.unwrap();
    let url = url(&manifest, 0);
    assert_eq!(get(&url).await.status(), 401);
    let hop = with(client().get(&url)).await.unwrap();
    assert_eq!(hop.status(), 307);
    let target = hop.headers()["location"].to_str().unwrap().to_owned();
    assert!(target.starts_with(&server.foreign_url()));
    assert_eq!(get(&target).await.bytes().await.unwrap().len(), 600_000);
    assert!(server.leaked_tokens().is_empty());
    assert_eq!(with(client().get(&target)).await.unwrap().status(), 400);
    assert_eq!(server.leaked_tokens().len(), 1);
}

#[tokio::test]
async fn a_capability_url_needs_its_signature_and_no_token() {
    let server = server(Version::Stu2).await;
    let shape = Shape { requires_access_token: Some(false), ..Shape::default() };
    let (_, manifest) = run(&server, served(FileScript::default()).manifest(shape)).await;
    assert_eq!(manifest["requiresAccessToken"], false);
    let url = url(&manifest, 0);
    assert_eq!(client().get(&url).bearer_auth("x").send().await.unwrap().status(), 400);
    assert_eq!(get(url.split('?').next().unwrap()).await.status(), 403);
    assert_eq!(get(&url).await.status(), 200);
}

#[tokio::test]
async fn links_expire_until_the_manifest_is_fetched_again() {
    let server = server(Version::Stu2).await;
    let script = FileScript { expires_requests: Some(1), expired_status: 410, ..FileScript::default() };
    server.script(served(script));
    let status_url = started(&server, "/$export").await;
    let old = url(&common::manifest(&status_url).await, 0);
    assert_eq!((get(&old).await.status(), get(&old).await.status().as_u16()), (reqwest::StatusCode::OK, 410));
    let fresh = url(&common::manifest(&status_url).await, 0);
    assert_ne!(old, fresh);
    assert_eq!(get(&fresh).await.status(), 200);
    let script = FileScript { expires_millis: Some(50), ..FileScript::default() };
    let (_, manifest) = run(&server, served(script)).await;
    tokio::time::sleep(std::time::Duration::from_millis(60)).await;
    assert_eq!(get(&url(&manifest, 0)).await.status(), 403);
}

#[tokio::test]
async fn downloads_can_go_wrong_in_other_ways() {
    let server = server(Version::Stu2).await;
    let quirk =
        |files: FileScript| served(files).manifest(Shape { count: Count::Absent, ..Shape::default() });
    let good = FileScript::default;
    let (_, manifest) =
        run(&server, quirk(FileScript { faults: vec![Step::times(2, not_yet())], ..good() })).await;
    for status in [404, 404, 200] {
        assert_eq!(get(&url(&manifest, 0)).await.status(), status);
    }
    let (_, manifest) =
        run(&server, quirk(FileScript { short: Some(Breaks::after(1000, 1)), ..good() })).await;
    assert_eq!(get(&url(&manifest, 0)).await.bytes().await.unwrap().len(), 1000);
    assert_eq!(get(&url(&manifest, 0)).await.bytes().await.unwrap().len(), 600_000);
    let (_, manifest) = run(&server, quirk(FileScript { html_pages: 1, ..good() })).await;
    assert_eq!(get(&url(&manifest, 0)).await.headers()["content-type"], "text/html");
    let (id, manifest) = run(&server, quirk(FileScript { wrong_bytes: true, ..good() })).await;
    let (bytes, right) =
        (get(&url(&manifest, 0)).await.bytes().await.unwrap(), server.expected(&id)[0].bytes());
    assert_eq!(bytes.iter().zip(&right).filter(|(a, b)| a != b).count(), 1);
    let odd = FileScript { crlf: true, no_final_newline: true, byte_order_mark: true, ..good() };
    let (id, manifest) = run(&server, quirk(odd)).await;
    let bytes = get(&url(&manifest, 0)).await.bytes().await.unwrap();
    assert!(
        bytes.starts_with(b"\xef\xbb\xbf{")
            && bytes.ends_with(b"}")
            && bytes == server.expected(&id)[0].bytes()
    );
    let (_, manifest) = run(&server, quirk(FileScript { json_binary: true, ..good() })).await;
    let binary =
        client().get(url(&manifest, 0)).header("Accept", "application/fhir+json").send().await.unwrap();
    let binary: serde_json::Value = binary.json().await.unwrap();
    assert_eq!(binary["resourceType"], "Binary");
    let (_, manifest) = run(&server, quirk(FileScript { redirect: Redirect::Loop, ..good() })).await;
    let hop = get(&url(&manifest, 0)).await;
    assert_eq!(hop.headers()["location"], url(&manifest, 0).as_str());
    let slow = FileScript { trickle: Some(1_500_000), ..good() };
    let (_, manifest) = run(&server, quirk(slow)).await;
    let started = std::time::Instant::now();
    assert_eq!(get(&url(&manifest, 0)).await.bytes().await.unwrap().len(), 600_000);
    assert!(started.elapsed().as_millis() > 250);
}
