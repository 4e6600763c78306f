//! Bodies of files: whether their end is marked, what a range states about them, and how they are encoded.

use fhir_export_operator::api::Reason;
use fhir_export_operator::core::wire::{FileHead, FileRequest, Resume, Sent};
use fhir_export_operator::credentials::EntraSettings;
use fhir_export_operator::ports::{BrokenOff, FileAnswer, UnusableBody, Wire};
use futures::StreamExt;
use serde_json::json;

use crate::cluster::{Cluster, open, server, wire};
use crate::server::{Act, Server};

const LINE: &str = r#"{"resourceType":"Patient"}"#;

/// The outcome of a request for a file.
#[derive(Debug, PartialEq)]
enum Got {
    /// The head, the body, and how the body broke off, if it did.
    Body(FileHead, String, Option<BrokenOff>),
    Unusable(UnusableBody),
}

/// Requests a file, from `offset` on if that is not 0. The server sends `sent` and closes the connection.
async fn fetch(offset: u64, compressed: bool, sent: &str) -> Got {
    let text = sent.to_owned();
    let fhir = Server::http(move |_, _| Act::Part(text.clone())).await;
    let resume = (offset > 0).then(|| Resume { offset, etag: Some("\"1\"".into()) });
    let file = FileRequest { url: format!("{}/file", fhir.url()), with_token: false, resume, compressed };
    let wire = wire(&Cluster::with(&[]), EntraSettings::default());
    match wire.open(&server("clinic", &fhir.url(), &open(), &json!({})), &file).await.unwrap() {
        FileAnswer::Opened(head, mut pieces) => {
            let mut body = Vec::new();
            while let Some(piece) = pieces.next().await {
                match piece {
                    Ok(piece) => body.extend_from_slice(&piece),
                    Err(why) => return Got::Body(head, String::from_utf8(body).unwrap(), Some(why)),
                }
            }
            Got::Body(head, String::from_utf8(body).unwrap(), None)
        }
        FileAnswer::Unusable(body) => Got::Unusable(body),
        FileAnswer::Refused(answer) => panic!("refused with {}", answer.status),
        FileAnswer::Elsewhere(why) => panic!("{why}"),
    }
}

#[tokio::test]
async fn a_body_that_ends_with_the_connection_is_not_framed() {
    let length = LINE.len();
    for (head, body, framed, broken) in [
        (String::new(), LINE.to_owned(), false, None),
        ("Connection: close\r\n".to_owned(), LINE[..9].to_owned(), false, None),
        (format!("Content-Length: {length}\r\n"), LINE.to_owned(), true, None),
        (format!("Content-Length: {length}\r\n"), LINE[..9].to_owned(), true, Some(BrokenOff::Transfer)),
        (
            "Transfer-Encoding: chunked\r\n".to_owned(),
            format!("{length:x}\r\n{LINE}\r\n0\r\n\r\n"),
            true,
            None,
        ),
        (
            "Transfer-Encoding: chunked\r\n".to_owned(),
            format!("{length:x}\r\n{LINE}\r\n"),
            true,
            Some(BrokenOff::Transfer),
        ),
    ] {
        let Got::Body(seen, text, end) =
            fetch(0, false, &format!("HTTP/1.1 200 OK\r\n{head}\r\n{body}")).await
        else {
            panic!("no body")
        };
        assert_eq!((seen.framed, end), (framed, broken), "{head} {body}");
        assert!(LINE.starts_with(&text));
    }
}

#[tokio::test]
async fn a_range_says_where_its_body_and_the_file_end() {
    let whole = LINE.len() as u64;
    let rest = |upto: u64| LINE[4..usize::try_from(upto).unwrap()].to_owned();
    let last = whole - 1;
    for (range, body, framed, broken) in [
        (format!("bytes 4-{last}/{whole}"), rest(whole), true, None),
        // The file may continue after the range.
        (format!("bytes 4-{last}/*"), rest(whole), false, None),
        (format!("bytes 4-9/{whole}"), rest(10), true, Some(BrokenOff::Transfer)),
        // The body is shorter, or longer, than the range, and only the connection ends it.
        (format!("bytes 4-{last}/{whole}"), rest(whole - 3), true, Some(BrokenOff::Transfer)),
        (format!("bytes 4-{last}/*"), rest(whole - 3), false, Some(BrokenOff::Transfer)),
        (format!("bytes 4-9/{whole}"), rest(whole), true, Some(BrokenOff::Transfer)),
    ] {
        let sent = format!("HTTP/1.1 206 Partial\r\nETag: \"1\"\r\nContent-Range: {range}\r\n\r\n{body}");
        let Got::Body(seen, text, end) = fetch(4, false, &sent).await else { panic!("no body") };
        assert_eq!((seen.offset, seen.framed, end), (4, framed, broken), "{range} {body}");
        assert!(text.len() <= body.len());
    }
    let elsewhere =
        format!("HTTP/1.1 206 Partial\r\nContent-Range: bytes 2-{last}/{whole}\r\n\r\n{}", &LINE[2..]);
    assert_eq!(fetch(4, false, &elsewhere).await, Got::Unusable(UnusableBody::OtherRange));
    assert_eq!(fetch(0, false, &elsewhere).await, Got::Unusable(UnusableBody::OtherRange));
}

#[tokio::test]
async fn a_coding_is_undone_named_or_doubted() {
    let coded = |coding: &str, body: &str| {
        format!(
            "HTTP/1.1 200 OK\r\nContent-Encoding: {coding}\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        )
    };
    for coding in ["br", "aws-chunked", "gzip, aws-chunked"] {
        let named = Got::Unusable(UnusableBody::Coding(coding.into()));
        assert_eq!(fetch(0, true, &coded(coding, LINE)).await, named);
    }
    let end = |got: Got| match got {
        Got::Body(_, text, end) => (text, end),
        Got::Unusable(body) => panic!("{body:?}"),
    };
    assert_eq!(end(fetch(0, true, &coded("identity", LINE)).await), (LINE.to_owned(), None));
    assert_eq!(end(fetch(0, true, &coded("gzip", LINE)).await), (String::new(), Some(BrokenOff::Decoding)));
    // A proxy may have labelled an empty body as gzip. If no encoding was requested, the body counts as empty.
    assert_eq!(end(fetch(0, true, &coded("gzip", "")).await), (String::new(), Some(BrokenOff::Decoding)));
    assert_eq!(end(fetch(0, false, &coded("gzip", "")).await), (String::new(), None));
}

#[tokio::test]
async fn a_download_that_waits_for_its_turn_ends_with_its_server() {
    let sent = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{LINE}", LINE.len());
    let fhir = Server::http(move |_, _| Act::Part(sent.clone())).await;
    let file = FileRequest {
        url: format!("{}/file", fhir.url()),
        with_token: false,
        resume: None,
        compressed: false,
    };
    let wire = wire(&Cluster::with(&[]), EntraSettings::default());
    let one_at_a_time = json!({"limits": {"maxParallelDownloads": 1}});
    let server = server("clinic", &fhir.url(), &open(), &one_at_a_time);
    let first = wire.open(&server, &file).await.unwrap();
    let mut second = Box::pin(wire.open(&server, &file));
    assert!(futures::poll!(&mut second).is_pending());
    wire.forget(server.metadata.uid.as_ref().unwrap());
    let failure = second.await.err().unwrap();
    assert_eq!((failure.reason, failure.sent), (Reason::ServerNotFound, Sent::No));
    assert_eq!(fhir.seen().len(), 1, "nothing was sent beyond the bound");
    drop(first);
}
