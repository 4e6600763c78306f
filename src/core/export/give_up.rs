//! The search for a job that may run is given up: it stays on record, and the spec says whether to start again.

use super::attempt;
use super::end;
use super::memory::Doubt;
use super::phase::Phase;
use super::turn::Turn;
use crate::api::{ConditionType, OnUncertainKickOff, Reason};
use crate::core::effect::NoteType;

/// Gives up the search for the job of the kick-off in the status. `why` is one clause for the user.
pub(super) fn give_up(turn: &mut Turn<'_>, doubt: Doubt, why: &str) -> Phase {
    let no_url = doubt == Doubt::NoStatusUrl;
    turn.leave_job(if no_url {
        "accepted without a status URL"
    } else {
        "the answer to its kick-off was lost"
    });
    turn.status.job = None;
    let message = format!("{why}; one may still run on the server unseen");
    turn.set_true(ConditionType::KickOffUncertain, Reason::NoJobFound, &message);
    turn.count_attempt();
    if no_url {
        let text = format!(
            "the server accepted the export without saying where its status is, and {message}; check proxies that \
             remove Content-Location"
        );
        end::fail(turn, Reason::NoStatusURL, &text)
    } else if turn.spec().on_uncertain_kick_off == Some(OnUncertainKickOff::Fail) {
        let text = format!(
            "the answer to the kick-off was lost, and {message}; look for it there, then create a new FhirExport"
        );
        end::fail(turn, Reason::KickOffUncertain, &text)
    } else {
        turn.note(NoteType::Warning, Reason::NoJobFound, "KickOff", &message);
        let text = format!("the answer to the kick-off was lost, and {message}");
        attempt::try_again(turn, Reason::KickOffUncertain, &text)
    }
}
