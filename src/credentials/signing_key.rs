//! Private keys that sign assertions: RSA, or elliptic curve P-384, read from PEM or from a JWK.

use std::fmt;

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::PublicKeyComponents;
use aws_lc_rs::signature::{KeyPair, RSA_PKCS1_SHA384};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Serialize;
use sha2::{Digest, Sha256};

use super::key_pair::{KeyProblem, SigningPair};
use super::private_jwk;

/// The keys that can be used, as messages name them.
pub const USABLE_KEYS: &str =
    "a private key of RSA (2048 bits or more) or elliptic curve P-384, as PEM or JWK";

/// A private key that signs assertions. Its `Debug` shows the algorithm only.
pub struct SigningKey {
    pair: SigningPair,
    named: Option<String>,
}

/// The public half of a key as a JWK, as it is registered with a server.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct PublicJwk {
    kty: &'static str,
    kid: String,
    alg: &'static str,
    #[serde(rename = "use")]
    use_: &'static str,
    key_ops: [&'static str; 1],
    #[serde(flatten)]
    numbers: Numbers,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(untagged)]
enum Numbers {
    Rsa { n: String, e: String },
    Ec { crv: &'static str, x: String, y: String },
}

impl SigningKey {
    /// Reads a key from PEM (PKCS#8, PKCS#1 or SEC1) or from a private JWK, whichever the text is.
    pub fn parse(text: &str) -> Result<Self, KeyProblem> {
        let text = text.trim();
        if text.starts_with('{') {
            let (pair, named) = private_jwk::parse(text)?;
            return Ok(Self { pair, named });
        }
        SigningPair::from_pem(text).map(|pair| Self { pair, named: None })
    }

    /// The `alg` of signatures with this key: RS384 or ES384.
    pub fn algorithm(&self) -> &'static str {
        match self.pair {
            SigningPair::Rsa(_) => "RS384",
            SigningPair::Ec(_) => "ES384",
        }
    }

    /// The `kid` of the key: `chosen`, else the one in its JWK, else its thumbprint (RFC 7638).
    pub fn key_id(&self, chosen: Option<&str>) -> String {
        chosen.map(str::to_owned).or_else(|| self.named.clone()).unwrap_or_else(|| self.thumbprint())
    }

    /// The public half, with the `kid` that [`key_id`](Self::key_id) gives.
    pub fn public_jwk(&self, chosen: Option<&str>) -> PublicJwk {
        PublicJwk {
            kty: match self.pair {
                SigningPair::Rsa(_) => "RSA",
                SigningPair::Ec(_) => "EC",
            },
            kid: self.key_id(chosen),
            alg: self.algorithm(),
            use_: "sig",
            key_ops: ["verify"],
            numbers: self.numbers(),
        }
    }

    /// Signs a JWT with these claims.
    pub fn jwt(&self, key_id: &str, claims: &impl Serialize) -> Result<String, KeyProblem> {
        let header = serde_json::json!({ "alg": self.algorithm(), "kid": key_id, "typ": "JWT" });
        let claims = serde_json::to_vec(claims).map_err(|_| KeyProblem::CannotSign)?;
        let signed = format!("{}.{}", encoded(header.to_string()), encoded(claims));
        let signature = self.sign(signed.as_bytes()).ok_or(KeyProblem::CannotSign)?;
        Ok(format!("{signed}.{}", encoded(signature)))
    }

    fn sign(&self, text: &[u8]) -> Option<Vec<u8>> {
        let random = SystemRandom::new();
        match &self.pair {
            SigningPair::Rsa(pair) => {
                let mut signature = vec![0; pair.public_modulus_len()];
                pair.sign(&RSA_PKCS1_SHA384, &random, text, &mut signature).ok()?;
                Some(signature)
            }
            SigningPair::Ec(pair) => Some(pair.sign(&random, text).ok()?.as_ref().to_vec()),
        }
    }

    fn numbers(&self) -> Numbers {
        match &self.pair {
            SigningPair::Rsa(pair) => {
                let PublicKeyComponents::<Vec<u8>> { n, e } = pair.public_key().into();
                Numbers::Rsa { n: encoded(n), e: encoded(e) }
            }
            SigningPair::Ec(pair) => {
                // An uncompressed point is one byte that says so, followed by both coordinates.
                let point = pair.public_key().as_ref().get(1..).unwrap_or_default();
                let (x, y) = point.split_at(point.len() / 2);
                Numbers::Ec { crv: "P-384", x: encoded(x), y: encoded(y) }
            }
        }
    }

    /// The thumbprint of RFC 7638: the SHA-256 of the public members in their required order and form.
    fn thumbprint(&self) -> String {
        let members = match self.numbers() {
            Numbers::Rsa { n, e } => format!(r#"{{"e":"{e}","kty":"RSA","n":"{n}"}}"#),
            Numbers::Ec { crv, x, y } => format!(r#"{{"crv":"{crv}","kty":"EC","x":"{x}","y":"{y}"}}"#),
        };
        encoded(Sha256::digest(members))
    }
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SigningKey").field("algorithm", &self.algorithm()).finish_non_exhaustive()
    }
}

fn encoded(bytes: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

#[cfg(test)]
#[path = "signing_key_tests.rs"]
mod tests;
