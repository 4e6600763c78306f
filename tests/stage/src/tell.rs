use std::io::Write;
use std::time::Instant;

/// A line on stdout.
pub fn say(text: &str) {
    // Whether somebody reads it does not change what is found.
    let _ = writeln!(std::io::stdout().lock(), "{text}");
}

/// A line on stderr.
pub fn complain(text: &str) {
    let _ = writeln!(std::io::stderr().lock(), "{text}");
}

/// Does a piece of work, and says how long it took.
pub async fn timed<T, E>(what: impl AsRef<str>, work: impl Future<Output = Result<T, E>>) -> Result<T, E> {
    let (what, started) = (what.as_ref(), Instant::now());
    say(&format!("  {what} ..."));
    let done = work.await?;
    say(&format!("  {what}: {:.1} s", started.elapsed().as_secs_f64()));
    Ok(done)
}
