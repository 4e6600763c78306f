#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

use base64::engine::general_purpose::STANDARD;
use jsonwebtoken::jwk::{Jwk, ThumbprintHash};
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Validation, decode};
use rcgen::{PKCS_ECDSA_P256_SHA256, PKCS_ECDSA_P384_SHA384, PKCS_RSA_SHA384, SignatureAlgorithm};
use serde_json::{Value, json};

use super::*;

fn pkcs8(kind: &'static SignatureAlgorithm) -> Vec<u8> {
    rcgen::KeyPair::generate_for(kind).unwrap().serialize_der()
}

fn pem(label: &str, der: &[u8]) -> String {
    format!("-----BEGIN {label}-----\n{}\n-----END {label}-----\n", STANDARD.encode(der))
}

/// The part of a PKCS#8 key that its last byte string holds: PKCS#1 or SEC1. `within` is the
/// length of what precedes it.
fn inner(pkcs8: &[u8], within: usize) -> &[u8] {
    &pkcs8[within..]
}

/// The numbers of a PKCS#1 key, without leading zeros.
fn numbers(pkcs1: &[u8]) -> Vec<String> {
    let length = |at: usize| match pkcs1[at] {
        0x82 => (usize::from(pkcs1[at + 1]) << 8 | usize::from(pkcs1[at + 2]), at + 3),
        0x81 => (usize::from(pkcs1[at + 1]), at + 2),
        short => (usize::from(short), at + 1),
    };
    let (mut at, mut found) = (length(1).1, Vec::new());
    while at < pkcs1.len() {
        let (size, begin) = length(at + 1);
        let value = &pkcs1[begin..begin + size];
        found.push(encoded(value.iter().copied().skip_while(|b| *b == 0).collect::<Vec<u8>>()));
        at = begin + size;
    }
    found
}

fn rsa_jwk(pkcs1: &[u8]) -> Value {
    let n = numbers(pkcs1);
    json!({ "kty": "RSA", "n": n[1], "e": n[2], "d": n[3], "p": n[4], "q": n[5], "dp": n[6], "dq": n[7], "qi": n[8] })
}

/// The JWK of a P-384 key in PKCS#8 as rcgen writes it: the private number has 48 bytes, the point is the last 96.
fn ec_jwk(pkcs8: &[u8]) -> Value {
    let point = &pkcs8[pkcs8.len() - 96..];
    let sec1 = inner(pkcs8, 27);
    json!({ "kty": "EC", "crv": "P-384", "kid": "mine", "d": encoded(&sec1[8..56]),
        "x": encoded(&point[..48]), "y": encoded(&point[48..]) })
}

#[test]
fn every_form_of_a_key_signs_alike() {
    let (rsa, ec) = (pkcs8(&PKCS_RSA_SHA384), pkcs8(&PKCS_ECDSA_P384_SHA384));
    let parameters = "-----BEGIN EC PARAMETERS-----\nBgUrgQQAIg==\n-----END EC PARAMETERS-----\n";
    let sec1 = format!("{parameters}{}", pem("EC PRIVATE KEY", inner(&ec, 27)));
    let of_rsa =
        Jwk::from_encoding_key(&EncodingKey::from_rsa_der(inner(&rsa, 26)), Algorithm::RS384).unwrap();
    let of_ec = Jwk::from_encoding_key(&EncodingKey::from_ec_der(&ec), Algorithm::ES384).unwrap();
    for (form, public, algorithm) in [
        (pem("PRIVATE KEY", &rsa), &of_rsa, Algorithm::RS384),
        (pem("RSA PRIVATE KEY", inner(&rsa, 26)), &of_rsa, Algorithm::RS384),
        (rsa_jwk(inner(&rsa, 26)).to_string(), &of_rsa, Algorithm::RS384),
        (pem("PRIVATE KEY", &ec), &of_ec, Algorithm::ES384),
        (sec1, &of_ec, Algorithm::ES384),
        (format!("\n {} \n", ec_jwk(&ec)), &of_ec, Algorithm::ES384),
    ] {
        let key = SigningKey::parse(&form).unwrap();
        let jwt = key.jwt("k1", &json!({ "aud": "x", "exp": 4_000_000_000_u64 })).unwrap();
        let mut validation = Validation::new(algorithm);
        validation.set_audience(&["x"]);
        let read = decode::<Value>(&jwt, &DecodingKey::from_jwk(public).unwrap(), &validation).unwrap();
        assert_eq!((read.header.kid.as_deref(), read.header.typ.as_deref()), (Some("k1"), Some("JWT")));
        assert_eq!(read.claims["exp"], 4_000_000_000_u64);

        let own: Jwk = serde_json::from_value(json!(key.public_jwk(None))).unwrap();
        assert_eq!(own.algorithm, public.algorithm);
        assert_eq!(key.thumbprint(), public.thumbprint(ThumbprintHash::SHA256).unwrap());
    }
}

