//! `files`, `download` and `verify` of an export in an S3 store, with the caller's own access key.

use std::collections::BTreeMap;

use bulk_fhir::Options;
use serde_json::{Value, json};
use stage::{S3_KEY, S3_KEY_ID, Tool};

use super::files::{files_in, landed, succeeds};
use super::{assert_said, plugin};
use crate::place::{Place, output};
use crate::site::{S3_PREFIX, Site};

/// The plugin with an access key of the caller, and the endpoint of the store.
async fn with_key(site: &Site, arguments: &[&str], secret: &str) -> Tool {
    let endpoint = Site::s3_endpoint().await;
    let tool = plugin(site, &[arguments, &["--endpoint", &endpoint]].concat());
    tool.env("AWS_ACCESS_KEY_ID", S3_KEY_ID).env("AWS_SECRET_ACCESS_KEY", secret)
}

/// The search path of this process, with a stand-in for the AWS CLI before everything else.
fn path_with_the_cli() -> String {
    let programs = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/aws-cli");
    format!("{programs}:{}", std::env::var("PATH").unwrap())
}

#[tokio::test]
async fn files_of_a_bucket_are_listed_fetched_and_verified() {
    let place = Place::on_s3("kubectl-s3", Options::default(), json!({})).await;
    let site = &place.site;
    let export = landed(&place).await;
    let folder = format!("{S3_PREFIX}/{}/{}", place.container(), output(&export).folder.unwrap());
    let mut stored = place.blobs(&export).await;
    stored.retain(|name, _| !name.split('/').any(|part| part.starts_with('.')));
    let directory = site.folder.path().join("lake");
    let to = directory.to_str().unwrap().to_owned();

    let listed = succeeds(site, with_key(site, &["files", "cohort", "-o", "json"], S3_KEY).await).await;
    let listed: Vec<Value> = serde_json::from_str(&listed).unwrap();
    assert_eq!(listed.len() + 1, stored.len());
    let urls = succeeds(site, with_key(site, &["files", "cohort", "-o", "url"], S3_KEY).await).await;
    assert!(urls.lines().all(|url| url.starts_with(&format!("s3://clinic-lake/{folder}/"))), "{urls}");

    succeeds(site, with_key(site, &["download", "cohort", &to], S3_KEY).await).await;
    let mut there = BTreeMap::new();
    files_in(&directory, "", &mut there);
    assert_eq!(there, stored);
    // The same command goes on in the middle of a file, and after its last byte.
    for length in [10, stored["Patient-1.ndjson"].len()] {
        std::fs::remove_file(directory.join("Patient-1.ndjson")).unwrap();
        let part = &stored["Patient-1.ndjson"][..length];
        std::fs::write(directory.join(".Patient-1.ndjson.part"), part).unwrap();
        let again = succeeds(site, with_key(site, &["download", "cohort", &to], S3_KEY).await).await;
        assert!(again.contains(&format!("{} of them there already", listed.len() - 1)), "{again}");
        let mut there = BTreeMap::new();
        files_in(&directory, "", &mut there);
        assert_eq!(there, stored);
    }

    let verified = succeeds(site, with_key(site, &["verify", "cohort"], S3_KEY).await).await;
    assert!(verified.contains("as the manifest says"), "{verified}");
    let bucket = site.bucket.as_ref().unwrap();
    bucket.put(&format!("{folder}/Patient-1.ndjson"), b"{\"resourceType\":\"Patient\"}\n").await.unwrap();
    let changed = with_key(site, &["verify", "cohort"], S3_KEY).await.run().await.unwrap();
    assert_eq!(changed.code, 3, "{changed:?}");
    assert!(changed.stdout.contains("wrong: Patient-1.ndjson: it has 27 bytes instead of "), "{changed:?}");
}

#[tokio::test]
async fn an_access_key_that_is_missing_or_wrong_is_told_with_the_next_step() {
    let place = Place::on_s3("kubectl-s3-key", Options::default(), json!({})).await;
    let site = &place.site;
    landed(&place).await;
    let wrong = with_key(site, &["files", "cohort"], "yesterday").await.run().await.unwrap();
    assert_said(&wrong, 1, "does not know your access key (");
    assert_said(&wrong, 1, "check which login the AWS tools use here");
    // A key goes to AWS, or where its owner sends it.
    let refused = plugin(site, &["files", "cohort"])
        .env("AWS_ACCESS_KEY_ID", S3_KEY_ID)
        .env("AWS_SECRET_ACCESS_KEY", S3_KEY);
    let refused = refused.run().await.unwrap();
    assert_said(&refused, 1, "which is no S3 endpoint of AWS: name the endpoint with --endpoint");
    let nobody = plugin(site, &["files", "cohort"]).env("PATH", path_with_the_cli()).run().await.unwrap();
    assert_said(&nobody, 1, "error: You are not logged in to AWS (");
    assert_said(&nobody, 1, "run aws sso login or aws configure, or set AWS_ACCESS_KEY_ID");
}

/// The AWS CLI gives the key of whatever login it has.
#[tokio::test]
async fn the_login_of_the_aws_cli_is_used() {
    let place = Place::on_s3("kubectl-s3-login", Options::default(), json!({})).await;
    let site = &place.site;
    landed(&place).await;
    let endpoint = Site::s3_endpoint().await;
    let tool = plugin(site, &["files", "cohort", "--endpoint", &endpoint]);
    let tool = tool.env("PATH", path_with_the_cli()).env("LOGIN_KEY_ID", S3_KEY_ID).env("LOGIN_KEY", S3_KEY);
    let table = succeeds(site, tool).await;
    assert!(table.contains("Patient-1.ndjson "), "{table}");
}
