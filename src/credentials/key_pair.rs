//! The key pair behind a signing key, and why a text holds none.

use aws_lc_rs::signature::{ECDSA_P384_SHA384_FIXED_SIGNING, EcdsaKeyPair, RsaKeyPair};
use rustls::pki_types::PrivateKeyDer;
use rustls::pki_types::pem::{self, PemObject};

/// Why a text is not a key that can sign. Each message completes the sentence "what … holds is no
/// private key to sign with: …".
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeyProblem {
    /// The text is neither PEM nor JSON.
    #[error("it is neither PEM nor a JWK")]
    Unknown,
    /// The PEM or the JSON is broken.
    #[error("its PEM or JWK is damaged")]
    Damaged,
    /// The PEM is encrypted with a password.
    #[error("it is encrypted")]
    Encrypted,
    /// The text is a public key or a certificate.
    #[error("the private part is not there")]
    Public,
    /// The text is a JWK set.
    #[error("it is a set of keys, not one")]
    Set,
    /// The private JWK lacks this member.
    #[error("its JWK has no {0}")]
    Lacks(&'static str),
    /// The key is of an unsupported kind, or its numbers do not fit each other.
    #[error("it is neither RSA of 2048 to 8192 bits nor elliptic curve P-384")]
    Unfit,
    /// The cryptographic library refused to sign.
    #[error("it cannot sign")]
    CannotSign,
}

/// A key pair. Its kind decides the algorithm of the signature.
pub(super) enum SigningPair {
    /// RSA of 2048 to 8192 bits.
    Rsa(RsaKeyPair),
    /// Elliptic curve P-384.
    Ec(EcdsaKeyPair),
}

impl SigningPair {
    /// Reads PEM: PKCS#8, PKCS#1 or SEC1.
    pub(super) fn from_pem(text: &str) -> Result<Self, KeyProblem> {
        if !text.contains("-----BEGIN ") {
            return Err(KeyProblem::Unknown);
        }
        // `ENCRYPTED PRIVATE KEY`, or the older `Proc-Type: 4,ENCRYPTED` inside.
        if text.contains("ENCRYPTED") {
            return Err(KeyProblem::Encrypted);
        }
        let rsa = |read: Result<RsaKeyPair, _>| read.map(Self::Rsa);
        let ec = |read: Result<EcdsaKeyPair, _>| read.map(Self::Ec);
        let curve = &ECDSA_P384_SHA384_FIXED_SIGNING;
        let pair = match PrivateKeyDer::from_pem_slice(text.as_bytes()) {
            Ok(PrivateKeyDer::Pkcs1(der)) => rsa(RsaKeyPair::from_der(der.secret_pkcs1_der())),
            Ok(PrivateKeyDer::Sec1(der)) => {
                ec(EcdsaKeyPair::from_private_key_der(curve, der.secret_sec1_der()))
            }
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
}
