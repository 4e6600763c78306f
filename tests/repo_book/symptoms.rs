//! The sentences that docs/troubleshooting.md quotes are the product's own words.

use std::collections::BTreeSet;

use fhir_export_operator::api::{Reason, RunState};

use crate::known::conditions;
use crate::nothing;
use crate::pages::{files, read};

const PAGE: &str = "docs/troubleshooting.md";

/// The texts of the product in one line each: what a program formats into them is `…`, and whether a sentence begins
/// with a capital does not count.
fn words(code: &str) -> String {
    let mut text = String::new();
    // A backslash at the end of a line joins a text to its next line.
    let mut lines = code.lines();
    while let Some(line) = lines.next() {
        match line.strip_suffix('\\') {
            Some(begun) => {
                text += begun;
                text += &joined(&mut lines);
            }
            None => text += line,
        }
        text.push('\n');
    }
    let mut plain = String::new();
    let mut depth = 0_usize;
    for c in text.replace("\\\"", "\"").chars() {
        match c {
            '{' => depth += 1,
            '}' if depth > 0 => {
                depth -= 1;
                if depth == 0 {
                    plain.push('…');
                }
            }
            '\n' => {
                depth = 0;
                plain.push(c);
            }
            _ if depth == 0 => plain.push(c),
            _ => {}
        }
    }
    plain.to_lowercase()
}

/// The rest of a text that goes on over several lines.
fn joined<'a>(lines: &mut impl Iterator<Item = &'a str>) -> String {
    let mut rest = String::new();
    for line in lines {
        let line = line.trim_start();
        let Some(more) = line.strip_suffix('\\') else { return rest + line };
        rest += more;
    }
    rest
}

/// The quotations of a page, each with the number of its last line. Lines that follow each other are one.
fn quotes(page: &str) -> Vec<(usize, String)> {
    let mut quotes: Vec<(usize, String)> = Vec::new();
    for (number, line) in page.lines().enumerate() {
        let Some(line) = line.strip_prefix("> ") else { continue };
        match quotes.last_mut().filter(|(last, _)| *last == number) {
            Some((last, quote)) => (*last, *quote) = (number + 1, format!("{quote} {line}")),
            None => quotes.push((number + 1, line.to_owned())),
        }
    }
    quotes
}

#[test]
fn every_quoted_sentence_is_the_products_own() {
    let code = files("src", "rs").iter().map(|file| words(&read(file))).collect::<Vec<_>>().join("\n");
    let page = read(PAGE);
    let quotes = quotes(&page);
    assert!(!quotes.is_empty());
    let wrong = quotes.into_iter().filter(|(_, quote)| {
        // A name that the page leaves out at the end may be words in the code.
        !code.contains(quote.to_lowercase().trim_matches('…'))
    });
    nothing(&wrong.map(|(n, quote)| format!("{PAGE}:{n}: nothing says \"{quote}\"")).collect::<Vec<_>>());
}

/// Words of the API that the page names and that are no reasons, states or conditions.
const OTHER_WORDS: [&str; 4] = ["True", "False", "Unknown", "Forbid"];

/// The words of the API that the page may name in backticks.
fn known() -> BTreeSet<String> {
    let reasons = Reason::ALL.iter().map(|reason| reason.as_str().to_owned());
    let states = RunState::ALL.iter().map(|state| state.as_str().to_owned());
    let others = OTHER_WORDS.iter().map(ToString::to_string);
    reasons.chain(states).chain(conditions()).chain(others).collect()
}

/// Lines of the program begin with a time and a name; the next word is a state or a reason.
#[test]
fn the_picture_of_the_demonstration_shows_states_and_reasons_that_exist() {
    let known = known();
    let picture = read("docs/demo.svg");
    let texts = picture.lines().filter_map(|line| line.split_once("\">")?.1.strip_suffix("</text>"));
    let words = texts.filter_map(|text| {
        let mut words = text.split_whitespace();
        let time = words.next()?;
        let told = time.contains(':') && time.split(':').all(|part| part.parse::<u8>().is_ok());
        words.nth(1).filter(|_| told)
    });
    let words: Vec<&str> = words.map(|word| word.trim_end_matches([':', ','])).collect();
    assert!(words.contains(&"KickedOff") && words.contains(&"Failed"), "run `make demo-picture`: {words:?}");
    let wrong = words.iter().filter(|word| !known.contains(**word));
    nothing(
        &wrong.map(|word| format!("docs/demo.svg shows {word}: run `make demo-picture`")).collect::<Vec<_>>(),
    );
}

#[test]
fn every_symptom_names_reasons_that_exist() {
    let known = known();
    let page = read(PAGE);
    // One word of mixed case is a word of the API; columns have capitals only, and fields begin with a small letter.
    let is_word = |span: &&str| {
        span.starts_with(|c: char| c.is_ascii_uppercase())
            && span.chars().all(|c| c.is_ascii_alphanumeric())
            && span.contains(|c: char| c.is_ascii_lowercase())
    };
    let named: BTreeSet<&str> = page.split('`').skip(1).step_by(2).filter(is_word).collect();
    let wrong = named.iter().filter(|word| !known.contains(**word));
    nothing(&wrong.map(|word| format!("{PAGE} names {word}, which does not exist")).collect::<Vec<_>>());
    let told = Reason::ALL.iter().filter(|reason| named.contains(reason.as_str())).count();
    assert!(told > 0, "the page names no reason");
}

#[test]
fn texts_are_joined_and_what_is_put_into_them_is_left_out() {
    let code = "format!(\n    \"No {kind} \\\"{name}\\\" in \\\n     namespace {n:?}; it is {}\",\n    x\n)";
    assert!(words(code).contains("no … \"…\" in namespace …; it is …"), "{}", words(code));
}
