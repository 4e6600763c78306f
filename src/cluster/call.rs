//! Calls to the API server: bounded in time, retried a little, with errors explained in one sentence.

use std::time::Duration;

use kube::core::Status;

use crate::ports::ClusterFailure;

/// The time limit of a call, including its retries.
const TIME: Duration = Duration::from_secs(10);
/// The waits before the second and the third try.
const WAITS: [Duration; 2] = [Duration::from_millis(200), Duration::from_secs(1)];
/// How much of the API server's message is kept, in characters.
const WORDS: usize = 512;

/// Why a call failed.
#[derive(Debug)]
pub enum CallError {
    /// 409: the object has changed since it was read.
    Conflict,
    /// 404: the object does not exist.
    NotFound,
    /// 409: an object of that name already exists.
    AlreadyExists,
    /// 403, with the API server's message.
    Forbidden(String),
    /// The API server rejects the request for another reason, with its message.
    Refused(String),
    /// The API server did not answer, or failed; with the cause.
    Unreachable(String),
}

impl CallError {
    /// Classifies an error of the client.
    pub fn of(error: &kube::Error) -> Self {
        match error {
            // Matched by code, because the answer for a resource that is not served at all has no reason.
            kube::Error::Api(status) if status.code == 404 => Self::NotFound,
            kube::Error::Api(status) if status.is_already_exists() => Self::AlreadyExists,
            kube::Error::Api(status) if status.code == 409 => Self::Conflict,
            kube::Error::Api(status) if status.code == 403 => Self::Forbidden(words(status)),
            kube::Error::Api(status) if status.code < 500 && status.code != 429 => {
                Self::Refused(words(status))
            }
            kube::Error::Api(status) => Self::Unreachable(words(status)),
            kube::Error::SerdeError(error) => Self::Refused(format!("its answer cannot be read: {error}")),
            other => Self::Unreachable(root_cause(other)),
        }
    }

    /// The failure for the person who made the call, as one sentence. `what` completes the sentence "You may not …".
    pub fn told(&self, what: &str) -> String {
        match self {
            Self::Conflict => {
                format!("Somebody changed the object while this command wanted to {what}: try again.")
            }
            Self::NotFound => format!("There is nothing to {what}: the object does not exist."),
            Self::AlreadyExists => {
                format!("An object of that name exists already, so nothing was done to {what}.")
            }
            Self::Forbidden(words) => format!(
                "You may not {what} ({}): ask an administrator to bind you the role for exports, editor or viewer, in \
                 that namespace.",
                words.trim_end_matches('.')
            ),
            Self::Refused(words) => {
                format!("The API server refuses to {what}: {}.", words.trim_end_matches('.'))
            }
            Self::Unreachable(cause) => format!(
                "The API server does not answer to {what} ({}): check the cluster with kubectl cluster-info.",
                cause.trim_end_matches('.')
            ),
        }
    }

    /// The failure as reconciles see it. `what` completes the sentence "The API server refuses to …".
    pub(super) fn failure(self, what: &str) -> ClusterFailure {
        match self {
            Self::Conflict => ClusterFailure::Conflict,
            Self::NotFound => ClusterFailure::NotFound,
            Self::AlreadyExists => ClusterFailure::Other(format!(
                "The API server cannot {what}: an object of that name already exists"
            )),
            Self::Forbidden(words) => ClusterFailure::Other(format!(
                "The API server does not let the operator {what} ({words}); check the operator's Role."
            )),
            Self::Refused(words) => {
                ClusterFailure::Other(format!("The API server refuses to {what}: {words}"))
            }
            Self::Unreachable(cause) => {
                ClusterFailure::Other(format!("The API server did not answer to {what}: {cause}"))
            }
        }
    }
}