#[test]
fn a_key_is_called_as_chosen_or_by_itself_or_by_its_thumbprint() {
    let der = pkcs8(&PKCS_ECDSA_P384_SHA384);
    let (named, plain) = (ec_jwk(&der).to_string(), pem("PRIVATE KEY", &der));
    let (named, plain) = (SigningKey::parse(&named).unwrap(), SigningKey::parse(&plain).unwrap());
    assert_eq!(named.key_id(Some("chosen")), "chosen");
    assert_eq!(named.key_id(None), "mine");
    assert_eq!(plain.key_id(None), named.thumbprint());
}

#[test]
fn only_the_public_half_is_shown() {
    let (rsa, ec) = (pkcs8(&PKCS_RSA_SHA384), pkcs8(&PKCS_ECDSA_P384_SHA384));
    for (jwk, members) in [
        (rsa_jwk(inner(&rsa, 26)), vec!["alg", "e", "key_ops", "kid", "kty", "n", "use"]),
        (ec_jwk(&ec), vec!["alg", "crv", "key_ops", "kid", "kty", "use", "x", "y"]),
    ] {
        let key = SigningKey::parse(&jwk.to_string()).unwrap();
        let public = json!(key.public_jwk(Some("k1")));
        let mut shown: Vec<&String> = public.as_object().unwrap().keys().collect();
        shown.sort();
        assert_eq!(shown, members);
        assert_eq!((&public["use"], &public["key_ops"]), (&json!("sig"), &json!(["verify"])));
        for secret in ["d", "p", "q", "dp", "dq", "qi"].iter().filter_map(|name| jwk[name].as_str()) {
            let all = format!("{public} {key:?}");
            assert!(!all.contains(secret), "{all}");
        }
    }
}

#[test]
fn what_cannot_sign_says_why() {
    let (rsa, ec) = (pkcs8(&PKCS_RSA_SHA384), pkcs8(&PKCS_ECDSA_P384_SHA384));
    let without = |jwk: Value, name: &str| {
        let mut jwk = jwk;
        jwk.as_object_mut().unwrap().remove(name);
        jwk.to_string()
    };
    let with = |jwk: Value, name: &str, value: &str| {
        let mut jwk = jwk;
        jwk[name] = json!(value);
        jwk.to_string()
    };
    let (rsa, other) = (rsa_jwk(inner(&rsa, 26)), ec_jwk(&pkcs8(&PKCS_ECDSA_P384_SHA384)));
    let of_ec = ec_jwk(&ec);
    for (text, problem) in [
        (String::new(), KeyProblem::Unknown),
        ("hush".to_owned(), KeyProblem::Unknown),
        ("{".to_owned(), KeyProblem::Damaged),
        ("-----BEGIN PRIVATE KEY-----\nAA".to_owned(), KeyProblem::Damaged),
        (pem("ENCRYPTED PRIVATE KEY", &ec), KeyProblem::Encrypted),
        (pem("PUBLIC KEY", &ec), KeyProblem::Public),
        (pem("PRIVATE KEY", &ec[..40]), KeyProblem::Unfit),
        (pem("PRIVATE KEY", &pkcs8(&PKCS_ECDSA_P256_SHA256)), KeyProblem::Unfit),
        (pem("EC PRIVATE KEY", inner(&pkcs8(&PKCS_ECDSA_P256_SHA256), 26)), KeyProblem::Unfit),
        (json!({ "keys": [of_ec] }).to_string(), KeyProblem::Set),
        (json!({ "kid": "x" }).to_string(), KeyProblem::Lacks("kty")),
        (json!({ "kty": "oct", "k": "aHVzaA" }).to_string(), KeyProblem::Unfit),
        (without(of_ec.clone(), "d"), KeyProblem::Public),
        (without(rsa.clone(), "d"), KeyProblem::Public),
        (without(rsa.clone(), "qi"), KeyProblem::Lacks("qi")),
        (without(of_ec.clone(), "y"), KeyProblem::Lacks("y")),
        (with(of_ec.clone(), "crv", "P-256"), KeyProblem::Unfit),
        (with(of_ec.clone(), "x", other["x"].as_str().unwrap()), KeyProblem::Unfit),
        (with(of_ec, "d", "not base64!"), KeyProblem::Damaged),
        (with(rsa, "dp", "AQAB"), KeyProblem::Unfit),
    ] {
        assert_eq!(SigningKey::parse(&text).map(|_| ()), Err(problem), "{text}");
    }
}
