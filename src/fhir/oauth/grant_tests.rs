#![allow(clippy::unwrap_used)]

use serde_json::json;

use super::*;

const ASKED: TokenRequest = TokenRequest {
    host: "idp.example",
    client_id: "c1",
    scope: "system/*.rs",
    by_assertion: true,
    hush: "hush-hush",
};

fn answer(status: u16, body: &str) -> Answer {
    Answer { status, body: body.to_owned().into(), ..Answer::default() }
}

fn granted(status: u16, body: &str) -> Result<AccessToken, CredentialProblem> {
    read(&answer(status, body), &ASKED, OffsetDateTime::UNIX_EPOCH).map_err(|refused| refused.problem)
}

#[test]
fn a_token_lives_as_long_as_it_says_in_whatever_form() {
    for (expires_in, seconds) in [
        (json!(300), 300),
        (json!("300"), 300),
        (json!(" 5 "), 5),
        (json!(5.0), 5),
        (json!("soon"), 60),
        (json!(null), 60),
        (json!(0), 60),
        (json!(-1), 60),
        (json!(1e300), 86_400),
        (json!("inf"), 86_400),
        (json!("NaN"), 60),
    ] {
        for kind in [json!("bearer"), json!("Bearer"), json!("BEARER"), json!(null)] {
            let body =
                json!({ "access_token": "t1", "token_type": kind, "expires_in": expires_in, "scope": "x" });
            let token = granted(200, &body.to_string()).unwrap();
            assert_eq!(token.token.secret(), "t1");
            assert_eq!(token.expires_on.unix_timestamp(), seconds, "{body}");
        }
    }
    assert_eq!(granted(200, r#"{"access_token":"t1"}"#).unwrap().expires_on.unix_timestamp(), 60);
}

#[test]
fn what_passes_and_what_somebody_must_repair() {
    for (status, body, reason, passing) in [
        (429, "", Reason::TokenUnavailable, true),
        (503, r#"{"error":"invalid_client"}"#, Reason::TokenUnavailable, true),
        (400, r#"{"error":"temporarily_unavailable"}"#, Reason::TokenUnavailable, true),
        (200, "<html>sign in</html>", Reason::TokenUnavailable, true),
        (404, "\n<!doctype html>", Reason::TokenUnavailable, true),
        (200, r#"{"access_token":""}"#, Reason::TokenUnavailable, true),
        (200, r#"{"access_token":7}"#, Reason::TokenUnavailable, true),
        (302, r#"{"access_token":"t1"}"#, Reason::TokenUnavailable, true),
        (404, "no such route", Reason::TokenRefused, false),
        (401, "", Reason::TokenRefused, false),
        (400, r#"{"error":"invalid_client"}"#, Reason::TokenRefused, false),
        (200, r#"{"access_token":"t1","error":"invalid_scope"}"#, Reason::TokenRefused, false),
        (200, r#"{"access_token":"t1","token_type":"mac"}"#, Reason::TokenRefused, false),
        (418, r#"{"error":{"code":7}}"#, Reason::TokenRefused, false),
    ] {
        let problem = granted(status, body).unwrap_err();
        assert_eq!((problem.reason, problem.passing), (reason, passing), "{status} {body}");
    }
}

#[test]
fn each_refusal_is_one_sentence_with_the_next_step() {
    let said = |code: &str, asked: &TokenRequest| {
        let body = json!({ "error": code, "error_description": "Look at https://x.example/?sig=abc." });
        read(&answer(400, &body.to_string()), asked, OffsetDateTime::UNIX_EPOCH).unwrap_err().problem.message
    };
    let secret = TokenRequest { by_assertion: false, scope: "", ..ASKED };
    for (code, asked, start, end) in [
        (
            "invalid_client",
            &ASKED,
            "does not accept the signature of client c1",
            "keyID, tokenURL and the clocks",
        ),
        (
            "invalid_grant",
            &ASKED,
            "does not accept the signature of client c1",
            "keyID, tokenURL and the clocks",
        ),
        (
            "invalid_client",
            &secret,
            "does not accept the secret of client c1",
            "current secret into the Secret",
        ),
        (
            "invalid_scope",
            &ASKED,
            "does not give client c1 the scope system/*.rs",
            "what it is registered for",
        ),
        ("invalid_scope", &secret, "gives client c1 no token without a scope", "what it is registered for"),
        ("unauthorized_client", &ASKED, "does not give client c1 tokens in this way", "client_credentials)"),
        ("unauthorized_client", &secret, "does not give client c1 tokens in this way", "client_credentials"),
        ("unsupported_grant_type", &ASKED, "does not know the grant type", "this way to authenticate"),
        ("access_denied", &ASKED, "refuses to give a token", "check tokenURL, clientID and scopes"),
    ] {
        let message = said(code, asked);
        assert!(message.starts_with(&format!("idp.example {start}")), "{message}");
        assert!(message.contains(&format!("({code}: Look at https://x.example/?)")), "{message}");
        assert!(message.ends_with(end), "{message}");
    }
}

#[test]
fn a_server_that_repeats_the_secret_is_not_quoted() {
    for body in [
        json!({ "error": "invalid_client", "error_description": "bad hush-hush here" }),
        json!({ "error": "invalid_client", "error_description": "bad hush%2Dhush here" }),
        json!({ "error": "invalid_client", "error_description": "bad eyJhbGciOiJub25lIn0.e30. here" }),
        json!({ "error": "hush-hush" }),
        json!({ "error": "<script>", "error_description": "x".repeat(5000) }),
    ] {
        let message = granted(400, &body.to_string()).unwrap_err().message;
        for hidden in ["hush", "eyJ", "<script>", "bad"] {
            assert!(!message.contains(hidden), "{message}");
        }
        assert!(message.len() < 500, "{message}");
    }
}
