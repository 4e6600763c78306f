//! OperationOutcomes, and whatever stands in their place.

use fhir_export_operator::core::answer::{self, CancelAnswer, KickOffAnswer, StatusAnswer};
use fhir_export_operator::core::bulk;
use fhir_export_operator::core::landing::OutcomeReader;
use fhir_export_operator::core::outcome::Outcome;
use fhir_export_operator::core::wire::Answer;
use fhir_export_operator::core::words;
use fhir_export_operator::fhir::is_failed_job;

use super::fit_to_be_shown;

/// Longest words of a server, and longest sentence around them, in characters.
const WORDS: usize = 512;
const SENTENCE: usize = WORDS + 300;

/// Two bytes of a status code, then the body. Whatever it is, what people read of it is short and names no patient.
pub fn outcome(data: &[u8]) {
    let (code, body) = data.split_at(data.len().min(2));
    let number = code.iter().fold(0_u16, |number, byte| number << 8 | u16::from(*byte));
    if let Some(outcome) = Outcome::parse(body) {
        fit_to_be_shown(&outcome.words(), WORDS);
        assert!(outcome.severities().count() <= body.len());
    }
    let text = String::from_utf8_lossy(body);
    fit_to_be_shown(&words::clean(&text), WORDS);
    let short = words::cut(&text, 200);
    assert!(short.len() <= 200);
    let mut reader = OutcomeReader::default();
    for piece in body.chunks(7) {
        reader.feed(piece);
    }
    let (issues, said) = reader.finish();
    assert!(issues.errors <= body.len() as u64 + 1 && said.len() <= 3);
    for words in &said {
        fit_to_be_shown(words, WORDS);
    }

    for status in [100 + number % 500, 200, 202, 401, 403, 404, 429, 500] {
        let answer = Answer {
            status,
            body: body.to_vec(),
            content_type: Some(text.chars().take(100).collect()),
            export_status: Some(number),
            ..Answer::default()
        };
        let _ = is_failed_job(&answer);
        for kicked in [answer::kick_off(&answer), bulk::answer::kick_off(&answer)] {
            match kicked {
                KickOffAnswer::Accepted(_) => assert_eq!(status, 202),
                KickOffAnswer::Rejected(r) | KickOffAnswer::Failed(r) | KickOffAnswer::NotNow(r) => {
                    shown(&r.message);
                }
                KickOffAnswer::Uncertain(why) => shown(&why),
            }
        }
        let own = Answer { export_status: None, ..answer.clone() };
        for told in [
            answer::status(&answer),
            bulk::answer::status(&answer, true),
            bulk::answer::status(&own, true),
            bulk::answer::status(&own, false),
        ] {
            match told {
                StatusAnswer::Running | StatusAnswer::Done => {}
                StatusAnswer::JobFailed(failure) => fit_to_be_shown(&failure.words, WORDS),
                StatusAnswer::Gone(words) => fit_to_be_shown(&words, WORDS),
                StatusAnswer::NotNow(r) | StatusAnswer::Transient(r) | StatusAnswer::Refused(r) => {
                    shown(&r.message);
                }
            }
        }
        if let CancelAnswer::Again(refusal) = answer::cancel(&answer) {
            shown(&refusal.message);
        }
    }
}

fn shown(message: &str) {
    fit_to_be_shown(message, SENTENCE);
}
