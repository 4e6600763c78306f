//! Requests to FHIR servers, as the client of the edge sends them, with the token, the patience that all
//! requests to an origin share, and the time limit.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use fhir_export_operator::api::{AuthType, FhirServer, KeyRef, Reason};
use fhir_export_operator::core::wire::{
    Answer, Failure, FailureKind, FileRequest, Method, Reply, Request, Sent,
};
use fhir_export_operator::fhir::held_back::Client;
use fhir_export_operator::fhir::origin::{FileTrust, Origin, file_trust, is_trusted};
use fhir_export_operator::ports::{BrokenOff, FileAnswer, Pieces};
use fhir_export_operator::ports::{Clock, Wire};
use futures::StreamExt;
use futures::stream::unfold;
use kube::ResourceExt;
use secrecy::SecretString;

use super::{Course, Process, panics};
use crate::faults::Outage;
use crate::fhir::files::Opened;
use crate::fhir::{Fhir, SENTINEL, outcome, page};
use crate::plan::{Edge, FaultKind, Location, Pace};
use crate::state::{State, locked};
use crate::time::{Pause, SECOND};

/// The default of `limits.requestTimeoutSeconds`.
const TIMEOUT: i64 = 60;

fn failure(sent: Sent, reason: Reason, message: &str, kind: FailureKind) -> Failure {
    Failure { sent, reason, message: message.to_owned(), kind }
}

fn unreachable(sent: Sent) -> Failure {
    let reason = if sent == Sent::No { Reason::ConnectionFailed } else { Reason::TimedOut };
    failure(sent, reason, "the server did not answer; check it", FailureKind::Unreachable)
}

fn no_secret() -> Failure {
    let message = "the Secret is not there; create it";
    failure(Sent::No, Reason::SecretNotFound, message, FailureKind::Missing)
}

fn held_back(until: jiff::Timestamp) -> Failure {
    let message = "another request was asked to be patient";
    failure(Sent::No, Reason::Throttled, message, FailureKind::HeldBack { until })
}

impl Process {
    /// Whether a request to this URL may be sent now.
    fn admitted(&self, server: &FhirServer, url: &str, method: Method) -> Result<Origin, Failure> {
        let untrusted = || {
            let message = "the URL is not of the server; check it";
            failure(Sent::No, Reason::UnexpectedAnswer, message, FailureKind::Unreachable)
        };
        let origin = Origin::parse(url).ok_or_else(untrusted)?;
        if !is_trusted(server, &origin) {
            return Err(untrusted());
        }
        match self.held_back.until(&Client::of(server, &origin), method, self.now()) {
            Some(until) => Err(held_back(until)),
            None => Ok(origin),
        }
    }

    /// When the server's token was issued, in microseconds. Issues a token if none is valid. `None` if the
    /// server wants no token.
    fn token(&self, server: &FhirServer) -> Result<Option<i64>, Failure> {
        if server.spec.auth.type_ == AuthType::None {
            return Ok(None);
        }
        let number = Fhir::server_of(&server.spec.url).unwrap_or(0);
        let state = locked(&self.state);
        let lasts = state.fhir.server(number).map_or(0, |s| s.token_lasts) * SECOND;
        let secret = (server.namespace().unwrap_or_default(), format!("cred-{number}"));
        let there = state.api.secrets.contains(&secret);
        let mut tokens = locked(&self.tokens);
        let held = tokens.get(&number).copied().filter(|given| given + lasts > state.time.now);
        match (held, there) {
            // A valid token stays valid after its Secret is deleted.
            (Some(given), _) => Ok(Some(given)),
            (None, true) => {
                tokens.insert(number, state.time.now);
                Ok(Some(state.time.now))
            }
            (None, false) => Err(no_secret()),
        }
    }

    /// Drops a token that was refused.
    fn refused(&self, server: &FhirServer) {
        let number = Fhir::server_of(&server.spec.url).unwrap_or(0);
        locked(&self.tokens).remove(&number);
    }

    fn learn(&self, server: &FhirServer, origin: &Origin, answer: &Answer) {
        self.held_back.learn(&Client::of(server, origin), answer, Duration::from_secs(7200), self.now());
    }

    fn is_out(&self, what: Outage) -> bool {
        let state = locked(&self.state);
        state.faults.is_out(what, state.time.now)
    }

