use std::fmt::Display;
use std::future::Future;
use std::time::Duration;

use tokio::time::{Instant, sleep, timeout_at};

use crate::{Error, Result};

const LOOK_EVERY: Duration = Duration::from_millis(25);

/// Looks again and again until `attempt` gives a value; a timeout says what was
/// waited for and why the last attempt gave none.
pub async fn wait_for<T, E, F, Fut>(what: &str, timeout: Duration, mut attempt: F) -> Result<T>
where
    F: FnMut() -> Fut,
    Fut: Future<Output = Result<T, E>>,
    E: Display,
{
    let started = Instant::now();
    let deadline = started + timeout;
    let mut last = None;
    loop {
        match timeout_at(deadline, attempt()).await {
            Ok(Ok(value)) => return Ok(value),
            Ok(Err(reason)) => last = Some(reason.to_string()),
            // The reason of the attempt before says more, where there is one.
            Err(_) => last = last.or_else(|| Some("no answer to the first look".to_owned())),
        }
        if Instant::now() >= deadline {
            return Err(Error::Timeout {
                what: what.to_owned(),
                waited: started.elapsed(),
                last: last.unwrap_or_default(),
            });
        }
        sleep(LOOK_EVERY).await;
    }
}

/// Looks again and again until `condition` holds.
pub async fn wait_until<F, Fut>(what: &str, timeout: Duration, mut condition: F) -> Result<()>
where
    F: FnMut() -> Fut,
    Fut: Future<Output = bool>,
{
    wait_for(what, timeout, || {
        let holds = condition();
        async move { holds.await.then_some(()).ok_or("it did not happen") }
    })
    .await
}

#[cfg(test)]
#[allow(clippy::unwrap_used)] // a test fails by panicking
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_value_ends_the_wait() {
        let mut looks = 0;
        let value = wait_for("three looks", Duration::from_secs(5), || {
            looks += 1;
            let seen = looks;
            async move { if seen == 3 { Ok(seen) } else { Err("not yet") } }
        })
        .await;
        assert_eq!(value.unwrap(), 3);
    }

    #[tokio::test]
    async fn a_timeout_says_what_was_waited_for_and_why_it_did_not_come() {
        let error =
            wait_for::<(), _, _, _>("rain", Duration::from_millis(60), || async { Err("the sky is clear") })
                .await
                .unwrap_err()
                .to_string();
        assert!(error.contains("for rain: the sky is clear"), "{error}");
    }

    #[tokio::test]
    async fn a_condition_that_hangs_is_left_at_the_deadline() {
        let error = wait_until("an answer", Duration::from_millis(60), std::future::pending::<bool>)
            .await
            .unwrap_err()
            .to_string();
        assert!(error.contains("no answer to the first look"), "{error}");
    }
}
