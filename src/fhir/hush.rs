//! Hides the credentials of a request where the server repeats them: the core quotes what servers say.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use reqwest::header::{HeaderMap, HeaderValue};

use crate::core::wire::Answer;

/// What stands in the place of a credential.
const HIDDEN: &str = "***";
/// Shorter credentials are left alone: they occur by chance in what servers say.
const SHORTEST: usize = 4;

/// The credentials of one request, in the forms in which a server may repeat them.
pub struct Hush(Vec<String>);

impl Hush {
    /// The credentials in the `Authorization` header and in the headers of the `FhirServer`.
    pub fn of(authorization: Option<&HeaderValue>, headers: &HeaderMap) -> Self {
        let mut secrets: Vec<String> =
            headers.values().filter_map(|value| value.to_str().ok()).map(str::to_owned).collect();
        if let Some((scheme, credential)) =
            authorization.and_then(|value| value.to_str().ok()).and_then(|text| text.split_once(' '))
        {
            secrets.push(credential.trim().to_owned());
            if scheme.eq_ignore_ascii_case("basic") {
                secrets.extend(password(credential.trim()));
            }
        }
        secrets.retain(|secret| secret.len() >= SHORTEST);
        let encoded: Vec<String> =
            secrets.iter().map(|secret| utf8_percent_encode(secret, NON_ALPHANUMERIC).to_string()).collect();
        secrets.extend(encoded);
        // A secret that contains another one is hidden as a whole.
        secrets.sort_by_key(|secret| std::cmp::Reverse(secret.len()));
        Self(secrets)
    }

    /// The answer without the credentials: in `X-Progress` always, and in the body of an answer that is no success.
    /// The body of a success is a manifest or a resource, whose links may have to hold what they hold.
    pub fn on(&self, answer: Answer) -> Answer {
        let body = String::from_utf8_lossy(&answer.body);
        let repeats =
            !(200..300).contains(&answer.status) && self.0.iter().any(|secret| body.contains(secret));
        let body = if repeats { Bytes::from(self.hide(&body)) } else { answer.body.clone() };
        Answer { progress: answer.progress.as_deref().map(|text| self.hide(text)), body, ..answer }
    }

    fn hide(&self, text: &str) -> String {
        self.0.iter().fold(text.to_owned(), |text, secret| text.replace(secret, HIDDEN))
    }
}

/// The password in the credential of `Basic`, which is `user:password` in base64.
fn password(credential: &str) -> Option<String> {
    let plain = String::from_utf8(STANDARD.decode(credential).ok()?).ok()?;
    plain.split_once(':').map(|(_, password)| password.to_owned())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn said(authorization: &str, status: u16, text: &str) -> String {
        let mut headers = HeaderMap::new();
        headers.insert("x-key", HeaderValue::from_static("gateway-key-1"));
        headers.insert("x-short", HeaderValue::from_static("abc"));
        let answer = Answer { status, body: text.to_owned().into(), ..Answer::default() };
        let hushed = Hush::of(Some(&HeaderValue::from_str(authorization).unwrap()), &headers).on(answer);
        String::from_utf8(hushed.body.to_vec()).unwrap()
    }

    #[test]
    fn a_repeated_credential_is_hidden_in_each_form() {
        let text = "no token-1 or token%2D1, no gateway-key-1; abc stays";
        assert_eq!(said("Bearer token-1", 400, text), "no *** or ***, no ***; abc stays");
        assert_eq!(said("Bearer token-1", 200, text), text, "links of a manifest are not changed");
        let basic = STANDARD.encode("me:open sesame");
        let text = format!("me, open sesame, open%20sesame, {basic}");
        assert_eq!(said(&format!("Basic {basic}"), 403, &text), "me, ***, ***, ***");
    }

    #[test]
    fn progress_is_shown_without_credentials() {
        let hush = Hush::of(Some(&HeaderValue::from_static("Bearer token-1")), &HeaderMap::new());
        let answer = Answer { status: 202, progress: Some("token-1 at 5 %".into()), ..Answer::default() };
        assert_eq!(hush.on(answer).progress.as_deref(), Some("*** at 5 %"));
    }
}