    /// Sends one request, without retries.
    async fn exchange(
        &self,
        request: &Request,
        token: Option<i64>,
        fault: Option<&FaultKind>,
    ) -> Result<Answer, Failure> {
        self.leaves(fault, Some(request)).await;
        let server = Fhir::server_of(&request.url).unwrap_or(0);
        if self.is_out(Outage::Fhir(server)) {
            self.travel().await;
            let sent = if locked(&self.state).chance.one_in(2) { Sent::No } else { Sent::Maybe };
            return Err(unreachable(sent));
        }
        match fault {
            Some(FaultKind::NotSent) => {
                self.travel().await;
                return Err(unreachable(Sent::No));
            }
            Some(FaultKind::NotDone) => {
                self.pause(TIMEOUT * SECOND).await;
                return Err(unreachable(Sent::Maybe));
            }
            Some(FaultKind::Page(status)) => {
                self.travel().await;
                return Ok(page(*status));
            }
            Some(FaultKind::Outcome(status)) => {
                self.travel().await;
                return Ok(outcome(*status, "exception", &format!("Patient/{SENTINEL}-1 is in the way")));
            }
            Some(FaultKind::Throttled(wait)) => {
                self.travel().await;
                let retry_after = wait.and_then(|s| u64::try_from(s).ok()).map(Duration::from_secs);
                return Ok(Answer {
                    retry_after,
                    ..outcome(429, "throttled", "The maximum number was reached.")
                });
            }
            _ => {}
        }
        let pace = locked(&self.state).pace(server);
        match pace {
            Pace::Prompt | Pace::Trickles(_) => {}
            Pace::Silent => {
                self.pause(TIMEOUT * SECOND).await;
                return Err(unreachable(Sent::Maybe));
            }
            Pace::Slow(seconds) => self.pause(seconds * SECOND).await,
        }
        let (sent, on_the_way) = (request.clone(), fault.cloned());
        let answer = self.carry(fault, move |state| state.serve(&sent, token, on_the_way.as_ref())).await;
        match fault {
            Some(FaultKind::AnswerLost) => Err(unreachable(Sent::Maybe)),
            Some(FaultKind::PanicsAfter) => panics(),
            Some(FaultKind::Slow(seconds)) if *seconds >= TIMEOUT => Err(unreachable(Sent::Maybe)),
            Some(FaultKind::Truncated) => {
                let mut answer = answer;
                answer.body.truncate(answer.body.len() / 2);
                Ok(Answer { truncated: true, ..answer })
            }
            _ => {
                locked(&self.state).heard(self.number, request, &answer);
                Ok(answer)
            }
        }
    }
}

impl State {
    /// The pace of a server now.
    fn pace(&self, server: usize) -> Pace {
        let repaired = self.time.now >= self.plan.heal_at * SECOND;
        self.fhir.server(server).map_or(Pace::Prompt, |s| if repaired { Pace::Prompt } else { s.pace })
    }

    /// A server carries out a request. `token` is the time at which the request's token was issued.
    fn serve(&mut self, request: &Request, token: Option<i64>, fault: Option<&FaultKind>) -> Answer {
        let number = Fhir::server_of(&request.url).unwrap_or(0);
        let now = (self.time.now, self.time.stamp());
        let refuses = self.faults.is_out(Outage::Tokens(number), now.0);
        let wanted = request.with_token && self.fhir.server(number).is_some_and(|s| s.token);
        let since = self.fhir.tokens_since.get(number).copied().unwrap_or(0);
        if wanted && (refuses || token.is_none_or(|given| given < since)) {
            return outcome(401, "login", "Authentication failed.");
        }
        self.fhir.write(&mut self.lake, now.0);
        if request.prefer.is_none() {
            self.acted(request);
            return self.fhir.answer(request, now);
        }
        let mut answer = self.kicked_off(request);
        if let Some(FaultKind::Location(location)) = fault {
            let whole = answer.content_location.take().unwrap_or_default();
            let path = whole.split_once(".example").map_or("", |(_, path)| path);
            answer.content_location = match location {
                Location::None => None,
                Location::Relative => Some(path.to_owned()),
                Location::Inside => Some(format!("http://inside:8080{path}")),
                Location::Elsewhere => Some(format!("https://elsewhere.example{path}")),
                Location::Signed => Some(format!("{whole}?sig={SENTINEL}")),
            };
        }
        answer
    }
}

impl Wire for Process {
    async fn authorize(&self, server: &Arc<FhirServer>) -> Result<(), Failure> {
        self.admitted(server, &server.spec.url, Method::Get)?;
        let Course::Goes(fault) = self.course(Edge::Authorize) else {
            self.for_ever().await;
            return Err(no_secret());
        };
        self.travel().await;
        match fault {
            Some(FaultKind::NotDone) => {
                let message = "the identity provider does not answer; check the network policy";
                return Err(failure(Sent::No, Reason::TokenUnavailable, message, FailureKind::Unreachable));
            }
            Some(FaultKind::CrashAfter) => {
                self.dies();
                self.for_ever().await;
            }
            _ => {}
        }
        self.token(server).map(|_| ())
    }