/// Makes a call, with retries. `request` may reach the server more than once, so it must be harmless when
/// repeated. All writes here are, because they name the resource version that they were decided on.
pub async fn call<T, F, Fut>(request: F) -> Result<T, CallError>
where
    F: Fn() -> Fut,
    Fut: Future<Output = kube::Result<T>>,
{
    let tries = async {
        for wait in WAITS {
            match request().await {
                Err(error) if passes(&error) => tokio::time::sleep(asked_for(&error).unwrap_or(wait)).await,
                answer => return answer,
            }
        }
        request().await
    };
    match tokio::time::timeout(TIME, tries).await {
        Ok(answer) => answer.map_err(|error| CallError::of(&error)),
        Err(_) => Err(CallError::Unreachable(format!("no answer within {} s", TIME.as_secs()))),
    }
}

fn passes(error: &kube::Error) -> bool {
    match error {
        kube::Error::Api(status) => matches!(status.code, 429 | 500 | 502 | 503 | 504),
        kube::Error::HyperError(_) | kube::Error::Service(_) => true,
        _ => false,
    }
}

/// How long the API server asks to wait, capped so that there is time for another try.
fn asked_for(error: &kube::Error) -> Option<Duration> {
    let kube::Error::Api(status) = error else { return None };
    let seconds = u64::from(status.details.as_ref()?.retry_after_seconds);
    (seconds > 0).then(|| Duration::from_secs(seconds.min(3)))
}

fn words(status: &Status) -> String {
    let text = if status.message.is_empty() {
        format!("status {}", status.code)
    } else {
        status.message.split_whitespace().collect::<Vec<_>>().join(" ")
    };
    text.chars().take(WORDS).collect()
}

/// The innermost source of an error, which says what people can act on, such as "Connection refused" or
/// "certificate expired".
pub fn root_cause(error: &(dyn std::error::Error + 'static)) -> String {
    let mut innermost = error;
    while let Some(source) = innermost.source() {
        innermost = source;
    }
    innermost.to_string().chars().take(WORDS).collect()
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::panic)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    fn answer(code: u16, reason: &str) -> kube::Error {
        kube::Error::Api(Box::new(Status::failure("these  are\nits words", reason).with_code(code)))
    }

    async fn tried(errors: &[(u16, &str)]) -> (usize, Result<(), CallError>) {
        let count = AtomicUsize::new(0);
        let result = call(|| {
            let at = count.fetch_add(1, Ordering::SeqCst);
            let outcome = errors.get(at).map_or(Ok(()), |(code, reason)| Err(answer(*code, reason)));
            std::future::ready(outcome)
        })
        .await;
        (count.into_inner(), result)
    }

    #[tokio::test(start_paused = true)]
    async fn what_passes_is_tried_three_times() {
        let (tries, result) = tried(&[(503, ""), (429, "TooManyRequests")]).await;
        assert_eq!(tries, 3);
        result.unwrap();
        let (tries, result) = tried(&[(503, ""); 5]).await;
        assert_eq!(tries, 3);
        assert!(matches!(result, Err(CallError::Unreachable(words)) if words == "these are its words"));
    }

    #[tokio::test(start_paused = true)]
    async fn what_lasts_is_tried_once() {
        for (code, reason) in [(409, "Conflict"), (404, "NotFound"), (403, "Forbidden"), (422, "Invalid")] {
            let (tries, result) = tried(&[(code, reason); 5]).await;
            assert_eq!(tries, 1, "{code}");
            let matches = match result.unwrap_err() {
                CallError::Conflict => code == 409,
                CallError::NotFound => code == 404,
                CallError::Forbidden(_) => code == 403,
                CallError::Refused(_) => code == 422,
                CallError::AlreadyExists | CallError::Unreachable(_) => false,
            };
            assert!(matches, "{code}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn silence_ends() {
        let silent = call(std::future::pending::<kube::Result<()>>).await;
        assert!(matches!(silent, Err(CallError::Unreachable(cause)) if cause == "no answer within 10 s"));
    }
}
