//! Operations on a list of conditions.

use jiff::Timestamp;

use super::words;
use crate::api::{Condition, ConditionStatus, ConditionType, Reason};

/// The longest message of a condition, in bytes. Ten of them leave room in a status of 16 KiB.
const MAX_MESSAGE: usize = 1024;

/// Truncates a time to whole seconds, as Kubernetes writes it.
pub fn whole_seconds(now: Timestamp) -> Timestamp {
    Timestamp::from_second(now.as_second()).unwrap_or(now)
}

/// The first whole second at or after `time`, for times at which something is due.
pub fn next_whole_second(time: Timestamp) -> Timestamp {
    let floor = whole_seconds(time);
    if floor == time {
        return floor;
    }
    floor.checked_add(jiff::SignedDuration::from_secs(1)).unwrap_or(time)
}

/// Sets a condition. `lastTransitionTime` changes only if the status does, and nothing changes if all values
/// are the same.
pub fn set(
    conditions: &mut Vec<Condition>,
    type_: ConditionType,
    status: ConditionStatus,
    reason: Reason,
    message: &str,
    generation: i64,
    now: Timestamp,
) {
    let message = words::cut(message, MAX_MESSAGE);
    if let Some(old) = conditions.iter_mut().find(|c| c.is(type_)) {
        if old.status != status {
            old.status = status;
            old.last_transition_time = whole_seconds(now);
        }
        old.reason = reason.to_string();
        old.message = message;
        old.observed_generation = Some(generation);
    } else {
        conditions.push(Condition {
            type_: type_.to_string(),
            status,
            observed_generation: Some(generation),
            last_transition_time: whole_seconds(now),
            reason: reason.to_string(),
            message,
        });
    }
}

/// Removes a condition.
pub fn remove(conditions: &mut Vec<Condition>, type_: ConditionType) {
    conditions.retain(|c| !c.is(type_));
}

/// Finds a condition by type.
pub fn find(conditions: &[Condition], type_: ConditionType) -> Option<&Condition> {
    conditions.iter().find(|c| c.is(type_))
}

/// Whether a condition exists and is True.
pub fn is_true(conditions: &[Condition], type_: ConditionType) -> bool {
    find(conditions, type_).is_some_and(Condition::is_true)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).expect("in range")
    }

    #[test]
    fn the_time_moves_only_with_the_status() {
        let mut list = Vec::new();
        let t = ConditionType::Accepted;
        set(&mut list, t, ConditionStatus::True, Reason::Allowed, "a", 1, at(10));
        set(&mut list, t, ConditionStatus::True, Reason::Queued, "b", 2, at(20));
        assert_eq!(list.len(), 1);
        assert_eq!(list[0].last_transition_time, at(10));
        assert_eq!((list[0].reason.as_str(), list[0].message.as_str()), ("Queued", "b"));
        set(&mut list, t, ConditionStatus::False, Reason::NotAllowed, "c", 2, at(30));
        assert_eq!(list[0].last_transition_time, at(30));
        assert!(!is_true(&list, t));
        remove(&mut list, t);
        assert_eq!(find(&list, t), None);
    }
}
