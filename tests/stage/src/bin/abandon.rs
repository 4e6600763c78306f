//! Starts what it is told, says the process ids, and waits to be killed: for
//! the test that nothing outlives a parent that had no chance to clean up.

use std::io::Write;

use stage::{Azurite, AzuriteOptions, Folder, Process, ProcessOptions};

#[tokio::main]
async fn main() -> stage::Result<()> {
    let folder = Folder::new("abandon")?;
    let sleeper = Process::start(
        // Deaf to all but SIGKILL.
        &ProcessOptions::new("sh", folder.path().join("log"))
            .args(["-c", "trap '' TERM HUP INT; while :; do sleep 0.1; done"]),
    )?;
    let mut azurite = Azurite::start(AzuriteOptions::default()).await?;
    let mut stdout = std::io::stdout();
    let said = writeln!(stdout, "{} {}", sleeper.pid(), azurite.process()?.pid());
    said.and_then(|()| stdout.flush())
        .map_err(|source| stage::Error::Io { what: "saying the process ids".to_owned(), source })?;
    std::future::pending().await
}
