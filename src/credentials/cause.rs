//! Why a request got no answer, derived from the types in the error's chain instead of from its text.

use std::error::Error;
use std::io;

use rustls::{AlertDescription, CertificateError};
use tokio::time::error::Elapsed;

use super::transport::{AddressRefused, NameNotResolved};

/// Why a request got no answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Cause {
    /// The host name does not resolve. It is the server's, or that of a proxy.
    Name(String),
    /// The host has only addresses that the operator does not connect to.
    Address(AddressRefused),
    /// The connection was not established: it was refused or closed, or the host is unreachable. The text
    /// continues the host's name in a sentence, as in "refused the connection".
    Connect(&'static str),
    /// The connection was not established in time.
    ConnectTimeout,
    /// The TLS handshake failed, so the server has seen no request. The text says why, as a clause.
    Tls(&'static str),
    /// No answer came in time. The server may have received the request.
    Timeout,
    /// The connection broke before the answer was complete. The server may have received the request.
    Broken,
}

impl Cause {
    /// Classifies an error of reqwest or of tokio's time-out, or one that has such an error in its chain.
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
            (false, false) if chain.iter().any(|e| find::<Elapsed>(*e).is_some()) => Self::Timeout,
            (false, false) => Self::Broken,
        }
    }
}

/// The error and all its sources, outermost first.
pub fn chain<'e>(error: &'e (dyn Error + 'static)) -> Vec<&'e (dyn Error + 'static)> {
    let mut chain = vec![error];
    let mut next = error.source();
    while let Some(error) = next {
        chain.push(error);
        next = error.source();
    }
    chain
}

/// Finds an error of type `E` in `error`, including one wrapped in an `io::Error`, whose `source` skips the
/// wrapped error.
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

/// The reason of a TLS failure, which completes the sentence "TLS with HOST failed: …". In TLS 1.3 a server
/// rejects a client certificate only after the client has sent its request, which the server then does not
/// process; any other failure after the handshake counts as a broken connection and yields `None`.
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
