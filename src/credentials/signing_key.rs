//! Private keys that sign assertions: RSA, or elliptic curve P-384, from PEM or from a JWK.

use std::fmt;

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::PublicKeyComponents;
use aws_lc_rs::signature::{
    ECDSA_P384_SHA384_FIXED_SIGNING, EcdsaKeyPair, KeyPair, RSA_PKCS1_SHA384, RsaKeyPair,
};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use rustls::pki_types::PrivateKeyDer;
use rustls::pki_types::pem::{self, PemObject};
use serde::Serialize;
use sha2::{Digest, Sha256};

use super::private_jwk;

/// Why a text is no key that can sign. Follows on "what ... holds is no private key to sign with: ".
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeyProblem {
    /// Neither PEM nor JSON.
    #[error("it is neither PEM nor a JWK")]
    Unknown,
    /// PEM or JSON, but broken.
    #[error("its PEM or JWK is damaged")]
    Damaged,
    /// PEM with a password.
    #[error("it is encrypted")]
    Encrypted,
    /// A public key or a certificate.
    #[error("the private part is not there")]
    Public,
    /// A JWKS.
    #[error("it is a set of keys, not one")]
    Set,
    /// A private JWK that is not complete.
    #[error("its JWK has no {0}")]
    Lacks(&'static str),
    /// Another kind of key, or numbers that do not fit each other.
    #[error("it is neither RSA of 2048 to 8192 bits nor elliptic curve P-384")]
    Unfit,
    /// The library refused to sign.
    #[error("it cannot sign")]
    CannotSign,
}

/// What can be used, for messages.
pub const USABLE_KEYS: &str =
    "a private key of RSA (2048 bits or more) or elliptic curve P-384, as PEM or JWK";

/// A private key. Nothing prints it.
pub struct SigningKey {
    pair: Pair,
    named: Option<String>,
}

/// The key itself; its kind decides the algorithm.
pub(super) enum Pair {
    Rsa(RsaKeyPair),
    Ec(EcdsaKeyPair),
}

/// The public half of a key, as a server wants it registered.
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
    /// Reads PEM (PKCS#8, PKCS#1, SEC1) or a private JWK, told apart by the content.
    pub fn parse(text: &str) -> Result<Self, KeyProblem> {
        let text = text.trim();
        if text.starts_with('{') {
            let (pair, named) = private_jwk::parse(text)?;
            return Ok(Self { pair, named });
        }
        pair_from_pem(text).map(|pair| Self { pair, named: None })
    }

    /// RS384 or ES384.
    pub fn algorithm(&self) -> &'static str {
        match self.pair {
            Pair::Rsa(_) => "RS384",
            Pair::Ec(_) => "ES384",
        }
    }

    /// What the key is called: as `chosen`, else as its own JWK says, else by its thumbprint (RFC 7638).
    pub fn key_id(&self, chosen: Option<&str>) -> String {
        chosen.map(str::to_owned).or_else(|| self.named.clone()).unwrap_or_else(|| self.thumbprint())
    }

    /// The public half, under the name that [`key_id`](Self::key_id) gives.
    pub fn public_jwk(&self, chosen: Option<&str>) -> PublicJwk {
        PublicJwk {
            kty: match self.pair {
                Pair::Rsa(_) => "RSA",
                Pair::Ec(_) => "EC",
            },
            kid: self.key_id(chosen),
            alg: self.algorithm(),
            use_: "sig",
            key_ops: ["verify"],
            numbers: self.numbers(),
        }
    }

    /// A signed JWT with these claims.
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
            Pair::Rsa(pair) => {
                let mut signature = vec![0; pair.public_modulus_len()];
                pair.sign(&RSA_PKCS1_SHA384, &random, text, &mut signature).ok()?;
                Some(signature)
            }
            Pair::Ec(pair) => Some(pair.sign(&random, text).ok()?.as_ref().to_vec()),
        }
    }

    fn numbers(&self) -> Numbers {
        match &self.pair {
            Pair::Rsa(pair) => {
                let PublicKeyComponents::<Vec<u8>> { n, e } = pair.public_key().into();
                Numbers::Rsa { n: encoded(n), e: encoded(e) }
            }
            Pair::Ec(pair) => {
                // An uncompressed point: a byte that says so, and the two halves.
                let point = pair.public_key().as_ref().get(1..).unwrap_or_default();
                let (x, y) = point.split_at(point.len() / 2);
                Numbers::Ec { crv: "P-384", x: encoded(x), y: encoded(y) }
            }
        }
    }

    /// The digest of the public members in the order and form that RFC 7638 names.
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

fn pair_from_pem(text: &str) -> Result<Pair, KeyProblem> {
    if !text.contains("-----BEGIN ") {
        return Err(KeyProblem::Unknown);
    }
    // `ENCRYPTED PRIVATE KEY`, or the older `Proc-Type: 4,ENCRYPTED` inside.
    if text.contains("ENCRYPTED") {
        return Err(KeyProblem::Encrypted);
    }
    let rsa = |read: Result<RsaKeyPair, _>| read.map(Pair::Rsa);
    let ec = |read: Result<EcdsaKeyPair, _>| read.map(Pair::Ec);
    let curve = &ECDSA_P384_SHA384_FIXED_SIGNING;
    let pair = match PrivateKeyDer::from_pem_slice(text.as_bytes()) {
        Ok(PrivateKeyDer::Pkcs1(der)) => rsa(RsaKeyPair::from_der(der.secret_pkcs1_der())),
        Ok(PrivateKeyDer::Sec1(der)) => ec(EcdsaKeyPair::from_private_key_der(curve, der.secret_sec1_der())),
        Ok(PrivateKeyDer::Pkcs8(der)) => {
            let der = der.secret_pkcs8_der();
            rsa(RsaKeyPair::from_pkcs8(der)).or_else(|_| ec(EcdsaKeyPair::from_pkcs8(curve, der)))
        }
        Ok(_) => return Err(KeyProblem::Unfit),
        Err(pem::Error::NoItemsFound) => return Err(KeyProblem::Public),
        Err(_) => return Err(KeyProblem::Damaged),
    };
    pair.map_err(|_| KeyProblem::Unfit)
}

#[cfg(test)]
#[path = "signing_key_tests.rs"]
mod tests;
