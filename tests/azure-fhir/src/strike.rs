//! Faults as answers.

use crate::fault::Fault;
use crate::outcome::{Answer, Reply};

/// Gives a fault as an answer, where `foreign` is the origin of another host; `None` when the right answer shall follow after all.
pub async fn strike(fault: &Fault, foreign: &str, path_and_query: &str) -> Option<Answer> {
    let html = |status: u16| {
        let page = format!(
            "<html>\r\n<head><title>{status}</title></head>\r\n<body>\r\n<center><h1>{status} \
                            Bad Gateway</h1></center>\r\n<hr><center>gateway</center>\r\n</body>\r\n</html>\r\n"
        );
        Reply::text(status, "text/html", &page)
    };
    let half = "{\"transactionTime\":\"2026-01-01T00:00:00.000Z\",\"request\":\"https://clinic";
    let reply = match fault {
        Fault::Delay { millis } => {
            tokio::time::sleep(std::time::Duration::from_millis(*millis)).await;
            return None;
        }
        Fault::Reset => return Some(Answer::Reset),
        Fault::Close => return Some(Answer::Close),
        Fault::Hang => return Some(Answer::Hang),
        Fault::Unavailable { outcome: true } => {
            Reply::outcome(503, "transient", "The service is unavailable.")
        }
        Fault::Unavailable { outcome: false } => Reply::empty(503),
        Fault::Internal { outcome: true } => {
            Reply::outcome(500, "exception", "There was an error processing your request.")
        }
        Fault::Internal { outcome: false } => Reply::empty(500),
        Fault::GatewayPage { status } => html(*status),
        Fault::TruncatedJson => Reply::text(200, "application/json", half),
        Fault::TruncatedBody => Reply { truncated: true, ..Reply::text(200, "application/json", half) },
        Fault::EmptyBody => Reply::empty(200),
        Fault::WrongJson => Reply::text(200, "application/json", "[\"no\", \"manifest\"]"),
        Fault::Throttled { seconds, millis } => {
            let text = "The maximum number of concurrent API calls on this instance was reached.";
            Reply::outcome(429, "throttled", text)
                .header("Retry-After", &seconds.to_string())
                .header("x-ms-retry-after-ms", &millis.to_string())
        }
        Fault::Unauthorized => Reply::unauthorized(),
        Fault::Forbidden => Reply::forbidden(),
        Fault::JobNotFound => {
            let path = path_and_query.split('?').next().unwrap_or_default();
            Reply::job_not_found(path.rsplit('/').next().unwrap_or_default())
        }
        Fault::Gone => Reply::empty(410),
        Fault::RedirectForeign => Reply::empty(307).header("Location", &format!("{foreign}{path_and_query}")),
        Fault::Custom { status, headers, body } => {
            Reply { headers: headers.clone(), body: body.clone().into_bytes(), ..Reply::empty(*status) }
        }
    };
    Some(Answer::Reply(reply))
}
