//! What an interruption does to the jobs on the servers.

use std::io::{self, IsTerminal, Write as _};

use clap::ValueEnum;
use tokio::sync::oneshot;

/// What to do with running jobs on Ctrl-C.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum OnInterrupt {
    /// Ask on a terminal; elsewhere leave them running
    Ask,
    /// Leave them running; the same command goes on with them
    Leave,
    /// Cancel them and wait until the servers confirm it
    Cancel,
}

/// What people decided.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Choice {
    /// Cancel the jobs.
    Cancel,
    /// Leave the jobs running.
    Leave,
}

impl OnInterrupt {
    /// What is decided without a question; `None` if people have to be asked.
    pub fn decided(self) -> Option<Choice> {
        match self {
            Self::Ask if io::stdin().is_terminal() && io::stderr().is_terminal() => None,
            Self::Ask | Self::Leave => Some(Choice::Leave),
            Self::Cancel => Some(Choice::Cancel),
        }
    }
}

/// Asks on the terminal. No answer, and any other word than cancel, leaves the jobs running.
pub fn ask() -> oneshot::Receiver<Choice> {
    let (tell, told) = oneshot::channel();
    // A thread of its own, because a read of the terminal cannot be ended; it ends with the process.
    std::thread::spawn(move || {
        let mut stderr = io::stderr();
        let question = "\nCancel the jobs on the servers? [c: cancel them, Enter: leave them running] ";
        let _ = stderr.write_all(question.as_bytes()).and_then(|()| stderr.flush());
        let mut answer = String::new();
        let read = io::stdin().read_line(&mut answer);
        let choice = match answer.trim().to_lowercase().as_str() {
            "c" | "cancel" if read.is_ok() => Choice::Cancel,
            _ => Choice::Leave,
        };
        // Nobody waits any more if there was a second Ctrl-C.
        let _ = tell.send(choice);
    });
    told
}
