//! Makes texts from servers fit for conditions, events and logs: short, on one line, without URL queries, and
//! with references to patients masked (invariant `token-stays`).

use percent_encoding::percent_decode_str;

use super::allow;

/// The longest text that is copied from a server, in characters.
const MAX_CHARACTERS: usize = 512;

/// How much of a text is processed, in bytes. Only far less is shown, and the server must not decide how long
/// processing takes.
const MAX_LOOKED_AT: usize = 16 * 1024;
/// How many times a word may be percent-encoded. A word with more layers has something to hide.
const MAX_DECODED: usize = 8;

/// Cleans a text from a server.
pub fn clean(text: &str) -> String {
    let mut out = String::new();
    let mut quoted: Option<char> = None;
    let mut scheme = false;
    let (text, rest) = looked_at(text);
    let tokens = text.split(is_gap).filter(|t| !t.is_empty()).chain(rest);
    for token in tokens {
        // A query inside quotation marks extends to the closing one: `'Patient?name=A B'`.
        if let Some(mark) = quoted {
            quoted = quoted.filter(|_| !token.contains(mark));
            continue;
        }
        if !out.is_empty() {
            out.push(' ');
        }
        // The word after the name of an authentication scheme is a credential.
        let scheme = std::mem::replace(&mut scheme, is_scheme(token));
        let credential = scheme && token.chars().any(|c| !c.is_alphabetic());
        out.push_str(&if credential { "***".to_owned() } else { masked(token) });
        quoted = open_query(token);
    }
    if out.chars().count() > MAX_CHARACTERS {
        out = out.chars().take(MAX_CHARACTERS - 1).collect();
        out.push('…');
    }
    out
}

fn is_gap(c: char) -> bool {
    c.is_whitespace() || c.is_control()
}

/// The part of the text that is processed, cut at a word boundary, and an ellipsis if something was cut.
fn looked_at(text: &str) -> (&str, Option<&str>) {
    if text.len() <= MAX_LOOKED_AT {
        return (text, None);
    }
    let end = (0..=MAX_LOOKED_AT).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0);
    let text = text.get(..end).unwrap_or_default();
    let whole = text.rfind(is_gap).and_then(|at| text.get(..at)).unwrap_or_default();
    (whole, Some("…"))
}

/// Cuts a text to at most `bytes` bytes of UTF-8, with an ellipsis if something was cut.
pub fn cut(text: &str, bytes: usize) -> String {
    const MORE: &str = "…";
    if text.len() <= bytes {
        return text.to_owned();
    }
    let end = (0..=bytes.saturating_sub(MORE.len())).rev().find(|at| text.is_char_boundary(*at));
    let mut short = text.get(..end.unwrap_or(0)).unwrap_or_default().to_owned();
    short.push_str(MORE);
    short
}

fn is_scheme(token: &str) -> bool {
    let word = token.trim_matches(|c: char| !c.is_ascii_alphanumeric());
    word.eq_ignore_ascii_case("bearer") || word.eq_ignore_ascii_case("basic")
}

/// Masks everything in a word that may name a patient or grant access; returns it verbatim if there is
/// nothing. Servers repeat URLs as they received them, so this looks behind percent-encoding.
fn masked(token: &str) -> String {
    let Some(plain) = decoded(token) else { return "***".to_owned() };
    let masked = mask_patients(&mask_values(without_query(&plain)));
    if masked == plain { token.to_owned() } else { masked }
}

/// The quotation mark that encloses a query which does not end within this word.
fn open_query(token: &str) -> Option<char> {
    let plain = decoded(token)?;
    let (before, query) = plain.split_once('?').filter(|(_, query)| !query.is_empty())?;
    ['\'', '"'].into_iter().find(|mark| before.contains(*mark) && !query.contains(*mark))
}

/// Percent-decodes a word completely, and puts it on one line. `None` if it has too many layers.
fn decoded(token: &str) -> Option<String> {
    let mut text = token.to_owned();
    for _ in 0..MAX_DECODED {
        let once = percent_decode_str(&text).decode_utf8_lossy().into_owned();
        if once.len() >= text.len() {
            return Some(text.replace(char::is_control, " "));
        }
        text = once;
    }
    None
}

