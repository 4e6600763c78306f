//! Why a request got no answer, told from the types in the error's chain rather than from its words.

use std::error::Error;
use std::io;

use rustls::{AlertDescription, CertificateError};

use super::transport::{AddressRefused, NameNotResolved};

/// Why there is no answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Cause {
    /// The name does not resolve; it may be a proxy's.
    Name(String),
    /// The host has only addresses that nothing is connected to.
    Address(AddressRefused),
    /// No connection came about: refused, unreachable, cut while it was made.
    Connect(&'static str),
    /// No connection came about in time.
    ConnectTimeout,
    /// TLS was not agreed on. The server has seen no request.
    Tls(&'static str),
    /// The request may have gone out, and no answer came in time.
    Timeout,
    /// The request may have gone out, and the connection broke.
    Broken,
}

impl Cause {
    /// Looks into an error of reqwest, or one that has such an error in its chain.
    pub fn of(error: &(dyn Error + 'static)) -> Self {
        let chain = chain(error);
        let http = chain.iter().find_map(|e| e.downcast_ref::<reqwest::Error>());
        let connecting = http.is_some_and(reqwest::Error::is_connect);
        if let Some(name) = chain.iter().find_map(|e| find::<NameNotResolved>(*e)) {
            return Self::Name(name.host.clone());
        }
        if let Some(refused) = chain.iter().find_map(|e| find::<AddressRefused>(*e)) {
            return Self::Address(refused.clone());
        }
        if let Some(tls) =
            chain.iter().find_map(|e| find::<rustls::Error>(*e)).and_then(|e| tls(e, connecting))
        {
            return Self::Tls(tls);
        }
        match (connecting, http.is_some_and(reqwest::Error::is_timeout)) {
            (true, true) => Self::ConnectTimeout,
            (true, false) => Self::Connect(refusal(&chain)),
            (false, true) => Self::Timeout,
            (false, false) => Self::Broken,
        }
    }
}

/// The error and what it comes from.
pub fn chain<'e>(error: &'e (dyn Error + 'static)) -> Vec<&'e (dyn Error + 'static)> {
    let mut chain = vec![error];
    let mut next = error.source();
    while let Some(error) = next {
        chain.push(error);
        next = error.source();
    }
    chain
}

/// An error of type `E`, also one that is wrapped in an `io::Error`, whose `source` skips it.
fn find<'e, E: Error + 'static>(error: &'e (dyn Error + 'static)) -> Option<&'e E> {
    error.downcast_ref::<E>().or_else(|| {
        let inner = error.downcast_ref::<io::Error>()?.get_ref()?;
        let inner: &(dyn Error + 'static) = inner;
        find::<E>(inner)
    })
}

fn refusal(chain: &[&(dyn Error + 'static)]) -> &'static str {
    match chain.iter().find_map(|e| e.downcast_ref::<io::Error>()).map(io::Error::kind) {
        Some(io::ErrorKind::ConnectionRefused) => "refused the connection",
        Some(io::ErrorKind::HostUnreachable | io::ErrorKind::NetworkUnreachable) => "is unreachable",
        Some(
            io::ErrorKind::ConnectionReset | io::ErrorKind::ConnectionAborted | io::ErrorKind::UnexpectedEof,
        ) => "closed the connection while it was made",
        _ => "could not be connected to",
    }
}

/// Ends the sentence "TLS with HOST failed: ". In TLS 1.3 a server refuses a client certificate only after the
/// client has sent its request, but it has not taken that request then; any other failure after the handshake
/// is a broken connection.
fn tls(error: &rustls::Error, connecting: bool) -> Option<&'static str> {
    use rustls::Error as Tls;
    let words = match error {
        Tls::InvalidCertificate(CertificateError::Expired | CertificateError::ExpiredContext { .. }) => {
            "its certificate has expired"
        }
        Tls::InvalidCertificate(
            CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. },
        ) => "its certificate is for another host name",
        Tls::InvalidCertificate(CertificateError::UnknownIssuer) => {
            "its certificate comes from an authority that is not trusted here"
        }
        Tls::InvalidCertificate(_) => "its certificate is not valid",
        Tls::AlertReceived(
            AlertDescription::CertificateRequired
            | AlertDescription::BadCertificate
            | AlertDescription::CertificateUnknown
            | AlertDescription::CertificateExpired
            | AlertDescription::UnknownCA,
        ) => "the server wants another client certificate",
        _ if connecting => "the server does not speak TLS as expected",
        _ => return None,
    };
    Some(words)
}
