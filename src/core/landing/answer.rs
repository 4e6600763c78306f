//! What it means that a server did not deliver a file.

use std::time::Duration;

use super::LandFailureKind;
use crate::api::Reason;
use crate::core::answer::said;
use crate::core::outcome::OperationOutcome;
use crate::core::wire::Answer;

/// What to do next about one file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// Ask again later.
    Again {
        /// The wait that the server asked for, if it did.
        retry_after: Option<Duration>,
        /// The reason to report if no try succeeds.
        reason: Reason,
        /// One sentence: the cause and the next step.
        message: String,
    },
    /// This landing cannot obtain the file. Holds the kind of failure, the reason and one sentence.
    Fail(LandFailureKind, Reason, String),
}

/// What an answer other than 200 and 206 means.
pub fn read_answer(answer: &Answer, blob: &str) -> Step {
    let outcome = OperationOutcome::parse(&answer.body);
    let said = said(answer, outcome.as_ref());
    match answer.status {
        408 | 425 | 429 | 500.. => Step::Again {
            retry_after: answer.retry_after,
            reason: if answer.status == 429 { Reason::Throttled } else { Reason::ServerError },
            message: format!("the server does not give {blob} now ({said}); it is asked again"),
        },
        // S3 answers 400 with the code ExpiredToken for a link whose token has expired (HADOOP-18353).
        400 if !mentions_expiry(&answer.body) => refused(blob, &said),
        // The token was renewed already, so it is the link that is refused now.
        400 | 401 | 403 => Step::Fail(
            LandFailureKind::Expired,
            Reason::LinkExpired,
            format!("the server does not give {blob} under the link of its manifest ({said})"),
        ),
        404 | 410 => Step::Fail(
            LandFailureKind::Expired,
            Reason::FileMissing,
            format!("the server does not have {blob} under the link of its manifest ({said})"),
        ),
        300..=399 => Step::Fail(
            LandFailureKind::Permanent,
            Reason::DownloadRefused,
            format!("the server redirects {blob} again and again ({}); tell its owner", answer.status),
        ),
        _ => refused(blob, &said),
    }
}

/// Whether the body of a refusal says that something has expired.
fn mentions_expiry(body: &[u8]) -> bool {
    let text = String::from_utf8_lossy(body).to_ascii_lowercase();
    text.contains("expired")
}

fn refused(blob: &str, said: &str) -> Step {
    Step::Fail(
        LandFailureKind::Permanent,
        Reason::DownloadRefused,
        format!("the server refuses to give {blob} ({said}); tell its owner"),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_passes_what_is_refreshed_and_what_does_not() {
        for status in 300..=599 {
            let answer = Answer { status, ..Answer::default() };
            let step = read_answer(&answer, "f/Patient-1.ndjson");
            let wanted = match status {
                408 | 425 | 429 | 500..=599 => matches!(step, Step::Again { .. }),
                401 | 403 => matches!(step, Step::Fail(LandFailureKind::Expired, Reason::LinkExpired, _)),
                404 | 410 => matches!(step, Step::Fail(LandFailureKind::Expired, Reason::FileMissing, _)),
                _ => matches!(step, Step::Fail(LandFailureKind::Permanent, ..)),
            };
            assert!(wanted, "{status}: {step:?}");
        }
        let of_s3 = |code: &str| Answer {
            status: 400,
            body: format!("<Error><Code>{code}</Code></Error>").into(),
            ..Answer::default()
        };
        let step = read_answer(&of_s3("ExpiredToken"), "f/Patient-1.ndjson");
        assert!(matches!(step, Step::Fail(LandFailureKind::Expired, ..)), "{step:?}");
        let step = read_answer(&of_s3("InvalidArgument"), "f/Patient-1.ndjson");
        assert!(matches!(step, Step::Fail(LandFailureKind::Permanent, ..)), "{step:?}");
    }
}
