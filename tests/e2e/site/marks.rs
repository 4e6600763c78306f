//! Values that must not occur in anything that the operator leaves behind: secrets, tokens and ids of patients, in
//! every encoding that they could have.

use azure_fhir::Request;
use base64::Engine;
use base64::prelude::{BASE64_STANDARD, BASE64_STANDARD_NO_PAD};
use fhir_export_operator::core::manifest::hex;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};

/// The least length of a value, in bytes. Shorter values could occur by chance.
const SHORTEST: usize = 6;

/// Values that must not occur in anything that the operator leaves behind.
#[derive(Default)]
pub struct Marks(Vec<Mark>);

struct Mark {
    what: String,
    forms: Vec<String>,
}

impl Marks {
    /// Adds a value, such as a token. `what` names it in messages.
    pub fn add(&mut self, what: &str, value: &str) {
        assert!(value.len() >= SHORTEST, "{what}: {value} is too short to be told from other words");
        let forms = forms(value);
        if !self.0.iter().any(|mark| mark.forms == forms) {
            self.0.push(Mark { what: what.to_owned(), forms });
        }
    }

    /// Adds the value of a Secret: the secret members of a JWK, or else each line except the first and last of a
    /// PEM block.
    pub fn add_secret(&mut self, what: &str, value: &str) {
        if let Ok(serde_json::Value::Object(jwk)) = serde_json::from_str(value) {
            for member in ["d", "p", "q", "dp", "dq", "qi", "k"] {
                let Some(number) = jwk.get(member).and_then(|m| m.as_str()) else { continue };
                self.add(&format!("{what}, {member}"), number);
            }
            return;
        }
        for line in value.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with("-----"))
        {
            self.add(what, line.strip_prefix("Patient/").unwrap_or(line));
            if let Some((_, signature)) = line.split_once("sig=") {
                let signature = signature.split('&').next().unwrap_or_default();
                let decoded = percent_encoding::percent_decode_str(signature).decode_utf8_lossy();
                self.add(&format!("{what}, its signature"), decoded.trim_end_matches('='));
            }
        }
    }

    /// Adds the credentials in a request.
    pub fn add_request(&mut self, request: &Request) {
        if let Some((scheme, token)) = request.authorization.as_deref().and_then(|a| a.split_once(' ')) {
            self.add(&format!("a {scheme} token"), token.trim_end_matches('='));
            let decoded = BASE64_STANDARD.decode(token).ok().and_then(|bytes| String::from_utf8(bytes).ok());
            if let Some((_, password)) = decoded.as_deref().and_then(|login| login.split_once(':')) {
                self.add("a password", password);
            }
        }
        for pair in request.body.split('&') {
            let Some((name @ ("client_assertion" | "client_secret"), value)) = pair.split_once('=') else {
                continue;
            };
            let decoded = percent_encoding::percent_decode_str(value).decode_utf8_lossy();
            self.add(name, &decoded);
        }
    }

    /// Describes the first mark in a text, with the text around it. `None` if the text has none.
    pub fn find(&self, text: &str) -> Option<String> {
        for mark in &self.0 {
            if let Some(at) = mark.forms.iter().find_map(|form| text.find(form)) {
                return Some(format!("{} is in: {}", mark.what, around(text, at)));
            }
        }
        SHAPES.iter().find_map(|(what, shape)| {
            let at = shape(text)?;
            Some(format!("{what} is in: {}", around(text, at)))
        })
    }
}

/// Finds the position of something that has a certain shape.
type Shape = fn(&str) -> Option<usize>;

/// Secrets and patients that can be recognized by their shape alone, without their value.
const SHAPES: [(&str, Shape); 4] = [
    ("a JSON Web Token", |text| followed(text, "eyJ", 12, |c| c.is_ascii_alphanumeric() || "-_".contains(c))),
    ("a signed query", |text| followed(text, "sig=", 1, |c| c.is_ascii_alphanumeric())),
    ("a reference to a patient", |text| followed(text, "Patient/", 1, |c| c.is_ascii_alphanumeric())),
    ("a private key", |text| text.find("PRIVATE KEY")),
];

