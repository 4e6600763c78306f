//! The words of a server, made fit for conditions, events and logs: short, one line, without URL queries and
//! with references to patients masked.

/// Longest text taken over from a server, in characters (design: 512).
const MAX_CHARACTERS: usize = 512;

/// Cleans a server's words.
pub fn clean(text: &str) -> String {
    let mut out = String::new();
    for token in text.split(|c: char| c.is_whitespace() || c.is_control()).filter(|t| !t.is_empty()) {
        if !out.is_empty() {
            out.push(' ');
        }
        out.push_str(&mask_patients(without_query(token)));
    }
    if out.chars().count() > MAX_CHARACTERS {
        out = out.chars().take(MAX_CHARACTERS - 1).collect();
        out.push('…');
    }
    out
}

/// Cuts a text to so many bytes of UTF-8, with an ellipsis where something is missing.
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

/// A query can carry a signature or a patient's identifier; what stands before it tells enough.
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
        // `Patient/$export` and the like name nobody.
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
            ("a\r\n  b\tc", "a b c"),
            ("see https://x.example/y?sig=abc&se=1 now", "see https://x.example/y? now"),
            ("Patient/123-4.x was not found.", "Patient/*** was not found."),
            ("(Patient/a,Patient/b)", "(Patient/***,Patient/***)"),
            ("GET /Patient/$export", "GET /Patient/$export"),
            ("why?", "why?"),
            ("Observation?patient=7", "Observation?"),
            ("", ""),
        ] {
            assert_eq!(clean(given), wanted, "{given}");
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
        }
    }
}
