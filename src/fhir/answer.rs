//! Reads an HTTP response into a [`core::wire::Answer`](crate::core::wire::Answer).

use std::time::Duration;

use bytes::BytesMut;
use jiff::Timestamp;
use reqwest::Response;
use reqwest::header::{CONTENT_LOCATION, CONTENT_TYPE, DATE, HeaderMap, RETRY_AFTER};

use crate::core::poll::asked;
use crate::core::wire::Answer;

/// The length in bytes at which header values are cut off.
const MAX_HEADER: usize = 8192;
/// The length in bytes at which bodies of unsuccessful responses are cut off. The only useful
/// ones are OperationOutcomes.
const MAX_FAILURE: usize = 1 << 20;

/// Reads the response, with at most `max_body` bytes of its body after decompression.
pub async fn read(response: Response, max_body: usize) -> Answer {
    let max_body = if response.status().is_success() { max_body } else { max_body.min(MAX_FAILURE) };
    let headers = response.headers();
    let answer = Answer {
        status: response.status().as_u16(),
        content_location: text(headers, CONTENT_LOCATION.as_str()),
        retry_after: retry_after(headers, Timestamp::now()),
        progress: text(headers, "x-progress"),
        content_type: text(headers, CONTENT_TYPE.as_str()),
        export_status: export_status(headers),
        separate_status: separate_status(headers),
        ..Answer::default()
    };
    let (body, truncated) = beginning(response, max_body).await;
    Answer { body: body.freeze(), truncated, ..answer }
}

/// Reads at most `max` bytes of a body. Returns whether the body is longer or broke off.
async fn beginning(mut response: Response, max: usize) -> (BytesMut, bool) {
    let mut body = BytesMut::new();
    loop {
        match response.chunk().await {
            Ok(Some(chunk)) => {
                let room = max.saturating_sub(body.len());
                body.extend_from_slice(chunk.get(..room).unwrap_or(&chunk));
                if chunk.len() > room {
                    return (body, true);
                }
            }
            Ok(None) => return (body, false),
            Err(_) => return (body, true),
        }
    }
}

fn text(headers: &HeaderMap, name: &str) -> Option<String> {
    let value = headers.get(name)?.as_bytes();
    Some(String::from_utf8_lossy(value.get(..MAX_HEADER).unwrap_or(value)).trim().to_owned())
}

/// The job's own status (`X-Export-Status`), if the server reports it separately.
fn export_status(headers: &HeaderMap) -> Option<u16> {
    text(headers, "x-export-status")?.split_whitespace().next()?.parse().ok()
}

/// Whether the server agreed to report the job's status separately. `Preference-Applied` is a list, and may
/// occur more than once.
fn separate_status(headers: &HeaderMap) -> bool {
    let values = headers.get_all("preference-applied").iter().filter_map(|value| value.to_str().ok());
    let mut applied = values.flat_map(|value| value.split([',', ';']));
    applied.any(|one| one.trim().eq_ignore_ascii_case("separate-export-status"))
}

fn retry_after(headers: &HeaderMap, now: Timestamp) -> Option<Duration> {
    let said = |name| text(headers, name);
    let (millis, seconds_or_date) = (said("x-ms-retry-after-ms"), said(RETRY_AFTER.as_str()));
    asked(millis.as_deref(), seconds_or_date.as_deref(), said(DATE.as_str()).as_deref(), now)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn the_status_of_the_job_apart() {
        let headers = |all: &[(&'static str, &str)]| -> HeaderMap {
            all.iter().map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap())).collect()
        };
        for (value, wanted) in [("202", Some(202)), ("500 Internal Server Error", Some(500)), ("soon", None)]
        {
            assert_eq!(export_status(&headers(&[("x-export-status", value)])), wanted, "{value}");
        }
        assert_eq!(export_status(&HeaderMap::new()), None);
        for (all, wanted) in [
            (vec!["respond-async, separate-export-status"], true),
            (vec!["respond-async", "Separate-Export-Status"], true),
            (vec!["respond-async"], false),
            (vec![], false),
        ] {
            let mut map = HeaderMap::new();
            for value in &all {
                map.append("preference-applied", value.parse().unwrap());
            }
            assert_eq!(separate_status(&map), wanted, "{all:?}");
        }
    }

    fn waits(headers: &[(&'static str, &str)]) -> Option<u64> {
        let headers =
            headers.iter().map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap())).collect();
        let now = "2026-11-23T10:00:00Z".parse().unwrap();
        retry_after(&headers, now).map(|wait| u64::try_from(wait.as_millis()).unwrap())
    }

    #[test]
    fn both_forms_of_retry_after_and_the_finer_header() {
        let date = ("date", "Mon, 23 Nov 2026 09:00:00 GMT");
        for (headers, wait) in [
            (vec![], None),
            (vec![("retry-after", "120")], Some(120_000)),
            (vec![("retry-after", "0")], Some(1_000)),
            (vec![("retry-after", "")], None),
            (vec![("retry-after", " ")], None),
            // Some servers send the instant, in seconds or milliseconds since 1970.
            (vec![("retry-after", "1795428060")], Some(60_000)),
            (vec![("retry-after", "1795428060000")], Some(60_000)),
            (vec![("retry-after", "1795424460"), date], Some(60_000)),
            (vec![("retry-after", "1795424460")], Some(1_000)),
            (vec![("retry-after", "86400")], Some(86_400_000)),
            (vec![("retry-after", "999999999999999")], Some(4_294_967_295_000)),
            (vec![("retry-after", "99999999999999999999")], Some(4_294_967_295_000)),
            (vec![("retry-after", "Mon, 23 Nov 2026 10:01:00 GMT")], Some(60_000)),
            (vec![("retry-after", "Mon, 23 Nov 2026 09:01:00 GMT"), date], Some(60_000)),
            (vec![("retry-after", "Mon, 23 Nov 2026 08:00:00 GMT"), date], Some(1_000)),
            (vec![("retry-after", "soon")], None),
            (vec![("retry-after", "-5")], None),
            (vec![("retry-after", "60"), ("x-ms-retry-after-ms", "59321")], Some(59_321)),
            (vec![("x-ms-retry-after-ms", "20")], Some(1_000)),
            (vec![("retry-after", "7"), ("x-ms-retry-after-ms", "many")], Some(7_000)),
        ] {
            assert_eq!(waits(&headers), wait, "{headers:?}");
        }
    }
}