/// Masks the values of search parameters that identify people, where a server repeats them without the `?` of
/// a query.
fn mask_values(token: &str) -> String {
    let masked = |pair: &str| {
        let found = pair.match_indices('=').find(|(at, _)| pair.get(..*at).is_some_and(finds_people));
        let value = found.and_then(|(at, _)| pair.get(..=at)).filter(|name| name.len() < pair.len());
        value.map_or_else(|| pair.to_owned(), |name| format!("{name}***"))
    };
    token.split('&').map(masked).collect::<Vec<_>>().join("&")
}

/// Whether the last word before a `=` is such a parameter, with or without a modifier (`name:exact`).
fn finds_people(name: &str) -> bool {
    let word = |c: char| !(c.is_ascii_alphanumeric() || c == '_' || c == '-' || c == ':');
    let last = name.rsplit(word).next().unwrap_or_default();
    let parameter = last.split(':').next().unwrap_or_default().to_ascii_lowercase();
    allow::IDENTIFYING.contains(&parameter.as_str())
        || is_secret(&parameter)
        || matches!(parameter.as_str(), "patient" | "subject")
}

/// Whether a name commonly precedes a credential.
fn is_secret(name: &str) -> bool {
    matches!(
        name,
        "token"
            | "access_token"
            | "password"
            | "secret"
            | "client_secret"
            | "client_assertion"
            | "sig"
            | "signature"
    )
}

/// A sentence as a clause of another one: without its capital letter and full stop.
pub fn clause(sentence: &str) -> String {
    let text = sentence.trim().trim_end_matches('.');
    let mut letters = text.chars();
    match (letters.next(), letters.next()) {
        (Some(first), Some(second)) if first.is_uppercase() && !second.is_uppercase() => {
            first.to_lowercase().chain(text.chars().skip(1)).collect()
        }
        _ => text.to_owned(),
    }
}

/// The message of Azure Storage as relayed by the FHIR service: its sentence and its error code. What
/// follows, ids, headers and the same message as XML, is only for Azure's support.
pub fn of_storage(text: &str) -> String {
    let Some((sentence, rest)) = text.split_once("RequestId:") else { return clean(text) };
    let code = rest.split_once("ErrorCode:").and_then(|(_, code)| code.split_whitespace().next());
    let sentence = sentence.trim().trim_end_matches('.');
    clean(&code.map_or_else(|| sentence.to_owned(), |code| format!("{sentence}: {code}")))
}

/// Removes the query of a URL, which can hold a signature or a patient's identifier. The part before it is
/// enough.
fn without_query(token: &str) -> &str {
    match token.find('?') {
        Some(at) if at + 1 < token.len() => token.get(..=at).unwrap_or(token),
        _ => token,
    }
}

