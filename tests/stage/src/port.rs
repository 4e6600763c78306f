use std::net::{Ipv4Addr, TcpListener};

use crate::{Error, Result};

/// How often a part is started anew on another port, when its port was taken
/// between the look for a free one and the start.
pub(crate) const ATTEMPTS: usize = 5;

/// A port of loopback that nothing listens on at this moment.
pub fn free_port() -> Result<u16> {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0))
        .and_then(|listener| listener.local_addr())
        .map(|address| address.port())
        .map_err(|source| Error::Io { what: "looking for a free port".to_owned(), source })
}

/// Whether a part says that its port was taken.
pub(crate) fn is_taken(error: &Error) -> bool {
    matches!(error, Error::Ended { log, .. }
        if log.contains("address already in use") || log.contains("EADDRINUSE"))
}
