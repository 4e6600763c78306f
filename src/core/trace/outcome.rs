//! How the work of a span ended.

use super::span::Outcome;
use crate::core::effect::Observation;
use crate::core::ledger::{StorageFailure, StorageFailureKind};
use crate::core::wire::Reply;

/// How an effect ended, and the status code if a FHIR server answered.
pub fn of_observation(seen: &Observation) -> (Outcome, Option<u16>) {
    match seen {
        Observation::KickOff(reply)
        | Observation::Poll(reply)
        | Observation::Cancel(reply)
        | Observation::CleanedUp(reply)
        | Observation::TypeCounted { reply, .. } => of_reply(reply),
        Observation::Authorized(Err(failure)) => (Outcome::Failed(failure.reason.as_str().to_owned()), None),
        Observation::Jobs(Err(failure))
        | Observation::Files(Err(failure))
        | Observation::LogStored(Err(failure))
        | Observation::ManifestStored(Err(failure)) => (of_store(failure), None),
        Observation::Authorized(Ok(()))
        | Observation::Jobs(Ok(_))
        | Observation::Files(Ok(_))
        | Observation::LogStored(Ok(_))
        | Observation::ManifestStored(Ok(_))
        | Observation::FinalizerChanged
        | Observation::DeletedSelf
        | Observation::Verification(_)
        | Observation::Landing(_)
        | Observation::LandingStopped => (Outcome::Done, None),
    }
}

fn of_reply(reply: &Reply) -> (Outcome, Option<u16>) {
    match reply {
        Ok(answer) if answer.status < 400 => (Outcome::Done, Some(answer.status)),
        Ok(answer) => (Outcome::Failed(answer.status.to_string()), Some(answer.status)),
        Err(failure) => (Outcome::Failed(failure.reason.as_str().to_owned()), None),
    }
}

/// The outcome of an operation on a store that failed.
pub fn of_store(failure: &StorageFailure) -> Outcome {
    let passes = matches!(failure.kind, StorageFailureKind::Transient { .. });
    Outcome::Failed(if passes { "StoreBusy" } else { "StoreRefused" }.to_owned())
}