    async fn send(&self, server: &Arc<FhirServer>, request: &Request) -> Reply {
        locked(&self.state).quiet("a request is sent");
        let origin = self.admitted(server, &request.url, request.method)?;
        let edge = {
            let mut state = locked(&self.state);
            state.check_request(self.number, server, request);
            match request.method {
                _ if request.prefer.is_some() => Edge::KickOff,
                Method::Delete => Edge::Delete,
                _ if state.fhir.job_of(&request.url).is_some() => Edge::Poll,
                _ => Edge::Probe,
            }
        };
        let token = if request.with_token { self.token(server)? } else { None };
        let Course::Goes(fault) = self.course(edge) else {
            self.for_ever().await;
            return Err(unreachable(Sent::Maybe));
        };
        let answer = self.exchange(request, token, fault.as_ref()).await;
        locked(&self.state).heard_of(request);
        let mut answer = answer?;
        self.learn(server, &origin, &answer);
        if answer.status == 401 && token.is_some() {
            // The server did not carry out the request, so it is sent once more with another token.
            self.refused(server);
            match self.token(server) {
                Ok(token) => {
                    let again = self.exchange(request, token, None).await;
                    locked(&self.state).heard_of(request);
                    answer = again?;
                    self.learn(server, &origin, &answer);
                }
                Err(failure) => return Err(failure),
            }
        }
        Ok(answer)
    }

    async fn open(&self, server: &Arc<FhirServer>, file: &FileRequest) -> Result<FileAnswer, Failure> {
        let elsewhere =
            || FileAnswer::Elsewhere("the file is at an origin that is not allowed; add it".to_owned());
        let Some(origin) = Origin::parse(&file.url) else { return Ok(elsewhere()) };
        let Some(trust) = file_trust(server, &origin) else { return Ok(elsewhere()) };
        if let Some(until) = self.held_back.until(&Client::of(server, &origin), Method::Get, self.now()) {
            return Err(held_back(until));
        }
        let with_token = trust == FileTrust::WithToken && file.with_token;
        let token = if with_token { self.token(server)? } else { None };
        let Course::Goes(fault) = self.course(Edge::File) else {
            self.for_ever().await;
            return Err(unreachable(Sent::Maybe));
        };
        self.leaves(fault.as_ref(), None).await;
        let number = Fhir::server_of(&server.spec.url).unwrap_or(0);
        if self.is_out(Outage::Fhir(number)) || matches!(fault, Some(FaultKind::NotDone | FaultKind::NotSent))
        {
            self.travel().await;
            return Err(unreachable(Sent::Maybe));
        }
        if let Some(FaultKind::Page(status)) = fault {
            self.travel().await;
            return Ok(FileAnswer::Refused(page(status)));
        }
        if let Some(FaultKind::Throttled(wait)) = fault {
            self.travel().await;
            let retry_after = wait.and_then(|s| u64::try_from(s).ok()).map(Duration::from_secs);
            let answer =
                Answer { retry_after, ..outcome(429, "throttled", "The maximum number was reached.") };
            self.learn(server, &origin, &answer);
            return Ok(FileAnswer::Refused(answer));
        }
        let opened = self
            .carry(fault.as_ref(), {
                let (server, url, resume) = (Arc::clone(server), file.url.clone(), file.resume.clone());
                move |state| {
                    state.check_file(&server, &url, token.is_some());
                    let now = state.time.now;
                    state.tell(34, || format!("file {url} from {}", resume.as_ref().map_or(0, |r| r.offset)));
                    state.opens(&url, resume.as_ref());
                    state.fhir.open(&url, resume.as_ref(), token.is_some(), now)
                }
            })
            .await;
        if fault == Some(FaultKind::PanicsAfter) {
            panics();
        }
        Ok(match opened {
            Opened::Refused(answer) => FileAnswer::Refused(answer),
            Opened::Given(head, body, breaks) => {
                let cut = if fault == Some(FaultKind::Truncated) { Some(body.len() / 3) } else { breaks };
                let pace = locked(&self.state).pace(number);
                let least = if let Pace::Trickles(seconds) = pace { seconds * SECOND } else { 0 };
                FileAnswer::Opened(head, self.pieces(&body, cut, least))
            }
        })
    }

    async fn secret(&self, namespace: &str, key: &KeyRef) -> Result<SecretString, Failure> {
        self.travel().await;
        let there = locked(&self.state).api.secrets.contains(&(namespace.to_owned(), key.name.clone()));
        if there { Ok(format!("Patient/{SENTINEL}-1\n").into()) } else { Err(no_secret()) }
    }
}

impl Process {
    /// Splits a body into a few pieces, each of which takes at least `least` microseconds. `cut` is where it
    /// breaks off.
    fn pieces(&self, body: &Bytes, cut: Option<usize>, least: i64) -> Pieces {
        let size = (body.len() / 3 + 1).max(256 << 10);
        let state = Arc::clone(&self.state);
        let begin = (state, body.clone(), cut.unwrap_or(body.len()), 0, cut.is_some());
        unfold(begin, move |(state, body, upto, at, breaks)| async move {
            if at >= upto && !breaks {
                return None;
            }
            let wait = {
                let mut state = locked(&state);
                let most = state.plan.latency.max(1) * 1000;
                least + state.chance.between(0, most)
            };
            Pause::new(&state, wait).await;
            if at >= upto {
                return Some((Err(BrokenOff::Transfer), (state, body, upto, at, false)));
            }
            let end = (at + size).min(upto);
            Some((Ok(body.slice(at..end)), (state, body, upto, end, breaks)))
        })
        .boxed()
    }
}