/// The first position of `start` where `count` characters of a kind follow.
fn followed(text: &str, start: &str, count: usize, kind: impl Fn(char) -> bool) -> Option<usize> {
    let follows = |at: &usize| {
        let rest = &text[at + start.len()..];
        rest.chars().take(count).filter(|c| kind(*c)).count() == count
    };
    text.match_indices(start).map(|(at, _)| at).find(follows)
}

fn around(text: &str, at: usize) -> String {
    let start = text.floor_char_boundary(at.saturating_sub(300));
    let end = text.floor_char_boundary((at + 300).min(text.len()));
    format!("…{}…", &text[start..end])
}

/// The encodings of a value: verbatim, in JSON, in a URL, in hexadecimal, and in base64, there also as a part of a
/// longer text.
fn forms(value: &str) -> Vec<String> {
    let bytes = value.as_bytes();
    let percent = utf8_percent_encode(value, NON_ALPHANUMERIC).to_string();
    let hex = hex(bytes);
    let json = serde_json::to_string(value).unwrap();
    let mut forms = vec![
        value.to_owned(),
        json.trim_matches('"').to_owned(),
        percent.replace("%20", "+"),
        percent.to_lowercase(),
        percent,
        hex.to_uppercase(),
        hex,
    ];
    // Base64 depends on the value's offset within a group of three bytes. The first and last characters may hold
    // bits of neighbouring bytes, so they are left out.
    for before in 0..3 {
        let padded = [&vec![0; before][..], bytes].concat();
        let text = BASE64_STANDARD_NO_PAD.encode(&padded);
        let start = [0, 2, 3][before];
        let end = text.len() - usize::from(padded.len() % 3 != 0);
        let inner = &text[start..end];
        if inner.len() >= SHORTEST {
            forms.push(inner.to_owned());
            forms.push(inner.replace('+', "-").replace('/', "_"));
        }
    }
    forms.sort();
    forms.dedup();
    forms
}

#[test]
fn each_form_is_found_and_what_is_no_secret_is_not() {
    let secret = "pä+ss wörd/4711?";
    let mut marks = Marks::default();
    marks.add("a password", secret);
    let bytes = secret.as_bytes();
    for form in [
        secret.to_owned(),
        serde_json::to_string(&format!("x {secret} y")).unwrap(),
        utf8_percent_encode(secret, NON_ALPHANUMERIC).to_string(),
        url::form_urlencoded::byte_serialize(bytes).collect(),
        hex(bytes),
        BASE64_STANDARD.encode(secret),
        BASE64_STANDARD.encode(format!("me:{secret}")),
        BASE64_STANDARD.encode(format!("you:{secret}")),
        BASE64_STANDARD.encode(format!("they:{secret} and more")),
        base64::prelude::BASE64_URL_SAFE_NO_PAD.encode(format!("{{\"p\":\"{secret}\"}}")),
    ] {
        assert!(marks.find(&format!("before {form} after")).is_some(), "{form}");
    }
    for shape in ["eyJhbGciOiJSUzI1NiJ9.e30", "https://a/b?sv=1&sig=abc", "at Patient/1", "BEGIN PRIVATE KEY"]
    {
        assert!(Marks::default().find(shape).is_some(), "{shape}");
    }
    for word in ["a password", "Patient/$export", "Patient/***", "signed: sig=…", "eyJ is how one begins"] {
        assert!(marks.find(word).is_none(), "{word}");
    }
}

#[test]
fn secrets_are_taken_apart() {
    let mut marks = Marks::default();
    marks.add_secret("key", "-----BEGIN PRIVATE KEY-----\nMIIEvQIBADANBg\n-----END PRIVATE KEY-----\n");
    marks.add_secret("jwk", r#"{"kty":"RSA","n":"public-number","d":"private-number"}"#);
    marks.add_secret("sas", "?sv=2021&srt=sco&sig=c2lnbmVk%2BMTIz&sp=r");
    marks.add_secret("cohort", "\nPatient/4711-0815\n");
    for (text, found) in [
        ("MIIEvQIBADANBg", true),
        ("public-number", false),
        ("private-number", true),
        ("c2lnbmVk+MTIz", true),
        ("4711-0815", true),
    ] {
        assert_eq!(marks.find(text).is_some(), found, "{text}");
    }
}
