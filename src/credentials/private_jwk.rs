//! Private keys as JWK (RFC 7517, RFC 7518).

use aws_lc_rs::rsa::{KeyPairComponents, PublicKeyComponents};
use aws_lc_rs::signature::{ECDSA_P384_SHA384_FIXED_SIGNING, EcdsaKeyPair, RsaKeyPair};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Deserialize;
use serde::de::IgnoredAny;

use super::key_pair::{KeyProblem, SigningPair};

/// The size of a coordinate of curve P-384, in bytes.
const COORDINATE: usize = 48;

#[derive(Deserialize)]
struct Jwk {
    kty: Option<String>,
    kid: Option<String>,
    crv: Option<String>,
    n: Option<String>,
    e: Option<String>,
    d: Option<String>,
    p: Option<String>,
    q: Option<String>,
    dp: Option<String>,
    dq: Option<String>,
    qi: Option<String>,
    x: Option<String>,
    y: Option<String>,
    keys: Option<IgnoredAny>,
}

/// Reads a private JWK: the key pair, and the `kid` if the JWK has one.
pub fn parse(text: &str) -> Result<(SigningPair, Option<String>), KeyProblem> {
    let jwk: Jwk = serde_json::from_str(text).map_err(|_| KeyProblem::Damaged)?;
    let pair = match jwk.kty.as_deref() {
        Some("RSA") => jwk.rsa()?,
        Some("EC") => jwk.ec()?,
        Some(_) => return Err(KeyProblem::Unfit),
        None if jwk.keys.is_some() => return Err(KeyProblem::Set),
        None => return Err(KeyProblem::Lacks("kty")),
    };
    Ok((pair, jwk.kid.filter(|kid| !kid.is_empty())))
}

impl Jwk {
    fn rsa(&self) -> Result<SigningPair, KeyProblem> {
        let d = number(self.d.as_deref(), "d").map_err(private)?;
        let components = KeyPairComponents {
            public_key: PublicKeyComponents {
                n: number(self.n.as_deref(), "n")?,
                e: number(self.e.as_deref(), "e")?,
            },
            d,
            p: number(self.p.as_deref(), "p")?,
            q: number(self.q.as_deref(), "q")?,
            dP: number(self.dp.as_deref(), "dp")?,
            dQ: number(self.dq.as_deref(), "dq")?,
            qInv: number(self.qi.as_deref(), "qi")?,
        };
        RsaKeyPair::from_components(&components).map(SigningPair::Rsa).map_err(|_| KeyProblem::Unfit)
    }

    fn ec(&self) -> Result<SigningPair, KeyProblem> {
        if self.crv.as_deref() != Some("P-384") {
            return Err(KeyProblem::Unfit);
        }
        let d = number(self.d.as_deref(), "d").map_err(private)?;
        let (x, y) = (number(self.x.as_deref(), "x")?, number(self.y.as_deref(), "y")?);
        let (d, x, y) = (coordinate(&d)?, coordinate(&x)?, coordinate(&y)?);
        let point = [&[4][..], &x, &y].concat();
        EcdsaKeyPair::from_private_key_and_public_key(&ECDSA_P384_SHA384_FIXED_SIGNING, &d, &point)
            .map(SigningPair::Ec)
            .map_err(|_| KeyProblem::Unfit)
    }
}

/// The problem of a JWK without `d`: it is a public key.
fn private(problem: KeyProblem) -> KeyProblem {
    if matches!(problem, KeyProblem::Lacks(_)) { KeyProblem::Public } else { problem }
}

/// Decodes a number of the JWK, without leading zeros.
fn number(value: Option<&str>, name: &'static str) -> Result<Vec<u8>, KeyProblem> {
    let text = value.ok_or(KeyProblem::Lacks(name))?.trim_end_matches('=');
    let bytes = URL_SAFE_NO_PAD.decode(text).map_err(|_| KeyProblem::Damaged)?;
    Ok(bytes.into_iter().skip_while(|byte| *byte == 0).collect())
}

/// Pads a number with zeros to the size of a coordinate.
fn coordinate(number: &[u8]) -> Result<Vec<u8>, KeyProblem> {
    let zeros = COORDINATE.checked_sub(number.len()).ok_or(KeyProblem::Unfit)?;
    Ok([vec![0; zeros], number.to_vec()].concat())
}
