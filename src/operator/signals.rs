//! The signals that ask the process to end.

use std::fmt;

use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::stop::Stop;

/// A signal that asks the process to end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Interruption {
    /// SIGTERM.
    Terminate,
    /// SIGINT, as Ctrl-C sends it.
    Interrupt,
}

impl fmt::Display for Interruption {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Terminate => "SIGTERM",
            Self::Interrupt => "SIGINT",
        })
    }
}

/// Receives SIGTERM and SIGINT.
pub struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    /// Begins to receive them; from then on they do not end the process.
    pub fn listen() -> Result<Self, Stop> {
        let failed = |e| Stop::because(format!("The program cannot listen for signals: {e}."));
        Ok(Self {
            terminate: signal(SignalKind::terminate()).map_err(failed)?,
            interrupt: signal(SignalKind::interrupt()).map_err(failed)?,
        })
    }

    /// The next signal.
    pub async fn next(&mut self) -> Interruption {
        tokio::select! {
            _ = self.terminate.recv() => Interruption::Terminate,
            _ = self.interrupt.recv() => Interruption::Interrupt,
        }
    }
}