fn mask_patients(token: &str) -> String {
    const MARK: &str = "Patient/";
    let mut out = String::new();
    let mut rest = token;
    while let Some(at) = rest.find(MARK) {
        let (before, found) = rest.split_at(at + MARK.len());
        out.push_str(before);
        let end =
            found.find(|c: char| !(c.is_ascii_alphanumeric() || c == '-' || c == '.')).unwrap_or(found.len());
        let (id, after) = found.split_at(end);
        // `Patient/$export` and similar paths name nobody.
        out.push_str(if id.is_empty() { "" } else { "***" });
        rest = after;
    }
    out.push_str(rest);
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn cleans() {
        for (given, wanted) in [
            ("Bearer abc.def.ghi is old", "Bearer *** is old"),
            ("Basic authentication failed", "Basic authentication failed"),
            ("token=xyz123, sig=a%2Fb", "token=*** sig=***"),
            ("a\r\n  b\tc", "a b c"),
            ("see https://x.example/y?sig=abc&se=1 now", "see https://x.example/y? now"),
            ("Patient/123-4.x was not found.", "Patient/*** was not found."),
            ("(Patient/a,Patient/b)", "(Patient/***,Patient/***)"),
            ("GET /Patient/$export", "GET /Patient/$export"),
            ("why?", "why?"),
            ("the search 'Patient?name=Ann Bea Cole' failed", "the search 'Patient? failed"),
            ("\"Patient?name=Ann\" and more", "\"Patient? and more"),
            ("Observation?patient=7", "Observation?"),
            ("", ""),
            (
                "at https://x.example/Patient%2F12-3/$everything now",
                "at https://x.example/Patient/***/$everything now",
            ),
            ("bad filter Patient%3Fidentifier%3Dsys%257C12%203", "bad filter Patient?"),
            ("the value identifier=sys|123 is wrong", "the value identifier=*** is wrong"),
            ("(subject.name:exact=Smith&_count=5", "(subject.name:exact=***&_count=5"),
            ("_typeFilter=Patient.identifier=7&x=1", "_typeFilter=Patient.identifier=***&x=1"),
            ("Observation.patient=Patient/7", "Observation.patient=***"),
            ("%3Fx%0Dy", "?"),
            ("container_name=lake 100% of 5%20", "container_name=lake 100% of 5%20"),
            ("_type=Patient&_since=2026", "_type=Patient&_since=2026"),
        ] {
            assert_eq!(clean(given), wanted, "{given}");
        }
    }

    #[test]
    fn however_long_it_is_it_takes_no_time() {
        let nested = format!("Patient%{}2F12", "25".repeat(200_000));
        let begun = std::time::Instant::now();
        assert_eq!(clean(&nested), "…");
        assert_eq!(clean(&nested[..10_000]), "***");
        assert_eq!(clean(&"=".repeat(1 << 20)), "…");
        assert_eq!(clean(&"a=".repeat(7_000)).chars().count(), MAX_CHARACTERS);
        assert_eq!(clean(&"?\"".repeat(8_000)), "?");
        assert!(begun.elapsed().as_secs() < 5, "{:?}", begun.elapsed());
        assert_eq!(clean(&format!("it is{}Patient/1 longer", " ".repeat(MAX_LOOKED_AT))), "it is …");
        for times in 1..20 {
            let mut hidden = "Patient/4711".to_owned();
            for _ in 0..times {
                let encoded =
                    percent_encoding::utf8_percent_encode(&hidden, percent_encoding::NON_ALPHANUMERIC);
                hidden = encoded.to_string();
            }
            let shown = clean(&hidden);
            assert!(matches!(shown.as_str(), "Patient/***" | "***"), "{times}: {shown}");
        }
    }

    #[test]
    fn cuts_between_characters() {
        for (text, bytes, wanted) in
            [("abc", 3, "abc"), ("abcd", 3, "…"), ("abcde", 4, "a…"), ("aüüü", 6, "aü…"), ("aüüü", 5, "a…")]
        {
            assert_eq!(cut(text, bytes), wanted, "{text} {bytes}");
        }
    }

    #[test]
    fn clauses() {
        for (given, wanted) in [
            ("The server failed (5xx).", "the server failed (5xx)"),
            ("DNS fails", "DNS fails"),
            ("A part died.", "a part died"),
            ("", ""),
        ] {
            assert_eq!(clause(given), wanted);
        }
    }

    #[test]
    fn storage_in_a_sentence() {
        let dump = "The specified container does not exist.\nRequestId:7f1c\nStatus: 404\n\
            ErrorCode: ContainerNotFound\n\n\
            Content:\n<?xml?><Message>The specified container does not exist.</Message>";
        assert_eq!(of_storage(dump), "The specified container does not exist: ContainerNotFound");
        assert_eq!(of_storage("Short. RequestId:7"), "Short");
        assert_eq!(of_storage("The storage account not found."), "The storage account not found.");
    }

    proptest! {
        #[test]
        fn is_short_and_stable(text in "\\PC{0,2000}") {
            let once = clean(&text);
            prop_assert!(once.chars().count() <= MAX_CHARACTERS);
            prop_assert!(!once.contains('\n'));
        }

        #[test]
        fn no_patient_and_no_query_survives(id in "[A-Za-z0-9.-]{1,64}", secret in "[A-Za-z0-9]{8,40}") {
            let text = format!("x Patient/{id}: https://h/p?sig={secret}");
            let out = clean(&text);
            prop_assert!(!out.contains(&secret));
            prop_assert!(out.contains("Patient/***"));
            let encoded = percent_encoding::utf8_percent_encode(&text, percent_encoding::NON_ALPHANUMERIC).to_string();
            let out = clean(&encoded);
            prop_assert!(!out.contains(&secret));
            prop_assert!(out.contains("Patient/***"));
        }
    }
}
